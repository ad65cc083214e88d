"""A shepherd's flock: one program of a run, and all that came of it; how it is claimed, started and waited for.

The part of a shepherd that is loaded before its program starts: standard library only, few imports.
"""

from __future__ import annotations

import marshal
import os
import resource
import time

from compute.control import at, complain, read, read_json, write, write_json
from compute.procfs import boot_id, descendants, look_at, tagged

# The program is started before anything else is imported: typing, json and signal would hold it up for as long as
# Python itself takes. So json and signal are imported where they are used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from compute.procfs import Process

DEFAULTS = [number for number in range(1, 65) if number not in {9, 19, 32, 33}]  # KILL and STOP; the C library's own


def read_spec() -> dict[str, Any]:
    """Return what to start."""
    try:
        value = marshal.loads(read("spec.marshal"))  # noqa: S302 - the studio wrote it, in a folder of its own
    except (ValueError, EOFError, TypeError):
        return read_json("spec.json")
    return value if isinstance(value, dict) else {}


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ends; say whether the kernel agreed."""
    try:
        import _ctypes  # ctypes without its types: 5 ms less of every start

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 2), "prctl")  # type: ignore[arg-type]  # None: this process
        return int(_ctypes.call_function(prctl, (36, 1, 0, 0, 0))) == 0  # PR_SET_CHILD_SUBREAPER
    except (ImportError, AttributeError, OSError):
        return False


class CannotStart(Exception):
    """The program cannot be started, with the errno that says why."""

    def __init__(self, number: int | None, message: str) -> None:
        super().__init__(message)
        self.number = number


class Flock:
    """One program of a run, and what came of it."""

    def __init__(self, folder: str) -> None:
        self.name = os.path.basename(folder)  # noqa: PTH119
        self.spec = read_spec()
        me = look_at(os.getpid())
        self.me: dict[str, Any] = {
            "pid": os.getpid(),
            "start_time": me.start_time if me else 0,
            "boot_id": boot_id(),
        }
        self.adopts = adopt_orphans()
        self.main = 0
        self.code: int | None = None
        self.has_children = False
        self.started = self.deadline = 0.0
        self.peak = 0
        self.is_told = False  # who the program is

    # Starting

    def claim(self) -> bool:
        """Take the folder; False when another shepherd has it already: then the program is started."""
        # JSON by hand: numbers, and an id without anything to escape.
        me = ", ".join(f'"{name}": {value!r}' for name, value in self.me.items()).replace("'", '"')
        word = f'{{{me}, "program": null, "started_at": null}}'.encode()
        while os.path.exists("spec.json"):  # noqa: PTH110 - the folder was removed: nobody will ask
            try:
                return write("pid.json", word, once=True)
            except OSError as exc:  # the disk is full: nothing starts before there is room
                complain(f"pid.json: {exc}")
                time.sleep(1)
        return False

    def start(self) -> str | None:
        """Start the program; return what went wrong, or None."""
        output = os.open(self.spec["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        user = (self.spec.get("confinement") or {}).get("user")
        if user is not None:
            os.fchown(output, user, user)  # so that /dev/stdout, which leads there, can be opened
        try:
            self.main = self._spawn(output)
        except CannotStart as exc:
            self.code = 127 if exc.number == 2 else 126  # as a shell has it
            os.write(output, f"studio: cannot start {exc}\n".encode(errors="surrogateescape"))
            return str(exc).encode(errors="replace").decode()
        finally:
            os.close(output)
            self.started = time.time()
        self.has_children = True
        self.deadline = time.monotonic() + (self.spec.get("max_seconds") or float("inf"))
        return None

    def _spawn(self, output: int) -> int:
        """Start the program with what its spec gives it and nothing else; return its pid. Raises CannotStart."""
        told, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become(output, tells)
        os.close(tells)
        with os.fdopen(told, "rb") as pipe:
            problem = pipe.read()  # ends when the program has taken the child's place
        if problem:
            os.waitpid(pid, 0)
            number, _space, text = problem.decode(errors="surrogateescape").partition(" ")
            raise CannotStart(int(number), text)
        return pid

    def _become(self, output: int, tells: int) -> NoReturn:
        """Be the program, or tell why that cannot be, as errno and words."""
        import _signal  # type: ignore[import-not-found]  # without signal's enumerations, which take 5 ms

        spec, number, why = self.spec, 22, ""
        doing: object = ""
        try:
            env = spec["env"] | {"STUDIO_RUN_ID": spec["tag"], "STUDIO_CONTROL": self.name}
            os.setsid()
            os.umask(0o022)
            try:
                with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:  # noqa: PTH123
                    file.write(b"500")  # when the machine runs out of memory, runs go before the studio
            except OSError:
                pass  # the machine does not have it
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if spec["cpus"]:
                doing = f"on CPUs {spec['cpus']}"
                os.sched_setaffinity(0, spec["cpus"])
            doing = f"in {spec['cwd']}"
            if spec.get("confinement"):
                os.stat(spec["cwd"])  # noqa: PTH116 - its absence is told as such
                doing = f"as confined as it must be in {spec['cwd']}"
                from compute import confinement

                confinement.confine(spec["confinement"], output, spec["cwd"])
            else:
                os.chdir(spec["cwd"])
            if spec.get("most_tasks"):  # root's own number is not held, so this comes after the change of user
                hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
                most = spec["most_tasks"] if hard == resource.RLIM_INFINITY else min(spec["most_tasks"], hard)
                resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
            os.nice(spec["nice"])  # no sooner: what is done here is waited for
            doing = spec["argv"][0]
            os.dup2(output, 1)
            os.dup2(output, 2)
            for one in DEFAULTS:  # an ignored signal would stay ignored
                _signal.signal(one, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            os.execvpe(spec["argv"][0], spec["argv"], env)  # noqa: S606
        except OSError as exc:
            number, why = exc.errno or 0, exc.strerror or ""
        except BaseException as exc:  # a NUL byte in an argument, say; nothing may leave this function
            why = str(exc)
        os.write(tells, f"{number} {doing}: {why}".encode(errors="surrogateescape"))
        os._exit(127)

    def tell_of_the_program(self) -> None:
        """Write who the program is, and since when."""
        program = look_at(self.main)  # a zombie at the least: nobody buried it yet
        known = {"pid": self.main, "start_time": program.start_time if program else 0}
        self.is_told = self.keep("pid.json", self.me | {"program": known, "started_at": at(self.started)})

    # Waiting

    def rest(self, seconds: float) -> bool:
        """Wait for a child to end, an order or the time; bury the dead; say whether it was the order."""
        import signal

        told = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, max(0.0, seconds))
        self.reap()
        return bool(told and told.si_signo == signal.SIGTERM)

    def reap(self) -> None:
        """Bury the dead; note the program's exit code, and whether anybody is left."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.has_children = False
                return
            if pid == 0:
                self.has_children = True
                return
            self.peak = max(self.peak, used.ru_maxrss * 1024)
            if pid == self.main:
                self.code = os.waitstatus_to_exitcode(status)

    def left(self) -> list[Process]:
        """Return the living processes that came of the program."""
        self.reap()
        found = {process.pid: process for process in descendants(os.getpid()) if not process.is_zombie}
        if not self.adopts or not self.has_children:  # no child is proof where orphans come here; else look around
            for process in tagged(self.spec.get("tag", ""), self.name):
                below = descendants(process.pid)  # may have dropped the environment that tells
                found |= {one.pid: one for one in (process, *below) if not one.is_zombie}
        return list(found.values())

    def hurry(self) -> None:
        """Go before all that shares the processors, or have the program go behind: thousands of it leave no time."""
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except OSError:
            try:
                os.setpriority(os.PRIO_PGRP, self.main, 19)
            except OSError:
                return

    def keep(self, path: str, value: dict[str, Any], *, lasting: bool = False) -> bool:
        """Write a file of the folder; say whether that went well."""
        try:
            return write_json(path, value, lasting=lasting)
        except OSError as exc:
            complain(f"{path}: {exc}")
            return False
