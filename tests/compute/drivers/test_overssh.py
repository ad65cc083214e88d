"""What is judged of a job on a machine over SSH from what its far side knows, and what is run there for a target."""

import re
from typing import Any

import pytest

from compute.drivers.base import Phase
from compute.drivers.virtualmachine import VirtualMachineDriver
from compute.models import ComputeTarget, Job
from compute.remote import Link
from compute.states import EndReason
from studio.people.models import Workspace

HANDLE = {"pid": 100, "start_time": 5, "boot_id": "first"}
KERNEL = "Out of memory: Killed process 101 (python3) total-vm:9000000kB"
KILLED = {"code": -9, "reason": "exited", "detail": "", "receipt": {}, "started_at": 1.0, "ended_at": 2.0}


def driver(**config: Any) -> VirtualMachineDriver:
    return VirtualMachineDriver(ComputeTarget(workspace=Workspace(name="w"), name="far", config=config))


@pytest.mark.parametrize(
    ("facts", "phase", "reason", "detail"),
    [
        ({"alive": True, "boot_id": "first"}, Phase.RUNNING, EndReason.EXITED, ""),
        ({"boot_id": "second"}, Phase.ENDED, EndReason.PREEMPTED, "The machine restarted while it ran."),
        ({"boot_id": "first"}, Phase.ENDED, EndReason.LOST, "Neither its processes nor its exit code"),
        ({"boot_id": "first", "exit": KILLED, "killed": KERNEL}, Phase.ENDED, EndReason.MEMORY, KERNEL),
        ({"boot_id": "first", "exit": KILLED | {"code": 78}}, Phase.ENDED, EndReason.ENVIRONMENT, "the last lines"),
    ],
)
def test_ends_are_told_apart(facts: dict[str, Any], phase: Phase, reason: EndReason, detail: str) -> None:
    report = driver()._report(facts, HANDLE)
    assert (report.phase, report.reason) == (phase, reason)
    assert detail in report.detail


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({}, ["/usr/bin/env", "python3"]),
        ({"python": "/opt/python/bin/python"}, ["/usr/bin/env", "/opt/python/bin/python"]),
        (
            {"environment": "conda", "conda_name": "a b; rm"},
            ["/usr/bin/env", "conda", "run", "--no-capture-output", "-n", "a b; rm", "python"],
        ),
    ],
)
def test_a_script_runs_where_the_target_says(config: dict[str, Any], command: list[str]) -> None:
    spec = {"script": "train.py", "arguments": ["$(id)"], "environment": {"kind": "interpreter"}, "variables": {}}
    link = Link(None, None, facts={"root": "/home/ana/.compute-studio"})  # type: ignore[arg-type]
    job = Job(run_id="r_1", attempt=1, spec=spec)
    assert driver(**config).command(job, link) == ([*command, "train.py", "$(id)"], [])


def test_a_docker_image_sees_the_runs_folder_and_no_value_stands_on_its_command_line() -> None:
    asked = {"kind": "interpreter"}
    spec = {"script": "train.py", "arguments": [], "environment": asked, "variables": {"TOKEN": "geheim"}}
    link = Link(None, None, facts={"root": "/home/ana/.compute-studio"})  # type: ignore[arg-type]
    argv, _files = driver(environment="docker", docker_image="python:3.12").command(
        Job(run_id="r_1", attempt=1, spec=spec), link
    )
    work = "/home/ana/.compute-studio/runs/r_1/1/rank-0"
    assert argv[:5] == ["/usr/bin/env", "docker", "run", "--rm", "--init"]
    assert f"{work}:{work}" in argv
    assert argv[-3:] == ["python:3.12", "python", "train.py"]
    assert "TOKEN" in argv
    assert "geheim" not in " ".join(argv)
    name = driver().container(argv)
    assert re.fullmatch(r"studio-r_1\.1-[0-9a-f]{12}", name)
    assert driver().container(["/usr/bin/env", "python3", "train.py", "--name", "x"]) == ""
