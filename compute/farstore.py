"""The studio's folder at the far end of an SSH connection: files by their SHA-256, and what a run is laid out of them.

It is sent there with `compute.farside`, and like that is standard library alone, for Python 3.7 or later.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = os.path.expanduser("~/.compute-studio")
MOST_OUTPUTS = 10_000  # files of one run
SWEEP_EVERY, KEEP_RUNS, KEEP_FILES = 86_400.0, 7 * 86_400.0, 30 * 86_400.0  # seconds


def inside(*parts: str) -> str:
    """Return a path in ROOT. Raises ValueError for one that leads out of it."""
    path = os.path.normpath(os.path.join(ROOT, *parts))
    if not path.startswith(ROOT + os.sep) or "\0" in path:
        raise ValueError("a path outside of the studio's folder")
    return path


def write_whole(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that it is there whole or not at all."""
    scratch = path + ".%d.%d" % (os.getpid(), threading.get_ident())
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.rename(scratch, path)
    except BaseException:
        if os.path.exists(scratch):
            os.unlink(scratch)
        raise


def read_json(path: str) -> dict[str, Any]:
    """Return the object in a file, or an empty one."""
    try:
        with open(path, "rb") as file:
            told = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def make_ready(now: float) -> str:
    """Make the folders that are not there, and room where that is due; return the folder of all. `now`: see `age`."""
    os.makedirs(ROOT, mode=0o700, exist_ok=True)
    for name in ("store", "runs", "environments"):
        os.makedirs(inside(name), mode=0o700, exist_ok=True)
    sweep(now)
    return ROOT


def keep_modules(what: str, texts: dict[str, str]) -> str:
    """Write modules of `compute` as such, under the name of their content; return where they can be imported from."""
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
    folder = inside("%s-%s" % (what, digest[:16]))
    os.makedirs(os.path.join(folder, "compute"), mode=0o700, exist_ok=True)
    for name, text in texts.items():
        path = inside(folder, "compute", name + ".py")
        if not os.path.exists(path):
            write_whole(path, text.encode())
    return folder


def missing(wanted: list[str]) -> list[str]:
    """Return which of the files, named by SHA-256, are not in the store."""
    absent = []
    for sha in wanted:
        try:
            os.utime(stored(sha))  # of use again
        except OSError:
            absent.append(sha)
    return absent


def stored(sha: str) -> str:
    """Return where a file of the store lies."""
    if len(sha) != 64 or set(sha) - set("0123456789abcdef"):
        raise ValueError("no SHA-256")
    return inside("store", sha[:2], sha)


def put(sha: str, data: bytes, more: bool = False) -> None:
    """Add a piece to a file of the store; with the last one it is checked, and stands there."""
    path = stored(sha)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    part = path + ".part"
    try:
        with open(part, "ab") as file:
            file.write(data)
    except OSError:  # a disk that is full is not kept so
        os.unlink(part)
        raise
    if more:
        return
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    if digest.hexdigest() != sha:
        os.unlink(part)
        raise ValueError("the file did not arrive whole")
    os.rename(part, path)


def drop(sha: str) -> None:
    """Forget what came of a file that was not sent to its end."""
    if os.path.exists(stored(sha) + ".part"):
        os.unlink(stored(sha) + ".part")


def lay(folder: str, files: list[tuple[str, str, int]]) -> None:
    """Make the working directory of a run out of the store, unless it stands already."""
    work = inside("runs", folder, "rank-0")
    if os.path.exists(work):
        return
    os.makedirs(os.path.dirname(work), mode=0o700, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=".rank-0.", dir=os.path.dirname(work))
    try:
        for name, sha, mode in files:
            path = os.path.normpath(os.path.join(scratch, name))
            if not path.startswith(scratch + os.sep):
                raise ValueError("a file outside of its folder: " + name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copyfile(stored(sha), path)
            os.chmod(path, 0o700 if mode & 0o100 else 0o600)
        for name in ("outputs", "logs"):
            os.makedirs(os.path.join(scratch, name), exist_ok=True)
        os.rename(scratch, work)
    except (OSError, ValueError):
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def outputs(folder: str) -> list[tuple[str, int, float]]:
    """Return what lies in the run's outputs and logs: [path, bytes, changed at]. Links are left out."""
    work = inside("runs", folder, "rank-0")
    found: list[tuple[str, int, float]] = []
    for kind in ("outputs", "logs"):
        for top, _folders, names in os.walk(os.path.join(work, kind)):
            for name in names:
                path = os.path.join(top, name)
                facts = os.lstat(path)
                if not os.path.islink(path) and os.path.isfile(path):
                    found.append((os.path.relpath(path, work), facts.st_size, facts.st_mtime))
                if len(found) >= MOST_OUTPUTS:
                    return found
    return found


def brought(folder: str) -> None:
    """Note that all of an ended run has come to the studio: its folder goes after a while."""
    write_whole(inside("runs", folder, "brought"), b"")


def sweep(now: float) -> None:
    """Remove runs that came to the studio long ago, and files that no run has asked for in as long; once a day."""
    mark = inside("swept")
    if os.path.exists(mark) and age(mark, now) < SWEEP_EVERY:
        return
    write_whole(mark, b"")
    for run in os.listdir(inside("runs")):
        for attempt in os.listdir(inside("runs", run)):
            if age(inside("runs", run, attempt, "brought"), now) > KEEP_RUNS:
                shutil.rmtree(inside("runs", run, attempt), ignore_errors=True)
        if not os.listdir(inside("runs", run)):
            os.rmdir(inside("runs", run))
    for top, _folders, names in os.walk(inside("store")):
        for name in names:
            if age(os.path.join(top, name), now) > KEEP_FILES:
                os.unlink(os.path.join(top, name))


def age(path: str, now: float) -> float:
    """Return for how many seconds a file has been as it is; 0 when it is not there. `now` is in seconds since 1970."""
    try:
        return now - os.lstat(path).st_mtime
    except OSError:
        return 0.0
