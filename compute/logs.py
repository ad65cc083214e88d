"""The bytes that runs and builds write, kept as bytes: written at an offset, read from an offset.

A log is named by a key such as "runs/<run_id>/1/std_log.txt". Its reader knows keys and offsets alone, so that
another store can take the place of this one; only who starts a process here asks for a `path` to write to.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

PIECE = 1024 * 1024  # bytes read at a time by whatever goes through a whole log
DIGESTS_AT_ONCE = 2  # of logs: the short need not wait for the long
_PART = re.compile(r"\A(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,255}\Z")
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Stream:
    """A log that exists."""

    key: str
    name: str  # the key below the prefix that was asked for
    size: int  # bytes, now


def path(key: str) -> Path:
    """Return the file that holds the log, its folder made, for a process to write to.

    Raises ValueError for a bad key.
    """
    file = file_of(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def append(key: str, offset: int, data: bytes) -> int:
    """Make the log hold `data` at `offset` and return its size; the same call twice changes nothing.

    Raises ValueError when `offset` lies beyond the end: a log has no holes.
    """
    with path(key).open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two may bring the same bytes at the same moment
        size = os.fstat(file.fileno()).st_size
        if offset > size:
            raise ValueError(f"{key} holds {size} bytes; nothing can be written at {offset}.")
        file.write(data[size - offset :])  # what is there already came from the same source
        return os.fstat(file.fileno()).st_size


def add(key: str, data: bytes) -> int:
    """Write `data` at the end, wherever that is, and return the log's size; for logs with several writers."""
    with path(key).open("ab", buffering=0) as file:
        file.write(data)
        return os.fstat(file.fileno()).st_size


def read(key: str, offset: int, size: int) -> bytes:
    """Return at most `size` bytes from `offset` on; none when the log ends before, or does not exist yet."""
    try:
        descriptor = _open(key)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, offset)
    except OSError:  # a folder, or a pipe: not a log
        return b""
    finally:
        os.close(descriptor)


def opened(key: str) -> BinaryIO:
    """Return the log as an open file, for a program that reads it; an empty one when the log does not exist."""
    try:
        return os.fdopen(_open(key), "rb", buffering=0)
    except OSError:  # a folder, too
        return open(os.devnull, "rb", buffering=0)  # noqa: PTH123


def size(key: str) -> int:
    """Return how many bytes the log holds; 0 when it does not exist yet."""
    try:
        return os.stat(file_of(key), follow_symlinks=False).st_size  # noqa: PTH116  half the cost of Path.stat
    except OSError:
        return 0


def hole(key: str) -> tuple[int, int] | None:
    """Return from where to where a log's middle was left out (it reads as zeros); None for one that is whole.

    The file itself says so: what keeps a log below LOG_BYTES takes the middle from the disk, see compute.watching.
    """
    if size(key) <= settings.LOG_BYTES:
        return None
    try:
        descriptor = os.open(file_of(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        start = os.lseek(descriptor, 0, os.SEEK_HOLE)
        return start, os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError:  # no data after it: that is the log's end, and no hole
        return None
    finally:
        os.close(descriptor)


def streams(prefix: str) -> list[Stream]:
    """Return the logs below `prefix`, numbers in them ordered as numbers: process 2 before process 10."""
    top = file_of(prefix)
    files = [file for file in top.rglob("*") if file.is_file() and not file.is_symlink()]
    names = sorted((file.relative_to(top).as_posix() for file in files), key=_in_order)
    keys = [(f"{prefix}/{name}", name) for name in names if all(map(_PART.match, name.split("/")))]
    return [Stream(key, name, size(key)) for key, name in keys]


def sha256(key: str, up_to: int) -> str:
    """Return the SHA-256 of the first `up_to` bytes, in hexadecimal digits; a second a gigabyte."""
    digest = hashlib.sha256()
    for at in range(0, up_to, PIECE):
        digest.update(read(key, at, min(PIECE, up_to - at)))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def digest(key: str, up_to: int) -> "Future[str]":
    """Return what will be the SHA-256 of the first `up_to` bytes: computed once, whoever else asks for it, and behind
    everything else that the machine has to do. Not to be cancelled. To be asked from one thread.
    """
    return _digests().submit(sha256, key, up_to)


@lru_cache(maxsize=1)
def _digests() -> ThreadPoolExecutor:
    def step_back() -> None:
        with contextlib.suppress(OSError):  # Linux knows a priority for each thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)

    return ThreadPoolExecutor(DIGESTS_AT_ONCE, "log-digest", step_back)


def _open(key: str) -> int:
    return os.open(file_of(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def file_of(key: str) -> Path:
    """Return the file in which the log is or will be, as who has the kernel tell when it grows needs it.

    Raises ValueError for a bad key.
    """
    parts = key.split("/")
    if not all(map(_PART.match, parts)):
        raise ValueError(f"Not a log's key: {key!r}")
    return Path(settings.LOG_DIR, *parts)


def _in_order(name: str) -> list[tuple[int, str]]:
    return [(int(text), "") if text.isdigit() else (-1, text) for text in _NUMBERS.split(name)]
