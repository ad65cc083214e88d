"""Where the lines of a log are, and how long it was when: what it takes to open a log of gigabytes anywhere.

Both are kept below keys of their own beside the logs. The first can be made again from the log at any time, and
grows with it as somebody asks; the second is written while a process runs, by its shepherd.
"""

import contextlib
import os
import struct
import threading
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache
from pathlib import Path

from compute import logs

BLOCK = 128 * 1024  # bytes; how many lines end before each multiple of it is what is kept
AT_ONCE = 64  # blocks that are read, counted and kept together
_MARK = struct.Struct("<dQ")  # seconds since 1970, bytes the log had by then


def counts(key: str, up_to: int) -> list[int]:
    """Return how many lines end before byte 0, BLOCK, 2 × BLOCK … of the log, as far as `up_to`.

    What was never asked before is counted now: a second a gigabyte, so not on an event loop.
    """
    wanted = min(up_to, logs.size(key)) // BLOCK
    with _lock(key):
        kept = _kept(key)
        first, total = len(kept), kept[-1] if kept else 0
        for block in range(first, wanted, AT_ONCE):
            many = min(AT_ONCE, wanted - block)
            data = logs.read(key, block * BLOCK, many * BLOCK)
            for start in range(0, many * BLOCK, BLOCK):
                total += data.count(b"\n", start, start + BLOCK)
                kept.append(total)
            _keep(key, kept, block)
    return [0, *kept[:wanted]]


def lines_before(key: str, offset: int) -> int:
    """Return how many lines end before byte `offset`."""
    known = counts(key, offset)
    at = (len(known) - 1) * BLOCK
    return known[-1] + logs.read(key, at, offset - at).count(b"\n")


def start_of(key: str, line: int) -> int | None:
    """Return the byte at which line `line`, the first being 1, begins; None when the log has fewer lines."""
    size = logs.size(key)
    known = counts(key, size)
    newline = line - 1  # it begins behind this one
    if newline <= 0:
        return 0 if size else None
    block = bisect_left(known, newline) - 1  # the last before whose beginning there are fewer
    data, missing = logs.read(key, block * BLOCK, BLOCK), newline - known[block]
    end = bisect_left(range(len(data) + 1), missing, key=lambda stop: data.count(b"\n", 0, stop))
    start = block * BLOCK + end
    return start if end <= len(data) and start < size else None


def marks_path(key: str) -> Path:
    """Return the file to which a shepherd adds when the log had grown to what."""
    return logs.path(f".marks/{key}")


def marks(key: str, start: int = 0, stop: int | None = None, most: int = 2000) -> list[tuple[float, int]]:
    """Return (time, size) pairs: what lies before byte `size`, and not before the pair in front, was written by `time`.

    Those for the bytes start … stop - 1, thinned to about `most`.
    """
    every = _marks(key)
    sizes = [size for _time, size in every]
    first = bisect_right(sizes, start)
    last = len(every) if stop is None else min(len(every), bisect_left(sizes, stop) + 1)
    step = max(1, -(-(last - first) // most))
    return every[first:last][::-1][::step][::-1]  # the last of each group: a line was written by then


def offset_at(key: str, time: float) -> int:
    """Return the byte with which the log went on after `time`, in seconds since 1970."""
    every = _marks(key)
    at = bisect_left(every, (time, 0))
    return every[at - 1][1] if at else 0


def _marks(key: str) -> list[tuple[float, int]]:
    kept = f".marks/{key}"
    data = logs.read(kept, 0, logs.size(kept))
    every = list(_MARK.iter_unpack(data[: len(data) // _MARK.size * _MARK.size]))
    # In order both ways, whatever a clock that was set or a log that was cut did.
    sound: list[tuple[float, int]] = []
    for time, size in every:
        while sound and size < sound[-1][1]:
            sound.pop()
        sound.append((max(time, sound[-1][0]) if sound else time, size))
    return sound


@lru_cache(maxsize=4096)
def _lock(key: str) -> threading.Lock:
    return threading.Lock()


def _index(key: str) -> str:
    return f".index/{BLOCK}/{key}"  # what was counted for blocks of another size is of no use


def _kept(key: str) -> "array[int]":
    kept, counted = _index(key), array("Q")
    data = logs.read(kept, 0, logs.size(kept))
    counted.frombytes(data[: len(data) // 8 * 8])
    if len(counted) * BLOCK > logs.size(key):  # the log was cut, and what it holds now is another's
        with contextlib.suppress(OSError):
            logs.path(kept).unlink(missing_ok=True)
        return array("Q")
    return counted


def _keep(key: str, counted: "array[int]", first: int) -> None:
    """Write what was counted from block `first` on, at its place: whoever else counts writes the same there."""
    with contextlib.suppress(OSError):  # without room on the disk, it is counted again
        descriptor = os.open(logs.path(_index(key)), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(descriptor, counted[first:].tobytes(), first * 8)
        finally:
            os.close(descriptor)
