"""The real studio, killed while runs are in progress: they go on, and it finds each of them again."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest

from studio.paths import CHECKOUT
from tests.integration.team import Person
from tests.integration.test_up import NAMES, Studio, environ, start, until

SCRIPT = """
import sys, time
for n in range({lines}):
    print("line", n, flush=True)
    time.sleep(0.05)
sys.exit({code})
"""


def lines(count: int) -> str:
    return "".join(f"line {n}\n" for n in range(count))


@dataclass
class Home:
    """One data directory, the studio that serves it now, and somebody who is signed in."""

    folder: Path
    starts: int = 0
    person: Person = field(init=False)
    studio: Studio = field(init=False)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        self.starts += 1
        self.studio = start(self.data, self.folder / f"output-{self.starts}")
        base = self.studio.url.rstrip("/")
        if self.starts > 1:
            self.person = Person(base, self.person.cookies)
            return
        self.person = Person(base)
        self.person.sign_in("/sign-in/" + self.studio.said().partition("/sign-in/")[2].split()[0])

    def stop(self) -> None:
        self.studio.process.terminate()
        self.studio.process.wait(20)

    def kill(self, name: str) -> None:
        """Kill a process of the studio by its id, and wait until another has its place."""
        old = self.studio.pids()[name]
        os.kill(old, signal.SIGKILL)
        until(lambda: self.studio.pids().get(name, old) != old)

    def kill_everything(self) -> None:
        """Kill the studio's processes and their supervisor, which may take back none of them."""
        processes = [psutil.Process(pid) for pid in self.studio.pids().values()]
        os.kill(self.studio.process.pid, signal.SIGSTOP)
        for process in processes:
            process.kill()
        self.studio.process.wait()
        until(lambda: not any(map(is_alive, processes)), 10)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.data / 'db.sqlite3'}?mode=ro", uri=True, timeout=20)) as database:
            return database.execute(query, values).fetchall()

    def submit(self, target: str, code: str, restarts: int = 0) -> str:
        """Submit a script and return its run's id."""
        return self.person.submit(target, code, restarts).strip("/").split("/")[-1]

    def run(self, run_id: str) -> tuple[str, int | None, str]:
        """Return a run's status, exit code and reason."""
        status, code, reason = self.rows("SELECT status, exit_code, reason FROM runs_run WHERE run_id = ?", run_id)[0]
        return status, code, reason

    def log(self, run_id: str, attempt: int = 1) -> str:
        file = self.data / "logs" / "runs" / run_id / str(attempt) / "std_log.txt"
        return file.read_text() if file.exists() else ""

    def is_over(self, run_id: str) -> bool:
        return self.run(run_id)[0] in {"Completed", "Failed", "Canceled"}

    def control(self, run_id: str) -> Path:
        return self.data / "jobs" / run_id / "1" / "control-0"

    def processes(self, run_id: str) -> tuple[psutil.Process, psutil.Process]:
        """Return the shepherd and the program of a run."""
        known = json.loads((self.control(run_id) / "pid.json").read_text())
        return psutil.Process(known["pid"]), psutil.Process(known["program"]["pid"])

    def left(self) -> list[psutil.Process]:
        """Return the processes that came of runs here and are alive."""
        return [p for p in psutil.process_iter() if str(self.data / "jobs") in told_by(p)]


def told_by(process: psutil.Process) -> str:
    """Return a process's command line and environment; nothing of one that is gone."""
    try:
        return " ".join([*process.cmdline(), *process.environ().values()])
    except psutil.Error:
        return ""


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("chaos"))
    home.start()
    home.person.create_cluster("chaos", max_nodes=4, idle_seconds=1)
    yield home
    if home.studio.process.poll() is None:
        home.stop()
    for process in home.left():  # of a test that failed
        process.kill()


def until_running(home: Home, *runs: str) -> None:
    until(lambda: all(home.log(run).startswith("line 0\n") for run in runs))


def test_runs_live_through_the_end_of_every_process_one_by_one_and_all_together(home: Home):
    ends = {"chaos": [0, 3, 0], "local": [0, 7, 0]}
    told = {
        home.submit(target, SCRIPT.format(lines=160 + 30 * n, code=code)): (160 + 30 * n, code)
        for target, codes in ends.items()
        for n, code in enumerate(codes)
    }
    on_local = list(told)[3:]
    until_running(home, *on_local)
    for name in ("web", "worker", "valkey", "beat"):
        home.kill(name)
    until(home.studio.is_healthy)
    assert set(home.studio.pids()) == NAMES | {"supervisor"}
    assert not all(map(home.is_over, told))  # they were in progress all the time
    home.kill_everything()
    home.start()

    until(lambda: all(map(home.is_over, told)))
    for run, (count, code) in told.items():
        assert home.run(run)[:2] == ("Failed" if code else "Completed", code)
        assert home.log(run) == lines(count)  # whole, and written by one program alone
        assert home.rows(
            "SELECT count(*) FROM runs_attempt a JOIN runs_run r ON r.id = a.run_id WHERE r.run_id = ?", run
        ) == [(1,)]
    until(lambda: home.rows("SELECT count(*) FROM compute_node") == [(0,)], 20)
    until(lambda: not home.left(), 10)


def test_what_became_of_runs_while_the_studio_was_stopped_is_recorded_at_its_start(home: Home):
    ends_well = home.submit("local", SCRIPT.format(lines=60, code=0))
    ends_badly = home.submit("local", SCRIPT.format(lines=60, code=5))
    goes_on = home.submit("local", SCRIPT.format(lines=1200, code=0))
    until_running(home, ends_well, ends_badly, goes_on)
    home.stop()
    assert [home.run(run)[0] for run in (ends_well, ends_badly, goes_on)] == ["Running"] * 3
    until(lambda: all((home.control(run) / "exit.json").exists() for run in (ends_well, ends_badly)))
    shepherd, program = home.processes(goes_on)
    home.start()
    until(lambda: home.is_over(ends_well) and home.is_over(ends_badly))
    assert home.run(ends_well)[:2] == ("Completed", 0)
    assert home.run(ends_badly)[:2] == ("Failed", 5)
    assert home.log(ends_well) == home.log(ends_badly) == lines(60)

    # A run is lost only when neither its process nor its exit code exists.
    shepherd.kill()
    time.sleep(1.5)  # the end of its shepherd has been looked at
    assert home.run(goes_on)[0] == "Running"
    program.kill()
    until(lambda: home.is_over(goes_on))
    status, code, reason = home.run(goes_on)
    assert (status, code) == ("Failed", None)
    assert "Neither its processes nor its exit code" in reason


def test_a_restart_of_the_machine_ends_its_runs_and_starts_those_over_that_may(home: Home):
    may, may_not = (home.submit("local", SCRIPT.format(lines=100, code=0), restarts=n) for n in (1, 0))
    until_running(home, may, may_not)
    home.kill_everything()
    for run in (may, may_not):
        restart_the_machine(home, run)
    home.start()
    until(lambda: home.is_over(may) and home.is_over(may_not))
    assert home.run(may)[:2] == ("Completed", 0)
    assert home.log(may, attempt=2) == lines(100)
    told = home.rows("SELECT e.reason FROM runs_runevent e JOIN runs_run r ON r.id = e.run_id WHERE r.run_id = ?", may)
    assert "The machine restarted while it ran. It starts over from its first line: attempt 2 of 2." in {
        r for (r,) in told
    }
    assert home.run(may_not) == ("Failed", None, "The machine restarted while it ran. It has used all its attempts: 1.")
    until(lambda: not home.left(), 10)


def restart_the_machine(home: Home, run: str) -> None:
    """Leave of a run what a power cut leaves: no process, and what was written under another boot id."""
    for process in home.processes(run):
        process.kill()
    now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    other = "00000000-0000-4000-8000-000000000000"
    file = home.control(run) / "pid.json"
    file.write_text(file.read_text().replace(now, other))
    with closing(sqlite3.connect(home.data / "db.sqlite3", timeout=20)) as database, database:
        database.execute("UPDATE compute_job SET handle = replace(handle, ?, ?) WHERE run_id = ?", (now, other, run))


def test_while_the_data_directory_is_away_the_studio_says_so_and_goes_on_when_it_is_back(home: Home):
    run = home.submit("local", SCRIPT.format(lines=120, code=3))
    until_running(home, run)
    away = home.data.with_name("away")
    home.data.rename(away)
    try:
        with pytest.raises(HTTPError) as answer:
            home.person.get("/w/default/runs/")
        assert answer.value.code == 503
        assert "data directory cannot be reached" in answer.value.read().decode()
        time.sleep(6)  # every task of the clock has met it once
        assert not home.data.exists(), "something made a second, empty one in its place"
    finally:
        away.rename(home.data)
    until(home.studio.is_healthy)
    until(lambda: home.is_over(run))
    assert home.run(run)[:2] == ("Failed", 3)
    assert home.log(run) == lines(120)


def test_a_studio_is_brought_up_to_date_while_its_runs_go_on(home: Home):
    ends_badly, goes_on = (home.submit("chaos", SCRIPT.format(lines=n, code=3)) for n in (40, 600))
    waits = [home.submit("chaos", SCRIPT.format(lines=2, code=0)) for _ in range(4)]
    until_running(home, ends_badly, goes_on)
    home.stop()
    manage(home, "migrate", "compute", "0008", "--verbosity=0")  # as one left it that knew no ledger yet
    assert home.rows("SELECT name FROM sqlite_master WHERE name LIKE 'quotas%' OR name LIKE 'usage%'") == []
    home.start()
    until(lambda: all(map(home.is_over, [ends_badly, *waits])))
    assert home.run(ends_badly)[:2] == ("Failed", 3)
    assert home.log(ends_badly) == lines(40)
    assert [home.run(run)[:2] for run in waits] == [("Completed", 0)] * 4
    assert home.run(goes_on)[0] == "Running"
    home.person.get("/w/default/runs/")
    home.person.post(f"/w/default/runs/{goes_on}/cancel/")
    until(lambda: home.is_over(goes_on))
    assert home.run(goes_on)[0] == "Canceled"
    for command in ("ledger", "usage"):
        manage(home, command)  # ends with 1 where something is wrong


def manage(home: Home, *arguments: str) -> None:
    command = [sys.executable, "manage.py", *arguments]
    subprocess.run(command, cwd=CHECKOUT, env=environ(STUDIO_DATA=str(home.data)), capture_output=True, check=True)


# ----- a full disk

WAITING = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
print("line 0", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a studio whose data directory is on a disk of its own, of 50 MB."""
    monkeypatch.setenv("STUDIO_DISK_FLOOR_BYTES", "1")
    home = Home(tmp_path)
    home.data.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m,mode=700", "none", home.data], check=True)
    try:
        home.start()
        yield home
        home.stop()
    finally:
        subprocess.run(["umount", "--lazy", home.data], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no byte free in here, and none that somebody gives back."""
    enough = threading.Event()

    def fill() -> None:
        with (folder / "filler").open("wb", buffering=0) as filler:
            while not enough.wait(0.01):
                with suppress(OSError):
                    while filler.write(b"x" * 4096):
                        continue

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        until(lambda: shutil.disk_usage(folder).free == 0)
        yield
    finally:
        enough.set()
        filling.join()
        (folder / "filler").unlink()


def submit_for_ever(home: Home, known: set[str]) -> None:
    while True:
        known.add(home.submit("local", "print('later')"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_said_and_costs_no_exit_code_and_nothing_that_was_acknowledged(small: Home):
    run = small.submit("local", WAITING)
    until_running(small, run)
    known = {run}
    shepherd, program = small.processes(run)
    with filled(small.data):
        with pytest.raises(HTTPError) as answer:
            submit_for_ever(small, known)  # what is free in files that are there already takes a few
        assert answer.value.code == 503
        refused = answer.value.read().decode()
        assert "takes nothing more" in refused
        assert "Nothing of what you sent was stored" in refused
        program.send_signal(signal.SIGUSR1)
        until(lambda: not is_alive(program))
        last_word = small.data / "jobs" / run / "1" / "control-0" / "exit.json"
        assert last_word.exists() or is_alive(shepherd)  # it waits for room, and gives up what its own files had
    until(lambda: all(map(small.is_over, known)))
    assert small.run(run)[:2] == ("Failed", 3)
    assert small.log(run) == "line 0\n"
    assert {r for (r,) in small.rows("SELECT run_id FROM runs_run")} == known
    assert {small.run(other)[:2] for other in known - {run}} <= {("Completed", 0)}
    assert small.rows("PRAGMA integrity_check") == [("ok",)]
    assert small.person.get("/w/default/runs/")
