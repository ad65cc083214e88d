"""The lists of runs: what is filtered, sorted and paged, who sees what, and what is done to several at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs import listing
from runs.states import RunStatus
from studio.people.actions import create_workspace
from studio.people.models import User, Workspace


def names(response: Any) -> list[str]:
    return [run.display_name for run in response.context["page"].rows]


@pytest.fixture
def listed(as_user: Callable[[User], Client], ana: User, workspace: Workspace) -> Callable[..., list[str]]:
    client = as_user(ana)

    def ask(**query: Any) -> list[str]:
        response = client.get(reverse("runs:list", args=[workspace.name]), query)
        assert response.status_code == 200
        return names(response)

    return ask


def test_the_newest_run_comes_first_and_archived_ones_are_hidden(make_run, listed):
    make_run("old", status=RunStatus.COMPLETED)
    make_run("new", status=RunStatus.COMPLETED)
    from django.utils import timezone

    make_run("gone", status=RunStatus.COMPLETED, archived_at=timezone.now())
    assert listed() == ["new", "old"]
    assert listed(archived="1") == ["gone"]


def test_runs_are_filtered_by_text_status_experiment_target_tag_and_owner(make_run, listed, ben):
    make_run("brave_lemur", tags={"kernel": "rbf", "ok": ""})
    make_run("calm_fox", experiment="mnist", status=RunStatus.FAILED, description="too much memory")
    make_run("wise_owl", target_name="gpu", submitted_by=ben, status=RunStatus.RUNNING)
    assert listed(q="lemur") == ["brave_lemur"]
    assert listed(q="much MEMORY") == ["calm_fox"]
    assert listed(q="mnist") == ["calm_fox"]
    assert listed(status=["Failed", "Running", "nonsense"]) == ["wise_owl", "calm_fox"]
    assert listed(experiment="MNIST") == ["calm_fox"]
    assert listed(target="gpu") == ["wise_owl"]
    assert listed(tag="kernel") == ["brave_lemur"]
    assert listed(tag="kernel=rbf") == ["brave_lemur"]
    assert listed(tag="kernel=linear") == []
    assert listed(tag="ok=") == ["brave_lemur"]
    assert listed(mine="1") == ["calm_fox", "brave_lemur"]


@pytest.mark.parametrize("tag", ["a__contains=1", "'; drop table=1", '"', "0=x", "$.a=1", "a[0]=1", "=x"])
def test_a_tag_that_looks_like_a_query_is_only_a_tag(make_run, listed, tag):
    make_run("plain", tags={"a": "1"})
    assert listed(tag=tag) == []


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["a", "b", "c"]),
        ("-name", ["c", "b", "a"]),
        ("duration", ["b", "a", "c"]),
        ("-duration", ["c", "a", "b"]),
        ("created", ["c", "a", "b"]),
        ("experiment", ["c", "b", "a"]),
        ("nonsense", ["b", "a", "c"]),
    ],
)
def test_every_column_sorts(make_run, listed, sort, expected):
    from datetime import timedelta

    from django.utils import timezone

    now = timezone.now()
    ends = {"ended_at": now, "status": RunStatus.COMPLETED}
    make_run("c", created_at=now - timedelta(hours=3), experiment="aa", **ends)
    make_run(
        "a",
        created_at=now - timedelta(hours=2),
        ended_at=now - timedelta(hours=1),
        status=RunStatus.FAILED,
        experiment="zz",
    )
    make_run("b", created_at=now - timedelta(minutes=1), experiment="mm")
    assert listed(sort=sort) == expected


def test_a_list_of_any_length_takes_the_same_number_of_queries(make_run, as_user, ana, workspace):
    client, url = as_user(ana), reverse("runs:list", args=[workspace.name])
    make_run(tags={"a": "b"}, status=RunStatus.FAILED, reason="because")
    client.get(url)
    with CaptureQueriesContext(connection) as few:
        client.get(url)
    for _n in range(60):
        make_run(tags={"a": "b"}, experiment=f"e{_n}")
    with CaptureQueriesContext(connection) as many:
        response = client.get(url)
    assert len(many) == len(few)
    assert len(response.context["page"].rows) == 50
    assert not any(
        "COUNT(" in q["sql"] and "runs_run" in q["sql"] and "GROUP BY" not in q["sql"] and "status" not in q["sql"]
        for q in many
    )


def test_pages_hold_fifty_rows_and_keep_the_filter(make_run, as_user, ana, workspace):
    for _n in range(51):
        make_run(f"x{_n:02}")
    client, url = as_user(ana), reverse("runs:list", args=[workspace.name])
    first = client.get(url, {"q": "x", "sort": "name"})
    assert names(first)[0] == "x00"
    assert "q=x" in first.context["page"].next_url
    second = client.get(url + first.context["page"].next_url)
    assert names(second) == ["x50"]
    assert second.context["page"].next_url == ""
    for page in ("0", "-1", "x", "99999999999", "٣"):
        assert client.get(url, {"page": page}).status_code == 200


def test_a_part_of_a_page_is_the_table_alone(make_run, as_user, ana, workspace):
    make_run("only")
    client, url = as_user(ana), reverse("runs:list", args=[workspace.name])
    for response in (
        client.get(url, headers={"HX-Request": "true"}),
        client.get(url, {"embed": "1", "target": "local"}),
    ):
        assert b"<html" not in response.content
        assert b'id="run-table"' in response.content
    boosted = client.get(url, headers={"HX-Request": "true", "HX-Boosted": "true"})
    assert b"<html" in boosted.content


def test_new_runs_are_counted_for_the_pill_and_only_those_that_fit(make_run, as_user, ana, workspace):
    first = make_run("first")
    make_run("second")
    make_run("other", target_name="gpu")
    client, url = as_user(ana), reverse("runs:list", args=[workspace.name])
    htmx = {"HX-Request": "true"}
    asked = {"part": "new", "since": str(first.pk)}
    assert b"2 new runs" in client.get(url, asked, headers=htmx).content
    assert b"1 new run" in client.get(url, asked | {"target": "gpu"}, headers=htmx).content
    assert b"new run" not in client.get(url, asked | {"since": str(first.pk + 2)}, headers=htmx).content


def test_a_row_is_served_alone_and_only_within_its_workspace(make_run, as_user, ana, cleo, workspace):
    run = make_run("mine")
    url = reverse("runs:row", args=[workspace.name, run.run_id])
    row = as_user(ana).get(url)
    assert row.content.lstrip().startswith(b"<tr")
    other = create_workspace("others", cleo)
    assert as_user(cleo).get(url).status_code == 404
    assert as_user(cleo).get(reverse("runs:row", args=[other.name, run.run_id])).status_code == 404


def test_names_and_reasons_are_shown_as_text(make_run, as_user, ana, workspace):
    make_run("<script>alert(1)</script>", reason="<b>x</b>", tags={"<i>": "<u>"})
    page = as_user(ana).get(reverse("runs:list", args=[workspace.name])).content.decode()
    assert "<script>alert(1)" not in page
    assert "<b>x</b>" not in page
    assert "<u>" not in page


def test_ended_runs_are_archived_in_bulk_and_brought_back_while_active_ones_stay(make_run, as_user, ben, workspace):
    done, going = make_run("done", status=RunStatus.COMPLETED), make_run("going", status=RunStatus.RUNNING)
    client, url = as_user(ben), reverse("runs:archive_many", args=[workspace.name])
    answer = client.post(url, {"run": [done.run_id, going.run_id], "back": "?q=x&evil=1"})
    assert answer.status_code == 302
    assert answer["Location"] == reverse("runs:list", args=[workspace.name]) + "?q=x"
    done.refresh_from_db()
    going.refresh_from_db()
    assert done.archived_at
    assert not going.archived_at
    client.post(url, {"run": [done.run_id], "archived": "0"})
    done.refresh_from_db()
    assert not done.archived_at


def test_canceling_several_asks_first_and_names_them(make_run, as_user, ben, workspace):
    going, done = make_run("going", status=RunStatus.RUNNING), make_run("done", status=RunStatus.COMPLETED)
    client, url = as_user(ben), reverse("runs:cancel_many", args=[workspace.name])
    question = client.post(url, {"run": [going.run_id, done.run_id]})
    assert b"going" in question.content
    assert b">done<" not in question.content
    going.refresh_from_db()
    assert going.status == RunStatus.RUNNING
    client.post(url, {"run": [going.run_id], "confirmed": "1"})
    going.refresh_from_db()
    assert going.status in {RunStatus.CANCEL_REQUESTED, RunStatus.CANCELED}


def test_readers_see_the_list_and_change_nothing(make_run, as_user, rita, workspace):
    run = make_run("seen", status=RunStatus.COMPLETED)
    client = as_user(rita)
    page = client.get(reverse("runs:list", args=[workspace.name]))
    assert b"seen" in page.content
    assert b"data-needs" in page.content
    for name in ("runs:archive_many", "runs:cancel_many"):
        assert (
            client.post(reverse(name, args=[workspace.name]), {"run": run.run_id, "confirmed": "1"}).status_code == 403
        )
    run.refresh_from_db()
    assert run.archived_at is None


def test_what_changes_something_takes_a_post(as_user, ana, workspace):
    for name in ("runs:archive_many", "runs:cancel_many"):
        assert as_user(ana).get(reverse(name, args=[workspace.name])).status_code == 405


def test_an_id_of_another_workspace_is_not_archived(make_run, as_user, cleo):
    run = make_run("ours", status=RunStatus.COMPLETED)
    other = create_workspace("others", cleo)
    as_user(cleo).post(reverse("runs:archive_many", args=[other.name]), {"run": run.run_id})
    run.refresh_from_db()
    assert run.archived_at is None


def test_strangers_learn_nothing(as_user, cleo, workspace):
    assert as_user(cleo).get(reverse("runs:list", args=[workspace.name])).status_code == 404


def test_an_empty_list_holds_the_next_action(as_user, ana, rita, workspace):
    url = reverse("runs:list", args=[workspace.name])
    assert reverse("runs:submit", args=[workspace.name]).encode() in as_user(ana).get(url).content
    filtered = as_user(ana).get(url, {"q": "nothing like it"})
    assert b"No run fits" in filtered.content


@pytest.mark.parametrize("sort", ["experiment", "-experiment", "duration", "-duration", "name", "-name", "status"])
@pytest.mark.parametrize("narrowed", [{}, {"statuses": ("Completed", "Running")}])
def test_pages_of_every_sort_hold_every_run_once_and_in_order(make_run, workspace, ana, monkeypatch, sort, narrowed):
    monkeypatch.setattr(listing, "PAGE", 3)
    now = timezone.now()
    for n in range(23):
        ended = None if n % 4 == 0 else now - timedelta(seconds=n * 7 % 11)
        make_run(
            f"run_{n * 5 % 7}",
            experiment=f"e{n % 4}",
            created_at=now - timedelta(seconds=60 + n * 13 % 17),
            ended_at=ended,
            status="Completed" if ended else "Running",
            archived_at=now if n == 5 else None,
        )
    pages = [
        listing.page_of_runs(listing.RunFilter(sort=sort, page=n, **narrowed), workspace, ana) for n in range(1, 9)
    ]
    rows = [run for page in pages for run in page.rows]
    assert [page.has_next for page in pages] == [True] * 7 + [False]
    assert len({run.pk for run in rows}) == 22
    said = {
        "experiment": lambda run: run.experiment.name,
        "duration": lambda run: (run.ended_at or now) - run.created_at,
        "name": lambda run: run.display_name,
        "status": lambda run: run.status,
    }[sort.removeprefix("-")]
    values = [said(run) for run in rows]
    assert values == sorted(values, reverse=sort.startswith("-"))
    if sort.removeprefix("-") in ("experiment", "status"):  # where many are equal
        assert rows == sorted(sorted(rows, key=lambda r: -r.pk), key=said, reverse=sort.startswith("-"))
