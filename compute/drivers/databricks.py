"""An Azure Databricks workspace: a job is a one-time run there, on a cluster that stands or on one made for it."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from compute import launch
from compute.drivers import databricks_service
from compute.drivers.base import (
    Attaches,
    Check,
    CheckState,
    Driver,
    Executes,
    Handle,
    JobReport,
    Need,
    Phase,
    TargetReport,
)
from compute.drivers.databricks_form import AZURE, EXISTING, NEW, DatabricksForm, DatabricksRunForm
from compute.models import Job
from compute.requirements import requirements_of
from compute.states import EndReason, ProvisioningState
from studio.errors import CannotEverRun, StudioError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import Run

LARGEST_FILE = 10 * 1024 * 1024  # bytes. Source: Databricks' limit of Workspace Import
ASK_AGAIN = 5.0  # seconds
WARN_BEFORE = 14  # days
ENDED = {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}
STARTED = {"RUNNING", "TERMINATING"}
TITLES = {
    "name": gettext_lazy("The name resolves"),
    "sign_in": gettext_lazy("Signing in"),
    "expiry": gettext_lazy("The token lasts"),
    "runs": gettext_lazy("Runs may be seen"),
    "clusters": gettext_lazy("Clusters there"),
    "sizes": gettext_lazy("What a new cluster can be"),
}
# Becomes the script, in a copy of its files, with its variables, which no page of the service shows.
START = """
import json, os, runpy, shutil, sys, tempfile
files, told = sys.argv[1:3]
with open(told) as file:
    os.environ.update(json.load(file))
work = tempfile.mkdtemp()
shutil.copytree(files, work, dirs_exist_ok=True)
os.chdir(work)
for name in ("outputs", "logs"):
    os.makedirs(name, exist_ok=True)
del sys.argv[:3]
sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    for name in ("outputs", "logs"):
        try:
            left = os.path.join(os.path.dirname(told), "back", name)
            shutil.copytree(os.path.join(work, name), left, dirs_exist_ok=True)
        except (OSError, shutil.Error) as problem:
            print("studio: not everything in %s could be brought back: %s" % (name, problem), file=sys.stderr)
"""


class DatabricksDriver(Driver, Attaches, Executes):
    label = gettext_lazy("Azure Databricks")
    form = DatabricksForm
    run_form = DatabricksRunForm
    environments = frozenset({"interpreter", "pip"})
    needs = (
        Need(
            gettext_lazy("The workspace’s URL"),
            gettext_lazy("In the Azure portal, on the overview of the Databricks workspace."),
            "az databricks workspace show -g GROUP -n NAME --query workspaceUrl",
        ),
        Need(
            gettext_lazy("A personal access token"),
            gettext_lazy("In Databricks under Settings, Developer, Access tokens. Its user may create job runs."),
            "databricks tokens create --comment studio --lifetime-seconds 7776000",
        ),
    )

    @classmethod
    def address_of(cls, config: dict[str, Any]) -> str:
        return str(config.get("url", "")).lower()

    # ----- the doctor

    def checks(self) -> Iterator[Check]:
        ahead = list(TITLES)
        for key, question in self._questions().items():
            ahead.remove(key)
            try:
                check = question()
            except StudioError as exc:
                check = _found(key, CheckState.BAD, exc.message, exc.hint)
            yield check
            if check.state == CheckState.BAD and check.needed:
                yield from (_found(left, CheckState.SKIPPED) for left in ahead)
                return

    def _questions(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "sign_in": self._identity,
            "expiry": self._expiry,
            "runs": self._runs,
            "clusters": self._clusters,
            "sizes": self._sizes,
        }

    def _name(self) -> Check:
        return _found(
            "name",
            CheckState.OK,
            ", ".join(dict.fromkeys(place.address for place in databricks_service.places(self.target))),
        )

    def _identity(self) -> Check:
        with databricks_service.client_of(self.target) as service:
            return _found("sign_in", CheckState.OK, str(service.current_user.me().user_name)[:200])

    def _expiry(self) -> Check:
        if self.config.get("authentication") == AZURE:
            return _found("expiry", CheckState.OK, _("the studio asks Azure for another one in time"))
        last = self.config.get("expires")
        if not last:
            said = _("the day it expires was not given")
            return _found("expiry", CheckState.WARN, said, _("Give it, and a warning comes in time."))
        said = _("until %(day)s") % {"day": last}
        if not self._expires_soon():
            return _found("expiry", CheckState.OK, said)
        return _found("expiry", CheckState.WARN, said, _("Make another one, and replace it under Edit."))

    def _expires_soon(self) -> bool:
        last = self.config.get("expires")
        return bool(last) and (date.fromisoformat(last) - datetime.now(UTC).date()).days <= WARN_BEFORE

    def _runs(self) -> Check:
        with databricks_service.client_of(self.target) as service:
            seen = sum(1 for _run in zip(range(20), service.jobs.list_runs(limit=20), strict=False))
        return _found("runs", CheckState.OK, _("the Jobs service answers, with %(n)d runs of late") % {"n": seen})

    def _clusters(self) -> Check:
        with databricks_service.client_of(self.target) as service:
            some = [cluster for _n, cluster in zip(range(50), service.clusters.list(), strict=False)]
        named = ", ".join(f"{cluster.cluster_name} ({cluster.cluster_id})" for cluster in some[:8])
        return _found("clusters", CheckState.OK, named[:500] or _("none; runs can make their own"))

    def _sizes(self) -> Check:
        with databricks_service.client_of(self.target) as service:
            types = service.clusters.list_node_types().node_types or []
            versions = service.clusters.spark_versions().versions or []
        said = _("%(types)d node types, %(versions)d Spark versions") % {"types": len(types), "versions": len(versions)}
        if types and versions:
            return _found("sizes", CheckState.OK, said)
        return _found("sizes", CheckState.WARN, said, _("Runs need a cluster that is there."))

    def refresh(self) -> TargetReport:
        try:
            with databricks_service.client_of(self.target) as service:
                service.current_user.me()
        except StudioError as exc:
            return TargetReport(ProvisioningState.FAILED, exc.message[:500])
        if not self._expires_soon():
            return TargetReport(ProvisioningState.SUCCEEDED)
        said = gettext_noop("Its token expires on %(day)s: replace it under Edit.") % {"day": self.config["expires"]}
        return TargetReport(ProvisioningState.SUCCEEDED, said)

    # ----- a job

    def submit(self, job: Job) -> Handle:
        from databricks.sdk.service import compute, jobs

        asked, name = job.spec["options"], f"{job.run_id}.{job.attempt}"
        libraries = [
            compute.Library(pypi=compute.PythonPyPiLibrary(package=line)) for line in _packages(job.spec["environment"])
        ]
        with databricks_service.client_of(self.target) as service:
            home = f"/Users/{service.current_user.me().user_name}/.compute-studio"
            files = self._send(service, job, home)
            told = f"{home}/runs/{name}"
            service.workspace.mkdirs(told)
            variables = {key: str(value) for key, value in launch.variables_of(job).items()}
            databricks_service.put(service, f"{told}/start.py", START.encode())
            databricks_service.put(service, f"{told}/variables.json", json.dumps(variables).encode())
            task = jobs.SubmitTask(
                task_key="run",
                libraries=libraries or None,
                existing_cluster_id=asked["cluster_id"] if asked["cluster"] == EXISTING else None,
                new_cluster=_new_cluster(asked) if asked["cluster"] == NEW else None,
                spark_python_task=jobs.SparkPythonTask(
                    python_file=f"/Workspace{told}/start.py",
                    parameters=[
                        f"/Workspace{files}",
                        f"/Workspace{told}/variables.json",
                        job.spec["script"],
                        *job.spec["arguments"],
                    ],
                ),
            )
            made: Any = service.jobs.submit(
                run_name=job.run_name or job.run_id,
                tasks=[task],
                timeout_seconds=int(job.max_seconds or 0) or None,
                idempotency_token=hashlib.sha256(name.encode()).hexdigest(),  # twice is one run
            )
            launch.say(job, f"Databricks has it as run {made.response.run_id}")
            return {"run": made.response.run_id, "told": told, "far": f"{job.run_id}/{job.attempt}"}

    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        with databricks_service.client_of(self.target) as service:
            run = service.jobs.get_run(handle["run"])
            facts = {"page": run.run_page_url or "", "run": str(handle["run"]), "state": _state(run)}
            if _state(run) not in ENDED:
                phase = Phase.RUNNING if _state(run) in STARTED else Phase.QUEUED
                began, _over = _times(run, has_begun=phase == Phase.RUNNING)
                waits = _waits(run)
                yield JobReport(phase, waits=waits, facts=facts, ask_again_in=ASK_AGAIN, started_at=began)
                return
            output, trouble = self._output(service, run)
            with contextlib.suppress(StudioError), databricks_service.client_of(self.target) as again:
                databricks_service.bring_back(
                    again, f"{handle['told']}/back", Path(settings.JOB_DIR) / handle["far"] / "rank-0"
                )
            with contextlib.suppress(StudioError), databricks_service.client_of(self.target) as again:
                again.workspace.delete(handle["told"], recursive=True)  # with the variables
        report = _ended(run, output[after:], trouble, facts)
        began, over = _times(run, has_begun=report.exit_code is not None)
        yield replace(report, started_at=began, ended_at=over)

    def queues(self, job: Job) -> bool:
        return True

    def cancel(self, handle: Handle, because: EndReason) -> None:
        with databricks_service.client_of(self.target) as service:
            service.jobs.cancel_run(handle["run"])

    def _output(self, service: "WorkspaceClient", run: "Run") -> tuple[bytes, str]:
        """Return what the run printed, as far as the service keeps it, and its error in one line."""
        task = next(iter(run.tasks or []), None)
        if task is None or task.run_id is None:
            return b"", ""
        told = service.jobs.get_run_output(task.run_id)
        text = told.logs or ""
        if told.logs_truncated:
            text += (
                "\n" + _("studio: Databricks keeps the first 5 MB of what a run prints; the rest is not here.") + "\n"
            )
        if told.error_trace:
            text += ("" if text.endswith("\n") or not text else "\n") + told.error_trace
        return text.encode(errors="replace"), (told.error or "")[:500]

    def _send(self, service: "WorkspaceClient", job: Job, home: str) -> str:
        """Bring the job's files there, unless the same ones are there already; return their folder."""
        top = job.folder / "rank-0"
        files = sorted(file for file in top.rglob("*") if file.is_file() and not file.is_symlink())
        for file in files:
            if file.stat().st_size > LARGEST_FILE:
                raise CannotEverRun(
                    _("%(name)s has more than 10 MB, which Databricks takes for no file of a workspace.")
                    % {"name": file.relative_to(top)},
                    _("Leave it out with an .amlignore, and read it from storage."),
                )
        named = [(file, file.relative_to(top).as_posix(), _sha256(file)) for file in files]
        digest = hashlib.sha256(json.dumps([pair[1:] for pair in named]).encode()).hexdigest()
        folder = f"{home}/snapshots/{digest[:32]}"
        if databricks_service.is_there(service, f"{folder}.complete"):
            launch.say(job, f"The {len(files)} files are there")
            return folder
        for parent in sorted({f"{folder}/{name}".rpartition("/")[0] for _file, name, _sha in named} | {folder}):
            service.workspace.mkdirs(parent)
        for file, name, _sha in named:
            databricks_service.put(service, f"{folder}/{name}", file.read_bytes())
        databricks_service.put(service, f"{folder}.complete", b"")
        launch.say(job, f"{len(files)} files sent to Databricks")
        return folder


def _found(key: str, state: CheckState, evidence: str = "", remedy: str = "") -> Check:
    return Check(key, str(TITLES[key]), state, evidence, remedy, needed=key in {"name", "sign_in", "runs"})


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _packages(environment: dict[str, str]) -> list[str]:
    """Return what pip is to bring. Raises CannotEverRun for what the service does not know: options, another Python."""
    if environment.get("interpreter"):
        raise CannotEverRun(_("A cluster of Databricks has its own Python."), _("Leave the interpreter empty."))
    if environment.get("kind") != "pip":
        return []
    lines = requirements_of(environment["text"].splitlines())
    if options := [line for line in lines if line.startswith("-")]:
        raise CannotEverRun(
            _("Databricks takes packages alone, and no “%(option)s”.") % {"option": options[0][:80]}, _("Leave it out.")
        )
    return lines


def _new_cluster(asked: dict[str, Any]) -> Any:
    from databricks.sdk.service import compute

    least, most = asked["workers"], asked.get("most_workers") or 0
    scales = most > least
    return compute.ClusterSpec(
        spark_version=asked["spark_version"],
        node_type_id=asked["node_type"],
        num_workers=None if scales else least,
        autoscale=compute.AutoScale(min_workers=least, max_workers=most) if scales else None,
    )


def _state(run: "Run") -> str:
    """Return where a run is. While it is under way, its one task knows whether the cluster is."""
    state = run.state.life_cycle_state if run.state else None
    task = next(iter(run.tasks or []), None)
    if state and state.value in STARTED and task and task.state and task.state.life_cycle_state:
        state = task.state.life_cycle_state if task.state.life_cycle_state.value not in ENDED else state
    return str(state.value if state else "PENDING")


def _times(run: "Run", *, has_begun: bool) -> tuple[datetime | None, datetime | None]:
    """Return when its task began, once its cluster was there, and when it ended; nothing of one that never ran.

    Source: Jobs API 2.2, runs/get: milliseconds since 1970; the set-up comes before the execution.
    """
    task = next(iter(run.tasks or []), None)
    if task is None or not task.start_time or not (has_begun or task.execution_duration):
        return None, None
    began = _moment(task.start_time + (task.setup_duration or 0))
    return began, _moment(task.end_time) if task.end_time else None


def _moment(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _waits(run: "Run") -> str:
    """Return what a run waits for that is not under way, in Databricks' own words where it has some."""
    details = run.status.queue_details if run.status else None
    words = (details.message if details else "") or (run.state.state_message if run.state else "") or ""
    if words:
        return gettext_noop("Databricks lets it wait: %(why)s") % {"why": " ".join(words.split())[:400]}
    match _state(run):
        case "QUEUED":
            return gettext_noop("Waits in Databricks’ queue.")
        case "BLOCKED":
            return gettext_noop("Waits for another run in Databricks.")
    return gettext_noop("Waits for its cluster in Databricks.")


def _ended(run: "Run", output: bytes, trouble: str, facts: dict[str, Any]) -> JobReport:
    """Return the report that a run's end makes."""
    state = run.state
    result = str(state.result_state.value) if state and state.result_state else ""
    detail = trouble or (state.state_message if state else "") or ""
    has_run = facts["state"] == "TERMINATED"  # Source: RunLifeCycleState; where the service failed, INTERNAL_ERROR
    facts = facts | {"state": result or facts["state"]}
    match result:
        case "SUCCESS":
            return JobReport(Phase.ENDED, output, exit_code=0, facts=facts)
        case "FAILED" if trouble or has_run:
            said = detail or gettext_noop("Databricks says that it failed, and not why.")
            return JobReport(Phase.ENDED, output, exit_code=1, detail=said[:500], facts=facts)
        case "CANCELED" | "UPSTREAM_CANCELED":
            said = detail or gettext_noop("It was canceled in Databricks.")
            return JobReport(Phase.ENDED, output, reason=EndReason.CANCELED, detail=said, facts=facts)
        case "TIMEDOUT":
            return JobReport(Phase.ENDED, output, reason=EndReason.DURATION, detail=detail, facts=facts)
    said = detail or gettext_noop("Databricks did not run it, and does not say why.")
    return JobReport(Phase.ENDED, output, reason=EndReason.NOT_STARTED, detail=said[:500], facts=facts)
