"""A backup of a running studio, and a studio made of it again.

The database is read first, at one moment; what it names lies in the files already, and they only grow. So what the
backup holds is whole, whatever goes on meanwhile.
"""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.db import connection, transaction
from django.utils.translation import gettext_noop

VERSION = 1
RESTORED = gettext_noop("It ran when the backup of %(at)s was made, and the studio was restored from that.")
SQLITE, POSTGRESQL = "db.sqlite3", "postgresql.dump"
KEYS = ("secret_key", "seal_keys")  # of the data directory
KEPT_OF_A_RANK = ("outputs", "logs")  # the rest comes from the snapshot again


class CannotBackUp(Exception):
    """It cannot be done here. The message says why and what to do."""


@dataclass
class Content:
    """What a backup holds, for people."""

    made_at: str = ""
    files: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)

    @property
    def keys_kept_elsewhere(self) -> list[str]:
        """Return the settings that the studio goes by and the backup does not hold: they came from the environment."""
        return [name.upper() for name in KEYS if _in_use(name) and name not in self.keys]


def folders() -> dict[str, Path]:
    """Return what is kept beside the database, by its name in a backup."""
    return {"logs": Path(settings.LOG_DIR), "snapshots": Path(settings.SNAPSHOT_DIR), "jobs": Path(settings.JOB_DIR)}


# Making one


def back_up(file: Path, *, secrets: bool = True) -> Content:
    """Write a backup to `file`, which nobody else can read; a half-written one never has that name."""
    if not file.absolute().parent.is_dir():
        raise CannotBackUp(f"There is no directory {file.parent}: make it first, or name another file.")
    content = Content(made_at=datetime.now(UTC).isoformat(timespec="seconds"))
    partial = file.with_name(f"{file.name}.partial")
    with tempfile.TemporaryDirectory(prefix="studio-backup-", dir=file.absolute().parent) as scratch:
        dump = _dump(Path(scratch))
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=3) as archive:
                    facts = json.dumps({"version": VERSION, "made_at": content.made_at, "database": dump.name})
                    info = tarfile.TarInfo("backup.json")
                    info.size = len(facts)
                    archive.addfile(info, io.BytesIO(facts.encode()))
                    _add(archive, dump, dump.name)
                    for key in KEYS if secrets else ():
                        there = Path(settings.DATA_DIR) / key
                        if there.is_file() and _add(archive, there, key) and _said_in(there) == _in_use(key):
                            content.keys.add(key)
                    for name, folder in folders().items():
                        for path in _kept(name, folder):
                            content.files[name] += _add(archive, path, f"{name}/{path.relative_to(folder)}")
                raw.flush()
                os.fsync(raw.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return content


def _in_use(key: str) -> list[str]:
    """Return what the studio signs or seals with, wherever it was read from."""
    return settings.SECRET_KEY.split() if key == "secret_key" else list(settings.SEAL_KEYS)


def _said_in(file: Path) -> list[str]:
    return file.read_text().replace(",", "\n").split()


def _kept(name: str, folder: Path) -> Iterator[Path]:
    """Yield what is kept of a folder: links are named and not followed."""
    if not folder.is_dir():
        return
    for top, inner, files in os.walk(folder):
        here = Path(top)
        depth = len(here.relative_to(folder).parts)
        if name == "snapshots" and depth == 0:
            inner[:] = [i for i in inner if i == "blobs"]
        if name == "jobs" and depth == 2:  # <run>/<attempt>: one that was not started lays its files out again
            inner[:] = [i for i in inner if i.startswith(("rank-", "control-"))] if "control-0" in inner else []
        if name == "jobs" and depth == 3 and here.name.startswith("rank-"):
            inner[:], files = [i for i in inner if i in KEPT_OF_A_RANK], []
        yield from (here / i for i in inner if (here / i).is_symlink())
        yield from (here / file for file in files)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> bool:
    """Add a file as long as it is now, or a link; say whether it was there to be added."""
    try:
        info = archive.gettarinfo(str(path), name)
        if not info.isreg():
            if info.issym():
                archive.addfile(info)
            return False
        with path.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            archive.addfile(info, cast(BinaryIO, _Steady(file)))
    except (
        FileNotFoundError,
        PermissionError,
        AttributeError,
    ):  # gone meanwhile; or a socket, for which tar has no word
        return False
    return True


class _Steady:
    """Reads a file that may shrink meanwhile: what is missing is zeros, so that the archive stays whole."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int) -> bytes:
        return self.file.read(size).ljust(size, b"\0")


def _dump(folder: Path) -> Path:
    """Write the whole database, as it is at one moment, to a file in `folder`."""
    facts = settings.DATABASES["default"]
    if facts["ENGINE"].endswith("sqlite3"):
        if not Path(facts["NAME"]).is_file():
            raise CannotBackUp(f"There is no studio in {settings.DATA_DIR}: name its directory in STUDIO_DATA.")
        with closing(sqlite3.connect(facts["NAME"])) as live, closing(sqlite3.connect(folder / SQLITE)) as copy:
            live.backup(copy)
        return folder / SQLITE
    _call("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={folder / POSTGRESQL}")
    return folder / POSTGRESQL


def _call(program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL's on the studio's database. Raises CannotBackUp with its words."""
    facts: dict[str, Any] = settings.DATABASES["default"]  # type: ignore[assignment]
    found = shutil.which(program)
    if found is None:
        raise CannotBackUp(f"{program} is not on the path. Install it (on Debian: apt-get install postgresql-client).")
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    environ = os.environ | {name: str(facts[key]) for name, key in names.items() if facts.get(key)}
    if mode := facts.get("OPTIONS", {}).get("sslmode"):
        environ["PGSSLMODE"] = str(mode)
    done = subprocess.run([found, *arguments], env=environ, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CannotBackUp(f"{program} failed: {done.stderr.strip()[-1000:]}")


# Making a studio of one


def restore(file: Path) -> Content:
    """Lay a backup out in the data directory of this process's settings, which is empty; the studio is not running."""
    data = Path(settings.DATA_DIR)
    for folder in (data, *folders().values()):
        if folder.exists() and any(folder.iterdir()):
            raise CannotBackUp(f"{folder} is not empty: a backup is restored where nothing is. Name another directory.")
    if not file.is_file():
        raise CannotBackUp(f"There is no file {file}.")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    content = Content()
    try:
        facts = _lay_all_out(file, data, content)
    except (tarfile.TarError, EOFError, OSError) as exc:
        _clear(data)
        raise CannotBackUp(f"{file} cannot be read: {exc}. Nothing of it was kept; try another copy.") from exc
    except CannotBackUp:
        _clear(data)
        raise
    if facts["database"] == POSTGRESQL:
        dump = data / POSTGRESQL
        arguments = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        _call("pg_restore", *arguments, f"--dbname={settings.DATABASES['default']['NAME']}", str(dump))
        dump.unlink()
    return content


def _lay_all_out(file: Path, data: Path, content: Content) -> dict[str, Any]:
    """Lay every file of a backup out, and return what it says of itself."""
    with tarfile.open(file, "r:gz") as archive:
        first = archive.next()
        said = archive.extractfile(first) if first is not None and first.name == "backup.json" else None
        if said is None:
            raise CannotBackUp(f"{file} is no backup of a studio.")
        facts: dict[str, Any] = json.load(said)
        if facts["version"] != VERSION:
            raise CannotBackUp(f"{file} was made by a newer studio (version {facts['version']}): update this one.")
        content.made_at = facts["made_at"]
        _expect(facts["database"])
        for member in archive:
            _lay_out(archive, member, data, content)
    return facts


def _clear(data: Path) -> None:
    """Take away what half a backup left; all of it was empty before."""
    for folder in (data, *folders().values()):
        for one in folder.iterdir() if folder.is_dir() else ():
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


def _expect(database: str) -> None:
    """Refuse a backup of the other shape, and a database that holds something already."""
    is_sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    if is_sqlite != (database == SQLITE):
        mend = "name an empty PostgreSQL database in" if is_sqlite else "unset"
        raise CannotBackUp(f"The backup holds a database of the other kind: {mend} DATABASE_URL.")
    if not is_sqlite and connection.introspection.table_names():
        raise CannotBackUp("The database that DATABASE_URL names is not empty: make a new one.")


def _lay_out(archive: tarfile.TarFile, member: tarfile.TarInfo, data: Path, content: Content) -> None:
    """Put one file of a backup in its place; what leads out of it is left."""
    top, _slash, rest = member.name.partition("/")
    if not rest:
        if member.isreg() and top in {SQLITE, POSTGRESQL, *KEYS}:
            _put(archive, member, data / top)
            (data / top).chmod(0o600)
            content.keys |= {top} & set(KEYS)
        return
    home = folders().get(top)
    if home is None:
        return
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _stays_within(home, rest, member):
        _put(archive, member, home / rest)
        content.files[top] += member.isreg()


def _stays_within(home: Path, name: str, member: tarfile.TarInfo) -> bool:
    """Say whether a file or a link is below `home`, through whatever links are there, and leads nowhere else.

    Python before 3.11.4 has no filters for what tar lays out.
    """
    top, place = os.path.realpath(home), home / name
    if place.name in {"", ".", ".."} or not _is_below(place.parent, top):
        return False
    if member.issym():
        return not Path(member.linkname).is_absolute() and _is_below(place.parent / member.linkname, top)
    return member.isreg()


def _is_below(path: Path, top: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), top]) == top


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    """Write a file, or make a link, where nothing is yet, for the studio's own user."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if member.issym():
        place.symlink_to(member.linkname)
        return
    source = archive.extractfile(member)
    if source is None:  # no file: `archive` says so of what has no bytes
        return
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, member.mode & 0o755 | 0o600)
    with os.fdopen(descriptor, "wb") as target, source:
        shutil.copyfileobj(source, target)
    os.utime(place, (member.mtime, member.mtime))


@transaction.atomic
def settle(made_at: str) -> int:
    """Let a restored studio begin where it can: what ran then is lost, what waited waits. Return how many were lost.

    Processes belong to the studio that was backed up, which may be running: they are neither followed nor ended here.
    """
    from compute.models import ComputeTarget, Environment, EnvironmentState, Host, Job, Node
    from compute.quotas import ledger
    from compute.states import FOLLOWED, EndReason, JobState

    when = datetime.fromisoformat(made_at)
    ran = Job.objects.filter(state__in=FOLLOWED | {JobState.STARTING})
    lost = ran.update(
        state=JobState.ENDED,
        end_reason=EndReason.LOST,
        end_detail=RESTORED % {"at": f"{when:%Y-%m-%d %H:%M:%S} UTC"},
        ended_at=when,
        handle={},
    )
    ledger.remove(Node.objects.all())
    ComputeTarget.objects.update(host=None)  # the first worker that can host one takes it over
    Host.objects.all().delete()
    Job.objects.filter(state=JobState.WAITING).update(state=JobState.PREPARING)  # its files are laid out again
    for environment in Environment.objects.filter(state__in=[EnvironmentState.READY, EnvironmentState.BUILDING]):
        wanted = environment.jobs.filter(state=JobState.PREPARING).exists()
        environment.state = EnvironmentState.BUILDING if wanted else EnvironmentState.EVICTED
        environment.attempt, environment.handle = environment.attempt + wanted, {}
        environment.save()
    return lost
