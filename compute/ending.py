"""End all that came of a program, and write down how it went: the receipt, and exit.json, the last word.

A shepherd loads it when its program runs already. Standard library only.
"""

from __future__ import annotations

import os
import signal
import time

from compute.control import at
from compute.procfs import command_of, name_of, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compute.flock import Flock
    from compute.procfs import Process
    from compute.watching import Log

MOST_TOLD = 200  # processes on a receipt
PATIENCE = 0.2  # seconds that what a program leaves behind has to end by itself
GIVE_UP_AFTER = 30.0  # seconds of KILL; what is left then is stuck in the kernel, and dies when that lets go


def mend(folder: str) -> None:
    """Open what the program closed to its own user, who is the studio's too; links are not followed."""
    ahead = [folder]
    while ahead:
        one = ahead.pop()
        try:
            facts = os.lstat(one)
            if facts.st_mode & 0o170000 != 0o040000 or facts.st_uid != os.geteuid():
                continue
            if facts.st_mode & 0o700 != 0o700:
                os.chmod(one, facts.st_mode & 0o777 | 0o700)  # noqa: PTH101
            with os.scandir(one) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        mode = entry.stat(follow_symlinks=False).st_mode
                        if not mode & 0o400:
                            os.chmod(entry.path, mode & 0o777 | 0o600)  # noqa: PTH101
        except OSError:
            continue


def let_go(*names: str) -> None:
    """Remove files of the folder, as far as they are there."""
    for name in names:
        try:
            os.unlink(name)  # noqa: PTH108
        except OSError:
            continue


class Ending:
    """The end of a flock, and its receipt."""

    def __init__(self, flock: Flock) -> None:
        self.flock, self.spec = flock, flock.spec
        self.signalled: list[dict[str, Any]] = []
        self.receipt: dict[str, Any] = {}

    def signal_all(self, processes: list[Process], number: signal.Signals) -> None:
        """Signal each process, once, and write it on the receipt."""
        done = {(entry["pid"], entry["signal"]) for entry in self.signalled}
        many = len(processes) > MOST_TOLD
        for process in processes:
            # A command line is read past a lock that a program which forks holds, and it may be long in coming by it.
            command = f"[{name_of(process)}]" if many else command_of(process)
            if send(process, number) and (process.pid, number.name) not in done:
                self.signalled.append({"pid": process.pid, "command": command, "signal": number.name})

    def kill_at_once(self, processes: list[Process], *, whole_user: bool) -> None:
        """KILL whole groups, and all that the run's own user has if `whole_user`: in one call no fork gets between."""
        self.flock.hurry()
        done = {entry["pid"] for entry in self.signalled if entry["signal"] == "SIGKILL"}
        fresh = [process for process in processes if process.pid not in done]
        self.signalled += [{"pid": one.pid, "command": f"[{name_of(one)}]", "signal": "SIGKILL"} for one in fresh]
        user = (self.spec.get("confinement") or {}).get("user")
        groups = {process.group for process in processes} - {0, 1, os.getpgid(0)}
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            if user is not None:  # from here on, nobody else can be hit
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            for group in groups:
                try:
                    os.killpg(group, signal.SIGKILL)
                except OSError:
                    continue
            if user is not None and whole_user:
                os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)

    def end_tree(self, grace: float) -> None:
        """TERM to all that came of the program, KILL after `grace` seconds, and look until nothing is left."""
        self.receipt = {"signalled": self.signalled, "left": [], "term_at": None, "kill_at": None, "empty_at": None}
        left = self.flock.left()
        if len(left) > MOST_TOLD:
            self.flock.hurry()
        if grace > 0 and left:
            self.receipt["term_at"] = at(time.time())
            self.signal_all(left, signal.SIGTERM)
            until, pause = time.monotonic() + grace, 0.01
            while (left := self.flock.left()) and (now := time.monotonic()) < until:
                self.flock.rest(min(pause, until - now))
                pause = min(pause * 1.5, 0.25)
        until, pause, rounds = time.monotonic() + GIVE_UP_AFTER, 0.001, 0
        while left and time.monotonic() < until:
            self.receipt["kill_at"] = self.receipt["kill_at"] or at(time.time())
            if len(left) > MOST_TOLD:
                self.kill_at_once(left, whole_user=rounds >= 2)
            if rounds >= 3:  # they fork faster than they die: first all stand still
                for process in left:
                    send(process, signal.SIGSTOP)
            self.signal_all(left, signal.SIGKILL)
            self.flock.rest(pause)
            pause, rounds = min(pause * 1.5, 0.1), rounds + 1
            left = self.flock.left()
        self.receipt["left"] = [{"pid": process.pid, "command": command_of(process)} for process in left]
        if not left:
            self.receipt["empty_at"] = at(time.time())

    def end_container(self) -> None:
        """End the program's container, which is the engine's and no process of the tree; name it on the receipt."""
        name = self.spec.get("container")
        if not name:
            return
        import subprocess

        argv, env = ["/usr/bin/env", "docker", "rm", "--force", name], self.spec["env"]
        try:
            told = subprocess.run(  # noqa: S603 - the name is one argument, and plain
                argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIVE_UP_AFTER, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            self.receipt["containers_left"] = [f"{name}: {exc}"[:500]]
            return
        if name.encode() in told.stdout.split():
            self.receipt["containers"] = [name]
        elif told.returncode and b"o such container" not in told.stderr:
            self.receipt["containers_left"] = [f"{name}: {told.stderr.decode(errors='replace').strip()}"[:500]]

    def end(self, reason: str, detail: str, log: Log) -> None:
        """End what is left of the tree, and write down how it went."""
        ended = time.time()
        if reason == "exited":
            until = time.monotonic() + PATIENCE
            while self.flock.has_children and time.monotonic() < until:
                self.flock.rest(0.01)
        # What is too much goes on growing while a program cleans up, and it is the machine's: there is no grace.
        self.end_tree(0.0 if reason in {"memory", "processes", "disk"} else self.spec.get("grace_seconds", 10.0))
        self.end_container()
        log.keep_short()
        log.mark()
        self.write_exit(reason, detail, ended if reason == "exited" else time.time())

    def write_exit(self, reason: str, detail: str, ended: float) -> None:
        """Write exit.json, the last word; on a full disk, when there is room again."""
        word = {
            "code": self.flock.code,
            "reason": reason,
            "detail": detail,
            "started_at": at(self.flock.started) if self.flock.started else None,
            "ended_at": at(ended),
            "peak_memory_bytes": self.flock.peak,
            "receipt": self.receipt,
        }
        if len(self.signalled) > MOST_TOLD:
            self.receipt |= {"signalled": self.signalled[:MOST_TOLD], "more": len(self.signalled) - MOST_TOLD}
        for folder in self.spec.get("mend") or []:
            mend(folder)
        while not self.flock.keep("exit.json", word, lasting=True):
            let_go("usage.json")  # which has the room that a last word needs, where the program took all else
            if self.flock.keep("exit.json", word, lasting=True):
                break
            if not os.path.exists("spec.json"):  # noqa: PTH110 - the folder was removed: nobody will ask
                return
            time.sleep(1)
        let_go("usage.json", "sweep.json")
