"""A detached process tree: start it, find it again after any restart, follow it, end it with a receipt.

Each program has a shepherd (`compute.shepherd`), a small process of its own session that outlives the studio. What
is known of a program lies in its control folder; a pid is believed only together with its start time and the
machine's boot id, so a pid that another process got since is neither believed nor signalled.
"""

import contextlib
import marshal
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compute import control, procfs, shepherd
from compute.drivers.base import Handle, Phase
from compute.states import EndReason

USAGE_IS_OLD_AFTER = 10.0  # seconds
GOES_DOWN_WITHIN = timedelta(seconds=60)  # of telling everybody to end, a machine has gone down, or does not
SPARE_AFTER = 0.5  # seconds; what was just started has the CPU first

# The shell ends at once, so that the shepherd is nobody's child here and leaves no zombie behind. TERM is ignored
# until the shepherd can heed it: an order to end that comes earlier waits for it in end.json.
_DETACH = """trap '' HUP INT QUIT TERM; log=$1; shift; exec 3<&0; "$@" <&3 3<&- >>"$log" 2>&1 & echo $!"""

# Imported rather than run as a script, it is compiled once and not at every start, which saves 8 ms.
_SHEPHERD = "import sys; sys.path.append(sys.argv[1]); from compute import shepherd; shepherd.main(*sys.argv[2:])"


@dataclass(frozen=True)
class Confinement:
    """What a program may reach beside the rest of the machine; paths without links in them."""

    user: int | None = None  # number of a user, and a group, of its own; None: it stays with the studio's
    groups: list[int] = field(default_factory=list)  # others it needs, as for a device
    mounts: bool = False  # closed folders on its way are replaced by empty ones that show what it needs
    own: list[str] = field(default_factory=list)  # it may do everything there
    read: list[str] = field(default_factory=list)  # it needs these: interpreter, environment
    links: list[tuple[str, str]] = field(default_factory=list)  # (path, target) of links on the way to those
    hide: list[str] = field(default_factory=list)  # out of its reach, but for the above
    read_only: list[str] = field(default_factory=list)  # not to be changed, where Landlock is
    landlock: bool = False


@dataclass(frozen=True)
class ProcessSpec:
    """What to start, with what, and within which limits."""

    argv: list[str]
    cwd: Path
    env: dict[str, str]  # all it sees, but for STUDIO_RUN_ID and STUDIO_CONTROL, by which it is found again
    log: Path  # gets what it prints, byte for byte
    folder: Path  # its control folder, with a name that no other of the same tag has; one folder starts one program
    tag: str
    cpus: list[int] = field(default_factory=list)  # empty: any
    memory_bytes: int | None = None  # of the whole tree; above it, the tree is killed
    max_seconds: float | None = None
    grace_seconds: float = 10  # between TERM and KILL
    nice: int = 5
    confinement: Confinement | None = None
    most_processes: int | None = None  # of the whole tree at once; above it, the tree is killed
    most_tasks: int | None = None  # threads and processes of its own user, held by the kernel
    disk_bytes: int | None = None  # of what lies in `disk`; above it, the tree is killed
    disk: list[str] = field(default_factory=list)
    log_bytes: int | None = None  # of its log on disk; of a longer one, head and tail are kept, and it is not affected
    mend: list[str] = field(default_factory=list)  # folders that the studio must be able to read in the end
    marks: Path | None = None  # gets when the log had grown to what, see `compute.log_index`


@dataclass(frozen=True)
class ProcessReport:
    """How a program is, or how it ended."""

    phase: Phase
    exit_code: int | None = None  # negative: the signal that ended it; None: it is not known
    reason: EndReason = EndReason.EXITED
    detail: str = ""  # a sentence's part for people, with an end that is not plain
    receipt: dict[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a program's whole tree uses."""

    cpu_percent: float  # of one CPU
    memory_bytes: int
    at: datetime


def start(spec: ProcessSpec) -> Handle:
    """Start a program, detached, and return at once; starting twice in one folder starts it once.

    Whether the program itself could be started is told by `look`. Raises OSError when its folder cannot be written.
    """
    spec.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = {name: os.fspath(value) if isinstance(value, Path) else value for name, value in asdict(spec).items()}
    spec_path = os.fspath(spec.folder / "spec.json")
    if not os.path.lexists(spec_path) and control.write_json(spec_path, facts, once=True):
        control.write(os.fspath(spec.folder / "spec.marshal"), marshal.dumps(facts))
    claim = control.read_json(os.fspath(spec.folder / "pid.json"))
    identity = _identity(claim) or _launch(spec.folder)
    return {"folder": os.fspath(spec.folder), "tag": spec.tag, **identity}


def look(handle: Handle) -> ProcessReport:
    """Tell how a program is. One that left neither a process nor an exit code is lost."""
    for _ in range(2):  # an exit code is written before the shepherd goes, so it is looked for once more after that
        report = _from_exit(handle)
        if report:
            return report
        claim = _read(handle, "pid.json")
        started_at = _moment(claim.get("started_at"))
        for identity in (_identity(claim), _identity(handle)):
            if identity and _is_alive(identity):
                return ProcessReport(Phase.RUNNING if started_at else Phase.STARTING, started_at=started_at)
    if handle.get("boot_id") != procfs.boot_id():
        return ProcessReport(
            Phase.ENDED,
            reason=EndReason.LOST,
            detail="The machine restarted while it ran.",
            started_at=started_at,
        )
    sweeper = _identity(_read(handle, "sweep.json"))
    if _orphans(handle) or (sweeper and _is_alive(sweeper)):
        return ProcessReport(
            Phase.RUNNING,
            detail="Its shepherd is gone: its exit code will not be known.",
            started_at=started_at,
        )
    return _from_exit(handle) or ProcessReport(
        Phase.ENDED,
        reason=EndReason.LOST,
        detail="Neither its processes nor its exit code are there any more.",
        started_at=started_at,
    )


def end(handle: Handle, because: EndReason) -> None:
    """Begin to end a program and all that came of it: TERM, its grace period, KILL. Returns at once.

    May be called as often as wanted: the first reason stays, and nobody is told twice.
    """
    if _read(handle, "exit.json"):
        return
    try:
        control.write_json(_path(handle, "end.json"), {"reason": because.value}, once=True)
    except FileNotFoundError:
        pass  # the folder is gone: its shepherd heeds TERM without a reason, too
    except OSError:
        if because != EndReason.CANCELED:
            raise
        Path(_path(handle, "end.json")).touch()  # on a full disk an empty file has room, and is an order to cancel
    claim = _read(handle, "pid.json")
    for identity in (_identity(claim), _identity(handle)):
        if identity and _signal(identity, signal.SIGTERM):
            return
    sweeper = _identity(_read(handle, "sweep.json"))
    if not (sweeper and _is_alive(sweeper)) and _orphans(handle):
        folder = Path(handle["folder"])
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _read(handle, "spec.json"):
            control.write_json(_path(handle, "spec.json"), {"tag": handle["tag"]})
        control.write_json(_path(handle, "sweep.json"), _launch(folder, "sweep"))


def pidfd(handle: Handle) -> int | None:
    """Return a descriptor, the caller's to close, that becomes readable when the shepherd ends; None: it is gone."""
    for identity in (_identity(_read(handle, "pid.json")), _identity(handle)):
        fd = _open(identity) if identity else None
        if fd is not None:
            return fd
    return None


def usage(handle: Handle) -> Usage | None:
    """Return what the tree used about a second ago, or None when nothing fresh is known."""
    told = _read(handle, "usage.json")
    at, percent, memory = _moment(told.get("at")), told.get("cpu_percent"), told.get("memory_bytes")
    if at is None or not isinstance(percent, int | float) or not isinstance(memory, int):
        return None
    if (datetime.now(UTC) - at).total_seconds() > USAGE_IS_OLD_AFTER:
        return None
    return Usage(float(percent), memory, at)


class _Spare:
    """A shepherd that has started already and waits for its folder: Python's own start would hold a run up.

    It ends by itself when this process does.
    """

    def __init__(self) -> None:
        told, self.names = os.pipe()
        try:
            self.identity = _detach(told, os.devnull, "-")
        finally:
            os.close(told)

    def take(self, folder: Path) -> Handle | None:
        """Have it work in `folder`; None when it is gone."""
        try:
            os.write(self.names, os.fsencode(folder.absolute()) + b"\0")
        except BrokenPipeError:
            return None
        finally:
            os.close(self.names)
        return self.identity if _is_alive(self.identity) else None


_spares: "queue.SimpleQueue[_Spare]" = queue.SimpleQueue()


def keep_spare() -> None:
    """Have a shepherd ready before it is needed, now and again after each that is taken."""
    _spares.put(_Spare())


def _launch(folder: Path, mode: str = "run") -> Handle:
    """Start a shepherd that is nobody's child, and return who it is."""
    if mode == "run" and not _spares.empty():
        with contextlib.suppress(queue.Empty):  # another thread may have been faster
            spare = _spares.get_nowait()
            later = threading.Timer(SPARE_AFTER, keep_spare)
            later.daemon = True
            later.start()
            if identity := spare.take(folder):
                return identity
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        return _detach(nothing, os.fspath(folder / "shepherd.log"), os.fspath(folder.absolute()), mode)
    finally:
        os.close(nothing)


def _detach(stdin: int, log: str, *arguments: str) -> Handle:
    """Start the shepherd as nobody's child. Raises OSError when there is none."""
    path = Path(shepherd.__file__).absolute().parent.parent
    script = [sys.executable, "-I", "-S", "-c", _SHEPHERD, os.fspath(path), *arguments]
    told, tells = os.pipe()
    try:
        shell = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _DETACH, "sh", log, *script],
            {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, tells, 1),
                (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGPIPE),
        )
    finally:
        os.close(tells)
    with os.fdopen(told, "rb") as pipe:
        answer = pipe.read().strip()
    with contextlib.suppress(ChildProcessError):  # somebody in this process waits for every child
        os.waitpid(shell, 0)
    if not answer.isdigit():
        raise OSError(f"No shepherd could be started: {log} says why.")
    process = procfs.look_at(int(answer))
    return {
        "pid": int(answer),
        "start_time": process.start_time if process else 0,
        "boot_id": procfs.boot_id(),
    }


def _path(handle: Handle, name: str) -> str:
    return os.path.join(handle["folder"], name)  # noqa: PTH118


def _read(handle: Handle, name: str) -> dict[str, Any]:
    return control.read_json(_path(handle, name))


def _identity(facts: dict[str, Any]) -> Handle | None:
    """Return {"pid", "start_time", "boot_id"} out of `facts`, or None where they are not all there and sound."""
    pid, start_time, boot_id = facts.get("pid"), facts.get("start_time"), facts.get("boot_id")
    if type(pid) is not int or type(start_time) is not int or not isinstance(boot_id, str) or pid <= 1:
        return None
    return {"pid": pid, "start_time": start_time, "boot_id": boot_id}


def _is_alive(identity: Handle) -> bool:
    process = procfs.look_at(identity["pid"])
    return (
        process is not None
        and not process.is_zombie
        and process.start_time == identity["start_time"]
        and identity["boot_id"] == procfs.boot_id()
    )


def _open(identity: Handle) -> int | None:
    """Return a pidfd of exactly this process."""
    try:
        fd = os.pidfd_open(identity["pid"])
    except OSError:
        return None
    if _is_alive(identity):  # looked at after the descriptor is open, so it is the descriptor's process
        return fd
    os.close(fd)
    return None


def _signal(identity: Handle, number: signal.Signals) -> bool:
    fd = _open(identity)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _orphans(handle: Handle) -> list[procfs.Process]:
    """Return what is alive of a program, wherever it hangs in the machine's tree."""
    return procfs.tagged(handle.get("tag", ""), Path(handle["folder"]).name)


def _from_exit(handle: Handle) -> ProcessReport | None:
    """Return the report of a program that ended and left its last word."""
    return told(_read(handle, "exit.json"))


def told(word: dict[str, Any]) -> ProcessReport | None:
    """Return the report that a shepherd's last word makes; None while it has not said any."""
    if not word:
        return None
    code, peak, receipt = word.get("code"), word.get("peak_memory_bytes"), word.get("receipt")
    try:
        reason = EndReason(str(word.get("reason")))
    except ValueError:
        reason = EndReason.LOST
    return ProcessReport(
        phase=Phase.ENDED,
        exit_code=code if isinstance(code, int) else None,
        reason=reason,
        detail=str(word.get("detail", "")),
        receipt=receipt if isinstance(receipt, dict) else {},
        started_at=_moment(word.get("started_at")),
        ended_at=_moment(word.get("ended_at")),
        peak_memory_bytes=peak if isinstance(peak, int) else None,
    )


def may_be_going_down(report: ProcessReport) -> bool:
    """Say whether a program was told to end from outside so lately that its machine may be on the way down."""
    if report.reason != EndReason.LOST or report.ended_at is None:
        return False
    return datetime.now(UTC) - report.ended_at < GOES_DOWN_WITHIN


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None
