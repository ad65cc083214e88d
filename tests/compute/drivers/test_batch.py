"""Runs on Azure Batch: Azure's own clients for Python, against Batch, Blob Storage and Entra on loopback."""

import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from compute import azure, tasks
from compute.drivers.azure_account import covers
from compute.drivers.base import CheckState
from compute.drivers.batch_form import BatchForm, BatchRunForm
from compute.models import AzureSignIn, ComputeTarget
from compute.states import EndReason, ProvisioningState
from runs.actions import cancel_run
from runs.configuration import EnvironmentSpec
from runs.models import Run
from runs.states import RunStatus
from studio import addresses
from studio.people.models import User, Workspace
from tests.azure import CLIENT, SECRET, SUBSCRIPTION, TENANT, Entra, ResourceManager, certificate, signs_in
from tests.batch import ACCOUNT, ACCOUNT_PATH, GROUP, STORAGE, STORAGE_PATH, Batch, Blobs, pool, refused
from tests.elsewhere import again, ended, job_of, log_of, submitted, until

NAMED = {"pool": "named", "pool_id": "linux", "positive_fails": True, "deletes_job": True}
MADE = {"pool": "made", "vm_size": "STANDARD_D2S_V3", "low_priority": True, "positive_fails": True, "deletes_job": True}
Submit = Callable[..., Run]


@dataclass
class Cloud:
    """Azure, as far as a run on Batch meets it."""

    entra: Entra
    manager: ResourceManager
    blobs: Blobs
    batch: Batch


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def cloud(pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    blobs = Blobs(pem)
    found = Cloud(Entra(pem), ResourceManager(pem), blobs, Batch(pem, tmp_path / "batch", blobs))
    found.manager.there = {
        ACCOUNT_PATH: {
            "name": ACCOUNT,
            "location": "westeurope",
            "properties": {
                "provisioningState": "Succeeded",
                "accountEndpoint": found.batch.url.removeprefix("https://"),
                "dedicatedCoreQuota": 24,
                "lowPriorityCoreQuota": 100,
                "activeJobAndJobScheduleQuota": 300,
                "autoStorage": {"storageAccountId": STORAGE_PATH},
            },
        },
        STORAGE_PATH: {"name": STORAGE, "properties": {"primaryEndpoints": {"blob": f"{blobs.url}/"}}},
    }
    yield found
    for service in (found.batch, blobs, found.manager, found.entra):
        service.close()


@pytest.fixture
def target(cloud: Cloud, workspace: Workspace) -> ComputeTarget:
    signs_in(workspace, cloud.entra, resource_manager=cloud.manager.url)
    return ComputeTarget.objects.create(
        workspace=workspace,
        name="crunch",
        kind="Batch",
        provisioning_state=ProvisioningState.SUCCEEDED,
        config={"subscription_id": "", "resource_group": GROUP, "account_name": ACCOUNT, "resource_id": ""},
    )


@pytest.fixture
def submit(target: ComputeTarget, ana: User) -> Submit:
    def submit(files: dict[str, str], *arguments: str, **changes: Any) -> Run:
        return submitted(target, ana, files, *arguments, **{"options": NAMED} | changes)

    return submit


def found(target: ComputeTarget) -> dict[str, Any]:
    fresh = ComputeTarget.objects.get(pk=target.pk)
    return {check.key: check for check in fresh.driver.checks()}  # type: ignore[attr-defined]


def test_a_run_goes_there_and_its_outputs_come_back(submit: Submit, cloud: Cloud) -> None:
    script = (
        "import helper, os, sys\n"
        "print(helper.WORD, sys.argv[1:], os.environ['TOKEN'])\n"
        "os.makedirs('outputs/plots')\n"
        "open('outputs/plots/loss.csv', 'w').write('1,2')\n"
        "open('logs/more.txt', 'w').write('more')\n"
    )
    files = {"src/train.py": script, "src/helper.py": "WORD = 'help'\n", "data.csv": "1"}
    run = ended(submit(files, "a b", "$(id)", "'", variables={"TOKEN": "t; x"}))
    assert run.status == RunStatus.COMPLETED, (run.reason, log_of(run))
    assert log_of(run) == """help ['a b', '$(id)', "'"] t; x\n"""
    job = job_of(run)
    assert (job.folder / "rank-0/outputs/plots/loss.csv").read_text() == "1,2"
    assert (job.folder / "rank-0/logs/more.txt").read_text() == "more"
    (there,) = cloud.batch.jobs.values()
    assert there["asked"]["poolInfo"] == {"poolId": "linux"}
    assert there["ends"] == "terminatejob"  # also when nobody here is left to say so
    assert there["deleted"]
    assert "t; x" not in str(there["task"])  # what a variable holds is on no page of the service
    assert [name for name in cloud.blobs.there if "/runs/" in name] == []
    assert len(cloud.blobs.there) == 1  # the files, for the next run


def test_a_run_that_ended_between_two_looks_has_the_services_own_times(submit: Submit, cloud: Cloud) -> None:
    run = submit({"train.py": "print(1)\n"})
    (there,) = cloud.batch.jobs.values()
    there["process"].wait()
    submitted_at = datetime.fromisoformat(job_of(run).handle["submitted_at"])
    cloud.batch.times = [(submitted_at + timedelta(milliseconds=n)).isoformat() for n in (1, 3)]
    job = job_of(ended(run))
    assert job.started_at == submitted_at + timedelta(milliseconds=1)
    assert job.ended_at == submitted_at + timedelta(milliseconds=3)


def test_a_pool_of_windows_nodes_is_refused_before_anything_is_sent(
    submit: Submit, target: ComputeTarget, cloud: Cloud
) -> None:
    agent = {"nodeAgentSKUId": "batch.node.windows amd64", "imageReference": {"publisher": "MicrosoftWindowsServer"}}
    cloud.batch.pools["win"] = pool("win", 1) | {"virtualMachineConfiguration": agent}
    check = found(target)["pools"]
    assert (check.state, check.evidence) == (
        CheckState.OK,
        "linux (standard_d2s_v3, 2), win (standard_d2s_v3, 1, Windows: no runs)",
    )
    run = submit({"train.py": "print(1)\n"}, options=NAMED | {"pool_id": "win"})
    assert run.status == RunStatus.FAILED
    assert "Pool win has Windows nodes" in run.reason
    assert (cloud.blobs.there, cloud.batch.jobs) == ({}, {})
    del cloud.batch.pools["linux"]
    check = found(target)["pools"]
    assert check.state == CheckState.WARN
    assert "Linux nodes" in check.remedy


def test_the_same_files_are_sent_once_and_the_same_job_is_one_job(submit: Submit, cloud: Cloud) -> None:
    ended(submit({"train.py": "print(1)\n"}))
    before = cloud.blobs.asked.count(f"PUT /compute-studio/{next(iter(cloud.blobs.there)).partition('/')[2]}")
    run = submit({"train.py": "print(1)\n"})
    job = job_of(run)
    assert job.target.driver.submit(job)["job"] == job.handle["job"]  # type: ignore[attr-defined]
    assert len(cloud.batch.jobs) == 2
    name = next(name for name in cloud.blobs.there if "/snapshots/" in name)
    assert cloud.blobs.asked.count(f"PUT /{name}") == before == 1


def test_a_pool_is_made_for_the_run_and_lives_as_long(submit: Submit, cloud: Cloud) -> None:
    ended(submit({"train.py": "print(1)\n"}, options=MADE))
    (there,) = cloud.batch.jobs.values()
    made = there["asked"]["poolInfo"]["autoPoolSpecification"]
    assert (made["poolLifetimeOption"], made["keepAlive"]) == ("job", False)
    assert (made["pool"]["targetDedicatedNodes"], made["pool"]["targetLowPriorityNodes"]) == (0, 1)


def test_a_pool_without_nodes_is_said_in_the_services_words(submit: Submit, cloud: Cloud) -> None:
    cloud.batch.starts = False
    error = {"code": "AllocationFailed", "message": "Core quota for the account has been reached."}
    cloud.batch.pools["linux"] = pool("linux", 0, error)
    run = submit({"train.py": "print(1)\n"})
    tasks.follow_job(job_of(run).pk)
    assert job_of(run).facts["state"] == "active"
    said = "Pool linux gets no node: AllocationFailed: Core quota for the account has been reached."
    assert (again(run).status, again(run).reason) == (RunStatus.QUEUED, said)
    for there, waits in (
        (pool("linux", 0), "Waits for pool linux, which has no node."),
        (pool("linux", 2), "Waits for a node of pool linux; its number of nodes is 2."),
        (
            pool("linux", 1) | {"allocationState": "resizing", "targetDedicatedNodes": 4},
            "Waits for pool linux, which grows from 1 to 4 nodes.",
        ),
    ):
        cloud.batch.pools["linux"] = there
        tasks.follow_job(job_of(run).pk)
        assert again(run).reason == waits
    cloud.batch.start(*next(iter(cloud.batch.jobs.items())))
    assert ended(run).status == RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("code", "options", "status"),
    [
        (3, NAMED, RunStatus.FAILED),
        (3, NAMED | {"positive_fails": False, "deletes_job": False}, RunStatus.COMPLETED),
        (0, NAMED, RunStatus.COMPLETED),
    ],
)
def test_the_rule_of_exit_codes(
    submit: Submit, cloud: Cloud, code: int, options: dict[str, Any], status: RunStatus
) -> None:
    run = ended(submit({"train.py": f"print('before')\nraise SystemExit({code})\n"}, options=options))
    assert run.status == status
    assert log_of(run) == "before\n"
    (there,) = cloud.batch.jobs.values()
    assert there.get("deleted", False) == options["deletes_job"]


def test_packages_are_installed_once_a_node_and_shared(submit: Submit, cloud: Cloud, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "thing-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing.py", "WORD = 'from a package'\n")
        wheel.writestr("thing-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.2\n")
        wheel.writestr("thing-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("thing-1.2.dist-info/RECORD", "thing.py,,\n")
    packages = EnvironmentSpec("pip", text="thing==1.2\n")
    cloud.batch.shared = tmp_path / "shared"
    cloud.batch.env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    for _n in range(2):
        run = ended(submit({"train.py": "import thing\nprint(thing.WORD)\n"}, environment=packages, options=MADE), 60)
        assert run.status == RunStatus.COMPLETED, log_of(run)
        assert log_of(run).endswith("from a package\n")
    assert "making the environment" not in log_of(run)
    made = next(iter(cloud.batch.jobs.values()))["asked"]["poolInfo"]["autoPoolSpecification"]["pool"]
    assert "python3-venv" in made["startTask"]["commandLine"]


def test_packages_that_cannot_be_had_end_the_run_in_pips_own_words(submit: Submit, cloud: Cloud) -> None:
    options = NAMED | {"positive_fails": False}  # its script's exit codes, and not the studio's own
    packages = EnvironmentSpec("pip", text="no-such-thing==1\n")
    cloud.batch.env = {"PIP_NO_INDEX": "1"}
    run = ended(submit({"train.py": "print(1)\n"}, environment=packages, options=options), 60)
    assert run.status == RunStatus.FAILED
    assert run.reason.startswith("Its environment could not be built")
    assert "No matching distribution found for no-such-thing==1" in log_of(run)


def test_outputs_come_back_of_runs_that_go_on_for_longer_than_storage_lets_their_node(
    submit: Submit, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.batch.brings = False
    go = tmp_path / "go"
    script = (
        "import os, time\nopen('outputs/first', 'w').write('1')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\nopen('outputs/last one', 'w').write('22')\n"
    )
    run = submit({"train.py": script})
    outputs = job_of(run).folder / "rank-0/outputs"
    cloud.batch.made = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    tasks.follow_job(job_of(run).pk)
    assert not (outputs / "first").exists()  # its node still has leave to bring it by itself
    cloud.batch.made = "2025-12-01T00:00:00Z"

    def has_come() -> bool:
        (job_of(run).folder / ".fetched").unlink(missing_ok=True)  # an hour later
        tasks.follow_job(job_of(run).pk)
        return (outputs / "first").exists() and (outputs / "first").read_text() == "1"

    until(has_come)
    assert again(run).status == RunStatus.RUNNING
    asked = len(cloud.batch.asked)
    tasks.follow_job(job_of(run).pk)
    assert not [one for one in cloud.batch.asked[asked:] if one.endswith("/files")]  # once an hour
    go.touch()
    run = ended(run)
    assert run.status == RunStatus.COMPLETED
    assert (outputs / "last one").read_text() == "22"


def test_a_log_grows_while_the_run_does(submit: Submit, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"import os, time\nprint('one')\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\nprint('two')\n"
    run = submit({"train.py": script})

    def has_begun() -> bool:
        tasks.follow_job(job_of(run).pk)
        return log_of(run) == "one\n"

    until(has_begun)
    assert again(run).status == RunStatus.RUNNING
    go.touch()
    run = ended(run)
    assert log_of(run) == "one\ntwo\n"


@pytest.mark.parametrize("has_node", [True, False])
def test_a_run_is_canceled_there(submit: Submit, ana: User, cloud: Cloud, has_node: bool) -> None:
    cloud.batch.starts = has_node
    run = submit({"train.py": "import time\ntime.sleep(600)\n"})
    cancel_run(run, by=ana)
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "ana canceled it.")
    assert ended(run).status == RunStatus.CANCELED


def test_what_somebody_ends_in_batch_is_canceled(submit: Submit, cloud: Cloud) -> None:
    run = submit({"train.py": "import time\ntime.sleep(600)\n"})
    for job in cloud.batch.jobs.values():
        job["ended"] = True
        job["process"].kill()
    run = ended(run)
    assert (run.status, run.reason) == (RunStatus.CANCELED, "Task Was Ended by User Request")


def test_names_of_outputs_that_lead_elsewhere_stay_there(submit: Submit, cloud: Cloud) -> None:
    run = submit({"train.py": "print(1)\n"})
    name = job_of(run).handle["job"]
    for path in ("../../evil", "outputs/../../evil", "outputs/ok", "/etc/evil", "work/evil", "outputs//evil"):
        cloud.blobs.there[f"compute-studio/runs/{name}/back/{path}"] = b"x"
    run = ended(run)
    top = job_of(run).folder
    assert (top / "rank-0/outputs/ok").read_text() == "x"
    assert not list(top.parent.rglob("*evil*"))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refused(403, "AuthorizationFailure", "This request is not authorized"), "does not let this identity do it"),
        (refused(401, "AuthenticationFailed", "Server failed to authenticate"), "refuses the identity"),
        (refused(409, "ActiveJobAndScheduleQuotaReached", "The quota was reached"), "The quota was reached"),
        (refused(400, "InvalidPropertyValue", "The value is not valid"), "The value is not valid"),
    ],
)
def test_what_batch_refuses_is_the_runs_reason(submit: Submit, cloud: Cloud, reply: Any, words: str) -> None:
    cloud.batch.instead = [reply]
    run = submit({"train.py": "print(1)\n"})
    assert run.status == RunStatus.FAILED
    assert words in run.reason
    assert "RequestId" not in run.reason


@pytest.mark.parametrize("reply", [(429, {"Retry-After": "0"}, b"{}"), (503, {}, b""), (0, {}, b"")])
def test_a_hiccup_of_the_service_is_waited_out(submit: Submit, cloud: Cloud, reply: Any) -> None:
    run = submit({"train.py": "print(1)\n"})
    cloud.batch.instead = [reply]
    assert ended(run).status == RunStatus.COMPLETED


def test_the_doctor_finds_a_healthy_account_well(target: ComputeTarget) -> None:
    checks = found(target)
    assert {check.state for check in checks.values()} == {CheckState.OK}, checks
    assert checks["sign_in"].evidence == f"ClientSecretCredential: {CLIENT} @ {TENANT}"
    assert checks["pools"].evidence == "linux (standard_d2s_v3, 2)"
    assert "24 dedicated cores, 100 Spot cores" in checks["quota"].evidence
    assert SECRET not in str(checks)


@pytest.mark.parametrize(
    ("break_it", "key", "said"),
    [
        (lambda cloud: cloud.manager.there.pop(ACCOUNT_PATH), "account", "was not found"),
        (lambda cloud: cloud.manager.actions.__setitem__(slice(None), ["*/read"]), "permission", "*/read"),
        (lambda cloud: cloud.batch.instead.append(refused(403, "Denied", "No right here")), "pools", "No right here"),
        (
            lambda cloud: cloud.manager.there[ACCOUNT_PATH]["properties"].pop("autoStorage"),
            "storage",
            "no storage of its own",
        ),
        (lambda cloud: cloud.blobs.instead.append((403, {}, b"")), "storage", "does not let this identity"),
    ],
)
def test_the_doctor_says_what_is_missing(
    target: ComputeTarget, cloud: Cloud, break_it: Callable[[Cloud], Any], key: str, said: str
) -> None:
    break_it(cloud)
    check = found(target)[key]
    assert check.state == CheckState.BAD
    assert said in check.evidence
    assert check.remedy or key in {"account"}


def test_a_workspace_that_does_not_sign_in_is_told_to(target: ComputeTarget) -> None:
    AzureSignIn.objects.all().delete()
    checks = found(target)
    assert checks["sign_in"].state == CheckState.BAD
    assert "An Owner says how" in checks["sign_in"].remedy
    assert {check.state for key, check in checks.items() if key != "sign_in"} == {CheckState.SKIPPED}


RESOURCE_ID = ACCOUNT_PATH
BOTH = {"name": "crunch", "resource_group": GROUP, "account_name": ACCOUNT}


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        (BOTH, {"subscription_id": "", "resource_group": GROUP, "account_name": ACCOUNT, "resource_id": ""}),
        (
            {"name": "crunch", "resource_id": RESOURCE_ID},
            {
                "subscription_id": SUBSCRIPTION,
                "resource_group": GROUP,
                "account_name": ACCOUNT,
                "resource_id": RESOURCE_ID,
            },
        ),
    ],
)
def test_names_or_an_id_say_which_account_it_is(
    workspace: Workspace, typed: dict[str, str], config: dict[str, str]
) -> None:
    form = BatchForm(workspace, typed)
    assert form.is_valid(), form.errors
    assert form.config() == config


def test_an_account_is_the_same_however_it_was_named(target: ComputeTarget, workspace: Workspace) -> None:
    by_id, by_name = (BatchForm(workspace, typed) for typed in ({"resource_id": RESOURCE_ID}, BOTH))
    for form in (by_id, by_name):
        form.is_valid()
        assert not {"resource_group", "account_name", "resource_id"} & set(form.errors)
    assert len({target.driver.address_of(form.config()) for form in (by_id, by_name)}) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ({"name": "crunch"}, {"resource_group", "account_name"}),
        ({"name": "crunch", "resource_group": GROUP}, {"account_name"}),
        (BOTH | {"account_name": "Crunch!"}, {"account_name"}),
        (BOTH | {"account_name": "ab"}, {"account_name"}),
        (BOTH | {"resource_group": "ends."}, {"resource_group"}),
        (BOTH | {"account_name": "other", "resource_id": RESOURCE_ID}, {"account_name"}),
        (BOTH | {"resource_id": RESOURCE_ID.replace("Batch", "Compute")}, {"resource_id"}),
        (BOTH | {"resource_id": "/subscriptions/x"}, {"resource_id"}),
    ],
)
def test_what_cannot_be_an_account_is_refused(workspace: Workspace, typed: dict[str, str], wrong: set[str]) -> None:
    form = BatchForm(workspace, typed)
    assert not form.is_valid()
    assert set(form.errors) == wrong


def test_a_run_names_a_pool_or_a_size() -> None:
    assert BatchRunForm({"pool": "named", "pool_id": "linux"}).is_valid()
    assert set(BatchRunForm({"pool": "named"}).errors) == {"pool_id"}
    assert set(BatchRunForm({"pool": "made"}).errors) == {"vm_size"}
    assert set(BatchRunForm({"pool": "named", "pool_id": "a b; rm"}).errors) == {"pool_id"}


@pytest.mark.parametrize(
    ("pattern", "action", "does"),
    [
        ("*", "Microsoft.Batch/batchAccounts/write", True),
        ("*/read", "Microsoft.Batch/batchAccounts/write", False),
        ("microsoft.batch/*", "Microsoft.Batch/batchAccounts/write", True),
        ("Microsoft.Batch/batchAccounts/write", "Microsoft.Batch/batchAccounts/write", True),
        ("Microsoft.Batch/batchAccounts", "Microsoft.Batch/batchAccounts/write", False),
        ("ab*ba", "aba", False),
    ],
)
def test_a_pattern_covers_an_action(pattern: str, action: str, does: bool) -> None:
    assert covers(pattern, action) is does


def test_every_service_is_connected_to_as_it_was_checked_at_that_moment(
    submit: Submit, target: ComputeTarget, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    connect = addresses.connect

    def watched(places: list[addresses.Place], timeout: float) -> socket.socket:
        asked.update(f"https://{place.address}:{place.port}" for place in places)
        return connect(places, timeout)

    monkeypatch.setattr(addresses, "connect", watched)
    azure._of_principal.cache_clear()  # which keeps its tokens
    ended(submit({"train.py": "print(1)\n"}))
    assert asked == {service.url for service in (cloud.entra, cloud.manager, cloud.blobs, cloud.batch)}
    for service in (cloud.entra, cloud.manager, cloud.blobs, cloud.batch):
        service.asked.clear()
    azure._of_principal.cache_clear()
    monkeypatch.setattr(azure, "places", lambda workspace, url: [])  # where the name led when it was looked at first
    target.workspace.allowances = []
    target.workspace.save()
    report = ComputeTarget.objects.get(pk=target.pk).driver.refresh()
    assert report.state == ProvisioningState.FAILED
    assert "the studio's own machine" in report.reason
    assert cloud.entra.asked == cloud.manager.asked == []
