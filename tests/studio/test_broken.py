"""A database that is held, full or gone: said in words, without asking it, and nothing half stored."""

import errno
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection
from django.test import Client

from studio.broken import away, stylesheet, why_away
from studio.people.chain import link_all
from studio.people.models import User, Workspace
from tests.pages import furnish, places

SignIn = Callable[[User], Client]


@pytest.fixture
def impatient(transactional_db: None) -> Iterator[sqlite3.Connection]:
    """Yield a second connection to the tests' database, which the first waits for 0.1 s only."""
    if connection.vendor != "sqlite":
        pytest.fail("These tests are about SQLite, which the unit tests run on.")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 100")
    with closing(sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)) as other:
        yield other
    connection.close()


def test_while_the_database_is_held_pages_are_read_and_what_is_sent_is_refused_whole(
    impatient: sqlite3.Connection, workspace: Workspace, ana: User, as_user: SignIn
):
    client = as_user(ana)
    client.raise_request_exception = False
    assert client.get("/w/vision-team/runs/").status_code == 200  # the session knows its workspace from here on
    impatient.execute("BEGIN IMMEDIATE")
    assert client.get("/w/vision-team/runs/").status_code == 200
    sent = {"who": "cleo", "role": "Reader", "invite": "on"}
    answer = client.post("/w/vision-team/members/add/", sent)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert "held by something else" in answer.content.decode()
    assert "Nothing of what you sent was stored" in answer.content.decode()
    part = client.post("/w/vision-team/members/add/", sent, headers={"HX-Request": "true"})
    assert part.status_code == 503
    assert part["HX-Retarget"] == "#notices"
    impatient.execute("ROLLBACK")
    assert workspace.invitations.count() == 0
    assert workspace.activity.filter(verb="member.invite").count() == 0
    assert client.post("/w/vision-team/members/add/", sent).status_code == 200
    assert workspace.invitations.count() == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("database is locked", "held by something else"),
        ("database or disk is full", "takes nothing more"),
        ("disk I/O error", "takes nothing more"),
        ("could not extend file: No space left on device", "takes nothing more"),
        ("unable to open database file", "data directory"),
        ("attempt to write a readonly database", "data directory"),
        ("connection to server at 127.0.0.1 failed: Connection refused", "cannot reach its database"),
        ("<script>", "cannot reach its database"),
    ],
)
def test_what_the_database_says_is_put_into_words(said: str, words: str):
    error = why_away(OperationalError(said))
    assert words in error.message
    assert said not in error.message + error.hint
    assert error.hint


def test_a_full_disk_and_a_queue_that_is_away_are_said_too():
    full = away(OSError(errno.ENOSPC, "No space left on device", "/secret/place"))
    gone = away(redis.ConnectionError("Error 111 connecting to secret:6379."))
    assert full is not None
    assert gone is not None
    assert full.status == gone.status == 503
    assert "takes nothing more" in full.message
    assert "queue does not answer" in gone.message
    assert "secret" not in full.message + full.hint + gone.message + gone.hint
    assert away(FileNotFoundError(errno.ENOENT, "gone")) is away(ValueError()) is None


@pytest.mark.usefixtures("with_tiny")
def test_every_page_is_served_while_the_queue_is_away_and_doors_that_count_tries_stay_shut(
    ana: User, as_user: SignIn, settings: Any
):
    workspace = furnish(ana)
    link_all()
    clients = {user.username: as_user(user) for user in User.objects.all()} | {"": Client()}
    shown = places(ana, workspace)
    redis_cache = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": redis_cache, "LOCATION": "redis://127.0.0.1:9"}}
    codes = {}
    for place in shown:
        clients[place.who].raise_request_exception = False
        codes[place.name] = clients[place.who].get(place.path, follow=True).status_code
    assert {place.name for place in shown if place.who and codes[place.name] >= 500} == set()
    assert set(codes.values()) <= {200, 403, 404, 503}
    answer = clients[""].post("/accounts/login/", {"login": "ana", "password": "wrong"})
    assert answer.status_code == 503
    assert "queue does not answer" in answer.content.decode()


def test_a_page_for_a_visitor_asks_the_database_nothing(
    db: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OperationalError("unable to open database file")

    client.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", gone)
        answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "data directory cannot be reached" in answer.content.decode()


def test_a_page_that_tells_of_a_gone_data_directory_names_the_styles_that_browsers_keep(settings: Any, tmp_path: Path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "studio.static.HashedStatic"}}
    assert stylesheet() == "/static/css/studio.css"  # no manifest was ever read
    paths = {"css/studio.css": "css/studio.0123456789ab.css"}
    (tmp_path / "staticfiles.json").write_text(json.dumps({"version": "1.1", "paths": paths, "hash": ""}))
    settings.STORAGES = dict(settings.STORAGES)
    assert stylesheet() == "/static/css/studio.0123456789ab.css"
    shutil.rmtree(tmp_path)
    assert stylesheet() == "/static/css/studio.0123456789ab.css"
