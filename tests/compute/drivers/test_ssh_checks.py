"""What the doctor makes of the answers of a machine over SSH."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from compute.drivers import ssh_checks
from compute.drivers.base import CheckState
from compute.drivers.virtualmachine import VirtualMachineDriver, VirtualMachineForm
from compute.models import ComputeTarget
from studio.people.models import Workspace

PYTORCH = {"environment": "docker", "docker_image": "pytorch:2"}
ML = {"environment": "conda", "conda_name": "ml"}
OK, WARN, BAD = CheckState.OK, CheckState.WARN, CheckState.BAD


class Answers:
    """A machine that answers as it is told to."""

    def __init__(self, answer: Any = None, skew: float = 0.0, **facts: Any) -> None:
        self.answer, self.skew, self.facts = answer, skew, facts
        self.asked: list[list[str]] = []

    def ask(self, verb: str, **asked: Any) -> Any:
        if verb == "which":
            return self.answer if isinstance(self.answer, dict) else {"conda": "/opt/conda/bin/conda"}
        self.asked.append(asked["argv"])
        return self.answer[len(self.asked) - 1] if isinstance(self.answer, list) else self.answer


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
        ("docker", [(0, "27.1\n"), (0, "sha256:1")], PYTORCH, OK, "pytorch:2 is there"),
        ("docker", [(0, "27.1\n"), (1, "No such image")], PYTORCH, WARN, "pytorch:2 is not there yet"),
        ("conda", {"conda": "/opt/conda/bin/conda"}, {}, OK, "/opt/conda/bin/conda"),
        ("conda", (0, "Python 3.12.1\n"), ML, OK, "ml: Python 3.12.1"),
        ("conda", (1, "EnvironmentLocationNotFound: Not a conda environment: ml"), ML, BAD, "Not a conda environment"),
        (
            "python",
            (0, "Python 3.13.0\n"),
            {"python": "/opt/venv/bin/python"},
            OK,
            "/opt/venv/bin/python: Python 3.13.0",
        ),
        ("python", (127, "env: /opt/none: No such file or directory"), {"python": "/opt/none"}, BAD, "No such file"),
        ("python", (0, "rm (GNU coreutils) 9.1"), {"python": "rm"}, BAD, "coreutils"),
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
    assert check.needed or check.state != BAD


@pytest.mark.parametrize(("skew", "state"), [(5.5, OK), (20.5, OK), (-0.02, OK), (-45.5, WARN), (7200.5, WARN)])
def test_a_clock_that_is_not_the_studios_is_told_by_how_much(skew: float, state: CheckState) -> None:
    check = ssh_checks.clock(driver(), Answers(skew=skew))  # type: ignore[arg-type]
    assert check.state == state
    assert check.evidence.startswith(f"{round(skew, 1) or 0.0:+.1f} s")
    assert ("timedatectl" in check.remedy) == (state == WARN)


@pytest.mark.parametrize(("free", "state"), [(2e9, OK), (9e8, BAD)])
def test_a_disk_needs_room_for_a_run(free: float, state: CheckState) -> None:
    check = ssh_checks.disk(driver(), Answers(free_bytes=free))  # type: ignore[arg-type]
    assert (check.state, check.needed) == (state, True)


@pytest.mark.parametrize(
    ("field", "typed", "is_fine"),
    [
        ("docker_image", "registry.example.org:5000/team/image:2@sha256:0a", True),
        ("docker_image", "--privileged x", False),
        ("docker_image", "-v/:/host", False),
        ("conda_name", "py3.12-ml_x", True),
        ("conda_name", "--prefix", False),
        ("conda_name", "a b", False),
        ("python", "/opt/with space/bin/python", True),
        ("python", "-S rm", False),
        ("python", "PATH=/tmp", False),
    ],
)
def test_what_a_program_there_would_take_for_an_option_is_refused(field: str, typed: str, is_fine: bool) -> None:
    form = VirtualMachineForm(Workspace(name="w"), {field: typed})
    form.fields = {field: form.fields[field]}
    form.cleaned_data = {field: typed}
    if is_fine:
        assert getattr(form, f"clean_{field}")() == typed
        return
    with pytest.raises(ValidationError):
        getattr(form, f"clean_{field}")()
