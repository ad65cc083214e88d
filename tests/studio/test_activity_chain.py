"""The chain of the activity: what was changed behind its back shows, and nothing changes it in front."""

import getpass
import json
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test import RequestFactory

from studio import doctor
from studio.people import origin
from studio.people.actions import create_workspace, issue_token, note, switch_on
from studio.people.chain import canonical, digest, link, link_all, verify, verify_all
from studio.people.middleware import FromWhere
from studio.people.models import Activity, ApiToken, Chain, User, Workspace
from studio.people.permissions import Right


@pytest.fixture
def chain(workspace: Workspace, ana: User) -> Chain:
    """Return a chain of six entries."""
    for n in range(5):
        note(
            workspace, ana, "run.submit", workspace, kind="run", name=f"<b>läuf {n}", detail={"n": n, "x": [1.5, None]}
        )
    assert link(workspace.pk) == 6
    return Chain.objects.get(workspace=workspace)


def behind_its_back(statement: str, *params: Any) -> None:
    """Do what somebody does who has the database."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER IF EXISTS people_activity_is_kept")
        cursor.execute(statement, params)


def test_a_chain_is_whole_and_anybody_can_compute_it(chain: Chain, workspace: Workspace) -> None:
    assert (chain.length, chain.name) == (6, str(workspace.guid))
    verdict = verify(chain)
    assert verdict.is_whole
    assert (verdict.length, verdict.last_hash, verdict.waiting) == (6, chain.last_hash, 0)
    facts = {
        "chain": "c", "seq": 1, "at": datetime(2026, 3, 1, 12, 0, 0, 5, UTC), "actor_name": "ana", "verb": "run.submit",
        "object_kind": "run", "object_id": "7", "object_name": "é", "detail": {"b": 1, "a": []}, "way": "browser",
        "token": "", "address": "10.0.0.1",
    }  # fmt: skip
    said = json.dumps(canonical("c", facts), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert said == (
        '{"actor_name":"ana","address":"10.0.0.1","at":"2026-03-01T12:00:00.000005+00:00","chain":"c",'
        '"detail":{"a":[],"b":1},"object_id":"7","object_kind":"run","object_name":"é","seq":1,"token":"",'
        '"verb":"run.submit","way":"browser"}'
    )
    # As written: hashes of entries that are stored somewhere would no longer fit.
    assert digest("", canonical("c", facts)).startswith("92a3")


@pytest.mark.parametrize(
    ("statement", "wrong", "why"),
    [
        ("UPDATE people_activity SET actor_name = 'eve' WHERE seq = 3", 3, "edit"),
        ("UPDATE people_activity SET address = '10.6.6.6' WHERE seq = 3", 3, "edit"),
        ("UPDATE people_activity SET detail = '{}' WHERE seq = 6", 6, "edit"),
        ("UPDATE people_activity SET at = '2020-01-01 00:00:00' WHERE seq = 1", 1, "edit"),
        ("UPDATE people_activity SET hash = 'x' WHERE seq = 2", 2, "edit"),
        ("DELETE FROM people_activity WHERE seq = 1", 1, "gap"),
        ("DELETE FROM people_activity WHERE seq = 4", 4, "gap"),
        ("UPDATE people_activity SET seq = NULL WHERE seq = 4", 4, "gap"),
        ("UPDATE people_activity SET seq = 7 WHERE seq = 4", 4, "gap"),
        ("DELETE FROM people_activity WHERE seq > 4", 5, "tail"),
        ("DELETE FROM people_activity", 1, "tail"),
        ("UPDATE people_chain SET length = 4", 5, "end"),
        ("UPDATE people_chain SET last_hash = 'x'", 6, "end"),
        ("UPDATE people_activity SET workspace_id = NULL, seq = 1 WHERE seq = 2", 2, "gap"),
    ],
)
def test_an_edit_a_gap_and_a_cut_tail_show(chain: Chain, statement: str, wrong: int, why: str) -> None:
    behind_its_back(statement)
    verdict = verify(Chain.objects.get(pk=chain.pk))
    assert (verdict.wrong, verdict.why) == (wrong, why)
    assert not verdict.is_whole
    said = list(doctor.activity())
    assert said[0].word == doctor.Word.BAD
    assert "is not whole" in said[0].what


def test_a_whole_chain_that_is_made_anew_without_one_entry_differs_in_its_end(chain: Chain) -> None:
    behind_its_back("UPDATE people_activity SET seq = NULL, hash = ''")
    behind_its_back("DELETE FROM people_activity WHERE object_name LIKE '%2'")
    Chain.objects.update(length=0, last_hash="")
    link_all()
    assert verify(Chain.objects.get(pk=chain.pk)).is_whole  # so an end that is kept elsewhere, in an export, tells
    assert Chain.objects.get(pk=chain.pk).last_hash != chain.last_hash


def test_a_chain_whose_end_is_gone_is_told(chain: Chain) -> None:
    Chain.objects.all().delete()
    ((name, verdict),) = verify_all()
    assert (name, verdict.why) == ("vision-team", "end")


def test_the_newest_alone_can_be_looked_at(chain: Chain) -> None:
    behind_its_back("UPDATE people_activity SET actor_name = 'eve' WHERE seq = 2")
    assert verify(chain, newest=3).is_whole
    assert verify(chain, newest=3).begins == 4
    assert not verify(chain, newest=5).is_whole
    behind_its_back("DELETE FROM people_activity WHERE seq = 3")
    assert verify(chain, newest=3).wrong == 3


def test_the_database_and_the_code_refuse_to_change_or_remove_an_entry(chain: Chain) -> None:
    entry = Activity.objects.get(seq=3)
    for change in (entry.save, entry.delete, Activity.objects.all().delete, lambda: Activity.objects.update(verb="x")):
        with pytest.raises(RuntimeError, match="only ever added to"):
            change()
    for statement in ("UPDATE people_activity SET verb = 'x' WHERE seq = 3", "UPDATE people_activity SET seq = 9"):
        with (
            pytest.raises(DatabaseError, match="only ever added to"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    Activity.objects.link(entry.pk, 99, "again")
    assert Activity.objects.filter(seq=3).exists()
    assert verify(chain).is_whole


def test_an_entry_outlives_its_person_and_its_workspace(chain: Chain, ana: User, workspace: Workspace) -> None:
    workspace.delete()
    ana.delete()
    assert Activity.objects.filter(actor_name="ana", workspace=chain.workspace_id).count() == 6
    assert verify(chain).is_whole
    assert doctor.Word.OK in {finding.word for finding in doctor.activity()}


def test_what_a_crash_left_is_linked_by_the_clock_and_told_when_it_waits(chain: Chain, ana: User) -> None:
    there = chain.workspace
    note(there, ana, "run.cancel", ana, kind="run", name="left")
    assert verify(chain).waiting == 1
    assert verify(chain).is_whole
    behind_its_back("UPDATE people_activity SET at = '2020-01-01 00:00:00' WHERE seq IS NULL")
    assert verify(chain).why == "late"
    assert link_all() == 1
    assert link_all() == 0
    chain.refresh_from_db()
    assert verify(chain).is_whole
    assert chain.length == 7


def test_entries_older_than_the_chain_are_linked_by_its_migration(chain: Chain, ana: User, cleo: User) -> None:
    note(create_workspace("other-team", cleo), cleo, "run.cancel", cleo, kind="run", name="é", detail={"x": [1.5]})
    note(None, None, "studio.start", ana, kind="studio", name="studio")
    behind_its_back("UPDATE people_activity SET seq = NULL, hash = '', way = '', address = ''")
    Chain.objects.all().delete()
    old = MigrationExecutor(connection).loader.project_state([("people", "0007_chain_what_is_there")]).apps
    import_module("studio.people.migrations.0007_chain_what_is_there").chain_all(old, None)
    found = {name: (verdict.is_whole, verdict.length, verdict.waiting) for name, verdict in verify_all()}
    assert found == {"vision-team": (True, 6, 0), "other-team": (True, 2, 0), "studio": (True, 1, 0)}


def test_what_belongs_to_no_workspace_has_a_chain_of_its_own(chain: Chain, ana: User) -> None:
    note(None, None, "studio.start", ana, kind="studio", name="studio")
    link_all()
    own = Chain.objects.get(workspace=None)
    assert (own.name, own.length) == ("studio", 1)
    assert [name for name, verdict in verify_all() if verdict.is_whole] == ["vision-team", "studio"]


def test_an_entry_says_from_where_it_came(workspace: Workspace, ana: User, settings: Any, monkeypatch: Any) -> None:
    def ask(person: User | None, proxied: str = "") -> Activity:
        def view(request: Any) -> Any:
            return note(workspace, person, "run.cancel", workspace, kind="run", name="x")

        request = RequestFactory(REMOTE_ADDR="10.0.0.7").get(
            "/", headers={"X-Forwarded-For": proxied} if proxied else {}
        )
        return FromWhere(view)(request)  # type: ignore[return-value]

    entry = ask(ana)
    assert (entry.way, entry.address, entry.token) == ("browser", "10.0.0.7", "")
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    assert ask(ana, "203.0.113.9").address == "203.0.113.9"
    assert ask(ana, "6.6.6.6, 203.0.113.9").address == "203.0.113.9"
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 0
    assert ask(ana, "6.6.6.6").address == "10.0.0.7"
    word = issue_token(workspace, ana, "nightly", {Right.CANCEL_RUN}, days=1)[1]
    entry = ask(ApiToken.person_of(word))
    assert (entry.way, entry.address, entry.token) == ("token", "10.0.0.7", "nightly")
    entry = ask(None)
    assert (entry.way, entry.address, entry.actor_name) == ("studio", "", "studio")
    # What a task does for somebody, after their request.
    assert note(workspace, ana, "run.cancel", workspace, kind="run", name="x").way == "studio"


def test_a_command_says_who_gave_it(workspace: Workspace, ana: User, cleo: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(origin, "_at_the_command_line", ContextVar("there", default=True))
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    create_workspace("second", cleo)
    assert Activity.objects.latest("pk").address.startswith("root@")
    switch_on(cleo, by=None)
    assert Activity.objects.latest("pk").way == "command"


@pytest.mark.django_db(transaction=True)
def test_many_who_write_at_once_leave_no_gap() -> None:
    ana = User.objects.create_user("ana")
    spaces = [create_workspace(name, ana) for name in ("one-team", "other-team")]

    def write(number: int) -> None:
        for n in range(10):
            with transaction.atomic():
                note(spaces[n % 2], ana, "run.submit", ana, kind="run", name=f"{number}-{n}")
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [(verdict.length, verdict.is_whole, verdict.waiting) for _name, verdict in verify_all()] == [
        (21, True, 0)
    ] * 2
