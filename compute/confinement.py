"""What a run may reach, set up between fork and exec by the shepherd's child. Standard library only, few imports.

Three means. For a studio that is root: a user of its own, who owns the run's folders and nothing else; and mounts
of its own, which put an empty folder in the place of the data directory, and of any folder that is closed to that
user, with only what the run needs in it. For any other studio, and where root has no such mounts: Landlock, which
takes away what the run's user could reach.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

# Source: linux/prctl.h, sched.h, sys/mount.h, linux/landlock.h; the numbers of system calls are the same everywhere
DROP_CAPABILITY, NO_NEW_PRIVS = 24, 38
NEW_MOUNTS = 0x20000
NO_SETUID, NO_DEVICES, BIND, RECURSIVE, SLAVE = 2, 4, 1 << 12, 1 << 14, 1 << 19
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, BENEATH = 1, 1
OLDEST_LANDLOCK = 2  # the first could not move a file from one folder to another
READ = 0b1101  # execute, read a file, list a folder
OF_FILES = 0b100_0000_0000_0111
FOUND: dict[str, int] = {}  # where the C library's functions are
SIGNALS = 2  # a scope: only processes of the run can be signalled


def call(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of the C library; -1 is its failure."""
    import _ctypes  # ctypes without its types, which would take 5 ms of every start

    if name not in FOUND:
        FOUND[name] = _ctypes.dlsym(_ctypes.dlopen(None, 2), name)  # type: ignore[arg-type]  # None: this process
    return int(_ctypes.call_function(FOUND[name], arguments))


def landlock_version() -> int:
    """Return which Landlock the kernel offers; 0 for none, or one too old to be of use."""
    try:
        version = call("syscall", CREATE_RULESET, None, 0, VERSION)
    except (ImportError, AttributeError, OSError):
        return 0
    return version if version >= OLDEST_LANDLOCK else 0


def walls(paths: Iterable[str], hidden: Iterable[str], user: int) -> dict[str, list[str]]:
    """Return the folders that are closed to `user` or hidden, each with those of `paths` that lie behind it."""
    closed, found = set(hidden), dict[str, list[str]]()
    for path in sorted(set(paths)):
        if any(path.startswith(f"{other}/") for behind in found.values() for other in behind):
            continue  # shown with the other
        for wall in _parents(path):
            if wall in closed or not _is_open(wall, user):
                found.setdefault(wall, []).append(path)
                break
    for wall in sorted(closed):  # the outer one first: what lies in it is gone with it
        if not any(wall == other or wall.startswith(f"{other}/") for other in found) and os.path.isdir(wall):  # noqa: PTH112
            found[wall] = []
    return found


def _is_open(folder: str, user: int) -> bool:
    try:
        facts = os.stat(folder)  # noqa: PTH116
    except FileNotFoundError:
        return True  # made later, as open as it is to be
    return bool(facts.st_mode & 0o001 or (facts.st_uid == user and facts.st_mode & 0o100))


def _parents(path: str) -> Iterator[str]:
    at = path.find("/", 1)
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def own_mounts() -> None:
    """From here on, what this process mounts is seen by it and its children alone. Raises PermissionError."""
    if call("unshare", NEW_MOUNTS) or call("mount", b"none", b"/", None, RECURSIVE | SLAVE, None):
        raise PermissionError(1, "this user cannot have mounts of its own")


def cover(found: dict[str, list[str]], links: Iterable[tuple[str, str]]) -> None:
    """Put an empty folder in the place of each wall, with what is to be seen behind it in it."""
    for wall in sorted(found):
        kept = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in found[wall]}
        flags = NO_SETUID | NO_DEVICES
        if call("mount", b"tmpfs", os.fsencode(wall), b"tmpfs", flags, b"mode=0755,size=1m"):
            raise PermissionError(1, f"{wall} cannot be covered")
        for path, fd in kept.items():
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.makedirs(path, 0o755, exist_ok=True)  # noqa: PTH103
            else:
                os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)  # noqa: PTH103, PTH120
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            if call("mount", f"/proc/self/fd/{fd}".encode(), os.fsencode(path), None, BIND | RECURSIVE, None):
                raise PermissionError(1, f"{path} cannot be shown")
            os.close(fd)
        for link, target in links:
            if link.startswith(f"{wall}/") and not os.path.lexists(link):
                os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)  # noqa: PTH103, PTH120
                os.symlink(target, link)  # noqa: PTH211


class Landlock:
    """A set of rules: everything but what is hidden, what is read only for reading, and what is one's own."""

    def __init__(self) -> None:
        version = landlock_version()
        self.handled = (1 << (15 if version >= 3 else 14)) - 1
        fields = [self.handled, 0, SIGNALS][: 3 if version >= 6 else 1]
        attributes = b"".join(field.to_bytes(8, _order()) for field in fields)
        self.fd = call("syscall", CREATE_RULESET, attributes, len(attributes), 0)
        if self.fd < 0:
            raise PermissionError(1, "Landlock is not to be had")

    def allow(self, path: str, rights: int) -> None:
        """Allow `rights` on a file, or on a folder with all below it; links and what is not there are left out."""
        try:
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        self.allow_open(fd, rights)
        os.close(fd)

    def allow_open(self, fd: int, rights: int) -> None:
        """Allow the same on what is open already."""
        mode = os.fstat(fd).st_mode
        if not stat.S_ISLNK(mode):
            rights &= self.handled if stat.S_ISDIR(mode) else OF_FILES & self.handled
            rule = rights.to_bytes(8, _order()) + fd.to_bytes(4, _order())
            call("syscall", ADD_RULE, self.fd, BENEATH, rule, 0)

    def allow_around(self, folder: str, hidden: set[str], read_only: set[str], rights: int) -> None:
        """Allow all that is in `folder`, without what is hidden. Whoever lists a folder on the way there is refused."""
        try:
            entries = os.scandir(folder)
        except OSError:
            return
        for entry in entries:
            path = f"{folder.rstrip('/')}/{entry.name}"
            if path in hidden:
                continue
            here = READ if path in read_only else rights
            if any(special.startswith(f"{path}/") for special in hidden | read_only):
                self.allow_around(path, hidden, read_only, here)
            else:
                self.allow(path, here)

    def hold(self) -> None:
        """From here on, and in every child, the rules hold."""
        if call("syscall", RESTRICT_SELF, self.fd, 0):
            raise PermissionError(1, "Landlock does not take hold")
        os.close(self.fd)


def confine(plan: dict[str, Any], log: int, cwd: str) -> None:
    """Confine this process to `plan`, see `compute.processes.Confinement`, and go to `cwd`. Raises OSError."""
    user, own, read = plan["user"], plan["own"], plan["read"]
    if plan["mounts"]:
        own_mounts()
        cover(walls([*own, *read], plan["hide"], user), plan["links"])
    rules = None
    if plan["landlock"]:
        rules = Landlock()
        rules.allow_around("/", set(plan["hide"]), set(plan["read_only"]), rules.handled)
        for path in read:
            rules.allow(path, READ)
        for path in own:
            rules.allow(path, rules.handled)
        rules.allow_open(log, OF_FILES)  # /dev/stdout leads there
    if user is not None:
        os.setgroups(plan["groups"])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    elif os.geteuid() == 0:
        for capability in range(64):  # root without them is a user like others, who owns root's files
            call("prctl", DROP_CAPABILITY, capability, 0, 0, 0)
    if call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0):
        raise PermissionError(1, "new privileges cannot be ruled out")
    os.chdir(cwd)
    if rules:
        rules.hold()


def _order() -> Any:
    import sys

    return sys.byteorder


def probe(user: int) -> None:
    """Print which of the means this process has: "mounts" and "user"."""
    try:
        own_mounts()
        print("mounts")
    except OSError:
        pass
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        print("user")
    except OSError:
        pass
