"""The page of the activity: who sees it, what it says, its filters, and what it hands out."""

import ast
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.http import QueryDict
from django.template import Context, Template
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from compute.actions import ensure_local
from studio.people.actions import create_workspace, note
from studio.people.activity import PAGE, ActivityFilter, page_of
from studio.people.chain import digest, link
from studio.people.models import Activity, User, Workspace
from studio.people.permissions import Role
from studio.people.verbs import FAMILIES, VERBS
from studio.people.words import changes, said

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def page(workspace: Workspace, ana: User, as_user: Callable[[User], Client]) -> Callable[..., str]:
    client = as_user(ana)

    def get(**query: str) -> str:
        return " ".join(client.get(reverse("activity", args=[workspace.name]), query).content.decode().split())

    return get


def written(workspace: Workspace, actor: User | None, verb: str, name: str, **detail: Any) -> Activity:
    found = ensure_local(workspace)
    return note(workspace, actor, verb, found, kind="target", name=name, detail=detail)


# What is said


VERB = re.compile(r"\A[a-z]+(\.[a-z]+)+\Z")


def noted_verbs() -> Iterator[tuple[Path, str]]:
    """Yield every verb that the source writes down, by `note` or a function called like it, with its file."""
    for app in ("studio", "compute", "runs"):
        for file in (Path(settings.BASE_DIR) / app).rglob("*.py"):
            tree = ast.parse(file.read_text())
            named: dict[str, list[str]] = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    named.setdefault(node.targets[0].id, []).extend(verbs_in(node.value))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("note"):
                    for argument in node.args:
                        found = named.get(argument.id, []) if isinstance(argument, ast.Name) else verbs_in(argument)
                        yield from ((file, verb) for verb in found)


def verbs_in(node: ast.AST) -> list[str]:
    constants = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    return [value for value in constants if isinstance(value, str) and VERB.match(value)]


def test_every_verb_that_is_noted_is_said_in_words() -> None:
    found = list(noted_verbs())
    assert len({verb for _file, verb in found}) > 30
    unsaid = {f"{verb} ({file.name})" for file, verb in found if verb not in VERBS}
    assert not unsaid, "add these to studio/people/verbs.py"
    assert {verb.partition(".")[0] for verb in VERBS} <= set(FAMILIES)


def test_every_icon_is_there_and_every_text_takes_any_detail() -> None:
    for verb in VERBS.values():
        assert "<svg" in Template("{% load lucide %}{% lucide icon %}").render(Context({"icon": verb.icon}))
    details: list[dict[str, Any]] = [
        {},
        {"before": None, "after": None},
        {"before": {}, "after": {}},
        {"x": [1, {"y": None}]},
    ]
    for detail in details:
        assert all(said(verb, detail).text for verb in VERBS)
    with override("es"):
        assert said("target.create", {}).text != "created it"


@pytest.mark.parametrize(
    ("verb", "detail", "expected"),
    [
        ("group.map", {"group": "ml", "role": "DataScientist"}, "gave the group the role Data Scientist"),
        ("member.role", {"before": "Reader", "after": "Owner"}, "gave the role Owner (before: Reader)"),
        ("member.role", {"before": None, "after": "DataScientist"}, "added them as Data Scientist"),
        ("team.rename", {"before": "A", "after": "%(B)s"}, "renamed it A → %(B)s"),
        ("run.submit", {"target": "local"}, "submitted it to local"),
        ("target.resize", {"before": {"max_nodes": 1}, "after": {"max_nodes": 2}}, "changed it"),
        ("made.up", {}, "made.up"),
    ],
)
def test_an_entry_is_told_as_people_say_it(verb: str, detail: dict[str, Any], expected: str) -> None:
    assert said(verb, detail).text == expected


def test_what_differs_is_told_with_before_and_after() -> None:
    before = {"tags": {"a": "1"}, "description": "", "address": "x", "same": 1}
    after = {"tags": {"a": "2"}, "description": "y" * 500, "same": 1, "new_secret": True}
    found = [(one.name, one.before, one.after) for one in changes({"before": before, "after": after, "of": "ben"})]
    assert found[0] == ("tags", "a: 1", "a: 2")
    assert found[1][:2] == ("description", "empty")
    assert len(found[1][2]) == 160
    assert found[2:] == [("address", "x", "—"), ("new secret", "—", "yes"), ("of", None, "ben")]
    assert [(one.before, one.after) for one in changes({"before": "A", "after": "B"})] == [("A", "B")]
    assert [one.after for one in changes({"role": "Owner", "empty": "", "list": ["a", 1]})] == ["Owner", "a, 1"]


# Who sees it


@pytest.mark.parametrize("role", Role)
def test_only_who_may_sees_it_and_the_others_read_which_role_may(
    member: Any, workspace: Workspace, as_user: Callable[[User], Client], role: Role
) -> None:
    client = as_user(member("otto", role))
    answers = [client.get(reverse(name, args=[workspace.name])) for name in ("activity", "export_activity")]
    allowed = role in {Role.CONTRIBUTOR, Role.OWNER}
    assert {answer.status_code for answer in answers} == ({200} if allowed else {403})
    if not allowed:
        assert "This needs the role Contributor or Owner." in answers[0].content.decode()


def test_names_that_are_programs_are_only_shown(page: Callable[..., str], workspace: Workspace, ana: User) -> None:
    written(workspace, ana, "target.edit", HOSTILE, before={HOSTILE: "1"}, after={HOSTILE: HOSTILE})
    for said_so in (page(), page(q=HOSTILE), page(who=HOSTILE), page(object=f"{HOSTILE}:1"), page(since=HOSTILE)):
        assert HOSTILE not in said_so
        assert "<h1>Activity</h1>" in said_so
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page()


def test_another_workspace_is_not_in_it(page: Callable[..., str], workspace: Workspace, cleo: User) -> None:
    other = create_workspace("other-team", cleo)
    written(other, cleo, "target.edit", "of-the-others")
    assert "of-the-others" not in page() + page(q="others") + page(who="cleo")


def test_what_belongs_to_no_workspace_is_for_administrators_of_the_studio(
    page: Callable[..., str], workspace: Workspace, ana: User, as_user: Callable[[User], Client]
) -> None:
    note(None, ana, "ledger.rebuild", ana, kind="ledger", name="the-ledger", detail={"n": 3})
    link(None)
    assert "the-ledger" not in page() + page(q="ledger")
    addresses = [f"{reverse(name, args=[workspace.name])}?of=studio" for name in ("activity", "export_activity")]
    assert [as_user(ana).get(address).status_code for address in addresses] == [403, 403]
    assert "?of=studio" not in page()
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    assert "the-ledger" not in page()
    studios = page(of="studio")
    assert "rebuilt it; it was wrong in 3 places" in studios
    assert studios.count("<tr>") == 2  # with the head
    assert "Chain whole: 1 entry" in page(of="studio", part="chain")
    answer: Any = as_user(ana).get(addresses[1], {"of": "studio", "format": "jsonl"})
    (line,) = b"".join(answer.streaming_content).splitlines()
    assert json.loads(line)["chain"] == "studio"


# Filters


def test_each_filter_lets_through_what_it_says(workspace: Workspace, ana: User, ben: User) -> None:
    local = ensure_local(workspace)
    written(workspace, ana, "target.edit", "lab-é", after={"address": "gpu.example"})
    written(workspace, ben, "target.detach", "lab-é")
    note(workspace, None, "run.cancel", ana, kind="run", name="brave_lemur")
    old = Activity(workspace=workspace, actor_name="eve", verb="run.tags", object_kind="run", object_id="1")
    old.at, old.object_name, old.address, old.way = (
        timezone.now() - timedelta(days=9),
        "old_one",
        "203.0.113.9",
        "token",
    )
    old.token = "nightly"
    old.save()
    today, week = timezone.now().date(), (timezone.now() - timedelta(days=7)).date()

    def names(query: str) -> list[str]:
        asked = ActivityFilter.from_query(QueryDict(query))
        assert ActivityFilter.from_query(QueryDict(asked.query[1:])) == asked
        return [row.entry.object_name for row in page_of(asked, workspace).rows]

    assert names("q=lab") == names("q=LAB-é") == ["lab-é", "lab-é"]
    assert names("q=lab+gpu") == ["lab-é"]
    assert names("q=203.0.113") == names("q=nightly") == names("who=eve") == names(f"until={week}") == ["old_one"]
    assert names("who=ben") == ["lab-é"]
    assert names("who=studio") == ["brave_lemur"]
    assert names("family=target&who=ana") == ["lab-é"]
    assert names("family=run") == ["old_one", "brave_lemur"]
    assert names(f"object=target:{local.pk}") == ["lab-é", "lab-é"]
    assert names(f"object=target:{local.pk}&who=ben") == ["lab-é"]
    assert names(f"since={week}&family=run") == names(f"since={today}&until={today}&q=lemur") == ["brave_lemur"]
    everything = names("")
    for wrong in (
        "family=nothing",
        "since=yesterday",
        "until=0001-01-01",
        "before=-1",
        "before=²",
        "before=9" * 30,
        "object=x",
    ):
        assert names(wrong) == everything
    assert names("who=nobody") == names(f"before=1&since={today}") == []


def test_pages_are_found_by_their_place_and_what_comes_shifts_nothing(
    workspace: Workspace, ana: User, page: Callable[..., str], django_assert_max_num_queries: Any
) -> None:
    for n in range(2 * PAGE):
        written(workspace, ana, "target.edit", f"name-{n:03}")
    first = page_of(ActivityFilter(text="name"), workspace)
    written(workspace, ana, "target.edit", "name-new")
    second = page_of(ActivityFilter.from_query(QueryDict(first.older[1:])), workspace)
    shown = [row.entry.object_name for row in [*first.rows, *second.rows]]
    assert shown == [f"name-{n:03}" for n in reversed(range(2 * PAGE))]
    assert second.older == ""
    with django_assert_max_num_queries(20):
        assert "name-new" in page(q="name")


def test_what_is_new_is_counted_for_the_filter(workspace: Workspace, ana: User, as_user: Any) -> None:
    newest = Activity.objects.latest("pk").pk
    for name in ("a", "b"):
        written(workspace, ana, "target.edit", name)
    note(workspace, ana, "run.cancel", ana, kind="run", name="c")

    def said_new(query: str) -> str:
        url = f"{reverse('activity', args=[workspace.name])}?part=new&{query}"
        return str(as_user(ana).get(url, headers={"HX-Request": "true"}).content.decode())

    assert "3 new entries" in said_new(f"since={newest}")
    assert "1 new entry" in said_new(f"since={newest}&family=run")
    assert "new entr" not in said_new(f"since={newest + 3}") + said_new(f"since={newest}&who=nobody")


# Whether it is whole, and what is handed out


def test_the_page_says_whether_the_chain_is_whole(page: Callable[..., str], workspace: Workspace, ana: User) -> None:
    assert "Chain whole: 0 entries" in page(part="chain")
    written(workspace, ana, "target.edit", "x")
    link(workspace.pk)
    assert "Chain whole: 2 entries" in page(part="chain")
    assert Activity.objects.get(seq=2).hash[:16] in page(part="chain")
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER people_activity_is_kept")
        cursor.execute("UPDATE people_activity SET actor_name = 'eve' WHERE seq = 1")
        cursor.execute("UPDATE people_chain SET last_hash = 'another'")
    assert "The chain does not fit from entry 1 on." in page(part="chain")


def test_an_export_holds_what_the_filter_lets_through_and_no_formula(
    workspace: Workspace, ana: User, as_user: Callable[[User], Client]
) -> None:
    formula = '=HYPERLINK("https://evil.example","x")'
    written(workspace, ana, "target.edit", formula, before={"a": "-1"}, after={"a": "+1"}, of="@x")
    written(workspace, ana, "target.edit", "other")
    link(workspace.pk)
    url, client = reverse("export_activity", args=[workspace.name]), as_user(ana)

    def lines(**query: str) -> Any:
        answer: Any = client.get(url, query)
        content = b"".join(answer.streaming_content)
        assert answer["Content-Length"] == str(len(content))
        assert answer["Content-Disposition"].startswith('attachment; filename="activity-vision-team-')
        return content.decode()

    head, row = csv.reader(io.StringIO(lines(q="HYPERLINK", format="csv"), newline=""))
    cells = dict(zip(head, row, strict=True))
    assert cells["object_name"] == f"'{formula}"
    assert (cells["seq"], cells["who"], cells["before"], cells["said"]) == (
        "2",
        "ana",
        '{"a":"-1"}',
        "changed its connection",
    )
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row)
    assert lines(format="csv").count("\r\n") == 4

    previous = ""
    for line in lines(format="jsonl").splitlines():
        facts = json.loads(line)
        kept = facts.pop("hash")
        assert digest(previous, facts) == kept
        previous = kept
    assert previous == Activity.objects.get(seq=3).hash
    assert [json.loads(line)["object_name"] for line in lines(format="jsonl", q="other").splitlines()] == ["other"]
