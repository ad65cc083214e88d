"""Runs on Data Lake Analytics, against a service on loopback that speaks its protocol."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from compute import tasks
from compute.drivers.base import CheckState
from compute.drivers.datalake import USqlRunForm
from compute.models import AzureSignIn, ComputeTarget
from compute.states import EndReason, ProvisioningState
from runs.actions import cancel_run
from runs.configuration import EnvironmentSpec
from runs.models import Run
from runs.states import RunStatus
from studio.people.models import User, Workspace
from tests.azure import SUBSCRIPTION, Entra, ResourceManager, certificate, refused, signs_in, told
from tests.datalake import Lake
from tests.elsewhere import again, ended, job_of, log_of, submitted

ASKED = {"degree_of_parallelism": 5, "priority": 900, "runtime_version": ""}
SCRIPT = '@a = EXTRACT x int FROM "/in.csv" USING Extractors.Csv();\nOUTPUT @a TO "/out.csv" USING Outputters.Csv();\n'
Submit = Callable[..., Run]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def entra(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    service = Entra(pem)
    yield service
    service.close()


@pytest.fixture
def lake(pem: Path) -> Iterator[Lake]:
    service = Lake(pem)
    yield service
    service.close()


@pytest.fixture
def target(entra: Entra, lake: Lake, workspace: Workspace) -> ComputeTarget:
    signs_in(workspace, entra, data_lake_analytics=lake.url)
    return ComputeTarget.objects.create(
        workspace=workspace,
        name="lake",
        kind="DataLakeAnalytics",
        provisioning_state=ProvisioningState.SUCCEEDED,
        config={"subscription_id": "", "resource_group": "vision", "account_name": "lake", "resource_id": ""},
    )


@pytest.fixture
def submit(target: ComputeTarget, ana: User) -> Submit:
    def submit(script: str = SCRIPT, *arguments: str, **changes: Any) -> Run:
        return submitted(target, ana, {"words.usql": script}, *arguments, **{"options": ASKED} | changes)

    return submit


def found(target: ComputeTarget) -> dict[str, Any]:
    fresh = ComputeTarget.objects.get(pk=target.pk)
    return {check.key: check for check in fresh.driver.checks()}  # type: ignore[attr-defined]


def test_a_script_goes_there_and_its_states_are_the_log(submit: Submit, lake: Lake) -> None:
    run = submit(variables={"DAY": 'Mon"day'})
    (job,) = lake.jobs.values()
    assert job["properties"]["script"] == 'DECLARE @DAY string = @"Mon""day";\n' + SCRIPT
    assert (job["degreeOfParallelism"], job["priority"]) == (5, 900)
    assert "runtimeVersion" not in job["properties"]
    lake.go_on("Queued")
    tasks.follow_job(job_of(run).pk)
    assert job_of(run).facts["state"] == "Queued"
    assert (again(run).status, again(run).reason) == (
        RunStatus.QUEUED,
        "Waits in Data Lake Analytics for analytics units.",
    )
    assert log_of(run).splitlines() == [
        "2026-11-24T10:00:00Z New",
        "2026-11-24T10:00:01Z Compiling",
        "2026-11-24T10:00:02Z Queued",
    ]
    lake.go_on("Running")
    tasks.follow_job(job_of(run).pk)
    assert again(run).status == RunStatus.RUNNING
    lake.go_on()
    run = ended(run)
    assert run.status == RunStatus.COMPLETED, run.reason
    assert log_of(run).splitlines()[-1] == "2026-11-24T10:00:04Z Ended"
    assert job_of(run).facts == {"run": job["jobId"], "state": "Succeeded"}


def test_a_script_that_is_wrong_says_where(submit: Submit, lake: Lake) -> None:
    run = submit("ERROR\n")
    lake.go_on()
    run = ended(run)
    assert run.status == RunStatus.FAILED
    said = "line 3: E_CSC_USER_SYNTAXERROR syntax error. Expected one of: ASSEMBLY Correct the script syntax."
    assert said in run.reason
    assert log_of(run).splitlines()[-1] == said


def test_a_line_is_counted_in_the_persons_own_script(submit: Submit, lake: Lake) -> None:
    run = submit("ERROR\n", variables={"DAY": "Monday", "TWO": "a\nb"})  # three lines go before it
    lake.go_on()
    for job in lake.jobs.values():
        job["errorMessage"] = [{"errorId": "E_X", "description": "no such table", "lineNumber": 4}]
    assert "line 1: E_X no such table" in ended(run).reason


def test_a_job_that_ended_between_two_looks_has_the_services_own_times(submit: Submit, lake: Lake) -> None:
    run = submit()
    (told,) = lake.jobs.values()
    lake.go_on()
    job = job_of(ended(run))
    assert job.started_at == datetime.fromisoformat(told["startTime"])
    assert job.ended_at == datetime.fromisoformat(told["endTime"])


@pytest.mark.parametrize("nonsense", [5, True, "x", {"a": 1}, [5, None, []], None])
def test_answers_that_make_no_sense_do_no_harm(
    submit: Submit, target: ComputeTarget, lake: Lake, nonsense: Any
) -> None:
    run = submit("ERROR\n")
    lake.go_on()
    for job in lake.jobs.values():
        job |= {"errorMessage": nonsense, "stateAuditRecords": nonsense}
    assert ended(run).status == RunStatus.FAILED
    lake.instead = [told({"value": nonsense})]
    assert found(target)["jobs"].state == CheckState.OK


@pytest.mark.parametrize("reply", [(429, {"Retry-After": "0"}, b"{}"), (503, {}, b""), (0, {}, b"")])
def test_a_hiccup_while_it_is_submitted_is_waited_out(target: ComputeTarget, ana: User, lake: Lake, reply: Any) -> None:
    lake.instead = [reply]
    run = submitted(target, ana, {"words.usql": SCRIPT}, options=ASKED)
    assert run.status == RunStatus.QUEUED, run.reason
    assert len(lake.jobs) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_an_identity_that_may_not_submit_is_told_what_to_do(
    target: ComputeTarget, ana: User, lake: Lake, status: int
) -> None:
    lake.instead = [refused(status, "Denied", "Not this one.")]
    run = submitted(target, ana, {"words.usql": SCRIPT}, options=ASKED)
    assert run.status == RunStatus.FAILED
    assert "Not this one." in run.reason


def test_the_same_job_is_there_once(submit: Submit, lake: Lake) -> None:
    job = job_of(submit(options=ASKED | {"runtime_version": "release_20200124"}))
    assert job.target.driver.submit(job).items() <= job.handle.items()  # type: ignore[attr-defined]
    (there,) = lake.jobs.values()
    assert there["properties"]["runtimeVersion"] == "release_20200124"


def test_a_run_is_canceled_there_also_when_it_has_ended(submit: Submit, lake: Lake, ana: User) -> None:
    run = submit()
    cancel_run(run, by=ana)
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "ana canceled it.")
    assert ended(run).status == RunStatus.CANCELED
    job = job_of(run)
    job.target.driver.cancel(job.handle, EndReason.CANCELED)  # type: ignore[attr-defined]


def test_what_somebody_cancels_there_is_canceled(submit: Submit, lake: Lake) -> None:
    run = submit()
    for job in lake.jobs.values():
        lake._enter(job, "Ended", "Cancelled")
    assert ended(run).status == RunStatus.CANCELED


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (("--x",), {}, "U-SQL takes no arguments"),
        ((), {"environment": EnvironmentSpec("interpreter", "/usr/bin/python3")}, "without a Python"),
        ((), {"options": ASKED | {"degree_of_parallelism": 51}}, "exceeds the account's limit of 50"),
    ],
)
def test_what_it_does_not_take_is_the_runs_reason(
    submit: Submit, lake: Lake, arguments: tuple[str, ...], changes: dict[str, Any], words: str
) -> None:
    run = submit(SCRIPT, *arguments, **changes)
    assert run.status == RunStatus.FAILED
    assert words in run.reason
    assert lake.jobs == {}


@pytest.mark.parametrize("reply", [(429, {"Retry-After": "0"}, b"{}"), (503, {}, b""), (0, {}, b"")])
def test_a_hiccup_of_the_service_is_waited_out(submit: Submit, lake: Lake, reply: Any) -> None:
    run = submit()
    lake.go_on()
    lake.instead = [reply]
    assert ended(run).status == RunStatus.COMPLETED


def test_the_doctor_finds_a_healthy_account_well(target: ComputeTarget) -> None:
    checks = found(target)
    assert {check.state for check in checks.values()} == {CheckState.OK}, checks
    assert checks["jobs"].evidence == "the account answers, with 0 jobs of late"


def test_the_doctor_says_what_is_wrong(target: ComputeTarget, lake: Lake) -> None:
    lake.instead = [refused(403, "Denied", "The user is not authorized to list jobs.")]
    check = found(target)["jobs"]
    assert check.state == CheckState.BAD
    assert "not authorized to list jobs" in check.evidence


def test_the_doctor_says_what_a_job_may_have_and_whether_one_may_be_submitted(
    target: ComputeTarget, lake: Lake, pem: Path
) -> None:
    assert found(target)["submit"].evidence == "a script was compiled, and nothing was run"
    assert lake.jobs == {}
    for status, state in ((403, CheckState.BAD), (404, CheckState.WARN)):
        lake.instead = [told({"value": []}), refused(status, "Denied", "Not you.")]
        assert found(target)["submit"].state == state
    manager = ResourceManager(pem)
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/vision/providers/Microsoft.DataLakeAnalytics/accounts/lake"
    facts = {"maxDegreeOfParallelismPerJob": 32, "maxJobCount": 20, "minPriorityPerJob": "<b>"}
    manager.there[path] = {"name": "lake", "properties": facts}
    AzureSignIn.objects.update(resource_manager=manager.url)
    try:
        check = found(target)["limits"]
    finally:
        manager.close()
    assert check.evidence == "32 analytics units a job, 20 jobs at once, priority ? or later"


def test_without_an_endpoint_it_says_that_the_service_ended(target: ComputeTarget, as_user, ana: User) -> None:
    AzureSignIn.objects.update(data_lake_analytics="")
    checks = found(target)
    assert checks["name"].state == CheckState.BAD
    assert "ended on 29 February 2024" in checks["name"].evidence
    browser: Client = as_user(ana)
    page = browser.get(reverse("compute:attach", args=[target.workspace.name, "DataLakeAnalytics"]))
    assert "Azure retired Data Lake Analytics on 29 February 2024." in page.text
    detail = browser.get(reverse("compute:detail", args=[target.workspace.name, "lake"]))
    assert detail.status_code == 200  # what was attached before stays readable
    assert "lake" in detail.text


@pytest.mark.parametrize(("name", "answer"), [("words.usql", 302), ("train.py", 422)])
def test_the_submit_form_wants_a_usql_script(target: ComputeTarget, as_user, ana: User, name: str, answer: int) -> None:
    said = {
        "experiment": "lakes",
        "target": "lake",
        "source": "paste",
        "code": SCRIPT,
        "code_name": name,
        "environment": "interpreter",
        "node_count": 1,
        "max_duration": "1 h",
        "restarts": 0,
        **{f"options-DataLakeAnalytics-{key}": value for key, value in ASKED.items()},
    }
    page = as_user(ana).post(reverse("runs:submit", args=[target.workspace.name]), said)
    assert page.status_code == answer, page.text
    assert answer == 302 or "names end in .usql" in page.text


def test_units_and_priority_are_whole_positive_numbers() -> None:
    assert USqlRunForm(ASKED).is_valid()
    for change in ({"degree_of_parallelism": 0}, {"priority": -1}, {"priority": "1.5"}, {"runtime_version": "a b"}):
        assert not USqlRunForm(ASKED | change).is_valid()
