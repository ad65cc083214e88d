"""Runs on Databricks: its own client for Python, against a service on loopback that speaks its protocol."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.clock import RealClock

from compute import tasks
from compute.azure import credential_for
from compute.drivers import databricks_service as driver_module
from compute.drivers.base import CheckState
from compute.drivers.databricks_form import DatabricksForm, DatabricksRunForm
from compute.models import ComputeTarget
from compute.states import EndReason, ProvisioningState
from runs.actions import cancel_run
from runs.configuration import EnvironmentSpec
from runs.models import Run
from runs.states import RunStatus
from studio.people.models import User, Workspace
from studio.seal import seal
from tests.azure import SUBSCRIPTION, Entra, ResourceManager, certificate, signs_in
from tests.databricks import TOKEN
from tests.databricks import Workspace as Service
from tests.elsewhere import again, ended, job_of, log_of, submitted

NEW = {"cluster": "new", "spark_version": "15.4.x-scala2.12", "node_type": "Standard_DS3_v2", "workers": 2}
Submit = Callable[..., Run]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "databricks")
    yield service
    service.close()


@pytest.fixture
def target(service: Service, workspace: Workspace) -> ComputeTarget:
    workspace.allowances = ["this-machine"]
    workspace.save()
    target = ComputeTarget.objects.create(
        workspace=workspace,
        name="bricks",
        kind="Databricks",
        provisioning_state=ProvisioningState.SUCCEEDED,
        config={"url": service.url, "expires": "", "resource_id": ""},
    )
    target.sealed = {"access_token": seal(TOKEN, where=target.place_of("access_token"))}
    target.save()
    return target


@pytest.fixture
def submit(target: ComputeTarget, workspace: Workspace, ana: User) -> Submit:
    def submit(files: dict[str, str], *arguments: str, **changes: Any) -> Run:
        return submitted(target, ana, files, *arguments, **{"options": NEW} | changes)

    return submit


def found(target: ComputeTarget) -> dict[str, Any]:
    return {check.key: check for check in target.driver.checks()}  # type: ignore[attr-defined]


def test_a_run_goes_there_with_its_files_arguments_and_variables(submit: Submit, service: Service) -> None:
    script = "import helper, os, sys\nprint(helper.WORD, sys.argv[1:], os.environ['TOKEN'], os.listdir('outputs'))\n"
    files = {"src/train.py": script, "src/helper.py": "WORD = 'help'\n", "data.csv": "1,2\n"}
    packages = EnvironmentSpec("pip", text="scikit-learn==1.6.1\n")
    run = submit(files, "a b", "$(id)", variables={"TOKEN": "t; x"}, environment=packages)
    assert run.status == RunStatus.QUEUED
    run = ended(run)
    assert run.status == RunStatus.COMPLETED, (run.reason, log_of(run))
    assert log_of(run) == "help ['a b', '$(id)'] t; x []\n"
    job = job_of(run)
    assert job.facts == {"page": "https://adb-1.2.azuredatabricks.net/jobs/1", "run": "1", "state": "SUCCESS"}
    (asked,) = service.submitted
    task = asked["tasks"][0]
    assert task["libraries"] == [{"pypi": {"package": "scikit-learn==1.6.1"}}]
    assert task["new_cluster"]["num_workers"] == 2
    assert "t; x" not in str(asked)  # what a variable holds is in no page of the service
    assert not list(service.folder.rglob("variables.json"))  # and its file is gone


def test_its_outputs_come_back_also_of_a_run_that_failed(submit: Submit, service: Service) -> None:
    script = (
        "import os\nos.makedirs('outputs/plots')\nopen('outputs/plots/loss.csv', 'w').write('1,2')\n"
        "open('logs/more.txt', 'w').write('more')\nraise SystemExit(3)\n"
    )
    run = submit({"train.py": script})
    evil = service.place(job_of(run).handle["told"]) / "evil"
    evil.write_text("evil")
    service.more = [{"path": f"{job_of(run).handle['told']}/back/../evil", "object_type": "FILE"}]
    run = ended(run)
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 1)  # it ran, though the service names no error
    top = job_of(run).folder / "rank-0"
    assert (top / "outputs/plots/loss.csv").read_text() == "1,2"
    assert (top / "logs/more.txt").read_text() == "more"
    assert not list(top.parent.rglob("*evil*"))


def test_the_same_files_are_sent_once_and_the_same_job_is_one_run(submit: Submit, service: Service) -> None:
    ended(submit({"train.py": "print(1)\n"}))
    before = service.asked.count("POST /api/2.0/workspace/import")
    run = submit({"train.py": "print(1)\n"}, options={"cluster": "existing", "cluster_id": "0923-164208-meows279"})
    assert service.asked.count("POST /api/2.0/workspace/import") - before == 2  # how it starts, and its variables
    assert service.submitted[1]["tasks"][0]["existing_cluster_id"] == "0923-164208-meows279"
    assert "new_cluster" not in service.submitted[1]["tasks"][0]
    job = job_of(run)
    assert job.target.driver.submit(job)["run"] == job.handle["run"]  # type: ignore[attr-defined]


def test_a_script_that_fails_says_why(submit: Submit) -> None:
    run = ended(submit({"train.py": "print('before')\nraise ValueError('no such column')\n"}))
    assert run.status == RunStatus.FAILED
    assert log_of(run).startswith("before\n")
    assert "ValueError: no such column" in log_of(run)


def test_a_run_is_canceled_there(submit: Submit, ana: User) -> None:
    run = submit({"train.py": "import time\ntime.sleep(600)\n"})
    cancel_run(run, by=ana)
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "ana canceled it.")
    assert ended(run).status == RunStatus.CANCELED


def test_a_run_began_once_its_cluster_was_there_and_one_without_a_cluster_never_did(
    submit: Submit, service: Service
) -> None:
    run = submit({"train.py": "print(1)\n"})
    at = int(datetime.fromisoformat(job_of(run).handle["submitted_at"]).timestamp() * 1000)
    service.times = {"start_time": at, "setup_duration": 20, "execution_duration": 30, "end_time": at + 50}
    job = job_of(ended(run))
    assert job.started_at is not None
    assert job.ended_at is not None
    assert job.started_at.timestamp() * 1000 == pytest.approx(at + 20, abs=2)
    assert job.ended_at - job.started_at == timedelta(milliseconds=30)
    run = submit({"train.py": "print(2)\n"})
    service.times = {"start_time": at, "setup_duration": 10**18, "end_time": at}
    service.state = "INTERNAL_ERROR"
    assert job_of(ended(run)).started_at is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"state": {"life_cycle_state": "PENDING"}}, "Waits for its cluster in Databricks."),
        ({"state": {"life_cycle_state": "QUEUED"}}, "Waits in Databricks’ queue."),
        ({"state": {"life_cycle_state": "BLOCKED"}}, "Waits for another run in Databricks."),
        (
            {"state": {"life_cycle_state": "PENDING", "state_message": "Waiting for\ncluster"}},
            "Databricks lets it wait: Waiting for cluster",
        ),
        (
            {
                "state": {"life_cycle_state": "QUEUED", "state_message": ""},
                "status": {"state": "QUEUED", "queue_details": {"message": "Queued due to workspace limit."}},
            },
            "Databricks lets it wait: Queued due to workspace limit.",
        ),
        (
            {
                "state": {"life_cycle_state": "RUNNING"},
                "tasks": [{"run_id": 1001, "task_key": "run", "state": {"life_cycle_state": "PENDING"}}],
            },
            "Waits for its cluster in Databricks.",
        ),
    ],
)
def test_a_run_that_waits_there_is_queued_and_says_for_what(
    submit: Submit, service: Service, told: dict[str, Any], reason: str
) -> None:
    run = submit({"train.py": "import time\ntime.sleep(600)\n"})
    service.also = told
    tasks.follow_job(job_of(run).pk)
    assert (again(run).status, again(run).reason) == (RunStatus.QUEUED, reason)
    service.also = {}
    tasks.follow_job(job_of(run).pk)
    assert (again(run).status, again(run).reason) == (RunStatus.RUNNING, "")


def test_a_cluster_that_cannot_be_had_is_said_in_the_services_words(submit: Submit, service: Service) -> None:
    run = submit({"train.py": "print(1)\n"})
    service.state = "INTERNAL_ERROR"
    run = ended(run)
    assert run.status == RunStatus.FAILED
    assert run.reason == "Cluster could not be launched: QuotaExceeded"


@pytest.mark.parametrize(
    ("files", "changes", "said"),
    [
        ({"train.py": "1", "big.bin": "x" * (10 * 2**20 + 1)}, {}, "big.bin has more than 10 MB"),
        ({"train.py": "1"}, {"environment": EnvironmentSpec("interpreter", "/usr/bin/python3")}, "own Python"),
        (
            {"train.py": "1"},
            {"environment": EnvironmentSpec("pip", text="--pre\nnumpy\n")},
            "takes packages alone",
        ),
    ],
)
def test_what_it_does_not_take_is_refused_before_anything_is_sent(
    submit: Submit, service: Service, files: dict[str, str], changes: dict[str, Any], said: str
) -> None:
    run = submit(files, **changes)
    assert run.status == RunStatus.FAILED
    assert said in run.reason
    assert service.submitted == []


def test_the_doctor_finds_a_healthy_workspace_well(target: ComputeTarget) -> None:
    target.config["expires"] = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    checks = found(target)
    assert {check.state for check in checks.values()} == {CheckState.OK}
    assert checks["sign_in"].evidence == "ana@example.org"
    assert "0923-164208-meows279" in checks["clusters"].evidence


def test_the_doctor_warns_before_the_token_expires(target: ComputeTarget) -> None:
    target.config["expires"] = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    assert found(target)["expiry"].state == CheckState.WARN
    report = target.driver.refresh()  # the list says it too, with nobody asking
    assert report.state == ProvisioningState.SUCCEEDED
    assert report.reason.startswith("Its token expires on ")


def test_a_token_that_is_refused_is_said_and_never_shown(target: ComputeTarget, service: Service) -> None:
    service.token = "another"
    checks = found(target)
    assert checks["sign_in"].state == CheckState.BAD
    assert checks["runs"].state == CheckState.SKIPPED
    assert checks["sign_in"].evidence == "bricks refuses the token."
    assert TOKEN not in str(checks)
    report = target.driver.refresh()
    assert report.state == ProvisioningState.FAILED
    assert TOKEN not in report.reason


def test_the_studios_own_machine_is_no_workspace_unless_an_owner_says_so(target: ComputeTarget) -> None:
    target.workspace.allowances = []
    checks = found(target)
    assert checks["name"].state == CheckState.BAD
    assert checks["sign_in"].state == CheckState.SKIPPED


def test_a_name_that_leads_inside_only_when_it_is_connected_to_is_refused_then(
    target: ComputeTarget, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "places", lambda target: [])  # where it led when it was looked at first
    target.workspace.allowances = []
    report = target.driver.refresh()
    assert report.state == ProvisioningState.FAILED
    assert "the studio's own machine" in report.reason
    assert service.asked == []


def test_what_is_too_busy_is_asked_again_when_it_says(
    target: ComputeTarget, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(RealClock, "sleep", lambda clock, seconds: waited.append(seconds))
    service.instead = [(429, {"Retry-After": "3"}, b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow"}')]
    assert target.driver.refresh().state == ProvisioningState.SUCCEEDED
    assert [int(pause) for pause in waited] == [3]


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b'{"error_code": "INTERNAL_ERROR", "message": "<script>"}'),
        (200, {}, b"no JSON at all"),
        (502, {"Content-Type": "text/html"}, b"<html>a proxy</html>"),
        (0, {}, b""),
    ],
)
def test_an_answer_that_is_none_ends_in_a_sentence(
    target: ComputeTarget, service: Service, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(driver_module, "TRY_FOR", 1)
    service.instead = [answer] * 20
    report = target.driver.refresh()
    assert report.state == ProvisioningState.FAILED
    assert report.reason.startswith("bricks ")
    assert "Config:" not in report.reason
    assert "SDK" not in report.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_it_follows_to_no_other_address(target: ComputeTarget, service: Service, tmp_path: Path, status: int) -> None:
    inside = Service(tmp_path / "inside")
    service.elsewhere = (status, f"{inside.url}/api/2.0/preview/scim/v2/Me")
    try:
        checks = found(target)
        report = target.driver.refresh()
    finally:
        inside.close()
    assert inside.asked == []
    assert "/.well-known/databricks-config" not in service.asked
    assert checks["sign_in"].state == CheckState.BAD
    assert report.reason == ("bricks sends whoever asks on to another address, which is not followed: 127.0.0.1.")


def typed(workspace: Workspace, url: str) -> DatabricksForm:
    return DatabricksForm(workspace, {"authentication": "token", "name": "bricks", "url": url, "access_token": TOKEN})


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("adb-1.2.azuredatabricks.net", "https://adb-1.2.azuredatabricks.net"),
        ("https://adb-1.2.azuredatabricks.net/?o=1#job/3", "https://adb-1.2.azuredatabricks.net"),
    ],
)
def test_an_address_is_kept_without_the_page_behind_it(workspace: Workspace, url: str, kept: str) -> None:
    form = typed(workspace, url)
    assert form.is_valid(), form.errors
    names = {"resource_group": "", "workspace_name": "", "resource_id": ""}
    assert form.config() == {"url": kept, "authentication": "token", "expires": ""} | names
    assert form.secrets() == {"access_token": TOKEN}


@pytest.mark.parametrize(
    "url", ["http://adb-1.2.azuredatabricks.net", "ftp://x", "https://", "https://a@b", "https://x:y"]
)
def test_what_is_no_address_of_a_workspace_is_refused(workspace: Workspace, url: str) -> None:
    assert "url" in typed(workspace, url).errors


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cluster": "existing"}, "cluster_id"),
        ({"cluster": "existing", "cluster_id": "a b"}, "cluster_id"),
        ({"node_type": ""}, "node_type"),
        ({"workers": "0"}, "workers"),
        ({"workers": "4", "most_workers": "2"}, "most_workers"),
    ],
)
def test_a_cluster_that_is_not_said_whole_is_refused(changes: dict[str, str], field: str) -> None:
    assert set(DatabricksRunForm({name: str(value) for name, value in NEW.items()} | changes).errors) == {field}


# ----- with the workspace's Azure sign-in

PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/vision/providers/Microsoft.Databricks/workspaces/bricks"
BY_NAME = {"name": "bricks", "authentication": "azure", "resource_group": "vision", "workspace_name": "bricks"}


@pytest.fixture
def manager(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResourceManager]:
    pem = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    entra, service = Entra(pem), ResourceManager(pem)
    signs_in(workspace, entra, resource_manager=service.url)
    yield service
    service.close()
    entra.close()


def test_a_workspace_is_looked_up_by_its_names(workspace: Workspace, manager: ResourceManager) -> None:
    manager.there[PATH] = {"properties": {"workspaceUrl": "adb-1.2.azuredatabricks.net"}}
    form = DatabricksForm(workspace, BY_NAME | {"url": "https://evil.example.org"})
    assert form.is_valid(), form.errors
    assert form.config()["url"] == "https://adb-1.2.azuredatabricks.net"  # whatever was typed
    form = DatabricksForm(workspace, {"name": "bricks", "authentication": "azure", "resource_id": PATH})
    assert form.is_valid(), form.errors
    form = DatabricksForm(workspace, BY_NAME | {"workspace_name": "other"})
    assert "was not found" in form.errors["url"][0]


def test_the_workspaces_identity_is_shown_to_databricks_alone(workspace: Workspace, manager: ResourceManager) -> None:
    away = {"name": "bricks", "authentication": "azure", "url": "https://evil.example.org"}
    assert "it is looked up" in DatabricksForm(workspace, away).errors["url"][0]
    for near in ("https://azuredatabricks.net.evil.example.org", "https://evilazuredatabricks.net"):
        assert "url" in DatabricksForm(workspace, away | {"url": near}).errors
    assert DatabricksForm(workspace, away | {"url": "https://adb-1.2.azuredatabricks.net"}).is_valid()


def test_a_run_signs_in_with_azure(
    submit: Submit, target: ComputeTarget, service: Service, manager: ResourceManager
) -> None:
    target.config |= {"authentication": "azure"}
    target.sealed = {}
    target.save()
    service.token = credential_for(target.workspace).get_token(driver_module.SCOPE).token
    assert ended(submit({"train.py": "print('by Azure')\n"})).status == RunStatus.COMPLETED
    assert found(ComputeTarget.objects.get(pk=target.pk))["expiry"].state == CheckState.OK


def test_a_token_is_needed_or_azure(workspace: Workspace) -> None:
    url = {"name": "bricks", "url": "https://adb-1.2.azuredatabricks.net"}
    assert set(DatabricksForm(workspace, url | {"authentication": "token"}).errors) == {"access_token"}
    assert set(DatabricksForm(workspace, {"name": "bricks", "authentication": "azure"}).errors) == {"url"}
