"""Starts the studio's processes, brings back whichever dies, and ends them all.

Each is a fork of the supervisor, which has imported what they share before: so they start in a fraction of a
second and share memory. The supervisor itself serves nothing and opens no database.
"""

import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

LOG_BYTES = 5_000_000  # a process's log is put aside at its start when it is larger
TOO_SOON = 5.0  # seconds; one that ends earlier than this after its start is started again ever later
LONGEST_PAUSE = 30.0  # seconds
STOP_WITHIN = 3.0  # seconds for a clean end, then KILL
LAST_LINES = 15
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


class Refused(Exception):
    """The studio cannot start here. The message says why, and what to do."""


def say(line: str) -> None:
    """Tell it in the terminal, if that is still there."""
    with suppress(OSError):
        print(line, flush=True)


@dataclass
class Child:
    """A process of the studio: what it runs, and how it fares."""

    name: str
    run: Callable[[], Any]  # called in the new process
    log: Path | None  # None: the terminal
    once: bool = False  # it ends by itself and is not brought back
    last: bool = False  # stopped after the others, which still need it
    pid: int = 0
    started_at: float = 0.0
    log_start: int = 0
    quick_ends: int = 0
    due_at: float | None = None  # when to start it again
    code: int | None = None


@dataclass
class Supervisor:
    status: Path  # {"web": pid, …} as JSON, for those who look from outside; removed at the end
    children: list[Child] = field(default_factory=list)
    private: list[int] = field(default_factory=list)  # file descriptors no child may inherit
    stopping: bool = False
    signals: int = 0

    def __post_init__(self) -> None:
        self.wake, tell = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(tell, False)
        self.private += [self.wake, tell]
        signal.set_wakeup_fd(tell)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _asked_to_stop(self, *_: Any) -> None:
        self.stopping = True
        self.signals += 1

    # Starting

    def start(self, child: Child) -> Child:
        """Start `child` now, and watch over it from now on."""
        if child not in self.children:
            self.children.append(child)
        if child.log is not None:
            child.log_start = make_room(child.log)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()  # what is shared stays shared: the collector does not write to it
        parent = os.getpid()
        child.started_at, child.due_at, child.code = time.monotonic(), None, None
        child.pid = os.fork()
        if child.pid == 0:
            self._become(child, parent)
        self._write_status()
        return child

    def _become(self, child: Child, parent: int) -> NoReturn:
        """Be `child` and end with it. Nothing of the supervisor is left: neither its signals nor its files."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for descriptor in self.private:
                with suppress(OSError):
                    os.close(descriptor)
            os.setpgid(0, 0)  # Ctrl-C in the terminal reaches the supervisor alone
            end_with(parent)
            name_process(f"studio-{child.name}")
            quiet = os.open(os.devnull, os.O_RDONLY)
            os.dup2(quiet, 0)
            if child.log is not None:
                log = os.open(child.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
            gc.enable()
            code = int(child.run() or 0)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    # Watching

    def step(self, patience: float = 1.0) -> None:
        """Wait up to `patience` seconds for something to happen, and see to it."""
        due = [child.due_at for child in self.children if child.due_at is not None]
        if due:
            patience = max(0.0, min(patience, min(due) - time.monotonic()))
        if select.select([self.wake], [], [], patience)[0]:
            with suppress(BlockingIOError):
                os.read(self.wake, 4096)
        self._reap()
        if self.stopping:
            return
        for child in self.children:
            if child.due_at is not None and child.due_at <= time.monotonic():
                self.start(child)

    def _reap(self) -> None:
        for child in self.children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            child.pid, child.code = 0, os.waitstatus_to_exitcode(status)
            self._write_status()
            if not self.stopping and not child.once:
                self._bring_back(child)

    def _bring_back(self, child: Child) -> None:
        """Start it again at once; one that keeps ending right after its start, ever later, saying so."""
        now = time.monotonic()
        child.quick_ends = child.quick_ends + 1 if now - child.started_at < TOO_SOON else 0
        pause = 0.0 if child.quick_ends < 2 else min(LONGEST_PAUSE, 2.0 ** (child.quick_ends - 2))
        child.due_at = now + pause
        how = f"signal {-child.code}" if child.code and child.code < 0 else f"code {child.code}"
        when = f"in {pause:.0f} s" if pause else "now"
        say(f"! {child.name} ended with {how}; it is started again {when} (its log: {child.log})")
        if child.quick_ends == 2:  # the later ones only repeat it
            for line in last_lines(child):
                say(f"  {child.name} | {line}")

    def wait_for(self, child: Child) -> int | None:
        """Wait until `child` ends, seeing to the others meanwhile. Returns None when asked to stop first."""
        while child.pid and not self.stopping:
            self.step()
        return child.code if not child.pid else None

    def forget(self, child: Child) -> None:
        self.children.remove(child)
        self._write_status()

    def _write_status(self) -> None:
        alive = {child.name: child.pid for child in self.children if child.pid}
        fresh = self.status.with_suffix(".new")
        with suppress(OSError):
            fresh.write_text(json.dumps({"supervisor": os.getpid(), **alive}))
            fresh.replace(self.status)

    # Ending

    def stop(self) -> None:
        """End every process: TERM, then KILL; a second Ctrl-C goes straight to KILL."""
        self.stopping = True
        first = [child for child in self.children if not child.last]
        self._end(first, STOP_WITHIN)
        self._end(self.children, 1.0)
        self.status.unlink(missing_ok=True)

    def _end(self, children: list[Child], patience: float) -> None:
        signals, deadline = self.signals, time.monotonic() + patience
        for child in children:
            _send(child, signal.SIGTERM)
        while (
            any(child.pid for child in children) and time.monotonic() < deadline and self.signals < max(2, signals + 1)
        ):
            self.step(deadline - time.monotonic())
        for child in children:
            _send(child, signal.SIGKILL)
        while any(child.pid for child in children):
            self.step(0.05)


def _send(child: Child, number: signal.Signals) -> None:
    if child.pid:
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)


def end_with(parent: int) -> None:
    """Let the kernel end this process when its parent dies, however that dies (Linux)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(1)


def name_process(name: str) -> None:
    """Let `ps -o comm` and `top` tell the studio's processes apart (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def make_room(log: Path) -> int:
    """Put a log aside that has grown large; return at which byte the next lines will start."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return 0
    if size <= LOG_BYTES:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def last_lines(child: Child) -> list[str]:
    """Return the last lines that `child` wrote since its start."""
    if child.log is None or not child.log.exists():
        return []
    with child.log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(child.log_start, end - 20_000))
        return file.read().decode(errors="replace").splitlines()[-LAST_LINES:]
