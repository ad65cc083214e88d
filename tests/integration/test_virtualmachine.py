"""Runs on a machine that a real sshd stands for: sent, followed, cut off, found again, canceled, fetched."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compute import logs, remote, tasks
from compute.drivers.base import Check, CheckState
from compute.drivers.virtualmachine import VirtualMachineDriver
from compute.models import ComputeTarget
from compute.states import EndReason, ProvisioningState
from runs.actions import cancel_run
from runs.configuration import EnvironmentSpec
from runs.models import Run
from runs.states import RunStatus
from studio.people.models import User, Workspace
from studio.seal import seal
from tests.docker import Docker
from tests.elsewhere import ended, job_of, log_of, submitted, until
from tests.sshd import Sshd, key_pair, processes_below, scratch_user

pytestmark = pytest.mark.django_db
HOSTILE = ["a b", "'; touch owned; '", "$(touch owned)", "`touch owned`", "-e", "ñ\n2", '"', "\\"]


@pytest.fixture(scope="module")
def username() -> Iterator[str]:
    with scratch_user() as name:
        yield name


@pytest.fixture
def server(username: str, tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd", username, MaxSessions=1).start()
    yield server
    remote.close_all()
    server.close()


@pytest.fixture
def machine(server: Sshd, workspace: Workspace, tmp_path: Path) -> ComputeTarget:
    """Return the server as an attached machine."""
    private, public = key_pair(tmp_path)
    server.let_in(public)
    workspace.allowances = ["this-machine", "other-linux"]
    workspace.save()
    target = ComputeTarget.objects.create(
        workspace=workspace,
        name="lab-gpu",
        kind="VirtualMachine",
        provisioning_state=ProvisioningState.SUCCEEDED,
        config={
            "address": "127.0.0.1",
            "ssh_port": server.port,
            "username": server.username,
            "authentication": "key",
            "environment": "system",
            "python": "python3",
            "host_key": server.host_key,
        },
    )
    target.sealed = {"private_key": seal(private, where=target.place_of("private_key"))}
    target.save()
    return target


Submit = Callable[..., Run]


@pytest.fixture
def submit(machine: ComputeTarget, workspace: Workspace, ana: User) -> Submit:
    def submit(script: str, *arguments: str, **changes: Any) -> Run:
        return submitted(machine, ana, {"train.py": script}, *arguments, **changes)

    return submit


def test_a_run_goes_there_and_its_log_and_outputs_come_back(submit: Submit) -> None:
    script = (
        "import os, pathlib, sys\n"
        "print('hello from', os.environ['AZUREML_RUN_ID'], sys.argv[1:])\n"
        "pathlib.Path('outputs/model').mkdir()\n"
        "pathlib.Path('outputs/model/weights.bin').write_bytes(bytes(range(256)) * 5000)\n"
    )
    run = ended(submit(script, "--epochs", "3"))
    assert run.status == RunStatus.COMPLETED, (run.reason, log_of(run))
    assert log_of(run) == f"hello from {run.run_id} ['--epochs', '3']\n"
    assert (job_of(run).folder / "rank-0/outputs/model/weights.bin").read_bytes() == bytes(range(256)) * 5000


def test_its_lines_come_as_they_are_written_without_anybody_asking(submit: Submit) -> None:
    run = submit("import time\nprint('one', flush=True)\ntime.sleep(600)\n")
    assert run.status == RunStatus.RUNNING
    until(lambda: log_of(run) == "one\n")
    cancel_run(run, by=run.submitted_by)  # type: ignore[arg-type]
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "ana canceled it.")
    run = ended(run)
    assert run.status == RunStatus.CANCELED
    assert job_of(run).receipt["ranks"][0]["left"] == []


def test_names_arguments_and_values_that_a_shell_would_obey_arrive_as_they_are(submit: Submit) -> None:
    script = "import os, sys, json\nprint(json.dumps([sys.argv[1:], os.environ['V'], os.listdir('.')]))\n"
    run = ended(submit(script, *HOSTILE, variables={"V": "".join(HOSTILE)}))
    import json

    arguments, value, names = json.loads(log_of(run))
    assert arguments == HOSTILE
    assert value == "".join(HOSTILE)
    assert sorted(names) == ["logs", "outputs", "train.py"]


def test_an_exit_code_and_a_script_that_is_not_python_are_told(submit: Submit) -> None:
    run = ended(submit("raise SystemExit(7)"))
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 7)


def test_a_file_that_is_there_is_not_sent_twice(submit: Submit, machine: ComputeTarget) -> None:
    first = ended(submit("print('the same')"))
    second = ended(submit("print('the same')"))
    said = [logs.read(f"runs/{run.run_id}/1/studio.txt", 0, 10_000).decode() for run in (first, second)]
    assert "17 bytes sent to lab-gpu" in said[0]
    assert "\n" in said[1]
    assert " 0 bytes sent to lab-gpu" in said[1]


def test_a_log_goes_on_from_its_byte_after_the_server_was_killed_and_started_again(
    submit: Submit, server: Sshd
) -> None:
    script = "import time\nfor n in range(400):\n    print('line', n, flush=True)\n    time.sleep(0.01)\n"
    run = submit(script)
    until(lambda: "line 20\n" in log_of(run))
    server.stop()
    time.sleep(1)
    server.start()
    run = ended(run)
    assert run.status == RunStatus.COMPLETED, run.reason
    assert log_of(run) == "".join(f"line {n}\n" for n in range(400))


def test_a_studio_that_starts_again_finds_the_run_and_its_log_whole(submit: Submit) -> None:
    script = "import time\nfor n in range(200):\n    print('line', n, flush=True)\n    time.sleep(0.01)\n"
    run = submit(script)
    until(lambda: "line 10\n" in log_of(run))
    remote.close_all()  # as when the worker dies: nothing of the connection is left
    tasks.look_after()
    run = ended(run)
    assert run.status == RunStatus.COMPLETED
    assert (
        hashlib.sha256(log_of(run).encode()).hexdigest()
        == hashlib.sha256("".join(f"line {n}\n" for n in range(200)).encode()).hexdigest()
    )


def test_a_tree_that_forks_away_and_ignores_term_is_ended_and_the_receipt_says_so(submit: Submit) -> None:
    run = submit(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for n in range(5):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork(): os._exit(0)\n"
        "        time.sleep(600)\n"
        "print('ready', flush=True)\ntime.sleep(600)\n"
    )
    until(lambda: log_of(run) == "ready\n")
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "")
    run = ended(run)
    assert run.status == RunStatus.CANCELED
    (receipt,) = job_of(run).receipt["ranks"]
    assert receipt["left"] == []
    assert len(receipt["signalled"]) >= 6


# Ignores TERM, as many a program that is its container's first.
STAYS = "import signal, time\nsignal.signal(15, 1)\nprint('ready', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def docker(server: Sshd, machine: ComputeTarget) -> Iterator[Docker]:
    """Give the machine an engine, and have its scripts run in an image."""
    engine = Docker()
    server.stop()
    server.options["SetEnv"] = f"PATH={engine.programs}:/usr/local/bin:/usr/bin:/bin"
    server.start()
    machine.config |= {"environment": "docker", "docker_image": "python:3.12"}
    machine.save()
    yield engine
    engine.close()


def test_a_run_in_an_image_has_its_exit_code_and_leaves_no_container(submit: Submit, docker: Docker) -> None:
    run = ended(
        submit("import os\nprint(os.environ['AZUREML_RUN_ID'], os.environ['V'])\nexit(3)", variables={"V": "7"})
    )
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 3)
    assert log_of(run) == f"{run.run_id} 7\n"
    assert docker.containers == {}
    assert "containers" not in job_of(run).receipt["ranks"][0]
    ((name, argv),) = docker.asked.items()
    assert name.startswith(f"studio-{run.run_id}.1-")
    assert f"compute-studio.run={run.run_id}" in argv
    assert "--init" in argv


@pytest.mark.parametrize("because", [EndReason.CANCELED, EndReason.DURATION])
def test_a_container_that_outlives_its_client_is_ended_with_the_run_and_named_on_the_receipt(
    submit: Submit, docker: Docker, because: EndReason
) -> None:
    run = submit(STAYS, **({"max_seconds": 1} if because == EndReason.DURATION else {}))
    until(lambda: log_of(run) == "ready\n")
    ((name, container),) = docker.containers.items()
    if because == EndReason.CANCELED:
        tasks.end_job(job_of(run).pk, because, "")
    ended(run)
    assert job_of(run).end_reason == because
    assert container.poll() == -9
    (receipt,) = job_of(run).receipt["ranks"]
    assert (receipt["containers"], receipt["left"]) == ([name], [])


def test_the_container_of_a_run_that_was_lost_is_ended_too(submit: Submit, docker: Docker) -> None:
    run = submit(STAYS)
    until(lambda: log_of(run) == "ready\n")
    ((name, container),) = docker.containers.items()
    shepherd = job_of(run).handle["pid"]
    for pid in (shepherd, *processes_below(shepherd)):
        os.kill(pid, 9)
    assert container.poll() is None
    ended(run)
    assert job_of(run).end_reason == EndReason.LOST
    assert container.poll() == -9
    assert job_of(run).receipt == {"containers": [name]}


def test_another_host_key_blocks_the_target_and_what_waits_says_why(
    submit: Submit, server: Sshd, machine: ComputeTarget
) -> None:
    server.stop()
    server.make_host_key()
    server.start()
    remote.close_all()
    run = submit("print('never')")
    machine.refresh_from_db()
    assert machine.config["changed_host_key"]["sha256"] == server.host_key["sha256"]
    assert run.status == RunStatus.QUEUED
    assert "host key" in run.reason


def test_a_run_waits_for_a_machine_that_does_not_answer_and_starts_when_it_does(submit: Submit, server: Sshd) -> None:
    server.stop()
    run = submit("print('at last')")
    assert run.status == RunStatus.QUEUED
    assert "refuses connections" in run.reason
    server.start()
    remote.close_all()  # or the pause after a failure has to be waited for
    tasks.look_after()
    assert ended(run).status == RunStatus.COMPLETED


def test_requirements_that_cannot_be_built_there_fail_the_run_in_the_tools_own_words(submit: Submit) -> None:
    asked = EnvironmentSpec("pip", text="--index-url http://127.0.0.1:9/simple\nno-such-package==1\n")
    run = ended(submit("print('never')", environment=asked), 120)
    assert run.status == RunStatus.FAILED
    assert "environment" in run.reason
    assert "studio: the environment could not be made" in log_of(run)


def test_the_doctor_finds_a_healthy_machine_well(machine: ComputeTarget) -> None:
    found = {check.key: check for check in machine.driver.checks()}  # type: ignore[attr-defined]
    assert [check.key for check in found.values() if check.state == CheckState.BAD] == []
    assert found["host_key"].state == CheckState.OK
    assert found["sign_in"].evidence == f"signed in as {machine.config['username']}"


def test_a_machine_that_stops_answering_halfway_has_not_passed(
    machine: ComputeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(driver: object, link: remote.Link) -> Check:
        raise OSError("cut off")

    monkeypatch.setitem(VirtualMachineDriver.questions, "shell", cut)
    found = {check.key: check for check in machine.driver.checks()}  # type: ignore[attr-defined]
    assert (found["shell"].state, found["shell"].needed) == (CheckState.BAD, True)
    assert found["python"].state == found["disk"].state == CheckState.SKIPPED


def test_the_doctor_asks_for_a_host_key_that_nobody_has_seen(machine: ComputeTarget, server: Sshd) -> None:
    del machine.config["host_key"]
    found = {check.key: check for check in machine.driver.checks()}  # type: ignore[attr-defined]
    assert found["host_key"].state == CheckState.ASK
    assert found["host_key"].facts["host_key"] == server.host_key
    assert found["sign_in"].state == CheckState.SKIPPED


def test_the_studios_own_addresses_are_refused_until_an_owner_allows_them(machine: ComputeTarget) -> None:
    machine.workspace.allowances = []
    found = {check.key: check for check in machine.driver.checks()}  # type: ignore[attr-defined]
    assert found["name"].state == CheckState.BAD
    assert "own machine" in found["name"].evidence


def test_every_check_that_matters_is_one_that_is_made(machine: ComputeTarget) -> None:
    driver = machine.driver
    assert isinstance(driver, VirtualMachineDriver)
    made = {check.key: check.needed for check in driver.checks()}
    assert driver.needed_checks(machine.config) == {key for key, needed in made.items() if needed}
