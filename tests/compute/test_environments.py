"""Environments: what may be asked for, and that it is built once, whatever happens to the build."""

import json
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from compute import environments, logs, requirements
from compute.builds import interpreter_of
from compute.isolation import host_python
from compute.models import ComputeTarget, Environment, EnvironmentState, Job
from compute.processes import look
from compute.requirements import python_matches
from compute.states import EndReason, JobState
from studio.errors import CannotEverRun, StudioError
from studio.people.models import Workspace

HERE = ".".join(platform.python_version_tuple()[:2])


def wait_for(environment: Environment, seconds: float = 60) -> Environment:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        environments.check(environment)
        if environment.state != EnvironmentState.BUILDING:
            return environment
        time.sleep(0.02)
    raise AssertionError(log_of(environment))


def log_of(environment: Environment) -> str:
    return logs.read(environment.log_key, 0, 100_000).decode()


@pytest.fixture
def bare() -> dict[str, Any]:
    """A definition that is built without a network: a virtual environment with nothing in it."""
    return environments.definition_of("conda", "dependencies: [python, pip]")


@pytest.fixture
def without_conda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "CONDA_TOOLS", ())


# An existing interpreter


def test_the_interpreter_is_the_studio_machines_own_when_none_is_named() -> None:
    definition = environments.definition_of("interpreter", "")
    assert definition["python"] == str(host_python())
    assert definition["version"] == platform.python_version()


def test_a_name_is_looked_up_but_never_in_the_studios_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin:{host_python().parent}:/usr/bin")
    found = environments.definition_of("interpreter", f"python{HERE}")["python"]
    assert Path(found).is_file()
    assert not found.startswith(sys.prefix)


@pytest.mark.parametrize("asked", ["/no/such/python", "no-such-python", "venv/bin/python", "/usr/bin", "py\x00thon"])
def test_an_interpreter_that_is_not_there_is_refused(asked: str) -> None:
    with pytest.raises(CannotEverRun):
        environments.definition_of("interpreter", asked)


def test_what_is_no_python_is_refused() -> None:
    with pytest.raises(CannotEverRun, match="does not answer as a Python 3"):
        environments.definition_of("interpreter", shutil.which("true") or "/bin/true")


def test_an_interpreter_that_others_can_change_is_not_even_started(tmp_path: Path) -> None:
    trap, sprung = tmp_path / "python", tmp_path / "sprung"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\necho 3.11.0\n")
    trap.chmod(0o777)
    with pytest.raises(CannotEverRun, match="could be changed by others"):
        environments.definition_of("interpreter", str(trap))
    assert not sprung.exists()


# Requirements


def test_comments_blanks_and_line_ends_make_no_other_environment() -> None:
    one = environments.definition_of("pip", "six==1.17.0\n")
    two = environments.definition_of("pip", "# needed by train.py\r\n\r\n  six==1.17.0   # pinned\r\n")
    assert environments.digest_of(one) == environments.digest_of(two)
    assert environments.digest_of(one) != environments.digest_of(environments.definition_of("pip", "six==1.16.0"))


@pytest.mark.parametrize(
    "line",
    [
        "scikit-learn==1.7.2",
        "torch[extra]>=2,<3 ; python_version >= '3.9'",
        "six==1.17.0 --hash=sha256:" + "a" * 64,
        "tool @ https://example.org/tool-1.0-py3-none-any.whl",
        "git+https://github.com/benjaminp/six@1.17.0",
        "--extra-index-url https://download.pytorch.org/whl/cpu\nsix",
        "--index-url=https://user:secret@packages.example.org/simple\nsix",
        "--find-links https://example.org/wheels\nsix",
        "--no-binary :all:\nsix",
        "six \\\n  ==1.17.0",
    ],
)
def test_what_people_write_in_requirements_is_taken(line: str) -> None:
    assert environments.definition_of("pip", line)["text"]


@pytest.mark.parametrize(
    "line",
    [
        "-r /etc/passwd",
        "-r/etc/passwd",
        "--requirement=/etc/passwd",
        "-c https://example.org/constraints.txt",
        "-e .",
        "--editable=git+https://example.org/x",
        "./local",
        "../secret.whl",
        "/data/x.whl",
        "~/x.whl",
        "folder/x.whl",
        "C:\\x.whl",
        "file:///etc/passwd",
        "tool @ file:///etc/passwd",
        "tool @ ./here",
        "git+file:///srv/repository",
        "git+ssh://git@github.com/x/y",
        "--find-links /opt/wheels",
        "--index-url file:///opt/simple",
        "--index-url https://example.org/${PIP_INDEX_URL}",
        "six --config-settings=--global-option=x",
        "--global-option=x",
        "--target /tmp/x",
        "six\x1b[31m",
        "not a requirement at all",
        "six==",
        "\\\n-r /etc/passwd",
    ],
)
def test_what_reads_files_of_the_machine_or_is_no_requirement_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(StudioError, match=r"Line 2 of the requirements"):
        environments.definition_of("pip", f"six\n{line}\n")


@pytest.mark.parametrize("text", ["", "# nothing\n", "--pre\n", "six\n" * 20_000])
def test_requirements_that_name_nothing_or_far_too_much_are_refused(text: str) -> None:
    with pytest.raises(StudioError):
        environments.definition_of("pip", text)


# Conda files


def test_the_pip_part_of_a_conda_file_needs_no_conda(without_conda: None) -> None:
    text = f"name: x\nchannels: [conda-forge]\ndependencies:\n- python={HERE}\n- pip\n- pip:\n  - six==1.17.0\n"
    definition = environments.definition_of("conda", text)
    assert definition["text"] == "six==1.17.0\n"
    assert definition["packages"] == []


@pytest.mark.parametrize(
    ("dependencies", "named"),
    [("[numpy=1.26, 'conda-forge::scipy', pip]", "numpy=1.26, conda-forge::scipy"), ("['python=3.6']", "python=3.6")],
)
def test_conda_packages_without_conda_are_refused_by_name(without_conda: None, dependencies: str, named: str) -> None:
    with pytest.raises(CannotEverRun, match=named):
        environments.definition_of("conda", f"dependencies: {dependencies}")


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        (f"={HERE}", True),
        (f"{HERE}.*", True),
        (f"=={platform.python_version()}", True),
        (f"={platform.python_version()}=*_cpython", True),
        (">=3.8,<4", True),
        ("2.7|>=3.10", True),
        ("3", True),
        ("3.6", False),
        (">=4", False),
        ("nonsense!", False),
    ],
)
def test_a_python_is_compared_in_condas_words(asked: str, matches: bool) -> None:
    assert python_matches(asked) is matches


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dependencies:\n- pip:\n  - six\n bad: [", "line 4"),
        ("dependencies: {a: b}", "no list"),
        ("just text", "no list"),
        ("", "no list"),
        ("dependencies: [1, 2]", "no text"),
        ("dependencies: [{pip: [[six]]}]", "no text"),
        ("dependencies: [{npm: [left-pad]}]", "no text"),
        ("dependencies: ['-n base']", "cannot be read"),
        ("dependencies: ['numpy /etc/passwd']", "cannot be read"),
        ("channels: ['file:///srv']\ndependencies: [numpy]", "no name and no https address"),
        ("channels: x\ndependencies: [numpy]", "no list"),
        ("dependencies: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("[" * 20_000, "no conda file has"),
        ("- " * 20_000, "no conda file has"),
        ("[" * 900, "conda file cannot be used"),
        ("dependencies:\n- pip:\n  - -r requirements.txt", "pip part of the conda file"),
    ],
)
def test_a_broken_conda_file_says_what_and_where(text: str, why: str) -> None:
    with pytest.raises(StudioError, match=why):
        environments.definition_of("conda", text)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["pip", "conda"]), st.text(max_size=80), st.sampled_from(["", "dependencies: [pip, {pip: [", "- "])
)
def test_any_text_is_a_definition_or_a_studio_error(kind: str, text: str, before: str) -> None:
    try:
        assert json.dumps(environments.definition_of(kind, before + text))
    except StudioError as exc:
        assert exc.message  # noqa: PT017


# Building


@pytest.mark.django_db
def test_a_package_is_built_in_and_its_log_says_how() -> None:
    environment = environments.ensure(environments.definition_of("pip", "six==1.17.0"))
    assert environment.state == EnvironmentState.BUILDING
    wait_for(environment)
    assert environment.state == EnvironmentState.READY, environment.reason
    assert "$ uv pip install" in log_of(environment)
    assert " + six==1.17.0" in log_of(environment)
    answer = os.popen(f"{interpreter_of(environment)} -c 'import six; print(six.__version__)'").read()  # noqa: S605
    assert answer == "1.17.0\n"
    assert environment.size_bytes
    assert "was built in" in environments.sentence(environment)


@pytest.mark.django_db
def test_a_package_that_does_not_exist_fails_in_the_tools_words_with_advice() -> None:
    text = "this-package-does-not-exist-at-all==1.0"
    environment = wait_for(environments.ensure(environments.definition_of("pip", text)))
    assert environment.state == EnvironmentState.FAILED
    advice, _newline, words = environment.reason.partition("\n")
    assert advice == "The package index has no package “this-package-does-not-exist-at-all”: check its name."
    assert "No solution found" in words
    assert not environment.folder.exists()


@pytest.mark.django_db
def test_an_index_that_cannot_be_reached_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    environment = wait_for(environments.ensure(environments.definition_of("pip", "six==1.17.0")))
    assert environment.reason.startswith("The package index cannot be reached")


@pytest.mark.django_db
def test_pip_does_the_work_where_uv_does_not_start(bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uv.find_uv_bin", lambda: "/bin/false")
    environment = wait_for(environments.ensure(bare))
    assert environment.state == EnvironmentState.READY, environment.reason
    assert "-m venv" in log_of(environment)


@pytest.mark.django_db
def test_conda_builds_what_only_conda_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "micromamba"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\ncat "$6" && exec ' + str(host_python()) + ' -m venv --without-pip "$4"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    definition = environments.definition_of("conda", "channels: [conda-forge]\ndependencies: [numpy=1.26]")
    environment = wait_for(environments.ensure(definition))
    assert environment.state == EnvironmentState.READY, environment.reason
    assert "$ micromamba create --yes -p" in log_of(environment)
    assert "numpy=1.26" in log_of(environment)


@pytest.mark.django_db(transaction=True)
def test_however_many_ask_at_once_one_build_runs(bare: dict[str, Any]) -> None:
    found: list[Environment] = []

    def ask() -> None:
        try:
            found.append(environments.ensure(bare))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    environment = wait_for(found[0])
    assert [e.pk for e in found] == [environment.pk] * 6
    assert environment.state == EnvironmentState.READY, environment.reason
    assert log_of(environment).count("$ uv venv") == 1


@pytest.mark.django_db
def test_a_ready_environment_is_not_built_again(bare: dict[str, Any]) -> None:
    environment = wait_for(environments.ensure(bare))
    again = environments.ensure(bare)
    assert (again.pk, again.attempt, again.state) == (environment.pk, 1, EnvironmentState.READY)


@pytest.mark.django_db
@pytest.mark.parametrize("state", [EnvironmentState.FAILED, EnvironmentState.EVICTED])
def test_what_failed_or_was_evicted_is_built_again_in_a_fresh_folder(bare: dict[str, Any], state: str) -> None:
    first = wait_for(environments.ensure(bare))
    Environment.objects.update(state=state, reason="x")
    second = environments.ensure(bare)
    assert (second.state, second.attempt, second.reason) == (EnvironmentState.BUILDING, 2, "")
    assert second.folder != first.folder
    assert wait_for(second).state == EnvironmentState.READY


@pytest.mark.django_db
def test_an_environment_whose_folder_is_gone_is_built_again(bare: dict[str, Any]) -> None:
    shutil.rmtree(wait_for(environments.ensure(bare)).folder)
    assert environments.ensure(bare).attempt == 2


@pytest.mark.django_db
def test_a_build_that_nobody_came_to_start_is_started_by_whoever_looks(bare: dict[str, Any]) -> None:
    environment = Environment.objects.create(digest=environments.digest_of(bare), definition=bare)
    assert wait_for(environment).state == EnvironmentState.READY


@pytest.mark.django_db
def test_a_build_that_a_restart_cut_off_begins_again_but_not_for_ever(bare: dict[str, Any]) -> None:
    environment = environments.ensure(bare)
    for attempt in (2, 3):
        wait_for_end(environment)
        forget(environment)
        environments.check(environment)
        assert (environment.state, environment.attempt) == (EnvironmentState.BUILDING, attempt)
    wait_for_end(environment)
    forget(environment)
    assert environments.check(environment).state == EnvironmentState.FAILED


def wait_for_end(environment: Environment) -> None:
    deadline = time.monotonic() + 20
    while look(environment.handle).phase != "ended" and time.monotonic() < deadline:
        time.sleep(0.02)


def forget(environment: Environment) -> None:
    """Leave of a build what a power cut leaves: neither process nor exit code, and another boot."""
    for name in ("exit.json", "pid.json"):
        (Path(environment.handle["folder"]) / name).unlink(missing_ok=True)
    environment.handle["boot_id"] = "another"
    Environment.objects.filter(pk=environment.pk).update(handle=environment.handle)


# Eviction


@pytest.fixture
def job_in(workspace: Workspace) -> Callable[[Environment, JobState], Job]:
    def make(environment: Environment, state: JobState) -> Job:
        target = ComputeTarget.objects.create(workspace=workspace, name="local", kind="local")
        end = EndReason.EXITED if state == JobState.ENDED else ""
        return Job.objects.create(
            target=target, run_id="r", run_name="r", environment=environment, state=state, end_reason=end
        )

    return make


@pytest.mark.django_db
@pytest.mark.parametrize(("state", "is_kept"), [(JobState.RUNNING, True), (JobState.ENDED, False)])
def test_what_is_unused_for_long_is_removed_unless_a_job_runs_in_it(
    bare: dict[str, Any], job_in: Callable[[Environment, JobState], Job], state: JobState, is_kept: bool
) -> None:
    environment = wait_for(environments.ensure(bare))
    job_in(environment, state)
    Environment.objects.update(last_used_at=timezone.now() - timedelta(days=30))
    environments.evict_unused()
    environment.refresh_from_db()
    assert (environment.state == EnvironmentState.READY) is is_kept
    assert environment.folder.exists() is is_kept


@pytest.mark.django_db
def test_fresh_environments_stay_and_leftover_folders_go(bare: dict[str, Any], tmp_path: Path) -> None:
    environment = wait_for(environments.ensure(bare))
    leftover = (tmp_path / "environments") / f"{'0' * 16}-1"
    other = (tmp_path / "environments") / "somebody's notes"
    for folder in (leftover, other):
        folder.mkdir()
    environments.evict_unused()
    assert interpreter_of(environment).exists()
    assert other.exists()
    assert not leftover.exists()
