"""Real processes, started, watched and ended."""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from compute import control, processes, procfs
from compute.drivers.base import Handle, JobReport, Phase
from compute.drivers.local import LocalDriver
from compute.models import ComputeTarget
from compute.processes import ProcessReport, ProcessSpec
from compute.states import EndReason

T = TypeVar("T")
Make = Callable[..., ProcessSpec]

# Forks twice into a session of its own and says its pid; what it becomes ignores TERM, as the program itself does.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    open("daemon", "w").write(str(os.getpid()))
    time.sleep(60)
while not os.path.exists("daemon"):
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(60)
"""


def until(condition: Callable[[], T | None], seconds: float = 10) -> T:
    """Return what `condition` says as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)
    return value


def ended(handle: Handle) -> ProcessReport:
    """Wait for the end of a program."""
    return in_phase(handle, Phase.ENDED)


def running(handle: Handle) -> ProcessReport:
    """Wait for the start of a program."""
    return in_phase(handle, Phase.RUNNING)


def in_phase(handle: Handle, phase: Phase) -> ProcessReport:
    def looked() -> ProcessReport | None:
        report = processes.look(handle)
        return report if report.phase == phase else None

    return until(looked)


def alive(pid: int) -> bool:
    process = procfs.look_at(pid)
    return process is not None and not process.is_zombie


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Describe a Python program, or any command; what is left of it after the test is killed."""
    made = []

    def describe(code: str = "", *, name: str = "control-0", **changes: Any) -> ProcessSpec:
        work = tmp_path / "rank-0"
        work.mkdir(exist_ok=True)
        facts: dict[str, Any] = {
            "argv": [sys.executable, "-I", "-S", "-c", code],
            "cwd": work,
            "env": {"PATH": "/usr/bin:/bin"},
            "log": tmp_path / f"{name}.txt",
            "folder": tmp_path / name,
            "tag": f"test.{os.getpid()}.{tmp_path.name}",
            "grace_seconds": 0.3,
        }
        made.append(ProcessSpec(**facts | changes))
        return made[-1]

    yield describe
    for spec in made:
        claim = control.read_json(str(spec.folder / "pid.json"))
        for process in procfs.tagged(spec.tag, spec.folder.name):
            procfs.send(process, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while claim.get("boot_id") == procfs.boot_id() and alive(claim["pid"]) and time.monotonic() < deadline:
            time.sleep(0.005)


def test_the_log_is_what_the_program_wrote_byte_for_byte(make: Make) -> None:
    spec = make(r"""import os; os.write(1, b"one\r\xff\xfe\0two\n"); os.write(2, b"\x1b[31mthree")""")
    spec.log.write_bytes(b"before\n")
    report = ended(processes.start(spec))
    assert (report.exit_code, report.reason, report.detail) == (0, EndReason.EXITED, "")
    assert spec.log.read_bytes() == b"before\none\r\xff\xfe\0two\n\x1b[31mthree"


def test_a_program_sees_its_own_variables_and_no_others(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "the studio's")
    spec = make(argv=["/bin/cat", "/proc/self/environ"], env={"A": "ä b\n", "PATH": "/bin"})
    ended(processes.start(spec))
    told = set(spec.log.read_bytes().rstrip(b"\0").split(b"\0"))
    assert told == {
        "A=ä b\n".encode(),
        b"PATH=/bin",
        f"STUDIO_RUN_ID={spec.tag}".encode(),
        b"STUDIO_CONTROL=control-0",
    }


def test_the_shepherd_has_none_of_the_studios_variables_either(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "the studio's")
    handle = processes.start(make("import time; time.sleep(60)"))
    running(handle)
    assert b"SECRET_KEY" not in Path(f"/proc/{handle['pid']}/environ").read_bytes()
    processes.end(handle, EndReason.CANCELED)
    ended(handle)


def test_a_program_inherits_no_descriptor_of_the_studio(make: Make, tmp_path: Path) -> None:
    secret = os.open(tmp_path / "database", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(secret, True)
    try:
        code = """
import os, time
print([os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)], len(os.listdir("/proc/self/fd")), flush=True)
time.sleep(60)
"""
        spec = make(code)
        handle = processes.start(spec)
        until(lambda: spec.log.exists() and spec.log.read_bytes().endswith(b"\n"))
        shepherds = Path(f"/proc/{handle['pid']}/fd")
        until(lambda: {fd.name for fd in shepherds.iterdir()} == {"0", "1", "2"})  # for a moment it reads a file
        processes.end(handle, EndReason.CANCELED)
        ended(handle)
    finally:
        os.close(secret)
    # The fourth is the listing's own.
    assert spec.log.read_text() == f"{['/dev/null', str(spec.log), str(spec.log)]} 4\n"


def test_a_program_starts_with_plain_signals_and_modest_claims(make: Make) -> None:
    code = """
import os, resource
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["SigBlk"], 16), os.getpid() == os.getpgid(0) == os.getsid(0), os.nice(0),
      resource.getrlimit(resource.RLIMIT_CORE), open("/proc/self/oom_score_adj").read().strip(),
      os.sched_getaffinity(0), os.getcwd())
"""
    spec = make(code, cpus=[0], nice=3)
    ended(processes.start(spec))
    nice = os.nice(0) + 3
    assert spec.log.read_text() == f"0 True {nice} (0, 0) 500 {{0}} {spec.cwd}\n"
    spec = make(argv=["grep", "SigIgn", "/proc/self/status"], name="control-1")
    ended(processes.start(spec))
    assert int(spec.log.read_text().split()[1], 16) & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own


def test_an_exit_code_is_kept(make: Make) -> None:
    handle = processes.start(make("raise SystemExit(41)"))
    report = ended(handle)
    assert (report.exit_code, report.reason) == (41, EndReason.EXITED)
    assert report.started_at is not None
    assert report.ended_at is not None
    assert datetime.now(UTC) - timedelta(seconds=5) < report.started_at <= report.ended_at <= datetime.now(UTC)
    until(lambda: processes.pidfd(handle) is None)


def test_a_disk_that_takes_nothing_costs_no_exit_code(make: Make) -> None:
    spec = make("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit(41)")
    handle = processes.start(spec)
    running(handle)
    usual = resource.prlimit(handle["pid"], resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    (Path(spec.cwd) / "go").touch()
    program = control.read_json(os.fspath(spec.folder / "pid.json"))["program"]["pid"]
    until(lambda: not alive(program))
    for _change in range(4):  # each try makes a file and takes it away: two changes at most
        seen = spec.folder.stat().st_mtime_ns
        until(lambda seen=seen: spec.folder.stat().st_mtime_ns != seen)  # type: ignore[misc]
    assert processes.look(handle).phase == Phase.RUNNING  # its end cannot be written down yet, and is not forgotten
    resource.prlimit(handle["pid"], resource.RLIMIT_FSIZE, usual)
    assert (ended(handle).exit_code, ended(handle).reason) == (41, EndReason.EXITED)
    until(lambda: processes.pidfd(handle) is None)
    assert {file.name for file in spec.folder.iterdir()} <= {
        "spec.json", "spec.marshal", "pid.json", "exit.json", "shepherd.log",
    }  # fmt: skip


def test_what_fills_the_disk_can_be_canceled(make: Make) -> None:
    handle = processes.start(make("import time; time.sleep(60)"))
    running(handle)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, usual[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            processes.end(handle, EndReason.PREEMPTED)  # comes again: its reason has to be told
        processes.end(handle, EndReason.CANCELED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert ended(handle).reason == EndReason.CANCELED


def test_a_program_that_crashes_is_told_by_its_signal(make: Make) -> None:
    report = ended(processes.start(make("import os; os.kill(os.getpid(), 11)")))
    assert (report.exit_code, report.reason, report.detail) == (-11, EndReason.EXITED, "ended by SIGSEGV")


@pytest.mark.parametrize(
    ("changes", "code", "problem"),
    [
        ({"argv": ["no-such-program"]}, 127, "no-such-program: No such file or directory"),
        ({"argv": ["/"]}, 126, "/: Permission denied"),
        ({"cwd": Path("/no/such/folder")}, 127, "in /no/such/folder: No such file or directory"),
    ],
)
def test_a_program_that_cannot_be_started_says_why_in_its_log(
    make: Make, changes: dict[str, Any], code: int, problem: str
) -> None:
    spec = make(**changes)
    report = ended(processes.start(spec))
    assert (report.exit_code, report.reason) == (code, EndReason.NOT_STARTED)
    assert report.detail == f"cannot start {problem}"
    assert spec.log.read_text() == f"studio: cannot start {problem}\n"


def test_a_log_that_cannot_be_opened_keeps_the_program_from_starting(make: Make, tmp_path: Path) -> None:
    report = ended(processes.start(make("open('ran', 'w')", log=tmp_path / "no" / "folder.txt")))
    assert report.reason == EndReason.NOT_STARTED
    assert "FileNotFoundError" in report.detail
    assert not (tmp_path / "rank-0" / "ran").exists()


def test_start_returns_at_once_and_its_handle_is_json(make: Make) -> None:
    took = []
    for number in range(3):
        before = time.perf_counter()
        handle = processes.start(make("", name=f"control-{number}"))
        took.append(time.perf_counter() - before)
        assert json.loads(json.dumps(handle)) == handle
        ended(handle)
    assert min(took) < 0.03  # 3 ms on a quiet machine


def test_starting_twice_starts_once(make: Make) -> None:
    spec = make("open('starts', 'a').write('x'); import time; time.sleep(0.3)")
    with ThreadPoolExecutor(4) as pool:
        handles = list(pool.map(processes.start, [spec] * 4))
    handles.append(processes.start(spec))
    reports = [ended(handle) for handle in handles]
    assert (spec.cwd / "starts").read_text() == "x"
    assert {report.exit_code for report in reports} == {0}
    assert ended(processes.start(spec)) == reports[0]
    assert (spec.cwd / "starts").read_text() == "x"


def test_a_program_outlives_the_one_who_started_it(make: Make) -> None:
    spec = make("import time; print('one', flush=True); time.sleep(0.6); print('two')")
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in vars(spec).items()}
    starter = f"""
import json, os, sys, time
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django
from pathlib import Path
from compute import processes
facts = json.loads({json.dumps(json.dumps(facts))})
spec = processes.ProcessSpec(**facts | {{name: Path(facts[name]) for name in ("cwd", "log", "folder")}})
print(json.dumps(processes.start(spec)), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, start_new_session=True) as worker:
        assert worker.stdout
        handle = json.loads(worker.stdout.readline())
        running(handle)
        assert not procfs.descendants(worker.pid)  # nobody's child, so nobody's zombie
        os.killpg(worker.pid, signal.SIGKILL)
    report = ended(handle)
    assert (report.exit_code, report.reason) == (0, EndReason.EXITED)
    assert spec.log.read_text() == "one\ntwo\n"


def test_cancel_ends_a_tree_that_forks_twice_leaves_the_session_and_ignores_term(make: Make) -> None:
    spec = make(STUBBORN)
    handle = processes.start(spec)
    until(lambda: spec.log.exists() and b"ready" in spec.log.read_bytes())
    main = control.read_json(str(spec.folder / "pid.json"))["program"]["pid"]
    daemon = int((spec.cwd / "daemon").read_text())
    processes.end(handle, EndReason.CANCELED)
    processes.end(handle, EndReason.PREEMPTED)  # the first reason stays
    assert processes.look(handle).phase == Phase.RUNNING
    report = ended(handle)
    assert (report.exit_code, report.reason) == (-9, EndReason.CANCELED)
    assert not alive(main)
    assert not alive(daemon)
    signalled = {(entry["pid"], entry["signal"]) for entry in report.receipt["signalled"]}
    assert signalled == {(pid, name) for pid in (main, daemon) for name in ("SIGTERM", "SIGKILL")}
    assert all("python" in entry["command"] for entry in report.receipt["signalled"])
    assert report.receipt["left"] == []
    moments = [datetime.fromisoformat(report.receipt[name]) for name in ("term_at", "kill_at", "empty_at")]
    assert 0.3 <= (moments[1] - moments[0]).total_seconds() < 1
    assert (moments[2] - moments[1]).total_seconds() < 1


def test_a_program_that_heeds_term_is_not_killed(make: Make) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(7)))
print("ready", flush=True)
time.sleep(60)
"""
    spec = make(code, grace_seconds=5)
    handle = processes.start(spec)
    until(lambda: spec.log.exists() and b"ready" in spec.log.read_bytes())
    processes.end(handle, EndReason.PREEMPTED)
    report = ended(handle)
    assert (report.exit_code, report.reason) == (7, EndReason.PREEMPTED)
    assert [entry["signal"] for entry in report.receipt["signalled"]] == ["SIGTERM"]
    assert report.receipt["kill_at"] is None
    assert spec.log.read_text() == "ready\nsaved\n"


def test_an_order_to_end_is_heeded_however_early_it_comes(make: Make) -> None:
    for number in range(5):
        handle = processes.start(make("import time; time.sleep(60)", name=f"control-{number}"))
        time.sleep(0.005 * number)
        processes.end(handle, EndReason.CANCELED)
        assert ended(handle).reason == EndReason.CANCELED


def test_what_a_program_leaves_behind_is_ended(make: Make) -> None:
    spec = make(argv=["sh", "-c", "setsid sleep 61 & exit 5"], grace_seconds=5)
    report = ended(processes.start(spec))
    assert (report.exit_code, report.reason) == (5, EndReason.EXITED)
    assert [(entry["command"], entry["signal"]) for entry in report.receipt["signalled"]] == [("sleep 61", "SIGTERM")]
    assert not procfs.tagged(spec.tag, spec.folder.name)


def test_one_rank_of_a_run_is_ended_and_the_other_goes_on(make: Make) -> None:
    first, second = (processes.start(make("import time; time.sleep(60)", name=f"control-{rank}")) for rank in (0, 1))
    running(first)
    running(second)
    processes.end(first, EndReason.CANCELED)
    ended(first)
    assert processes.look(second).phase == Phase.RUNNING
    processes.end(second, EndReason.CANCELED)
    ended(second)


def test_a_tree_over_its_memory_ceiling_is_ended(make: Make) -> None:
    code = """
import os, time
os.fork()
kept = bytearray(os.urandom(1024)) * (60 * 1024)
time.sleep(60)
"""
    report = ended(processes.start(make(code, memory_bytes=100 * 2**20)))
    assert report.reason == EndReason.MEMORY
    used, limit = report.detail.removeprefix("used ").removesuffix(" MB").split(" of ")
    assert (float(used) > 100, limit) == (True, "100")
    assert report.peak_memory_bytes is not None
    assert report.peak_memory_bytes > 100 * 2**20


def test_shared_memory_is_counted_once(make: Make) -> None:
    code = """
import os, time
kept = bytearray(os.urandom(1024)) * (60 * 1024)
for _ in range(3):
    if os.fork() == 0:
        time.sleep(0.7)
        os._exit(0)
time.sleep(0.8)
"""
    report = ended(processes.start(make(code, memory_bytes=120 * 2**20)))
    assert (report.reason, report.exit_code) == (EndReason.EXITED, 0)


def test_a_program_runs_no_longer_than_its_maximum(make: Make) -> None:
    report = ended(processes.start(make("import time; time.sleep(60)", max_seconds=0.4)))
    assert (report.reason, report.detail) == (EndReason.DURATION, "ran for its maximum of 0.4 s")
    assert report.started_at is not None
    assert report.ended_at is not None
    assert 0.4 <= (report.ended_at - report.started_at).total_seconds() < 1


def test_usage_is_told_while_it_runs(make: Make) -> None:
    handle = processes.start(make("kept = b'x' * 50_000_000\nwhile True: pass", nice=0))
    usage = until(lambda: used if (used := processes.usage(handle)) and used.cpu_percent > 5 else None)
    assert usage.memory_bytes > 50_000_000
    assert datetime.now(UTC) - usage.at < timedelta(seconds=2)
    processes.end(handle, EndReason.CANCELED)
    ended(handle)
    assert processes.usage(handle) is None


def test_the_descriptor_becomes_readable_when_it_is_over(make: Make) -> None:
    handle = processes.start(make("import time; time.sleep(0.3)"))
    fd = processes.pidfd(handle)
    assert fd is not None
    try:
        assert select.select([fd], [], [], 0) == ([], [], [])
        assert select.select([fd], [], [], 5) == ([fd], [], [])
    finally:
        os.close(fd)
    assert processes.look(handle).exit_code == 0


def test_a_pid_that_another_process_got_is_neither_believed_nor_signalled(make: Make) -> None:
    spec = make()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        process = procfs.look_at(stranger.pid)
        assert process is not None
        mine = {"pid": process.pid, "start_time": process.start_time, "boot_id": procfs.boot_id()}
        spec.folder.mkdir()
        for forged in (mine | {"start_time": process.start_time - 1}, mine | {"boot_id": "another"}):
            handle = {"folder": str(spec.folder), "tag": spec.tag, **forged}
            claim = forged | {"program": mine, "started_at": "2026-01-01T00:00:00+00:00"}
            (spec.folder / "pid.json").write_text(json.dumps(claim))
            assert processes.pidfd(handle) is None
            report = processes.look(handle)
            assert (report.phase, report.reason) == (Phase.ENDED, EndReason.LOST)
            processes.end(handle, EndReason.CANCELED)
        assert stranger.poll() is None
        stranger.kill()


def test_a_program_whose_shepherd_was_killed_is_found_and_ended(make: Make) -> None:
    spec = make(STUBBORN)
    handle = processes.start(spec)
    until(lambda: spec.log.exists() and b"ready" in spec.log.read_bytes())
    os.kill(handle["pid"], signal.SIGKILL)
    until(lambda: not alive(handle["pid"]))
    report = processes.look(handle)
    assert (report.phase, report.detail) == (Phase.RUNNING, "Its shepherd is gone: its exit code will not be known.")
    processes.end(handle, EndReason.CANCELED)
    processes.end(handle, EndReason.CANCELED)
    report = ended(handle)
    assert (report.exit_code, report.reason) == (None, EndReason.CANCELED)
    assert {entry["signal"] for entry in report.receipt["signalled"]} == {"SIGTERM", "SIGKILL"}
    assert report.receipt["left"] == []
    assert not procfs.tagged(spec.tag, spec.folder.name)


def test_what_is_left_is_ended_even_when_its_control_folder_is_gone(make: Make) -> None:
    spec = make(STUBBORN, grace_seconds=0.1)
    handle = processes.start(spec)
    until(lambda: spec.log.exists() and b"ready" in spec.log.read_bytes())
    shutil.rmtree(spec.folder)
    processes.end(handle, EndReason.CANCELED)
    until(lambda: not procfs.tagged(spec.tag, spec.folder.name))
    assert ended(handle).reason == EndReason.LOST


def test_a_program_that_left_neither_process_nor_exit_code_is_lost(make: Make) -> None:
    spec = make("import time; time.sleep(60)")
    handle = processes.start(spec)
    running(handle)
    program = control.read_json(str(spec.folder / "pid.json"))["program"]["pid"]
    os.kill(handle["pid"], signal.SIGKILL)
    os.kill(program, signal.SIGKILL)
    report = ended(handle)
    assert (report.exit_code, report.reason) == (None, EndReason.LOST)
    assert report.detail == "Neither its processes nor its exit code are there any more."
    processes.end(handle, EndReason.CANCELED)  # is fine
    assert processes.look(handle | {"boot_id": "another"}).detail == "The machine restarted while it ran."
    assert processes.start(spec)["pid"] == handle["pid"]  # and is not started a second time


def test_what_is_told_to_end_by_a_machine_that_goes_down_is_not_lost(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody is told to end, the studio last: what became of it is only known at the next boot."""
    handle = processes.start(make("import time; time.sleep(60)"))
    running(handle)
    os.kill(handle["pid"], signal.SIGTERM)
    report = ended(handle)
    assert report.reason == EndReason.LOST

    def told(boot_id: str) -> JobReport:
        (said,) = LocalDriver(ComputeTarget()).follow({"ranks": [handle | {"boot_id": boot_id}]}, 0)
        return said

    assert told(handle["boot_id"]).phase == Phase.RUNNING
    after = told("another")
    assert (after.phase, after.reason) == (Phase.ENDED, EndReason.PREEMPTED)
    monkeypatch.setattr(processes, "GOES_DOWN_WITHIN", timedelta(0))  # it did not go down
    assert (told(handle["boot_id"]).phase, told(handle["boot_id"]).reason) == (Phase.ENDED, EndReason.LOST)


@pytest.mark.parametrize("rubbish", [b"", b'{"code": ', b"[]", b"\xff\0", b"[" * 100_000])
def test_a_file_that_was_cut_is_as_good_as_none(make: Make, rubbish: bytes) -> None:
    spec = make("import time; time.sleep(60)")
    handle = processes.start(spec)
    running(handle)
    os.kill(handle["pid"], signal.SIGSTOP)  # or it writes its usage anew
    for name in ("exit.json", "usage.json", "sweep.json"):
        (spec.folder / name).write_bytes(rubbish)
    assert processes.look(handle).phase == Phase.RUNNING
    (spec.folder / "pid.json").write_bytes(rubbish)
    assert processes.look(handle).phase == Phase.STARTING
    assert processes.usage(handle) is None
    processes.end(handle, EndReason.CANCELED)
    os.kill(handle["pid"], signal.SIGCONT)
    assert ended(handle).reason == EndReason.CANCELED


def test_a_shepherd_costs_next_to_nothing_while_it_waits(make: Make) -> None:
    handle = processes.start(make("import time; time.sleep(60)", memory_bytes=2**30))
    running(handle)
    first = procfs.look_at(handle["pid"])
    time.sleep(1.5)
    second = procfs.look_at(handle["pid"])
    assert first is not None
    assert second is not None
    assert second.cpu_ticks - first.cpu_ticks <= 3
    processes.end(handle, EndReason.CANCELED)
    ended(handle)


def test_no_zombie_remains(make: Make) -> None:
    handle = processes.start(make(argv=["sh", "-c", "for i in 1 2 3; do (sleep 0 &) ; done; sleep 0.4"]))
    running(handle)
    time.sleep(0.2)
    assert [process for process in procfs.descendants(handle["pid"]) if process.is_zombie] == []
    assert ended(handle).receipt["signalled"] == []
    assert [process for process in procfs.descendants(os.getpid()) if process.is_zombie] == []


@pytest.fixture
def spare() -> Iterator[processes._Spare]:
    """Have a shepherd ready; none is left afterwards."""
    processes.keep_spare()
    ready = processes._spares.get_nowait()
    processes._spares.put(ready)
    yield ready
    while not processes._spares.empty():
        os.close(processes._spares.get_nowait().names)


def test_a_spare_shepherd_takes_the_next_program_and_tells_of_it_as_any_other(
    make: Make, spare: processes._Spare
) -> None:
    handle = processes.start(make("print('from a spare'); raise SystemExit(3)"))
    assert handle["pid"] == spare.identity["pid"]
    assert ended(handle).exit_code == 3
    assert Path(handle["folder"]).parent.joinpath("control-0.txt").read_text() == "from a spare\n"


def test_after_a_spare_was_taken_another_stands_ready(make: Make, spare: processes._Spare) -> None:
    first = processes.start(make("pass"))
    until(lambda: not processes._spares.empty())
    second = processes.start(make("pass", name="control-1"))
    assert first["pid"] != second["pid"]
    assert ended(first).exit_code == ended(second).exit_code == 0


def test_a_spare_that_was_killed_is_replaced_by_a_shepherd_of_its_own(make: Make, spare: processes._Spare) -> None:
    os.kill(spare.identity["pid"], signal.SIGKILL)
    until(lambda: not alive(spare.identity["pid"]))
    assert ended(processes.start(make("raise SystemExit(4)"))).exit_code == 4


def test_a_spare_leaves_when_whoever_kept_it_is_gone() -> None:
    code = (
        "from compute import processes; processes.keep_spare(); print(processes._spares.get().identity['pid'],"
        " flush=True); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    keeper = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    pid = int(keeper.stdout)
    until(lambda: not alive(pid))
