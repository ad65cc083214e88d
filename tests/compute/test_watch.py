"""The thread that notices ends."""

import sys
import threading
from pathlib import Path

from compute import processes
from compute.processes import ProcessSpec
from compute.watch import Watcher


def spec(tmp_path: Path, code: str) -> ProcessSpec:
    return ProcessSpec([sys.executable, "-c", code], tmp_path, {}, tmp_path / "log", tmp_path / "control", "tag")


def test_an_end_is_told_once_however_often_it_is_watched(tmp_path: Path) -> None:
    handle = processes.start(spec(tmp_path, "import sys; sys.exit(3)"))
    told = threading.Semaphore(0)
    watcher = Watcher()
    watched = [watcher.watch(handle, told.release) for _ in range(3)]
    assert all(watched) or processes.look(handle).exit_code == 3
    if watched[0]:
        assert told.acquire(timeout=5)
        assert not told.acquire(timeout=0.05)
        assert processes.look(handle).exit_code == 3


def test_what_is_gone_already_is_said_to_be_gone(tmp_path: Path) -> None:
    handle = processes.start(spec(tmp_path, "pass"))
    ended = threading.Event()
    if Watcher().watch(handle, ended.set):
        assert ended.wait(5)
    assert not Watcher().watch(handle, ended.clear)
