"""The files of a program's control folder: each is written whole or not at all, and read whatever became of it.

On a shepherd's way to the start of its program: standard library only, few imports. What the files say is
`compute.shepherd`'s.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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


def at(moment: float) -> str:
    """Return a moment in ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e6):06d}+00:00"
