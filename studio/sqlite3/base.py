"""Django's SQLite with connections that are used again: a new one costs more than most of what is asked of it.

A thread that closes its connection hands it to the next that opens one. Django has a thread of its own for each
request, and closes what a socket or a task has asked with, so that otherwise each of them begins with opening the file,
its settings, and reading the schema.
"""

import atexit
import contextlib
import os
import sqlite3
import time
from typing import Any

from django.db.backends.sqlite3 import base

MOST = 4  # connections kept by a process; each holds up to `cache_size` of pages
OLDEST = 300.0  # seconds that one is used for

_kept: dict[str, list["Kept"]] = {}  # by name of the database; the last that was put there is taken first
_of_parents: list[object] = []  # neither used nor closed by a child: SQLite allows it neither


class Kept(sqlite3.Connection):
    """A connection that knows which file it has open, and since when."""

    file: tuple[int, int] | None = None
    since = 0.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of a thread, taken from those that are kept and given back to them."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        """Return a connection that was kept, if it is to the file that is there now, else a new one."""
        name = str(conn_params["database"])
        kept, file = _kept.get(name, []), _file(name)
        with contextlib.suppress(IndexError):  # there is none, or another thread was faster
            while True:
                old = kept.pop()
                if old.file == file and time.monotonic() - old.since < OLDEST:
                    old.execute("PRAGMA foreign_keys = ON")  # a migration that failed leaves them off
                    return old
                old.close()
        new: Kept = super().get_new_connection({**conn_params, "factory": Kept})
        new.file, new.since = _file(name), time.monotonic()
        return new

    def _close(self) -> None:
        one = self.connection
        kept = _kept.setdefault(str(self.settings_dict["NAME"]), [])
        if isinstance(one, Kept) and one.file and not (one.in_transaction or self.errors_occurred) and len(kept) < MOST:
            kept.append(one)
        else:
            super()._close()  # type: ignore[misc]  # the stubs do not know of it


def _file(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116
    except OSError:  # in memory, or not there yet
        return None
    return found.st_dev, found.st_ino


def _leave_to_parent() -> None:
    _of_parents.append(_kept.copy())
    _kept.clear()


@atexit.register
def _close_all() -> None:
    while _kept:
        for connection in _kept.popitem()[1]:
            connection.close()


os.register_at_fork(after_in_child=_leave_to_parent)
