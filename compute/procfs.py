"""Processes as /proc shows them: who is there, who came of whom, what they use; and a signal to exactly one of them.

On a shepherd's way to the start of its program: standard library only, few imports.
"""

from __future__ import annotations

import os

from compute.control import read

PAGE = os.sysconf("SC_PAGE_SIZE")


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
