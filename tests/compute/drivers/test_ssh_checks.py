"""What the doctor makes of the answers of a machine over SSH."""

import time
from typing import Any

import pytest

from compute.drivers import ssh_checks
from compute.drivers.base import CheckState
from compute.drivers.virtualmachine import VirtualMachineDriver
from compute.models import ComputeTarget
from studio.people.models import Workspace

OK, WARN, BAD = CheckState.OK, CheckState.WARN, CheckState.BAD


class Answers:
    """A machine that answers as it is told to."""

    def __init__(self, answer: Any = None, **facts: Any) -> None:
        self.answer, self.facts = answer, facts

    def ask(self, verb: str, **asked: Any) -> Any:
        return self.answer


def driver(**config: Any) -> Any:
    return VirtualMachineDriver(ComputeTarget(workspace=Workspace(name="w"), name="far", config=config))


@pytest.mark.parametrize(
    ("question", "answer", "config", "state", "said"),
    [
        ("gpu", (0, "NVIDIA A100, 535.104.05, 81920 MiB\n"), {}, OK, "NVIDIA A100, driver 535.104.05, 81920 MiB"),
        ("gpu", (0, "NVIDIA T4, 1, 2 MiB\nNVIDIA T4, 1, 2 MiB\n"), {}, OK, "2 × NVIDIA T4, driver 1, 2 MiB"),
        ("gpu", (127, ""), {}, OK, "none; runs use its CPUs"),
        (
            "gpu",
            (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
            {},
            WARN,
            "failed",
        ),
        ("gpu", (124, ""), {}, WARN, "nvidia-smi does not answer"),
        ("outside", (0, "200\n"), {}, OK, "pypi.org"),
        ("outside", (1, "URLError"), {}, WARN, "pypi.org does not answer it"),
        ("docker", (0, "27.1\n"), {}, OK, "27.1"),
        ("docker", (1, "denied"), {}, OK, "not asked for"),
        ("docker", (1, "denied"), {"environment": "docker"}, BAD, "not there"),
        ("conda", {"conda": None}, {"environment": "conda"}, BAD, "not there"),
        ("system", (0, 'ID=ubuntu\nPRETTY_NAME="Ubuntu 22.04"\n'), {}, OK, "Ubuntu 22.04"),
        ("system", (0, 'ID=debian\nPRETTY_NAME="Debian 12"\n'), {}, BAD, "Debian 12"),
        ("system", (1, ""), {}, BAD, "does not say"),
    ],
)
def test_an_answer_becomes_a_finding_with_its_evidence(
    question: str, answer: Any, config: dict[str, Any], state: CheckState, said: str
) -> None:
    check = getattr(ssh_checks, question)(driver(**config), Answers(answer))
    assert check.state == state
    assert said in check.evidence
    assert check.state == OK or check.remedy


@pytest.mark.parametrize(("skew", "state"), [(5.5, OK), (20.5, OK), (-45.5, WARN), (7200.5, WARN)])
def test_a_clock_that_is_not_the_studios_is_told_by_how_much(skew: float, state: CheckState) -> None:
    check = ssh_checks.clock(driver(), Answers(time=time.time() + skew))  # type: ignore[arg-type]
    assert check.state == state
    assert check.evidence.startswith(f"{skew:+.1f}"[:3])
    assert ("timedatectl" in check.remedy) == (state == WARN)


@pytest.mark.parametrize(("free", "state"), [(2e9, OK), (9e8, BAD)])
def test_a_disk_needs_room_for_a_run(free: float, state: CheckState) -> None:
    check = ssh_checks.disk(driver(), Answers(free_bytes=free))  # type: ignore[arg-type]
    assert (check.state, check.needed) == (state, True)
