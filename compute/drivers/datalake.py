"""An Azure Data Lake Analytics account: a run is a U-SQL job. Azure's own ended on 2024-02-29 (azure-ml facts L).

Source of the protocol: the service's job interface, version 2016-11-01.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from compute import arm, azure, launch
from compute.drivers.azure_account import AzureAccount, AzureAccountForm, Question
from compute.drivers.base import Check, CheckState, Executes, Handle, JobReport, Need, Phase, RunForm, TargetReport
from compute.models import Job
from compute.states import EndReason, ProvisioningState
from studio.errors import CannotEverRun, CredentialsRejected, NotAllowedNow, StudioError

SCOPE = "https://datalake.azure.net//.default"
JOBS = "2016-11-01"  # version of the job interface
ASK_AGAIN = 5.0  # seconds
COMPILED = 'DECLARE @studio string = "studio";\n@rows = SELECT * FROM (VALUES (@studio)) AS T(word);\n'  # runs nothing
LONGEST_SCRIPT = 3 * 1024 * 1024  # bytes. Source: the service's limit of a script
RUNNING = {"Running", "Finalizing", "Ended"}
WAITS = {
    "": gettext_noop("Waits in Data Lake Analytics for analytics units."),
    "New": gettext_noop("Waits for Data Lake Analytics to compile its script."),
    "Compiling": gettext_noop("Waits for Data Lake Analytics to compile its script."),
    "Starting": gettext_noop("Waits for Data Lake Analytics to start it."),
    "Paused": gettext_noop("Somebody has paused it in Data Lake Analytics."),
}


class DataLakeForm(AzureAccountForm):
    provider, resource = "Microsoft.DataLakeAnalytics", "accounts"


class USqlRunForm(RunForm):
    """Source: the settings of AdlaStep, azure-ml facts F1; their defaults are the service's."""

    degree_of_parallelism = forms.IntegerField(
        label=gettext_lazy("Analytics units"), min_value=1, max_value=10_000, initial=1
    )
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=1,
        max_value=10_000,
        initial=1000,
        help_text=gettext_lazy("The lower number goes first."),
    )
    runtime_version = forms.RegexField(
        r"\A[\w.\-]{0,100}\Z",
        label=gettext_lazy("Runtime version"),
        required=False,
        help_text=gettext_lazy("Empty: the account’s default."),
    )


class DataLakeDriver(AzureAccount, Executes):
    label = gettext_lazy("Data Lake Analytics")
    form = DataLakeForm
    run_form = USqlRunForm
    environments = frozenset({"interpreter"})
    scripts = ".usql"
    version = "2016-11-01"
    notice = gettext_lazy(
        "Azure retired Data Lake Analytics on 29 February 2024. It can be attached only where an Owner has named an "
        "endpoint that speaks its protocol, under Studio, Azure sign-in. What was attached before stays readable."
    )
    titles = AzureAccount.titles | {
        "jobs": gettext_lazy("Jobs may be seen"),
        "submit": gettext_lazy("Jobs may be submitted"),
        "limits": gettext_lazy("What a job may have"),
    }
    optional = frozenset({"limits"})
    needs = (
        Need(
            gettext_lazy("An endpoint"),
            gettext_lazy("A service that speaks the protocol of Data Lake Analytics. An Owner names it."),
        ),
        Need(
            gettext_lazy("Resource group and account"),
            gettext_lazy("As the account is called there."),
            "az dla account list --query '[].{group:resourceGroup,name:name}'",
        ),
        Need(
            gettext_lazy("An identity that may submit jobs"),
            gettext_lazy("Data Lake Analytics Developer on the account."),
            "az role assignment list --assignee CLIENT_ID --all -o table",
        ),
    )

    @property
    def endpoint(self) -> str:
        """Return where the account's jobs are. Raises NotAllowedNow when no Owner has said."""
        template = azure.sign_in_of(self.target.workspace).data_lake_analytics
        if not template:
            raise NotAllowedNow(
                _("Azure’s own Data Lake Analytics ended on 29 February 2024."),
                _("An Owner names an endpoint that speaks its protocol, under Studio, Azure sign-in."),
            )
        return template.replace("{account}", self.config["account_name"])

    # ----- the doctor

    def questions(self) -> dict[str, Question]:
        own: dict[str, Question] = {"jobs": self._jobs, "submit": self._submit}
        # Azure's own Resource Manager knows no such account any more; an Owner's may.
        if azure.sign_in_of(self.target.workspace).resource_manager:
            own["limits"] = self._limits
        return {"sign_in": self._identity, "name": self._name, **own}

    def _jobs(self) -> Check:
        some = _list_of(self._ask("GET", "/Jobs", {"$top": 20}), "value")
        return self.found("jobs", CheckState.OK, _("the account answers, with %(n)d jobs of late") % {"n": len(some)})

    def _submit(self) -> Check:
        """Have a script compiled, which runs nothing and takes the right that submitting takes."""
        order = {"type": "USql", "name": "compute-studio", "properties": {"type": "USql", "script": COMPILED}}
        try:
            self._ask("POST", "/BuildJob", body=order)
        except CredentialsRejected as exc:
            remedy = _("Give the identity the role Data Lake Analytics Developer on the account.")
            return self.found("submit", CheckState.BAD, exc.message, remedy)
        except StudioError as exc:  # not everything that speaks its protocol compiles for a look
            return self.found("submit", CheckState.WARN, exc.message, _("The first run will show it."))
        return self.found("submit", CheckState.OK, _("a script was compiled, and nothing was run"))

    def _limits(self) -> Check:
        told = self.properties
        said = _("%(units)s analytics units a job, %(jobs)s jobs at once, priority %(priority)s or later") % {
            "units": _number(told.get("maxDegreeOfParallelismPerJob") or told.get("maxDegreeOfParallelism")),
            "jobs": _number(told.get("maxJobCount")),
            "priority": _number(told.get("minPriorityPerJob")),
        }
        return self.found("limits", CheckState.OK, said)

    def refresh(self) -> TargetReport:
        try:
            self._ask("GET", "/Jobs", {"$top": 1})
        except StudioError as exc:
            return TargetReport(ProvisioningState.FAILED, exc.message[:500])
        return TargetReport(ProvisioningState.SUCCEEDED)

    # ----- a job

    def submit(self, job: Job) -> Handle:
        text, added = _script(job)
        asked = job.spec["options"]
        number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"compute-studio:{job.pk}:{job.run_id}.{job.attempt}"))
        version = asked.get("runtime_version") or None
        order = {
            "name": (job.run_name or job.run_id)[:256],
            "type": "USql",
            "degreeOfParallelism": asked["degree_of_parallelism"],
            "priority": asked["priority"],
            "properties": {"type": "USql", "script": text, **({"runtimeVersion": version} if version else {})},
        }
        self._ask("PUT", f"/Jobs/{number}", body=order, fine={409})  # twice is one job
        launch.say(job, f"Data Lake Analytics has it as job {number}")
        return {"job": number, "lines_before": added}

    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        told = self._ask("GET", f"/Jobs/{handle['job']}")
        state, result = str(told.get("state") or "New"), str(told.get("result") or "None")
        facts = {"run": handle["job"], "state": state if result == "None" else result}
        added = handle.get("lines_before", 0)
        output = _log(told, added).encode(errors="replace")[after:]
        if state != "Ended":
            phase, waits = Phase.RUNNING if state in RUNNING else Phase.QUEUED, WAITS.get(state, WAITS[""])
            began = _moment(told.get("startTime"))
            yield JobReport(phase, output, waits=waits, facts=facts, ask_again_in=ASK_AGAIN, started_at=began)
            return
        report = _ended(result, _errors(told, added), output, facts)
        yield replace(report, started_at=_moment(told.get("startTime")), ended_at=_moment(told.get("endTime")))

    def queues(self, job: Job) -> bool:
        return True

    def cancel(self, handle: Handle, because: EndReason) -> None:
        self._ask("POST", f"/Jobs/{handle['job']}/CancelJob", fine={404, 409})  # gone, or ended

    # ----- the connection

    def _ask(
        self, method: str, path: str, query: dict[str, Any] | None = None, *, body: Any = None, fine: Any = ()
    ) -> dict[str, Any]:
        service = arm.Service(self.target.workspace, self.config["account_name"], self.endpoint, SCOPE)
        return service.ask(method, path, JOBS, query or {}, body=body, fine=frozenset(fine))


def _script(job: Job) -> tuple[str, int]:
    """Return the U-SQL of a job, with its variables as declarations before it, and how many lines those are.

    Raises CannotEverRun.
    """
    if job.spec["arguments"]:
        raise CannotEverRun(
            _("U-SQL takes no arguments."),
            _("Use variables: NAME becomes DECLARE @NAME string in front of the script."),
        )
    if job.spec["environment"].get("interpreter"):
        raise CannotEverRun(_("U-SQL runs without a Python."), _("Leave the interpreter empty."))
    file = job.folder / "rank-0" / job.spec["script"]
    text: str = file.read_text("utf-8-sig", errors="replace") if file.stat().st_size <= LONGEST_SCRIPT else ""
    lines = [
        f'DECLARE @{name} string = @"{value.replace(chr(34), chr(34) * 2)}";\n'
        for name, value in job.spec["variables"].items()
    ]
    whole = "".join(lines) + text
    if file.stat().st_size > LONGEST_SCRIPT or len(whole.encode()) > LONGEST_SCRIPT:
        raise CannotEverRun(_("The script has more than 3 MB, which the service does not take."))
    return whole, "".join(lines).count("\n")


def _number(told: Any) -> str:
    """Return a number that Resource Manager told; a question mark for what is none."""
    return str(told) if isinstance(told, int) and not isinstance(told, bool) else "?"


def _list_of(told: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects that the service tells; what is none is left out."""
    found = told.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _moment(told: Any) -> datetime | None:
    """Return a moment that the service tells; None for what is none. Source: JobInformation, startTime and endTime."""
    try:
        moment = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _log(told: dict[str, Any], added: int) -> str:
    """Return what the service tells of a job as lines, each new one behind the others."""
    lines = []
    for record in _list_of(told, "stateAuditRecords"):
        parts = (record.get("timeStamp"), record.get("newState"), record.get("details"))
        lines.append(" ".join(" ".join(str(part).split()) for part in parts if part))
    if told.get("state") == "Ended":
        lines += _errors(told, added)
    return "".join(f"{line}\n" for line in lines)


def _errors(told: dict[str, Any], added: int) -> list[str]:
    """Return the service's errors, a line each: in which line of the script, what is wrong, what it advises."""
    found = []
    for error in _list_of(told, "errorMessage"):
        line = error.get("lineNumber")
        where = f"line {line - added}: " if isinstance(line, int) and line > added else ""
        said = error.get("message") or error.get("description")
        words = [error.get("errorId"), said, error.get("details"), error.get("resolution")]
        found.append(where + " ".join(" ".join(str(word).split()) for word in words if word))
    return found


def _ended(result: str, errors: list[str], output: bytes, facts: dict[str, Any]) -> JobReport:
    if result == "Succeeded":
        return JobReport(Phase.ENDED, output, exit_code=0, facts=facts)
    if result == "Cancelled":
        said = gettext_noop("It was canceled in Data Lake Analytics.")
        return JobReport(Phase.ENDED, output, reason=EndReason.CANCELED, detail=said, facts=facts)
    said = errors[0] if errors else gettext_noop("Data Lake Analytics says that it failed, and not why.")
    return JobReport(Phase.ENDED, output, exit_code=1, detail=said[:500], facts=facts)
