"""The studio's side of a machine that is reached over SSH: one connection a machine and process, shared by all.

`compute.farside` is sent over it and answers there. A log comes in as it is written, and goes on from the byte that
is here after any cut; whoever waits for an answer when the connection is cut is told so.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.utils.translation import gettext as _

from compute import farside, logs, shepherd, ssh
from studio.errors import StudioError, TargetUnreachable

if TYPE_CHECKING:
    import paramiko

logger = logging.getLogger(__name__)
# For any login shell, sh, csh and fish alike: single quotes hold, and nothing in them means anything there.
BOOTSTRAP = (
    "exec /bin/sh -c 'echo studio-begins-here; exec python3 -u -I -c "
    '"import sys;r=sys.stdin.buffer;exec(r.read(int(r.readline())))"\''
)
# What is sent: the far side's modules, under their own names, and one after the other.
_LOADER = """import sys, types
package = sys.modules["compute"] = types.ModuleType("compute")
for name, text in %r.items():
    module = sys.modules["compute." + name] = types.ModuleType("compute." + name)
    setattr(package, name, module)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
package.farside.main()
"""
MARK = b"studio-begins-here\n"
MOST_NOISE = 256 * 1024  # bytes that a login shell may say before the mark
LONGEST_LINE = 1024 * 1024
PATIENCE = 30.0  # seconds for an answer
SILENT_FOR = 300.0  # seconds without use, then a connection is let go
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two attempts to connect
AT_ONCE = 8  # connections that are being made: sshd drops bursts
PIECE = 1024 * 1024  # bytes of a file at once
FIRST_PIECE = 32 * 1024  # bytes of a log; then twice as many: a wire that is cut soon brings something, too
LATEST = 2**40  # seconds since 1970 that a far clock may say


@dataclass
class Follower:
    """A log that comes in: where it is kept, where it is written, and whom to tell that it has ended."""

    key: str
    folder: str
    ended: Callable[[], object]


@dataclass
class Link:
    """A machine that answers. Made by `link_to`."""

    machine: ssh.Machine
    channel: "paramiko.Channel"
    facts: dict[str, Any] = field(default_factory=dict)  # what `farside.hello` says
    skew: float = 0.0  # seconds that its clock was before the studio's when it said so
    asked: dict[int, "Future[Any]"] = field(default_factory=dict)
    followers: dict[str, Follower] = field(default_factory=dict)
    used_at: float = field(default_factory=time.monotonic)
    number: int = 0
    problem: str = ""
    noise: int = 0  # bytes that the login shell said of its own accord
    lock: threading.Lock = field(default_factory=threading.Lock)
    speaking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_open(self) -> bool:
        return not self.problem and self.machine.is_open and not self.channel.closed

    def ask(self, verb: str, data: bytes = b"", *, patience: float = PATIENCE, **facts: Any) -> Any:
        """Return what the far side answers to a verb of `farside`.

        Raises TargetUnreachable when it is cut off or too late, OSError for a problem of its system, ValueError for
        any other of its own.
        """
        answer: Future[Any] = Future()
        with self.lock:
            if not self.is_open:
                raise self.gone()
            self.number += 1
            number = self.number
            self.asked[number] = answer
        self.used_at = time.monotonic()
        try:
            self._send({"id": number, "do": verb, **facts}, data)
            return answer.result(patience)
        except TooLate as exc:
            raise TargetUnreachable(
                _("%(name)s does not answer any more.") % {"name": self.machine.account.name},
                _("Is it overloaded, or its disk stuck?"),
            ) from exc
        finally:
            with self.lock:
                self.asked.pop(number, None)

    def follow(self, name: str, follower: Follower) -> None:
        """Have a log come in from the byte on that is here."""
        self.followers[name] = follower
        self.ask("follow", name=name, folder=follower.folder, after=logs.size(follower.key))

    def leave(self, name: str) -> None:
        if self.followers.pop(name, None) and self.is_open:
            self.ask("leave", name=name)

    def gone(self) -> TargetUnreachable:
        return TargetUnreachable(
            _("The connection to %(name)s was cut: %(problem)s.")
            % {"name": self.machine.account.name, "problem": self.problem or _("it is closed")},
            _("The studio connects again by itself; what runs there goes on."),
        )

    def close(self, problem: str = "") -> None:
        """End it, and tell whoever waits for something."""
        with self.lock:
            first, self.problem = not self.problem, self.problem or problem or str(_("it is closed"))
            waiting, self.asked = list(self.asked.values()), {}
        self.machine.close()
        for answer in waiting:
            with contextlib.suppress(Exception):
                answer.set_exception(self.gone())
        if first and self.followers:
            threading.Thread(target=_resume, args=(self,), name="resume", daemon=True).start()

    def listen(self, source: Any) -> None:
        """Take in frames until the connection ends. Everything the far side says is checked before it is believed."""
        problem = ""
        try:
            while line := source.readline(LONGEST_LINE):
                head = json.loads(line)
                size = head.get("size", 0)
                if not isinstance(size, int) or not 0 <= size <= farside.MOST_FRAME:
                    raise ValueError("a frame of no possible size")
                data = source.read(size) if size else b""
                if len(data) != size:
                    raise EOFError("a frame that was cut")
                self._take(head, data)
        except Exception as exc:
            problem = ssh.words(exc)
            if not isinstance(exc, OSError | EOFError):
                logger.warning("%s was hung up on: %s.", self.machine.account.name, problem)
        self.close(problem or str(_("the other side ended it")))

    def _take(self, head: dict[str, Any], data: bytes) -> None:
        if "id" in head:
            with self.lock:
                answer = self.asked.pop(head["id"], None)
            if answer is None:
                return  # nobody waits any longer
            if "problem" in head:
                said = str(head["problem"])[:500]
                number = head.get("errno")
                answer.set_exception(OSError(number, said) if isinstance(number, int) else ValueError(said))
            else:
                answer.set_result(head.get("answer", data))
        elif "log" in head:
            follower = self.followers.get(head["log"])
            if follower:
                logs.append(follower.key, int(head["at"]), data)  # a gap is refused, and the connection begun anew
        elif "ended" in head and (follower := self.followers.pop(head["ended"], None)):
            follower.ended()

    def _send(self, head: dict[str, Any], data: bytes) -> None:
        if data:
            head["size"] = len(data)
        frame = json.dumps(head).encode() + b"\n" + data
        try:
            with self.speaking:
                self.channel.sendall(frame)
        except Exception as exc:  # OSError, EOFError or paramiko's own: it is cut in any case
            self.close(ssh.words(exc))
            raise self.gone() from exc


@dataclass
class _Place:
    """Where the link of one account is kept, and what kept it from being made lately."""

    link: Link | None = None
    failure: StudioError | None = None
    not_before: float = 0.0
    pause: float = FIRST_PAUSE
    lock: threading.Lock = field(default_factory=threading.Lock)


_places: dict[str, _Place] = {}
_all = threading.Lock()
_connecting = threading.BoundedSemaphore(AT_ONCE)


def link_to(account: ssh.Account) -> Link:
    """Return the link to a machine, made if there is none.

    Raises what `ssh.connect` does; a machine that could not be reached a moment ago is not asked again at once.
    """
    with _all:
        place = _places.setdefault(account.digest, _Place())
    with place.lock:
        if place.link and place.link.is_open:
            return place.link
        if place.failure and time.monotonic() < place.not_before:
            raise place.failure
        try:
            with _connecting:
                place.link = begin(account)
        except StudioError as exc:
            place.failure = exc
            place.not_before = time.monotonic() + place.pause
            place.pause = min(2 * place.pause, LONGEST_PAUSE)
            raise
        place.failure, place.pause = None, FIRST_PAUSE
    _let_go_of_idle()
    return place.link


def begin(account: ssh.Account) -> Link:
    """Connect, cut off what the login shell says, send the far side its program, and hear who is there."""
    machine = ssh.connect(account)
    try:
        channel = machine.program(BOOTSTRAP)
        source = channel.makefile("rb", 64 * 1024)
        noise = _until_mark(account, source)
        program = (_LOADER % texts(farside.PARTS)).encode()
        channel.sendall(b"%d\n" % len(program) + program)
        channel.settimeout(None)
        link = Link(machine, channel, noise=noise)
        threading.Thread(target=link.listen, args=(source,), name=f"link-{account.address}", daemon=True).start()
        link.facts = link.ask("hello", shepherd=texts(shepherd.PARTS))
        link.skew = float(link.facts["time"]) - time.time()
    except TargetUnreachable:
        machine.close()
        raise
    except (OSError, ValueError, TypeError, KeyError, EOFError) as exc:
        machine.close()
        if getattr(exc, "errno", None) == 28:
            raise TargetUnreachable(*disk_full(account)) from exc
        raise TargetUnreachable(
            _("%(name)s cannot run the studio's part: %(problem)s.")
            % {"name": account.name, "problem": ssh.words(exc)},
            _("It needs python3, and a home folder that can be written."),
        ) from exc
    return link


def texts(modules: tuple[str, ...]) -> dict[str, str]:
    """Return the texts of modules of `compute` by their names."""
    return {name: (Path(__file__).parent / f"{name}.py").read_text() for name in modules}


def _resume(cut: Link) -> None:
    """Connect again, and have the logs that were coming in come from the byte on that is here."""
    account, waiting, pause = cut.machine.account, dict(cut.followers), FIRST_PAUSE
    while waiting:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        try:
            link = link_to(account)
            for name, follower in list(waiting.items()):
                if name not in link.followers:
                    link.follow(name, follower)
                del waiting[name]
        except TargetUnreachable:
            continue
        except (StudioError, OSError, ValueError) as exc:  # it will not do; whoever looks after the jobs asks again
            logger.info("%s is not followed any more: %s", account.name, ssh.words(exc))
            return


def disk_full(account: ssh.Account) -> tuple[str, str]:
    return _("The disk of %(name)s is full.") % {"name": account.name}, _("Make room in its home folder.")


def _until_mark(account: ssh.Account, source: Any) -> int:
    """Read over what a login shell says of its own accord; return how many bytes. Raises TargetUnreachable."""
    heard = 0
    while heard < MOST_NOISE:
        line = cast(bytes, source.readline(LONGEST_LINE))
        heard += len(line)
        if line.endswith(MARK):
            return heard - len(MARK)
        if not line:
            break
    raise TargetUnreachable(
        _("The login shell of %(name)s does not run what it is asked to.") % {"name": account.name},
        _("Look at its start-up files, and at ForceCommand in sshd_config: ssh %(name)s true") % {"name": account.name},
    )


def _let_go_of_idle() -> None:
    """Close the links that nobody has used for long."""
    now = time.monotonic()
    for digest, place in list(_places.items()):
        link = place.link
        if link and not link.followers and not link.asked and now - link.used_at > SILENT_FOR:
            link.close()
            _places.pop(digest, None)


def close_all() -> None:
    """Hang up everywhere: the process ends, or a test does."""
    for place in list(_places.values()):
        if place.link:
            place.link.followers.clear()
            place.link.close()
    _places.clear()


def send_files(link: Link, files: list[tuple[str, str, int, Path]]) -> int:
    """Bring files [(path, SHA-256, mode, where it lies here)] to the machine's store; return the bytes sent."""
    wanted = link.ask("missing", wanted=sorted({sha for _path, sha, _mode, _file in files}))
    here = {sha: file for _path, sha, _mode, file in files}
    sent = 0
    for sha in wanted:
        link.ask("drop", sha=sha)
        size, done = here[sha].stat().st_size, 0
        for piece in _pieces(here[sha]):
            done += len(piece)
            link.ask("put", piece, sha=sha, more=done < size, patience=120)
        sent += done
    return sent


def fetch(link: Link, folder: str, into: Path) -> int:
    """Bring what changed in a run's outputs here; return the bytes that came.

    A name that leads out of `into`, or is no plain path, is left where it is, and so is what goes beyond a run's disk.
    """
    came, room = 0, settings.RUN_DISK_BYTES
    told = link.ask("outputs", folder=folder)
    for one in told if isinstance(told, list) else []:
        name, size, changed = _file_of(one)
        path = safe_path(into, name)
        room -= size
        if path is None or room < 0 or is_here(path, size, changed):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name[:200]}.coming")
        with scratch.open("wb") as file:
            at = 0
            while at < size:
                piece = link.ask("read", folder=folder, path=f"rank-0/{name}", at=at, most=PIECE, patience=120)
                piece = piece[: size - at]
                if not piece:
                    break
                file.write(piece)
                at += len(piece)
        dated(scratch, changed)
        scratch.replace(path)
        came += at
    return came


def _file_of(told: Any) -> tuple[str, int, float]:
    """Return path, bytes and time of change of a far file. What makes no sense has no path."""
    match told:
        case [str(name), int(size), int() | float() as changed] if size >= 0 and 0 <= changed < LATEST:
            return name, size, float(changed)
    return "", 0, 0.0


def dated(file: Path, changed: float) -> None:
    """Give a file the time at which it was changed there, by which `is_here` knows it."""
    os.utime(file, (changed, changed))


def is_here(path: Path, size: int, changed: float) -> bool:
    """Say whether a file is here already as it is there."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return facts.st_size == size and abs(facts.st_mtime - changed) < 0.001


def safe_path(into: Path, name: str) -> Path | None:
    """Return where a far file may be kept here; None for a name that is not to be trusted."""
    parts = name.split("/")
    if name.startswith("/") or "\0" in name or any(part in {"", ".", ".."} or len(part) > 255 for part in parts):
        return None
    if parts[0] not in {"outputs", "logs"} or len(parts) < 2:
        return None
    path = into.joinpath(*parts)
    return path if into.resolve() in path.parent.resolve().parents or path.parent.resolve() == into.resolve() else None


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        yield from iter(lambda: source.read(PIECE), b"")
        if source.tell() == 0:
            yield b""
