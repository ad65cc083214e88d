"""Stand over one program of a run: start it, watch it, end all that came of it, and write down how it went.

A program of its own, as `python -I -S shepherd.py FOLDER [sweep]` or as a spare that waits for its folder, started
by `compute.processes`: standard library only, few imports, nothing of the studio. It lives in its own session and
outlives whoever started it. All it knows is in FOLDER, and all it says goes there, each file whole or not at all:

    spec.json      in: what to start (see `compute.processes.ProcessSpec`); the same in spec.marshal, read faster
    end.json       in: {"reason"}; its being there is the order to end
    pid.json       out: {"pid", "start_time", "boot_id", "program": null | {"pid", "start_time"}, "started_at"}
    usage.json     out: {"cpu_percent", "memory_bytes", "at"}, about every second
    exit.json      out: {"code", "reason", "detail", "started_at", "ended_at", "peak_memory_bytes", "receipt"}
    shepherd.log   out: what went wrong with the shepherd itself

With `sweep` it ends what is left of a program whose own shepherd is gone; sweep.json names it as long as it works.
"""

from __future__ import annotations

import marshal
import os
import resource
import sys
import time

# The program is started before anything else is imported: typing, json and signal would hold it up for as long as
# Python itself takes. So json and signal are imported where they are used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from typing import Any, NoReturn

BLOCK = 4096  # bytes; what file systems can take out
TICK = 0.25  # seconds between two looks at memory and processes
DISK_EVERY = 2.0  # seconds, and longer where the look takes long
DISK_SLICE = 0.004  # seconds of that look at once
MOST_TOLD = 200  # processes on a receipt
CROWD = 50 * (os.cpu_count() or 1)  # programs that want a processor at once: with so many, a turn would come too late
USAGE_EVERY = 1.0  # seconds
PATIENCE = 0.2  # seconds that what a program leaves behind has to end by itself
GIVE_UP_AFTER = 30.0  # seconds of KILL; what is left then is stuck in the kernel, and dies when that lets go
DEFAULTS = [number for number in range(1, 65) if number not in {9, 19, 32, 33}]  # KILL and STOP; the C library's own
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One process as /proc showed it."""

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        """Take the fields of /proc/PID/stat behind the name. Source: proc_pid_stat(5), whose field 3 is the first."""
        self.pid = pid
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.start_time = int(fields[19])  # ticks since boot: with the pid, it names one process of this boot
        self.cpu_ticks = sum(map(int, fields[11:15]))  # its own, and those of its children that are gone
        self.memory_bytes = int(fields[21]) * PAGE  # resident, shared pages included
        # A main thread may end before the others: the process lives on, and looks like a zombie.
        self.is_zombie = fields[0] in b"ZX" and int(fields[17]) <= 1


def read(path: str) -> bytes:
    """Return a file's bytes, or none where it cannot be read (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        pieces = []
        while piece := os.read(fd, 65536):
            pieces.append(piece)
        return b"".join(pieces)
    except OSError:
        return b""
    finally:
        os.close(fd)


def read_json(path: str) -> dict[str, Any]:
    """Return a file's JSON object; a file that is cut, strange or absent is an empty one."""
    import json

    try:
        value = json.loads(read(path))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_spec() -> dict[str, Any]:
    """Return what to start."""
    try:
        value = marshal.loads(read("spec.marshal"))  # noqa: S302 - the studio wrote it, in a folder of its own
    except (ValueError, EOFError, TypeError):
        return read_json("spec.json")
    return value if isinstance(value, dict) else {}


def write_json(path: str, value: dict[str, Any], *, lasting: bool = False, once: bool = False) -> bool:
    """Write a file whole or not at all; say whether it was written, which `once` leaves to the first who tries.

    `lasting`: through a loss of power, too.
    """
    import json

    return write(path, json.dumps(value).encode(), lasting=lasting, once=once)


def write(path: str, data: bytes, *, lasting: bool = False, once: bool = False) -> bool:
    """Write bytes as `write_json` does."""
    scratch = f"{path}.{os.getpid()}.{time.monotonic_ns()}"
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(fd)
    except OSError:
        os.unlink(scratch)  # noqa: PTH108 - on a full disk, one more would lie there every second
        raise
    if not once:
        os.replace(scratch, path)  # noqa: PTH105 - pathlib would cost 5 ms of every start
        return True
    try:
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(scratch)  # noqa: PTH108
    return True


def complain(text: str) -> None:
    """Say in shepherd.log what went wrong; on a full disk nowhere, for it is no reason to leave a program alone."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return


def boot_id() -> str:
    """Return what names this boot of the machine."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def look_at(pid: int) -> Process | None:
    """Return what /proc says of a process, or None when there is no such one."""
    # The name in parentheses is the program's own choice and may hold anything, ")" too.
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return Process(pid, fields) if len(fields) >= 22 else None


def crowd() -> int:
    """Return how many programs of the machine want a processor now."""
    fields = read("/proc/loadavg").split()
    return int(fields[3].partition(b"/")[0]) if len(fields) > 3 else 0


def tagged(tag: str, name: str) -> list[Process]:
    """Return the living processes that carry the run's tag and the control folder's name in their environment."""
    wanted = {f"STUDIO_RUN_ID={tag}".encode(), f"STUDIO_CONTROL={name}".encode()}
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdecimal() and wanted <= set(read(f"/proc/{entry}/environ").split(b"\0")):
            process = look_at(int(entry))
            if process and not process.is_zombie:
                found.append(process)
    return found


def descendants(pid: int) -> list[Process]:
    """Return the processes below `pid`, parents first, zombies too."""
    found: dict[int, Process] = {}
    ahead = [pid]
    if not os.path.exists(f"/proc/{pid}/task/{pid}/children"):  # noqa: PTH110
        return _descendants_by_parent(pid)
    while ahead:
        one = ahead.pop()
        try:
            threads = os.listdir(f"/proc/{one}/task")  # noqa: PTH208
        except OSError:
            continue
        for thread in threads:
            for child in map(int, read(f"/proc/{one}/task/{thread}/children").split()):
                process = None if child in found else look_at(child)
                if process:
                    found[child] = process
                    ahead.append(child)
    return list(found.values())


def _descendants_by_parent(pid: int) -> list[Process]:
    """Return the same on a kernel that lists no children, from every process of the machine."""
    children: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        process = look_at(int(entry)) if entry.isdecimal() else None
        if process:
            children.setdefault(process.parent, []).append(process)
    found, ahead = [], [pid]
    while ahead:
        below = children.pop(ahead.pop(), [])
        found += below
        ahead += [process.pid for process in below]
    return found


def proportional(process: Process) -> int:
    """Return a process's memory with shared pages split between those who share them. Slow for a large process."""
    for line in read(f"/proc/{process.pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return process.memory_bytes


def send(process: Process, number: int) -> bool:
    """Signal exactly this process, never another that got its pid; say whether it was there."""
    import signal

    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel before 5.3
        fd = -1
    try:
        now = look_at(process.pid)
        if now is None or now.is_zombie or now.start_time != process.start_time:
            return False
        if fd >= 0:
            signal.pidfd_send_signal(fd, number)
        else:
            os.kill(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if fd >= 0:
            os.close(fd)
    return True


def command_of(process: Process) -> str:
    """Return a process's command line for people, cut to 200 characters."""
    command = read(f"/proc/{process.pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ")
    command = command or b"[" + read(f"/proc/{process.pid}/comm").strip() + b"]"
    return command.decode(errors="replace")[:200]


def name_of(process: Process) -> str:
    """Return the name that the kernel has for a process."""
    return read(f"/proc/{process.pid}/comm").decode(errors="replace").strip()


def sizes(folders: list[str]) -> Iterator[int]:
    """Yield the bytes on disk found so far below `folders`, now and then, and in the end."""
    total, ahead, seen = 0, list(folders), 0
    while ahead:
        try:
            entries = os.scandir(ahead.pop())
        except OSError:
            continue  # gone, or closed
        with entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
                except OSError:
                    continue
                seen += 1
                if seen % 64 == 0:
                    yield total
    yield total


def punch(fd: int, start: int, size: int) -> None:
    """Take these bytes of a file from the disk. Raises OSError where the file system cannot."""
    import ctypes  # slow to import, and needed for no ordinary log

    library = ctypes.CDLL(None, use_errno=True)
    if library.fallocate(fd, 1 | 2, ctypes.c_int64(start), ctypes.c_int64(size)):  # keep the size; punch a hole
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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


def at(moment: float) -> str:
    """Return a moment in ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e6):06d}+00:00"


def of_gigabytes(used: int, limit: int, kilo: int = 1024) -> str:
    """Return "used 7.1 of 7 GB", in megabytes below one gigabyte; never a number that hides the excess."""
    unit, name = (kilo**3, "GB") if limit >= kilo**3 else (kilo**2, "MB")
    most = limit / unit
    digits = 1 if round(used / unit, 1) > round(most, 1) else 3
    return f"used {used / unit:.{digits}f} of {most:.{digits}f}".replace(f".{'0' * digits}", "") + f" {name}"


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


class Shepherd:
    """One program, what came of it, and what is written down about it."""

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
        self.tree: list[Process] = []
        self.walk_seconds = self.walked = 0.0
        self.shared_bytes, self.weigh_again = 0, 0.0
        self.used = (0.0, 0)  # when, CPU ticks of the tree until then
        self.marked = 0  # bytes of the log
        self.signalled: list[dict[str, Any]] = []
        self.receipt: dict[str, Any] = {}
        self.disk_at, self.disk_took = 0.0, 0.0
        self.disk_look: Iterator[int] | None = None
        self.cut_until, self.cannot_cut = 0, False
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
                import confinement  # type: ignore[import-not-found]  # found beside this file

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
        self.is_told = self._keep("pid.json", self.me | {"program": known, "started_at": at(self.started)})

    # Watching

    def watch(self) -> tuple[str, str]:
        """Wait until the program ends or must end; return the reason and a detail for people."""
        ceiling, most = self.spec.get("memory_bytes"), self.spec.get("most_processes")
        usage_at = time.monotonic()
        while True:
            if self.code is not None:
                return "exited", f"ended by {signal_name(-self.code)}" if self.code < 0 else ""
            if os.path.exists("end.json"):  # noqa: PTH110
                return read_json("end.json").get("reason") or "canceled", ""
            now = time.monotonic()
            if now >= self.deadline:
                return "duration", f"ran for its maximum of {self.spec['max_seconds']:g} s"
            if crowd() > CROWD:
                self.hurry()
            memory = self.measure(now, ceiling)
            if self.too_many():
                return "processes", f"started more than {most} processes"
            if ceiling and memory > ceiling:
                return "memory", of_gigabytes(memory, ceiling)
            self.keep_log_short()
            if detail := self.too_much_on_disk(now):
                return "disk", detail
            if now >= usage_at:
                self.write_usage(now, memory)
                usage_at = now + USAGE_EVERY
            told = self.rest(min(TICK if ceiling or most else USAGE_EVERY, self.deadline - now))
            if told and self.code is None and not os.path.exists("end.json"):  # noqa: PTH110
                return "lost", "It was told to end from outside the studio, as when the machine shuts down."

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

    def measure(self, now: float, ceiling: int | None) -> int:
        """Return the bytes of memory the tree uses.

        Resident memory is cheap to read and counts shared pages once a process, so it is never too low: the exact
        figure is asked for only where it matters, and seldom where it is slow.
        """
        if self.walk_seconds < 0.002 or now - self.walked >= USAGE_EVERY:
            self.tree = descendants(os.getpid())
            self.walked, self.walk_seconds = now, time.monotonic() - now
        else:
            self.tree = [process for known in self.tree if (process := look_at(known.pid))]
        if self.too_many():
            return self.peak  # it is ended for that, and weighing so many would keep it alive
        resident = sum(process.memory_bytes for process in self.tree)
        if len(self.tree) == 1:
            memory = resident
        else:
            memory = max(0, resident - self.shared_bytes)
            if now >= self.weigh_again or (ceiling and memory > ceiling):
                memory = sum(map(proportional, self.tree))
                self.shared_bytes = max(0, resident - memory)
                self.weigh_again = now + max(USAGE_EVERY, 100 * (time.monotonic() - now))
        self.peak = max(self.peak, memory)
        return memory

    def too_many(self) -> bool:
        """Say whether the tree has more processes than it may."""
        most = self.spec.get("most_processes")
        return bool(most and len(self.tree) > most and sum(not one.is_zombie for one in self.tree) > most)

    def too_much_on_disk(self, now: float) -> str:
        """Say by how much the program's folders are above what they may hold, or nothing; looks a slice at a time."""
        limit = self.spec.get("disk_bytes")
        if not limit or now < self.disk_at:
            return ""
        self.disk_look = self.disk_look or sizes(self.spec.get("disk", []))
        for used in self.disk_look:
            if used > limit:
                return f"{of_gigabytes(used, limit, 1000)} of disk"
            if time.monotonic() - now > DISK_SLICE:
                self.disk_took += time.monotonic() - now
                return ""
        took = self.disk_took + time.monotonic() - now
        self.disk_at, self.disk_took, self.disk_look = now + max(DISK_EVERY, 100 * took), 0.0, None
        return ""

    def keep_log_short(self) -> None:
        """Take the middle of a log that is too long from the disk: it reads as zeros, and every offset stays."""
        limit = self.spec.get("log_bytes")
        if not limit or self.cannot_cut:
            return
        half = limit // 2 // BLOCK * BLOCK
        try:
            stop = (os.stat(self.spec["log"]).st_size - half) // BLOCK * BLOCK  # noqa: PTH116
            start = max(half, self.cut_until)
            if stop - start < max(BLOCK, limit // 8):
                return
            fd = os.open(self.spec["log"], os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            punch(fd, start, stop - start)
            self.cut_until = stop
        except OSError as exc:
            self.cannot_cut = True
            complain(f"the log cannot be kept short: {exc}")
        finally:
            os.close(fd)

    def write_usage(self, now: float, memory: int) -> None:
        """Write what the tree uses: CPU in percent of one CPU since the last time, memory in bytes."""
        gone = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = sum(process.cpu_ticks for process in self.tree) + int((gone.ru_utime + gone.ru_stime) * TICKS)
        since, before = self.used
        percent = max(0.0, (ticks - before) / TICKS / (now - since) * 100) if since else 0.0
        self.used = (now, ticks)
        if not self.is_told:  # the disk was full
            self.tell_of_the_program()
        self._keep("usage.json", {"cpu_percent": round(percent, 1), "memory_bytes": memory, "at": at(time.time())})
        self.mark()

    def mark(self) -> None:
        """Note when the log had grown to what, so that its lines have their times."""
        import struct

        if not self.spec.get("marks"):
            return
        try:
            size = os.stat(self.spec["log"]).st_size  # noqa: PTH116
            if size != self.marked:
                fd = os.open(self.spec["marks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
                os.write(fd, struct.pack("<dQ", time.time(), size))  # whole or, on a full disk, maybe in part
                os.close(fd)
                self.marked = size
        except OSError as exc:
            complain(f"{self.spec['marks']}: {exc}")

    # Ending

    def left(self) -> list[Process]:
        """Return the living processes that came of the program."""
        self.reap()
        found = {process.pid: process for process in descendants(os.getpid()) if not process.is_zombie}
        if not self.adopts or not self.has_children:  # no child is proof where orphans come here; else look around
            for process in tagged(self.spec.get("tag", ""), self.name):
                below = descendants(process.pid)  # may have dropped the environment that tells
                found |= {one.pid: one for one in (process, *below) if not one.is_zombie}
        return list(found.values())

    def signal_all(self, processes: list[Process], number: signal.Signals) -> None:
        """Signal each process, once, and write it on the receipt."""
        done = {(entry["pid"], entry["signal"]) for entry in self.signalled}
        many = len(processes) > MOST_TOLD
        for process in processes:
            # A command line is read past a lock that a program which forks holds, and it may be long in coming by it.
            command = f"[{name_of(process)}]" if many else command_of(process)
            if send(process, number) and (process.pid, number.name) not in done:
                self.signalled.append({"pid": process.pid, "command": command, "signal": number.name})

    def hurry(self) -> None:
        """Go before all that shares the processors, or have the program go behind: thousands of it leave no time."""
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except OSError:
            try:
                os.setpriority(os.PRIO_PGRP, self.main, 19)
            except OSError:
                return

    def kill_at_once(self, processes: list[Process], *, whole_user: bool) -> None:
        """KILL whole groups, and all that the run's own user has if `whole_user`: in one call no fork gets between."""
        import signal

        self.hurry()
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
        import signal

        self.receipt = {"signalled": self.signalled, "left": [], "term_at": None, "kill_at": None, "empty_at": None}
        left = self.left()
        if len(left) > MOST_TOLD:
            self.hurry()
        if grace > 0 and left:
            self.receipt["term_at"] = at(time.time())
            self.signal_all(left, signal.SIGTERM)
            until, pause = time.monotonic() + grace, 0.01
            while (left := self.left()) and (now := time.monotonic()) < until:
                self.rest(min(pause, until - now))
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
            self.rest(pause)
            pause, rounds = min(pause * 1.5, 0.1), rounds + 1
            left = self.left()
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

    def end(self, reason: str, detail: str) -> None:
        """End what is left of the tree, and write down how it went."""
        ended = time.time()
        if reason == "exited":
            until = time.monotonic() + PATIENCE
            while self.has_children and time.monotonic() < until:
                self.rest(0.01)
        # What is too much goes on growing while a program cleans up, and it is the machine's: there is no grace.
        self.end_tree(0.0 if reason in {"memory", "processes", "disk"} else self.spec.get("grace_seconds", 10.0))
        self.end_container()
        self.keep_log_short()
        self.mark()
        self.write_exit(reason, detail, ended if reason == "exited" else time.time())

    def write_exit(self, reason: str, detail: str, ended: float) -> None:
        """Write exit.json, the last word; on a full disk, when there is room again."""
        word = {
            "code": self.code,
            "reason": reason,
            "detail": detail,
            "started_at": at(self.started) if self.started else None,
            "ended_at": at(ended),
            "peak_memory_bytes": self.peak,
            "receipt": self.receipt,
        }
        if len(self.signalled) > MOST_TOLD:
            self.receipt |= {"signalled": self.signalled[:MOST_TOLD], "more": len(self.signalled) - MOST_TOLD}
        for folder in self.spec.get("mend") or []:
            mend(folder)
        while not self._keep("exit.json", word, lasting=True):
            if not os.path.exists("spec.json"):  # noqa: PTH110 - the folder was removed: nobody will ask
                return
            time.sleep(1)
        for name in ("usage.json", "sweep.json"):
            try:
                os.unlink(name)  # noqa: PTH108
            except OSError:
                continue

    def _keep(self, path: str, value: dict[str, Any], *, lasting: bool = False) -> bool:
        try:
            return write_json(path, value, lasting=lasting)
        except OSError as exc:
            complain(f"{path}: {exc}")
            return False

    # The two things it does

    def run(self) -> None:
        """Start the program and stay until nothing of it is left."""
        if not self.claim():
            return
        if os.path.exists("end.json"):  # noqa: PTH110
            self.write_exit(read_json("end.json").get("reason") or "canceled", "ended before it started", time.time())
            return
        try:
            problem = self.start()
        except (OSError, KeyError, TypeError) as exc:  # the log cannot be opened; the spec is no spec
            problem = f"{type(exc).__name__}: {exc}"
        if problem:
            self.write_exit("not_started", f"cannot start {problem}", time.time())
            return
        listen()
        self.tell_of_the_program()
        self.reap()  # it may have ended before anybody listened
        self.end(*self.watch())

    def sweep(self) -> None:
        """End what is left of a program whose shepherd is gone; its exit code is lost."""
        listen()
        self.adopts = False  # what another left came to init, not here
        self.end_tree(self.spec.get("grace_seconds", 10.0))
        self.end_container()
        if not os.path.exists("exit.json"):  # noqa: PTH110
            reason = read_json("end.json").get("reason") or "canceled"
            self.write_exit(reason, "its shepherd was gone, so its exit code is not known", time.time())


def signal_name(number: int) -> str:
    """Return "SIGKILL" for 9; a number without a name as it is."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


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
        folder = wait_for_folder()
    # HUP, INT and QUIT are ignored by the starter's doing, and so is TERM until `listen`: an order to end that comes
    # before is found in end.json.
    os.closerange(3, 1 << 20)  # whatever the starter had open
    os.chdir(folder)
    shepherd = Shepherd(folder)
    if mode == "sweep":
        shepherd.sweep()
    else:
        shepherd.run()


if __name__ == "__main__":
    main(*sys.argv[1:3])
