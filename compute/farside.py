"""What the studio says and does at the far end of an SSH connection. It is sent there anew over each connection and
ends with it: nothing of it is installed, and what runs on is only the shepherds of programs it started.

Standard library alone, Python 3.7 or later, and nothing of the studio: it runs where the studio is not. Frames go both
ways, each a line of JSON, and bytes behind it where "size" says so:

    asked      {"id": 1, "do": "start", …}
    answered   {"id": 1, "answer": …}, or {"id": 1, "problem": "what went wrong", "errno": 28}
    pushed     {"log": "digits_1.1", "at": 1200, "size": 90}, {"ended": "digits_1.1"}

Everything lies in one folder of the user's, `farstore`'s ROOT: shepherds, store/ (files by their SHA-256), runs/,
environments/. PARTS go over the connection as one program, which `compute.remote` makes of them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time

from compute import farstore
from compute.farstore import brought, drop, inside, lay, missing, outputs, put, read_json, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PARTS = ("farstore", "farside")  # modules of `compute`, each before those that need it
FIRST_PIECE, PIECE = 32 * 1024, 256 * 1024  # bytes of a log at once: first, and after some went well
MOST_FRAME = 8 * 1024 * 1024  # bytes behind a line
LOOK_EVERY = 0.02  # seconds between two looks at the logs that are followed
LOOK_FOR_IT_EVERY = 0.5  # seconds between two looks for a program that writes nothing
DETACH = 'trap "" HUP INT QUIT TERM; log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'

speaking = threading.Lock()


class Following:
    """A log that is pushed, the byte to go on from, and how many of them at once."""

    def __init__(self, control: str, log: str, at: int) -> None:
        self.control, self.log, self.at, self.most = control, log, at, FIRST_PIECE
        self.seen_alive = 0.0  # when, on the monotonic clock


followed: dict[str, Following] = {}  # name → [folder, path of the log, byte to go on from]


def say(head: dict[str, Any], data: bytes = b"") -> None:
    """Send one frame."""
    if data:
        head = dict(head, size=len(data))
    with speaking:
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


def boot_id() -> str:
    """Return what names this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def start_time(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None where there is none, or only its zombie."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in b"ZX" else int(fields[19])


def is_alive(identity: dict[str, Any]) -> bool:
    """Say whether exactly this process is still there."""
    pid = identity.get("pid")
    if not isinstance(pid, int) or pid <= 1 or identity.get("boot_id") != boot_id():
        return False
    return start_time(pid) == identity.get("start_time")


# ----- what can be asked


def hello(shepherd: dict[str, str]) -> dict[str, Any]:
    """Say who is here; keep the shepherd's modules, under the name of their content, and no more than is of use."""
    root, folder = farstore.make_ready(time.time()), farstore.keep_modules("shepherd", shepherd)
    path = os.environ.get("PATH", "") or "/usr/local/bin:/usr/bin:/bin"
    where = {"home": os.path.expanduser("~"), "path": path, "machine": platform.node()}
    facts = {"root": root, "shepherd": folder, "python": platform.python_version(), "boot_id": boot_id()}
    return dict(facts, **where, free_bytes=shutil.disk_usage(root).free, time=time.time())


def start(folder: str, spec: dict[str, Any], shepherd: str, files: list[tuple[str, str]]) -> dict[str, Any]:
    """Start a program under a shepherd; again in the same folder, the same program. Returns who the shepherd is."""
    control = inside("runs", folder, "control-0")
    os.makedirs(control, mode=0o700, exist_ok=True)
    for name, text in files:
        write_whole(inside("runs", folder, name), text.encode(), 0o700)
    claim = read_json(os.path.join(control, "pid.json"))
    if claim.get("pid"):
        return {name: claim[name] for name in ("pid", "start_time", "boot_id")}
    spec = dict(spec, folder=control)
    for name in ("home", "tmp"):
        os.makedirs(inside("runs", folder, name), mode=0o700, exist_ok=True)
    write_whole(os.path.join(control, "spec.json"), json.dumps(spec).encode())
    log = os.path.join(control, "shepherd.log")
    code = "import sys; sys.path.append(sys.argv[1]); from compute import shepherd; shepherd.main(*sys.argv[2:])"
    script = [sys.executable, "-I", "-S", "-c", code, inside(os.path.basename(shepherd)), control, "run"]
    told = subprocess.run(
        ["/bin/sh", "-c", DETACH, "sh", log, *script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
        preexec_fn=os.setsid,
        check=True,
    )
    pid = int(told.stdout)
    return {"pid": pid, "start_time": start_time(pid) or 0, "boot_id": boot_id()}


def look(folder: str, handle: dict[str, Any]) -> dict[str, Any]:
    """Tell all that is known of a program, for the studio to judge."""
    control = inside("runs", folder, "control-0")
    for _ in range(2):  # an exit code is written before the shepherd goes, so it is looked for once more after that
        last_word, claim = read_json(os.path.join(control, "exit.json")), read_json(os.path.join(control, "pid.json"))
        alive = is_alive(claim) or is_alive(handle)
        if last_word or alive:
            break
    log = inside("runs", folder, "log")
    size = os.path.getsize(log) if os.path.exists(log) else 0
    return {
        "exit": last_word,
        "claim": claim,
        "alive": alive,
        "boot_id": boot_id(),
        "log_size": size,
        "killed": killed(claim) if last_word.get("code") == -signal.SIGKILL else "",
        "free_bytes": shutil.disk_usage(control).free if os.path.isdir(control) else None,
    }


def killed(claim: dict[str, Any]) -> str:
    """Return the kernel's own line on having killed the program for memory, where it may be read."""
    pid = (claim.get("program") or {}).get("pid")
    if not pid:
        return ""
    for command in (["journalctl", "-k", "-q", "-n", "400", "--no-pager"], ["dmesg"]):
        try:
            told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=3)
        except (OSError, subprocess.TimeoutExpired):
            continue
        for line in told.stdout.decode(errors="replace").splitlines():
            if "Killed process %d " % pid in line:
                return line[-300:]
    return ""


def end(folder: str, handle: dict[str, Any], reason: str) -> None:
    """Begin to end a program; its shepherd does the rest."""
    control = inside("runs", folder, "control-0")
    if not os.path.isdir(control) or read_json(os.path.join(control, "exit.json")):
        return
    order = os.path.join(control, "end.json")
    if not os.path.exists(order):
        try:
            write_whole(order, json.dumps({"reason": reason}).encode())
        except OSError:
            if reason != "canceled":
                raise
            open(order, "wb").close()  # on a full disk an empty file has room, and is an order to cancel
    for identity in (read_json(os.path.join(control, "pid.json")), handle):
        if is_alive(identity):
            os.kill(identity["pid"], signal.SIGTERM)
            return


def follow(name: str, folder: str, after: int) -> None:
    """From now on push what is written to a program's log from byte `after` on, and say when it has ended."""
    followed[name] = Following(inside("runs", folder, "control-0"), inside("runs", folder, "log"), after)


def leave(name: str) -> None:
    """Push nothing more of that."""
    followed.pop(name, None)


def read(folder: str, path: str, at: int, most: int) -> bytes:
    """Return bytes of the log ("log"), or of a file that the run left."""
    top = inside("runs", folder)
    real = os.path.realpath(os.path.join(top, path))
    if not real.startswith(os.path.realpath(top) + os.sep):
        raise ValueError("a file outside of the run's folder")
    with open(real, "rb") as file:
        file.seek(at)
        return file.read(min(most, MOST_FRAME))


def which(names: list[str]) -> dict[str, str | None]:
    """Return where each of these programs is, or nothing."""
    return {
        name: shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/bin:/usr/bin:/bin") for name in names
    }


def run(argv: list[str], seconds: float) -> tuple[int, str]:
    """Run a short command, and return its exit code and what it printed."""
    try:
        told = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
        )
    except FileNotFoundError:
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, ""
    return told.returncode, told.stdout[:20000].decode(errors="replace")


VERBS: dict[str, Any] = {
    verb.__name__: verb
    for verb in (hello, missing, put, drop, lay, start, look, end, follow, leave, read, outputs, brought, which, run)
}


# ----- the loop


def answer(asked: dict[str, Any], data: bytes) -> None:
    """Do what is asked, and say how it went."""
    number, verb = asked.pop("id"), VERBS[asked.pop("do")]
    asked.pop("size", None)
    try:
        told = verb(data=data, **asked) if verb is put else verb(**asked)
    except Exception as exc:
        say({"id": number, "problem": "%s: %s" % (type(exc).__name__, exc), "errno": getattr(exc, "errno", None)})
        return
    if isinstance(told, bytes):
        say({"id": number}, told) if told else say({"id": number, "answer": ""})
    else:
        say({"id": number, "answer": told})


def push() -> None:
    """Send what the logs that are followed have grown by. The end is told when all before it was sent."""
    while True:
        busy = False
        for name, entry in list(followed.items()):
            at = entry.at
            over = os.path.exists(os.path.join(entry.control, "exit.json"))  # before the log, which is whole then
            data = grown(entry)
            if data:
                say({"log": name, "at": at}, data)
                entry.at, entry.most = entry.at + len(data), min(2 * entry.most, PIECE)
                busy = True
            elif over or is_gone(entry):
                followed.pop(name, None)
                say({"ended": name})
        if not busy:
            time.sleep(LOOK_EVERY)


def grown(entry: Following) -> bytes:
    """Return what was written to a log since it was looked at; most looks find nothing, and open nothing."""
    try:
        if os.stat(entry.log).st_size <= entry.at:
            return b""
        with open(entry.log, "rb") as file:
            file.seek(entry.at)
            return file.read(entry.most)
    except FileNotFoundError:
        return b""


def is_gone(entry: Following) -> bool:
    """Say whether a program left without a word. It is looked for less often than its log: that takes three files."""
    if time.monotonic() - entry.seen_alive < LOOK_FOR_IT_EVERY:
        return False
    entry.seen_alive = time.monotonic()
    return not (is_alive(read_json(os.path.join(entry.control, "pid.json"))) or fresh(entry.control))


def fresh(control: str) -> bool:
    """Say whether a shepherd may still be on its way up."""
    try:
        return time.time() - os.path.getmtime(control) < 10
    except OSError:
        return False


def main() -> None:
    """Answer until the connection ends."""
    os.umask(0o077)
    threading.Thread(target=push, daemon=True).start()
    source = sys.stdin.buffer
    for line in iter(source.readline, b""):
        asked = json.loads(line)
        data = source.read(asked.get("size", 0))
        if asked["do"] in ("put", "follow", "leave", "drop"):  # in their order
            answer(asked, data)
        else:
            threading.Thread(target=answer, args=(asked, data), daemon=True).start()
    os._exit(0)
