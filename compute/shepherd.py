"""Stand over one program of a run: start it, watch it, end all that came of it, and write down how it went.

A Python of its own, as `main(FOLDER)`, `main(FOLDER, "sweep")` or a spare that waits for its folder, started by
`compute.processes`: standard library only, few imports, nothing of the studio. It lives in its own session and outlives
whoever started it. All it knows is in FOLDER, and all it says goes there, each file whole or not at all:

    spec.json      in: what to start (see `compute.processes.ProcessSpec`); the same in spec.marshal, read faster
    end.json       in: {"reason"}; its being there is the order to end
    pid.json       out: {"pid", "start_time", "boot_id", "program": null | {"pid", "start_time"}, "started_at"}
    usage.json     out: {"cpu_percent", "memory_bytes", "at"}, about every second
    exit.json      out: {"code", "reason", "detail", "started_at", "ended_at", "peak_memory_bytes", "receipt"}
    shepherd.log   out: what went wrong with the shepherd itself

With `sweep` it ends what is left of a program whose own shepherd is gone; sweep.json names it as long as it works.

Its parts are PARTS, which go to other machines together. `flock` starts the program, and only what that needs is loaded
before; `watching` and `ending` are once it runs, or while a spare waits: before its end, for the studio may be of
another version by then.
"""

from __future__ import annotations

import os
import time

from compute.control import read_json
from compute.flock import Flock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compute.ending import Ending
    from compute.watching import Watch

PARTS = ("shepherd", "flock", "control", "procfs", "watching", "ending")  # modules of `compute`


def run(flock: Flock) -> None:
    """Start the program and stay until nothing of it is left."""
    if not flock.claim():
        return
    if os.path.exists("end.json"):  # noqa: PTH110
        _watch_of, ending_of = tools()
        reason = read_json("end.json").get("reason") or "canceled"
        ending_of(flock).write_exit(reason, "ended before it started", time.time())
        return
    try:
        problem = flock.start()
    except (OSError, KeyError, TypeError) as exc:  # the log cannot be opened; the spec is no spec
        problem = f"{type(exc).__name__}: {exc}"
    if problem:
        _watch_of, ending_of = tools()
        ending_of(flock).write_exit("not_started", f"cannot start {problem}", time.time())
        return
    listen()
    flock.tell_of_the_program()
    flock.reap()  # it may have ended before anybody listened
    watch_of, ending_of = tools()
    watch = watch_of(flock)
    ending_of(flock).end(*watch.watch(), watch.log)


def sweep(flock: Flock) -> None:
    """End what is left of a program whose shepherd is gone; its exit code is lost."""
    listen()
    flock.adopts = False  # what another left came to init, not here
    _watch_of, ending_of = tools()
    ending = ending_of(flock)
    ending.end_tree(flock.spec.get("grace_seconds", 10.0))
    ending.end_container()
    if not os.path.exists("exit.json"):  # noqa: PTH110
        reason = read_json("end.json").get("reason") or "canceled"
        ending.write_exit(reason, "its shepherd was gone, so its exit code is not known", time.time())


def tools() -> tuple[type[Watch], type[Ending]]:
    """Return what watches a program, and what ends it, loaded by now."""
    from compute.ending import Ending
    from compute.watching import Watch

    return Watch, Ending


def listen() -> None:
    """From here on, heed TERM and the end of children."""
    import signal

    watched = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_SETMASK, watched)
    for number in watched:
        signal.signal(number, signal.SIG_DFL)


def wait_for_folder() -> str:
    """Wait as a spare until the folder to work in is named; leave when whoever would name it is gone."""
    name = b""
    while not name.endswith(b"\0"):
        piece = os.read(0, 4096)
        if not piece:
            raise SystemExit
        name += piece
    folder = os.fsdecode(name[:-1])
    null = os.open("/dev/null", os.O_RDONLY)
    log = os.open(f"{folder}/shepherd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    return folder


def main(folder: str, mode: str = "run") -> None:
    """Do the shepherd's work in `folder`; for "-", in the one that is named on the standard input some day."""
    if folder == "-":
        tools()
        folder = wait_for_folder()
    # HUP, INT and QUIT are ignored by the starter's doing, and so is TERM until `listen`: an order to end that comes
    # before is found in end.json.
    os.closerange(3, 1 << 20)  # whatever the starter had open
    os.chdir(folder)
    (sweep if mode == "sweep" else run)(Flock(folder))
