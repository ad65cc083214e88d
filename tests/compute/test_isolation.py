"""What a run can reach, tried by runs: secrets, database, other runs, the studio's processes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compute import confinement, ending, isolation, launch, logs, processes, procfs, shepherd
from compute.actions import ensure_local
from compute.drivers.base import Phase
from compute.models import Job
from compute.processes import Confinement, ProcessReport, ProcessSpec
from compute.states import EndReason, JobState
from studio.people.models import Workspace

is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="needs a studio that is root")
needs_landlock = pytest.mark.skipif(not confinement.landlock_version(), reason="the kernel offers no Landlock")

# Tries what it is told to, and says how each went.
PRYING = r"""
import ctypes, json, os, socket, sys

def tries(verb, what):
    try:
        if verb == "read":
            with open(what, "rb") as file:
                return file.read(200).decode(errors="replace")
        if verb == "list":
            return sorted(os.listdir(what))
        if verb == "write":
            with open(what, "a") as file:
                return file.write("x")
        if verb == "connect":
            socket.socket(socket.AF_UNIX).connect(what)
            return "connected"
        if verb == "signal":
            return os.kill(int(what), 0)
        if verb == "trace":
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.ptrace(16, int(what), 0, 0):
                raise OSError(ctypes.get_errno(), "refused")
            return "traced"
    except OSError as exc:
        return ["refused", exc.errno]

facts = {f"{verb} {what}": tries(verb, what) for verb, what in json.loads(sys.argv[1])}
facts |= {"user": os.getuid(), "groups": os.getgroups(), "variables": sorted(os.environ)}
print(json.dumps(facts))
"""
Start = Callable[..., Job]


@pytest.fixture(params=["its own user", "passing through", "landlock"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> isolation.Means:
    """Let the studio have all the means of this machine, or fewer, as in a container or without root."""
    have = isolation.means()
    match request.param:
        case "its own user" if have.users and have.mounts:
            chosen = have
        case "passing through" if have.users:
            chosen = isolation.Means(True, True, False, have.landlock)
        case "landlock" if have.landlock:
            chosen = isolation.Means(have.is_root, False, False, have.landlock)
        case _:
            pytest.skip("this machine does not offer it")
    monkeypatch.setattr(isolation, "means", lambda: chosen)
    return chosen


@pytest.fixture
def studio(settings: Any) -> Iterator[Path]:
    """Give the studio a data directory with everything in one, as `manage.py up` has it, and a queue that listens."""
    data = Path(tempfile.mkdtemp(prefix="studio-apart-"))
    settings.DATA_DIR = data
    for name in ("LOG_DIR", "SNAPSHOT_DIR", "JOB_DIR", "ENVIRONMENT_DIR"):
        folder = data / name.removesuffix("_DIR").lower()
        setattr(settings, name, folder)
        folder.mkdir()
    (data / "snapshot" / "blob").write_text("another's code")
    (data / "secret_key").write_text("sesame")
    (data / "secret_key").chmod(0o600)
    (data / "db.sqlite3").write_text("rows")  # as SQLite makes it: for all to read
    with socket.socket(socket.AF_UNIX) as queue:
        os.chdir(data)
        queue.bind("valkey.sock")
        (data / "valkey.sock").chmod(0o700)
        queue.listen()
        os.chdir(settings.BASE_DIR)
        yield data
    shutil.rmtree(data)


@pytest.fixture
def start(workspace: Workspace, means: isolation.Means) -> Start:
    """Start a script as the job of a run on this computer."""
    python = sys.executable
    if means.users and not means.mounts and confinement.walls([os.path.realpath(python)], [], 1):
        python = "/usr/bin/python3"  # the tests' own lies where no other user gets to
        if not Path(python).exists():
            pytest.skip("no Python is open to other users")

    def start(code: str, *arguments: str, name: str = "run", nodes: int = 1) -> Job:
        job = Job.objects.create(
            target=ensure_local(workspace),
            run_id=name,
            run_name=name,
            state=JobState.STARTING,
            node_count=nodes,
            spec={
                "script": "train.py",
                "arguments": list(arguments),
                "interpreter": python,
                "variables": {},
                "experiment": "digits",
            },
        )

        def fill(folder: Path) -> None:
            folder.mkdir(parents=True)
            (folder / "train.py").write_text(code)

        launch.prepare(job, fill)
        job.handle = launch.launch(job, [None] * nodes)
        return job

    return start


def ended(job: Job, seconds: float = 20) -> ProcessReport:
    deadline = time.monotonic() + seconds
    while (report := processes.look(job.handle["ranks"][0])).phase != Phase.ENDED:
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.01)
    return report


def output(job: Job) -> str:
    key = launch.log_key(job)
    return logs.read(key, 0, logs.size(key)).decode()


@pytest.mark.django_db
def test_a_run_reaches_nothing_of_the_studio_or_of_another_run(
    means: isolation.Means, studio: Path, start: Start
) -> None:
    other = start("open('outputs/result', 'w').write('theirs'); print('their log')", name="other")
    assert ended(other).exit_code == 0, output(other)
    web = os.getpid()
    tries = [
        ("read", studio / "secret_key"),
        ("read", studio / "db.sqlite3"),
        ("write", studio / "db.sqlite3"),
        ("list", studio),
        ("list", studio / "snapshot"),
        ("read", studio / "snapshot" / "blob"),
        ("read", other.folder / "rank-0" / "train.py"),
        ("list", other.folder / "rank-0" / "outputs"),
        ("read", logs.path(launch.log_key(other))),
        ("read", studio / "job" / "run" / "1" / "control-0" / "spec.json"),
        ("write", studio / "job" / "run" / "1" / "control-0" / "exit.json"),
        ("read", f"/proc/{web}/environ"),
        ("list", f"/proc/{web}/cwd"),
        ("signal", web),
        ("trace", web),
    ]
    if means.users:
        tries.append(("connect", studio / "valkey.sock"))
    said = [[verb, str(what)] for verb, what in tries]
    job = start(PRYING, json.dumps(said))
    report = ended(job)
    assert report.exit_code == 0, (report, output(job))
    told = json.loads(output(job))
    for verb, what in said:
        answer = told[f"{verb} {what}"]
        harmless = answer if means.mounts and verb == "list" and isinstance(answer, list) else ["refused"]
        assert answer[:1] == ["refused"] or set(harmless) <= {"job"}, (verb, what, answer)
    assert not {"SECRET_KEY", "DATABASE_URL", "STUDIO_DATA"} & set(told["variables"])
    if means.users:
        assert (told["user"], told["groups"]) == (isolation.user_of(job), [])
        assert told["user"] != isolation.user_of(other)


@pytest.mark.django_db
def test_a_run_works_in_its_own_folders_as_ever(means: isolation.Means, studio: Path, start: Start) -> None:
    code = """
import getpass, os, pathlib, subprocess, sys, tempfile, time
rank = os.environ["RANK"]
pathlib.Path("outputs", rank).write_text("kept")
os.replace("outputs/" + rank, "logs/" + rank)
os.replace("logs/" + rank, "outputs/" + rank)
with tempfile.NamedTemporaryFile() as file:
    file.write(b"x")
assert pathlib.Path.home().joinpath("x").write_text("x")
assert getpass.getuser()
import json, ssl, sqlite3
print(subprocess.run([sys.executable, "-c", "print('a child')"], capture_output=True, text=True, check=True).stdout)
open("/dev/stdout", "a").write("by its name")
open("/dev/null", "w").write("x")
"""
    job = start(code, nodes=2)
    for rank, handle in enumerate(job.handle["ranks"]):
        while (report := processes.look(handle)).phase != Phase.ENDED:
            time.sleep(0.01)
        key = launch.log_key(job, rank)
        text = logs.read(key, 0, 5000).decode()
        assert report.exit_code == 0, (report, text)
        assert text == "a child\n\nby its name"
    outputs = job.folder / "rank-0" / "outputs"
    assert sorted(file.name for file in outputs.iterdir()) == ["0", "1"]


@pytest.mark.django_db
def test_what_a_run_closed_is_open_to_the_studio(means: isolation.Means, studio: Path, start: Start) -> None:
    code = """
import os
os.makedirs("outputs/deep")
open("outputs/deep/result", "w").write("97 %")
for path in ("outputs/deep/result", "outputs/deep", "outputs", "."):
    os.chmod(path, 0)
"""
    job = start(code)
    assert ended(job).exit_code == 0, output(job)
    result = job.folder / "rank-0" / "outputs" / "deep" / "result"
    assert result.read_text() == "97 %"
    assert subprocess.run(["rm", "-r", job.folder], check=False).returncode == 0


@needs_root
def test_nothing_is_given_away_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "passwd").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "system")
    isolation.give(folder, 2_000_000_123)
    assert (folder / "link").lstat().st_uid == folder.stat().st_uid == 2_000_000_123
    assert (tmp_path / "system" / "passwd").stat().st_uid == (tmp_path / "system").stat().st_uid == 0


def test_of_a_hidden_folder_in_a_hidden_folder_the_outer_one_is_covered() -> None:
    """In whatever order they are met: the inner one is not there any more when the outer one is covered."""
    names = "abcdefgh"
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        for name in names:
            Path(top, "data", name).mkdir(parents=True)
        hidden = [f"{top}/data/{name}" for name in names] + [f"{top}/data"]
        assert confinement.walls([], hidden, 1) == {f"{top}/data": []}


@needs_landlock
def test_a_studio_that_is_not_root_keeps_its_runs_apart_too(tmp_path: Path) -> None:
    """The same, with a studio of user 65534: its run is the same user, and is kept out by Landlock alone."""
    for name in ("secret_key", "other/result"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("theirs")
    (tmp_path / "rank-0").mkdir()
    (tmp_path / "train.py").write_text(PRYING)
    tries = [["read", f"{tmp_path}/secret_key"], ["list", f"{tmp_path}/other"], ["write", f"{tmp_path}/rank-0/x"]]
    code = f"""
import json, os, sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from compute import processes
from compute.drivers.base import Phase
from compute.processes import Confinement, ProcessSpec
top = Path({str(tmp_path)!r})
web = str(os.getpid())
tries = {tries!r} + [["read", f"/proc/{{web}}/environ"], ["trace", web], ["signal", web]]
tries.append(["read", str(top / "train.py")])
handle = processes.start(ProcessSpec(
    argv=[sys.executable, str(top / "train.py"), json.dumps(tries)], cwd=top / "rank-0", env={{}}, log=top / "log",
    folder=top / "control", tag="apart", confinement=Confinement(
        own=[str(top / "rank-0")], read=[str(top / "train.py")], hide=[str(top)], landlock=True),
))
while processes.look(handle).phase != Phase.ENDED:
    time.sleep(0.01)
print(os.getuid(), flush=True)
"""
    command = [sys.executable, "-c", code]
    if is_root:
        subprocess.run(["chown", "-R", "65534:65534", tmp_path], check=True)
        needed = [*isolation._needed_by(Path(sys.executable)), Path(shepherd.__file__).parent.parent]
        plan = {
            "user": 65534, "groups": [], "mounts": True, "landlock": False, "hide": [], "read_only": [],
            "own": [str(tmp_path)], "links": isolation._links(sys.executable),
            "read": isolation._real(needed),
        }  # fmt: skip
        become = (
            "import json, os, sys; from compute import confinement\n"
            "confinement.confine(json.loads(sys.argv[1]), 1, '/'); os.execv(sys.argv[2], sys.argv[2:])"
        )
        command = [sys.executable, "-c", become, json.dumps(plan), *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (str(os.geteuid()) if not is_root else "65534")
    assert (tmp_path / "log").exists(), (tmp_path / "control" / "exit.json").read_text()
    told = json.loads((tmp_path / "log").read_text())
    answers = {key: value for key, value in told.items() if key not in {"user", "groups", "variables"}}
    assert told["user"] == int(done.stdout)
    kept_out = [key.split()[0] for key, value in answers.items() if isinstance(value, list) and value[0] == "refused"]
    expected = ["read", "list", "read", "trace"] + (["signal"] if confinement.landlock_version() >= 6 else [])
    assert kept_out == expected, answers
    assert answers[f"write {tmp_path}/rank-0/x"] == 1
    assert answers[f"read {tmp_path}/train.py"].startswith("\nimport ctypes")


def test_what_holds_is_said_for_every_kind_of_studio(monkeypatch: pytest.MonkeyPatch) -> None:
    for means in (
        isolation.Means(True, True, True, 7),
        isolation.Means(True, False, False, 7),
        isolation.Means(False, False, False, 7),
        isolation.Means(False, False, False, 0),
    ):
        monkeypatch.setattr(isolation, "means", lambda means=means: means)
        facts = isolation.what_holds()
        assert all(fact.mend for fact in facts if not fact.holds)
        assert facts[0].holds == means.users
        assert facts[1].holds == (means.users or means.landlock > 0)


# Limits


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[Callable[..., ProcessSpec]]:
    made: list[ProcessSpec] = []

    def describe(code: str, **changes: Any) -> ProcessSpec:
        (tmp_path / "rank-0").mkdir(exist_ok=True)
        facts: dict[str, Any] = {
            "argv": [sys.executable, "-I", "-S", "-c", code],
            "cwd": tmp_path / "rank-0",
            "env": {"PATH": "/usr/bin:/bin"},
            "log": tmp_path / "log",
            "folder": tmp_path / "control",
            "tag": f"isolation.{os.getpid()}.{tmp_path.name}",
            "grace_seconds": 0.3,
        }
        made.append(ProcessSpec(**facts | changes))
        return made[-1]

    yield describe
    for one in made:
        for process in procfs.tagged(one.tag, one.folder.name):
            procfs.send(process, 9)


def finished(handle: dict[str, Any], seconds: float = 20) -> ProcessReport:
    deadline = time.monotonic() + seconds
    while (report := processes.look(handle)).phase != Phase.ENDED:
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.01)
    return report


# Forks until it may not, and its children with it; no more than 600, whatever holds them.
BOMB = """
import os, time
made = 0
for n in range(600):
    try:
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    made = n + 1
print(made, flush=True)
time.sleep(60)
"""


def _alone(tmp_path: Path) -> Confinement:
    """Return what makes a program the only one of its user."""
    user = 2_099_999_999
    (tmp_path / "rank-0").mkdir(exist_ok=True)
    isolation.give(tmp_path / "rank-0", user)
    python = Path(sys.executable)
    return Confinement(
        user=user,
        mounts=True,
        own=[str(tmp_path / "rank-0")],
        read=isolation._real(isolation._needed_by(python)),
        links=isolation._links(str(python)),
    )


def test_a_fork_bomb_is_ended_and_told(spec: Callable[..., ProcessSpec]) -> None:
    described = spec(BOMB, most_processes=100)
    report = finished(processes.start(described))
    assert (report.reason, report.detail) == (EndReason.PROCESSES, "started more than 100 processes")
    assert report.receipt["left"] == []
    assert len(report.receipt["signalled"]) <= ending.MOST_TOLD
    assert not procfs.tagged(described.tag, described.folder.name)


# Each of them forks as fast as it can, for ever, and leaves no time to anybody; some leave group and session, too.
SPINNING_BOMB = """
import os, sys
print("begins", flush=True)
while True:
    try:
        if os.fork() == 0 and sys.argv[1:]:
            os.setsid()
    except OSError:
        pass
"""


@needs_root
@pytest.mark.skipif(is_root and not isolation.means().mounts, reason="needs mounts of its own")
@pytest.mark.parametrize("leaves", [[], ["leaves"]])
def test_a_bomb_that_leaves_no_time_to_anybody_is_ended(
    spec: Callable[..., ProcessSpec], tmp_path: Path, leaves: list[str]
) -> None:
    described = spec(SPINNING_BOMB, most_processes=100, most_tasks=300, confinement=_alone(tmp_path))
    described.argv.extend(leaves)
    report = finished(processes.start(described), seconds=90)
    assert (report.reason, report.detail) == (EndReason.PROCESSES, "started more than 100 processes")
    assert report.receipt["left"] == []
    assert not procfs.tagged(described.tag, described.folder.name)


@needs_root
@pytest.mark.skipif(is_root and not isolation.means().mounts, reason="needs mounts of its own")
def test_the_kernel_holds_a_fork_bomb_of_a_user_of_its_own(spec: Callable[..., ProcessSpec], tmp_path: Path) -> None:
    described = spec(BOMB, most_tasks=50, confinement=_alone(tmp_path))
    handle = processes.start(described)
    deadline = time.monotonic() + 10
    while not (described.log.exists() and described.log.read_bytes().endswith(b"\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert int(described.log.read_text()) == 49
    processes.end(handle, EndReason.CANCELED)
    assert finished(handle).receipt["left"] == []


def test_a_run_that_fills_its_folders_is_ended_and_told(spec: Callable[..., ProcessSpec], tmp_path: Path) -> None:
    code = """
import time
with open("big", "wb") as file:
    while True:
        file.write(bytes(1 << 20))
        file.flush()
        time.sleep(0.01)
"""
    report = finished(processes.start(spec(code, disk_bytes=8_000_000, disk=[str(tmp_path / "rank-0")])))
    assert report.reason == EndReason.DISK
    assert report.detail.startswith("used ")
    assert report.detail.endswith(" of 8 MB of disk")


def test_a_fast_hog_is_ended_before_the_machine_suffers(spec: Callable[..., ProcessSpec]) -> None:
    code = "kept = []\nwhile True: kept.append(b'x' * (64 << 20))"
    report = finished(processes.start(spec(code, memory_bytes=512 << 20)))
    assert report.reason == EndReason.MEMORY
    assert report.detail.endswith(" of 512 MB")
    assert report.peak_memory_bytes
    assert report.peak_memory_bytes < 8 << 30


def test_of_a_log_that_is_too_long_head_and_tail_are_kept(
    spec: Callable[..., ProcessSpec], settings: Any, tmp_path: Path
) -> None:
    settings.LOG_DIR, settings.LOG_BYTES = tmp_path, 1 << 20
    code = """
import os, time
for n in range(400_000):
    os.write(1, b"line %06d\\n" % n)
    if n % 1000 == 0:
        time.sleep(0.002)
"""
    report = finished(processes.start(spec(code, log_bytes=1 << 20)), 30)
    assert (report.exit_code, report.reason) == (0, EndReason.EXITED)
    assert logs.size("log") == 400_000 * 12  # every offset stays
    hole = logs.hole("log")
    assert hole is not None
    start, stop = hole
    assert start == 512 << 10
    assert logs.read("log", 0, 24) == b"line 000000\nline 000001\n"
    assert set(logs.read("log", start, 4096)) == {0}
    assert logs.read("log", logs.size("log") - 12, 12) == b"line 399999\n"
    assert (512 << 10) <= logs.size("log") - stop < 1 << 20
    assert (tmp_path / "log").stat().st_blocks * 512 < 2 << 20
    settings.LOG_BYTES = 1 << 30
    assert logs.hole("log") is None
