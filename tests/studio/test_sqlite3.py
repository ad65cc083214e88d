"""Connections to SQLite are used again, and never to a file that is not there any more."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import Error, connections

from studio.sqlite3 import base


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "db.sqlite3"


@pytest.fixture
def database(file: Path, django_db_blocker: Any) -> Iterator[base.DatabaseWrapper]:
    facts = {**connections["default"].settings_dict, "NAME": file, "ENGINE": "studio.sqlite3"}
    facts["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    one = base.DatabaseWrapper(facts, "one")
    one.inc_thread_sharing()
    with django_db_blocker.unblock():
        yield one
        one.close()


def used(database: base.DatabaseWrapper) -> sqlite3.Connection:
    with database.cursor() as cursor:
        cursor.execute("SELECT 1")
    found: sqlite3.Connection = database.connection
    return found


def test_a_connection_that_was_closed_is_used_again_also_by_another_thread(database: base.DatabaseWrapper):
    first = used(database)
    database.close()
    assert database.connection is None
    seen: list[sqlite3.Connection] = []
    thread = threading.Thread(target=lambda: seen.append(used(database)))
    thread.start()
    thread.join()
    assert seen == [first]


def test_two_at_once_have_one_each_and_no_more_are_kept_than_allowed(database: base.DatabaseWrapper, file: Path):
    others = [database.copy(f"other {n}") for n in range(base.MOST + 2)]
    assert len({id(used(one)) for one in [database, *others]}) == base.MOST + 3
    for one in others:
        one.close()
    assert len(base._kept[str(file)]) == base.MOST


def test_a_file_that_was_replaced_is_opened_anew(database: base.DatabaseWrapper, file: Path):
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE old (n)")
    database.close()
    other = file.with_name("other")
    with sqlite3.connect(other) as made:
        made.execute("CREATE TABLE fresh (n)")
    for name in ("db.sqlite3-wal", "db.sqlite3-shm"):
        file.with_name(name).unlink()
    other.replace(file)
    assert database.introspection.table_names() == ["fresh"]


def test_a_folder_that_is_gone_is_an_error_and_not_a_ghost(database: base.DatabaseWrapper, file: Path):
    used(database)
    database.close()
    for one in file.parent.iterdir():
        one.unlink()
    file.parent.rmdir()
    with pytest.raises(Error, match="unable to open"):
        used(database)


def test_what_was_not_committed_is_not_found_by_the_next(database: base.DatabaseWrapper):
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE rows (n)")
    first = used(database)
    database.set_autocommit(False)
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO rows VALUES (1)")
    database.close()
    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM rows").fetchall() == [(0,)]
    assert database.connection is not first


def test_keys_are_checked_again_where_a_migration_had_that_off(database: base.DatabaseWrapper):
    assert database.disable_constraint_checking()
    database.close()
    with database.cursor() as cursor:
        assert cursor.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_one_that_is_old_or_had_an_error_is_not_used_again(
    database: base.DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
):
    first = used(database)
    database.close()
    monkeypatch.setattr(base, "OLDEST", 0.0)
    second = used(database)
    assert second is not first
    monkeypatch.undo()
    database.errors_occurred = True
    database.close()
    assert used(database) is not second


def test_a_child_leaves_alone_what_is_its_parents(database: base.DatabaseWrapper, file: Path):
    first = used(database)
    database.close()
    child = os.fork()
    if not child:
        os._exit(int(str(file) in base._kept or not base._of_parents))
    assert os.waitpid(child, 0)[1] == 0
    assert used(database) is first
