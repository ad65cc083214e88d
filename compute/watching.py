"""Watch a program until it ends or must end: its memory, processes, disk and time, and what its log takes.

A shepherd loads it when its program runs already. Standard library only.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import time

from compute.control import at, complain, read_json
from compute.procfs import crowd, descendants, look_at, proportional

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from compute.flock import Flock
    from compute.procfs import Process

BLOCK = 4096  # bytes; what file systems can take out
TICK = 0.25  # seconds between two looks at memory and processes
DISK_EVERY = 2.0  # seconds, and longer where the look takes long
DISK_SLICE = 0.004  # seconds of that look at once
CROWD = 50 * (os.cpu_count() or 1)  # programs that want a processor at once: with so many, a turn would come too late
USAGE_EVERY = 1.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


def signal_name(number: int) -> str:
    """Return "SIGKILL" for 9; a number without a name as it is."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def of_gigabytes(used: int, limit: int, kilo: int = 1024) -> str:
    """Return "used 7.1 of 7 GB", in megabytes below one gigabyte; never a number that hides the excess."""
    unit, name = (kilo**3, "GB") if limit >= kilo**3 else (kilo**2, "MB")
    most = limit / unit
    digits = 1 if round(used / unit, 1) > round(most, 1) else 3
    return f"used {used / unit:.{digits}f} of {most:.{digits}f}".replace(f".{'0' * digits}", "") + f" {name}"


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


class Log:
    """What a program printed: kept short, and its growth noted."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.marked = 0  # bytes
        self.cut_until, self.cannot_cut = 0, False

    def keep_short(self) -> None:
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

    def mark(self) -> None:
        """Note when the log had grown to what, so that its lines have their times."""

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


class Watch:
    """A look at a flock, several times a second."""

    def __init__(self, flock: Flock) -> None:
        self.flock, self.spec = flock, flock.spec
        self.log = Log(flock.spec)
        self.tree: list[Process] = []
        self.walk_seconds = self.walked = 0.0
        self.shared_bytes, self.weigh_again = 0, 0.0
        self.used = (0.0, 0)  # when, CPU ticks of the tree until then
        self.disk_at, self.disk_took = 0.0, 0.0
        self.disk_look: Iterator[int] | None = None

    def watch(self) -> tuple[str, str]:
        """Wait until the program ends or must end; return the reason and a detail for people."""
        ceiling, most = self.spec.get("memory_bytes"), self.spec.get("most_processes")
        usage_at = time.monotonic()
        while True:
            if self.flock.code is not None:
                return "exited", f"ended by {signal_name(-self.flock.code)}" if self.flock.code < 0 else ""
            if os.path.exists("end.json"):  # noqa: PTH110
                return read_json("end.json").get("reason") or "canceled", ""
            now = time.monotonic()
            if now >= self.flock.deadline:
                return "duration", f"ran for its maximum of {self.spec['max_seconds']:g} s"
            if crowd() > CROWD:
                self.flock.hurry()
            memory = self.measure(now, ceiling)
            if self.too_many():
                return "processes", f"started more than {most} processes"
            if ceiling and memory > ceiling:
                return "memory", of_gigabytes(memory, ceiling)
            self.log.keep_short()
            if detail := self.too_much_on_disk(now):
                return "disk", detail
            if now >= usage_at:
                self.write_usage(now, memory)
                usage_at = now + USAGE_EVERY
            told = self.flock.rest(min(TICK if ceiling or most else USAGE_EVERY, self.flock.deadline - now))
            if told and self.flock.code is None and not os.path.exists("end.json"):  # noqa: PTH110
                return "lost", "It was told to end from outside the studio, as when the machine shuts down."

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
            return self.flock.peak  # it is ended for that, and weighing so many would keep it alive
        resident = sum(process.memory_bytes for process in self.tree)
        if len(self.tree) == 1:
            memory = resident
        else:
            memory = max(0, resident - self.shared_bytes)
            if now >= self.weigh_again or (ceiling and memory > ceiling):
                memory = sum(map(proportional, self.tree))
                self.shared_bytes = max(0, resident - memory)
                self.weigh_again = now + max(USAGE_EVERY, 100 * (time.monotonic() - now))
        self.flock.peak = max(self.flock.peak, memory)
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

    def write_usage(self, now: float, memory: int) -> None:
        """Write what the tree uses: CPU in percent of one CPU since the last time, memory in bytes."""
        gone = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = sum(process.cpu_ticks for process in self.tree) + int((gone.ru_utime + gone.ru_stime) * TICKS)
        since, before = self.used
        percent = max(0.0, (ticks - before) / TICKS / (now - since) * 100) if since else 0.0
        self.used = (now, ticks)
        if not self.flock.is_told:  # the disk was full
            self.flock.tell_of_the_program()
        self.flock.keep("usage.json", {"cpu_percent": round(percent, 1), "memory_bytes": memory, "at": at(time.time())})
        self.log.mark()
