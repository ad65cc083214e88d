"""Limits as CSV: taken along and brought back, with what spreadsheets and hostile people put into cells."""

from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from compute.quotas.models import Limit
from studio.people.actions import make_team
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster
from tests.compute.quotas.accounts import limit

pytestmark = pytest.mark.django_db
HEAD = "scope,who,family,priority,cores,guaranteed\n"


@pytest.fixture
def owner(ana: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(ana)


@pytest.fixture
def url(workspace: Workspace) -> str:
    return reverse("compute:import_limits", args=[workspace.name])


def rows(answer: object) -> dict[int, tuple[bool, str]]:
    """Return of each line whether it is refused, and why."""
    return {row.number: (row.is_refused, row.why) for row in answer.context["rows"]}  # type: ignore[attr-defined]


def test_what_is_exported_comes_back_and_formulas_are_text(
    ana: User, ben: User, owner: Client, workspace: Workspace, url: str
) -> None:
    team = make_team(workspace, "=HYPERLINK(1)", by=ana)
    limit(24, "standardncv3family", workspace), limit(None, workspace=workspace, team=team, guaranteed=4)
    limit(100), limit(8, workspace=workspace, person=ben)
    text = owner.get(reverse("compute:export_limits", args=[workspace.name])).content.decode()
    assert "team,'=HYPERLINK(1),*,Dedicated,,4" in text
    assert "workspace,,NCsv3,Dedicated,24," in text
    seen = owner.post(url, {"file": SimpleUploadedFile("limits.csv", text.encode("utf-8-sig"))})
    found = rows(seen)
    assert [why for refused, why in found.values() if refused] == [
        "Limits of the whole studio are set by its administrators."
    ]
    assert seen.context["changes"] == 0
    changed = text.replace("NCsv3,Dedicated,24", "ncs V3,dedicated,12").replace(",,4", ",40,6").replace("\r\n", "\n")
    semicolons = changed.replace(",", ";")
    seen = owner.post(url, {"file": SimpleUploadedFile("limits.csv", semicolons.encode())})
    assert seen.context["changes"] == 2
    assert Limit.objects.get(team=team).cores is None  # nothing before it is confirmed
    given = {"apply": "1", "text": seen.context["text"], "seen": seen.context["seen"]}
    Limit.objects.filter(team=team).update(cores=50, version=2)  # somebody was faster
    done = owner.post(url, given)
    assert "It was changed meanwhile, to 50, 4 guaranteed." in done.content.decode()
    assert Limit.objects.get(team=team).cores == 50
    assert Limit.objects.get(family="standardncv3family").cores == 12


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("workspace,,*,Dedicated,-1,", "“-1” is no whole number of cores (cores)."),
        ("workspace,,*,Dedicated,'-1,", "“-1” is no whole number of cores (cores)."),
        ("workspace,,*,Dedicated,1.5,", "“1.5” is no whole number of cores (cores)."),
        ("workspace,,*,Dedicated,=1+1,", "“=1+1” is no whole number of cores (cores)."),
        ("workspace,,*,Dedicated,many,", "“many” is no whole number of cores (cores)."),
        ("workspace,,*,Dedicated,999999999,", "A limit is a whole number of cores from 0 to 1000000, or none."),
        ("workspace,,*,Dedicated," + "9" * 400 + ",", "is no whole number of cores"),
        ("workspace,,NoSuch,Dedicated,4,", "There is no VM family “NoSuch”."),
        ("workspace,,NCsv3,LowPriority,4,", "Low priority is one pool for all families: limit that."),
        ("workspace,,*,Dedicated,4,", "cpu-cluster needs 8 cores at its minimum: cannot go below."),
        ("workspace,,*,Dedicated,40,8", "Cores are guaranteed to teams and people alone."),
        ("workspace,,*,Spot,4,", "“Spot” is no priority."),
        ("person,cleo,*,Dedicated,4,", "Nobody here is called “cleo”."),
        ("team,<script>,*,Dedicated,4,", "There is no team “<script>” here."),
        ("planet,,*,Dedicated,4,", "“planet” is none of: studio, workspace, team, person."),
        ("studio,,*,Dedicated,4,", "Limits of the whole studio are set by its administrators."),
        ("workspace,,*", "It has 3 cells, not 6."),
    ],
)
def test_each_row_that_is_wrong_says_why(
    owner: Client, cleo: User, workspace: Workspace, url: str, line: str, why: str
) -> None:
    make_cluster(workspace, min_nodes=4)
    seen = owner.post(url, {"text": f"{HEAD}{line}\nworkspace,,NCsv3,Dedicated,6,\n"})
    assert seen.status_code == 200
    found = rows(seen)
    assert found[2][0]
    assert why in found[2][1]
    assert not found[3][0]
    assert "<script>," not in seen.content.decode()
    for nonsense in ("[" * 100_000, "[no json"):
        owner.post(url, {"apply": "1", "text": seen.context["text"], "seen": nonsense})
    assert list(Limit.objects.values_list("family", "cores")) == [("standardncv3family", 6)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"x" * 10_000_000, "larger than 1 MB"),
        (HEAD.encode("utf-16"), "not in UTF-8"),
        (b"\xff\xfe\x00", "not in UTF-8"),
        (b"a\0b", "no text"),
        (b"name,cores\nx,1\n", "The first line has to be"),
        (b"", "The first line has to be"),
        ((HEAD + "workspace,,*,Dedicated,1,\n" * 5001).encode(), "more than 5000 rows"),
        (HEAD.encode() + b'"' + b"x" * 200_000, "is no table"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_in_words(owner: Client, url: str, data: bytes, why: str) -> None:
    answer = owner.post(url, {"file": SimpleUploadedFile("limits.csv", data)})
    assert answer.status_code == 422
    if data:
        assert why in answer.content.decode()


def test_a_limit_that_is_there_twice_is_taken_once(owner: Client, url: str) -> None:
    seen = owner.post(url, {"text": f"{HEAD}workspace,,NCsv3,Dedicated,6,\nworkspace,,NCSv3,Dedicated,8,\n"})
    assert rows(seen)[3] == (True, "This limit is in the table twice.")
