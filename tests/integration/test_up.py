"""The studio as one command starts it: real processes, on a data directory and a port of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.paths import CHECKOUT, socket_path

PATIENCE = 60.0  # seconds, on a busy machine
NAMES = {"web", "worker", "beat", "valkey"}


def until(true: Callable[[], Any], patience: float = PATIENCE) -> float:
    """Wait until `true` and return the seconds it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < patience, "It took too long."
        time.sleep(0.02)
    return time.monotonic() - started


@dataclass
class Studio:
    process: subprocess.Popen[bytes]
    data: Path
    output: Path

    def said(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"is ready after .*?(http://\S+/)$", self.said(), re.MULTILINE)
        assert found, self.said()
        return found[1]

    def pids(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads((self.data / "processes" / "pids.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "healthz", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


def environ(**more: str) -> dict[str, str]:
    ours = {"STUDIO_DATA", "SECRET_KEY", "SEAL_KEYS", "DJANGO_SETTINGS_MODULE", "STUDIO_URL", "ALLOWED_HOSTS"}
    return {name: value for name, value in os.environ.items() if name not in ours} | more


def start(data: Path, output: Path) -> Studio:
    command = [sys.executable, "manage.py", "up", "--data", str(data), "--port", "0", "--no-sample"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environ(), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    studio = Studio(process, data, output)
    try:
        until(lambda: "Ctrl-C stops" in studio.said() or process.poll() is not None)
        assert process.poll() is None, studio.said()
    except BaseException:
        process.terminate()  # whatever it waits for, it does not stay
        raise
    return studio


def refused(*arguments: str) -> str:
    """Run `up` where it cannot start, and return the one sentence it says."""
    command = [sys.executable, "manage.py", "up", "--no-sample", *arguments]
    answer = subprocess.run(
        command, cwd=CHECKOUT, env=environ(), capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 1
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    return answer.stderr.strip()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("up")
    running = start(folder / "data", folder / "output")
    yield running
    running.process.terminate()
    running.process.wait(20)


def test_it_serves_and_says_how_to_sign_in(studio: Studio):
    assert studio.is_healthy()
    found = re.search(r"Sign in as admin, .*?(http://\S+)", studio.said())
    assert found
    with urllib.request.urlopen(found[1], timeout=10) as page:  # noqa: S310
        assert b"admin" in page.read()


def test_it_makes_a_workspace_with_a_cluster_and_the_local_computer(studio: Studio):
    code = (
        "from compute.models import ComputeTarget as T; "
        "print(sorted(f'{t.workspace} {t.name} {t.min_nodes} {t.max_nodes}' for t in T.objects.all()))"
    )
    answer = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", code],
        cwd=CHECKOUT, env=environ(STUDIO_DATA=str(studio.data)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == "['default cpu-cluster 0 4', 'default local 0 0']"


def test_what_is_secret_is_for_its_owner_alone(studio: Studio):
    assert studio.data.stat().st_mode & 0o077 == 0
    assert (studio.data / "secret_key").stat().st_mode & 0o077 == 0
    assert socket_path(studio.data).stat().st_mode & 0o077 == 0


def test_a_child_inherits_neither_the_lock_nor_the_supervisors_pipes(studio: Studio):
    for name in NAMES:
        files = {str(f.readlink()) for f in Path(f"/proc/{studio.pids()[name]}/fd").iterdir() if f.is_symlink()}
        assert str(studio.data / "lock") not in files


@pytest.mark.parametrize("name", ["worker", "beat", "web", "valkey"])
def test_a_process_that_is_killed_is_back_within_a_second(studio: Studio, name: str):
    old = studio.pids()[name]
    os.kill(old, signal.SIGKILL)
    seconds = until(lambda: studio.pids().get(name, old) != old)
    assert seconds < 1.0
    until(studio.is_healthy)
    assert f"{name} ended with signal 9; it is started again now" in studio.said()
    assert set(studio.pids()) == NAMES | {"supervisor"}


def test_a_second_start_on_the_same_data_is_refused(studio: Studio):
    pid = studio.process.pid
    assert f"runs already at {studio.url} (process {pid})" in refused("--data", str(studio.data), "--port", "0")


def test_a_port_in_use_is_refused_before_anything_is_started(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 is in use" in refused("--data", str(tmp_path / "data"), "--port", str(port))
    assert not (tmp_path / "data" / "processes").exists()


def test_a_file_in_the_place_of_the_data_directory_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "is a file where a directory is needed" in refused("--data", str(tmp_path / "file"), "--port", "0")


def test_a_signal_ends_every_process_within_5_s_and_the_next_start_has_lost_nothing(studio: Studio):
    processes = [psutil.Process(pid) for pid in studio.pids().values()]
    started = time.monotonic()
    studio.process.send_signal(signal.SIGTERM)
    assert studio.process.wait(20) == 0
    assert time.monotonic() - started < 5.0
    assert not [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not socket_path(studio.data).exists()
    assert not (studio.data / "processes" / "pids.json").exists()

    again = start(studio.data, studio.output.with_name("again"))
    try:
        assert again.is_healthy()
    finally:
        again.process.terminate()
        again.process.wait(20)


def test_a_supervisor_that_is_killed_takes_its_processes_with_it(tmp_path: Path):
    studio = start(tmp_path / "data", tmp_path / "output")
    pids = [pid for name, pid in studio.pids().items() if name != "supervisor"]
    studio.process.kill()
    studio.process.wait()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 10)
