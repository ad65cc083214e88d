"""How far a run is kept from the studio, from other runs and from what it has no business with, on this machine."""

import fcntl
import glob
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from compute import confinement
from compute.models import Job
from compute.processes import Confinement
from studio.templatetags.studio import size_of

USERS_EACH = 100_000_000  # numbers for builds, and after them for jobs
_PROBE = "import sys; sys.path.append(sys.argv[1]); import confinement; confinement.probe(int(sys.argv[2]))"


@dataclass(frozen=True)
class Means:
    """What this machine offers to the user that the studio runs as."""

    is_root: bool
    users: bool  # a process can become a user of its own
    mounts: bool  # … and have mounts of its own
    landlock: int  # its version, 0 for none


@dataclass(frozen=True)
class Fact:
    """One thing that is to hold, how it does, and what to do where it does not."""

    what: str
    how: str
    holds: bool
    mend: str = ""


@lru_cache(maxsize=1)
def means() -> Means:
    """Try once what this machine offers; it does not change while a process lives."""
    found = ""
    if os.geteuid() == 0:
        here = Path(confinement.__file__).absolute().parent
        command = [sys.executable, "-I", "-S", "-c", _PROBE, str(here), str(settings.RUN_USERS_FROM)]
        done = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        found = done.stdout
    return Means(os.geteuid() == 0, "user" in found, "mounts" in found, confinement.landlock_version())


def user_of(job: Job) -> int | None:
    """Return the number of the user a job runs as, which no other job has; None: the studio's own."""
    python = Path(str(job.spec.get("interpreter") or host_python()))
    if not _can_be_apart([Path(settings.JOB_DIR) / job.run_id, *_needed_by(python)]):
        return None
    return int(settings.RUN_USERS_FROM + USERS_EACH + job.pk % USERS_EACH)


def user_of_builds() -> int | None:
    """Return the number of the user that builds environments, one for all: they share what was downloaded."""
    folder = Path(settings.ENVIRONMENT_DIR) / "builds"
    here = Path(confinement.__file__).absolute()
    return int(settings.RUN_USERS_FROM) if _can_be_apart([folder, here, *_needed_by(host_python())]) else None


def host_python() -> Path:
    """Return the Python that the studio's own environment was made from, and from which it makes others."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable))


def _can_be_apart(needed: Iterable[Path]) -> bool:
    """Say whether another user gets to `needed`: with mounts of its own always, else where no folder is closed."""
    have = means()
    if not have.users or have.mounts:
        return have.users
    _open_ways()
    return not confinement.walls(_real(needed), [], int(settings.RUN_USERS_FROM))


def of_job(job: Job, python: Path, *, gpus: bool = False) -> Confinement:
    """Return what the processes of a job may reach: their own folders, their interpreter, and what is nobody's."""
    own = [job.folder / f"rank-{rank}" for rank in range(job.node_count)]
    own += [job.folder / "home", job.folder / "tmp"]
    return _confinement(user_of(job), own, _needed_by(python), python, groups=_gpu_groups() if gpus else [])


def of_build(own: Iterable[Path], needed: Iterable[Path], python: Path) -> Confinement:
    """Return what the build of an environment may reach."""
    return _confinement(user_of_builds(), own, [*_needed_by(python), *needed], python)


def _confinement(
    user: int | None, own: Iterable[Path], read: Iterable[Path], python: Path, groups: Iterable[int] = ()
) -> Confinement:
    have = means()
    mine, needed = _real(own), [path for path in _real(read) if Path(path).exists()]
    disks = [Path(one.path) for one in os.scandir("/dev") if stat.S_ISBLK(one.stat(follow_symlinks=False).st_mode)]
    return Confinement(
        user=user,
        groups=sorted(groups),
        mounts=user is not None and have.mounts,
        own=mine,
        read=needed,
        links=_links(os.fspath(python)),
        hide=_real([*_hidden(), *(disks if have.is_root and user is None else [])]),
        read_only=_real([settings.BASE_DIR]),
        # It has a price: a folder on the way to a hidden one cannot be listed, "/" least of all.
        landlock=have.landlock > 0 and not (user is not None and have.mounts),
    )


def give(path: Path, user: int | None, mode: int = 0o700) -> None:
    """Make a folder, and all in it, one user's own, with the folder itself last.

    What is that user's already is left alone: its programs may be at work in there, and could have a file of the
    system's given to them by putting a link in the place of a folder at the right moment.
    """
    if user is None or path.lstat().st_uid == user:
        return
    with _one_at_a_time():
        if path.lstat().st_uid == user:  # another who starts the same was ahead
            return
        for top, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(os.path.join(top, name), user, user, follow_symlinks=False)  # noqa: PTH118
        path.chmod(mode)
        os.chown(path, user, user, follow_symlinks=False)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep others of this machine from giving the same away, and from starting a program in it, meanwhile."""
    lock = os.open(Path(settings.DATA_DIR) / "give.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _hidden() -> list[Path]:
    """Return where the studio keeps what no run may see; also the files that hold its secrets."""
    folders: list[str | Path] = [
        settings.DATA_DIR,
        settings.LOG_DIR,
        settings.SNAPSHOT_DIR,
        settings.JOB_DIR,
        settings.ENVIRONMENT_DIR,
        settings.BASE_DIR / ".git",
    ]
    secrets = [value for name, value in os.environ.items() if name.endswith("_FILE") and name[:-5] in _SECRETS]
    return [Path(one) for one in [*folders, *secrets]]


_SECRETS = frozenset({"SECRET_KEY", "SECRET_KEY_FALLBACKS", "SEAL_KEYS", "DATABASE_URL", "REDIS_URL"})


def _real(paths: Iterable[Path]) -> list[str]:
    return sorted({os.path.realpath(path) for path in paths})


def _needed_by(python: Path) -> list[Path]:
    """Return the folders that an interpreter reads: its environment, and the Python that was made from."""
    base, needed = Path(os.path.realpath(python)), []
    for one in (python, base):
        prefix = one.parent.parent
        is_prefix = (prefix / "pyvenv.cfg").is_file() or any(prefix.glob("lib*/python3*"))
        needed.append(prefix if is_prefix else one)
    return needed


def _links(path: str) -> list[tuple[str, str]]:
    """Return the links that the kernel follows from `path` to what it means, as (link, target)."""
    found: list[tuple[str, str]] = []
    ahead, at = path.strip("/").split("/")[::-1], ""
    while ahead and len(found) < 40:
        part = ahead.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            at = at.rpartition("/")[0]
            continue
        here = f"{at}/{part}"
        if not os.path.islink(here):  # noqa: PTH114
            at = here
            continue
        target = os.readlink(here)  # noqa: PTH115
        found.append((here, target))
        at = "" if target.startswith("/") else at
        ahead += target.strip("/").split("/")[::-1]
    return found


def _gpu_groups() -> set[int]:
    """Return the groups that open the GPUs' devices, where not everybody may."""
    devices = [os.stat(name) for name in glob.glob("/dev/nvidia*") + glob.glob("/dev/dri/render*")]  # noqa: PTH116, PTH207
    return {one.st_gid for one in devices if not one.st_mode & 0o006 and one.st_mode & 0o060}


def _open_ways() -> None:
    """Let other users pass through the data directory to what is theirs, and see nothing else in it."""
    ways = [Path(settings.DATA_DIR), Path(settings.JOB_DIR), Path(settings.ENVIRONMENT_DIR)]
    if stat.S_IMODE(ways[0].stat().st_mode) & 0o077 != 0o011:
        for entry in ways[0].iterdir():
            if entry not in ways and not entry.is_symlink():
                entry.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o700)
    for way in ways:
        if way.is_dir():
            way.chmod(0o711)


# What is told


def what_holds() -> list[Fact]:
    """Return what keeps runs apart on this machine, one fact each, for people."""
    have = means()
    own_user = _can_be_apart([Path(settings.JOB_DIR) / "run", *_needed_by(host_python())])
    by_landlock = _("Landlock, version %(n)d") % {"n": have.landlock}
    ways = [_("a user of its own")] if own_user else []
    ways += [_("mounts of its own")] if own_user and have.mounts else []
    ways += [by_landlock] if have.landlock and not (own_user and have.mounts) else []
    held = ", ".join(ways)
    # To Landlock, a connection is no reading; it keeps the password, which lies in a file or another's environment.
    guarded = bool(urlsplit(settings.REDIS_URL).password) and have.landlock > 0
    not_held = _("not held here: no user of its own, and the kernel offers no Landlock")
    mend = _("Start the studio as root, or on Linux 5.19 or later with Landlock enabled.")
    return [
        Fact(
            _("Each run is under a user of its own."),
            _("numbers from %(n)d on") % {"n": settings.RUN_USERS_FROM + USERS_EACH}
            if own_user
            else _why_no_user(have),
            own_user,
            "" if own_user else _mend_of_user(have),
        ),
        Fact(
            _("Runs cannot read the studio's secrets or its database."),
            held or not_held,
            bool(ways),
            "" if ways else mend,
        ),
        Fact(_("Runs cannot read each other's folders."), held or not_held, bool(ways), "" if ways else mend),
        Fact(
            _("A run cannot look into the studio's processes, or signal them."),
            held if own_user or have.landlock >= 6 else not_held,
            own_user or have.landlock >= 6,
            "" if own_user or have.landlock >= 6 else mend,
        ),
        Fact(
            _("A run cannot reach the studio's queue."),
            _("a user of its own") if own_user else _("a password") if guarded else not_held,
            own_user or guarded,
            "" if own_user or guarded else mend,
        ),
        Fact(
            _("A run that starts too many processes is ended."),
            _("the kernel holds its user, and above %(n)d the run is ended") % {"n": settings.RUN_PROCESSES}
            if own_user
            else _("watched, and above %(n)d the run is ended") % {"n": settings.RUN_PROCESSES},
            True,
        ),
        Fact(
            _("A run that uses too much memory or disk is ended, and the machine goes on."),
            _("watched: memory of its node, %(disk)s of disk") % {"disk": size_of(settings.RUN_DISK_BYTES)},
            True,
        ),
    ]


def _why_no_user(have: Means) -> str:
    if not have.is_root:
        return _("not held here: the studio does not run as root, so its runs share its user")
    if not have.users:
        return _("not held here: this container has no users with numbers that high")
    return _("not held here: Python lies in a folder that is closed to other users")


def _mend_of_user(have: Means) -> str:
    if not have.is_root:
        return _("Start the studio as root, if runs of different people must be apart.")
    if not have.users:
        return _("Set STUDIO_RUN_USERS_FROM to a number from which on the container has users that are free.")
    return _("Use a Python outside of /root, such as the system's.")
