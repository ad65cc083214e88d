"""Dashboards that programs read and arrange: what they are told, and what they are refused."""

import csv
import io

from django.db import connection
from django.test.utils import CaptureQueriesContext

from studio.api.kit import cursor_of
from studio.dashboards.actions import MOST_TILES, add_tile, change_dashboard, make_dashboard, make_link
from studio.dashboards.models import Dashboard, Shows
from studio.people.models import Activity
from studio.people.permissions import Right, Role
from tests.api.test_answers import problem, walk


def test_a_program_makes_a_dashboard_arranges_it_and_reads_what_its_tiles_show(program, ana, workspace):
    ours = program(ana)
    made = ours.post("dashboards", {"name": " <script>wall</script> ", "overview": True})
    assert made.status_code == 201, made.content
    path = f"dashboards/{made.json()['id']}"
    assert made["Location"] == f"/api/v1/w/vision-team/{path}"
    assert made.json()["name"] == "<script>wall</script>"
    said = ours.get(path).json()
    assert [tile["kind"] for tile in said["shows"]] == ["nodes", "queue", "outcomes", "longest", "failures"]
    added = ours.post(f"{path}/tiles", {"kind": "spend", "title": "=1+1"})
    assert added.status_code == 201, added.content
    tile = f"{path}/tiles/{added.json()['id']}"
    moved = ours.ask("PUT", f"{tile}/place", {"position": 0, "width": 4}).json()
    assert next((one["kind"], one["width"]) for one in moved["shows"]) == ("spend", 4)
    changed = ours.ask("PATCH", f"{path}/tiles/{said['shows'][1]['id']}", {"version": 1, "options": {"span": "year"}})
    assert (changed.json()["options"], changed.json()["version"]) == ({"span": "year"}, 2)
    shown = ours.get(tile).json()
    assert shown["title"] == "=1+1"
    assert "spent this month" in shown["said"]
    table = ours.get(f"{tile}/table.csv")
    assert table["Content-Type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(table.content.decode())))
    assert rows[0] == shown["columns"]
    assert len(rows) == len(shown["rows"]) + 1
    assert ours.ask("DELETE", tile).status_code == 204
    problem(ours.get(tile), 404)
    assert ours.ask("DELETE", path).status_code == 204
    assert not Dashboard.objects.exists()
    assert Activity.objects.filter(verb__startswith="dashboard.", token="program").count() == 6


def test_what_a_program_sends_wrongly_is_named_and_changes_nothing(program, ana, workspace):
    ours = program(ana)
    board = make_dashboard(workspace, "Lab", by=ana, overview=True)
    path, tile = f"dashboards/{board.pk}", f"dashboards/{board.pk}/tiles/{board.tiles.get(kind='queue').pk}"
    for method, where, sent, field in (
        ("POST", "dashboards", {"name": "  "}, "name"),
        ("POST", "dashboards", {"name": "n" * 101}, "name"),
        ("PATCH", path, {"roles": ["King"]}, "roles.0"),
        ("POST", f"{path}/tiles", {"kind": "clock"}, "kind"),
        ("POST", f"{path}/tiles", {"kind": "queue", "options": {"span": "century"}}, "options.span"),
        ("POST", f"{path}/tiles", {"kind": "queue", "options": {"colour": "red"}}, "options.colour"),
        ("POST", f"{path}/tiles", {"kind": "metric", "options": {"of": "run", "name": "nowhere"}}, "options.name"),
        ("PATCH", tile, {"title": "Q"}, "version"),
        ("PUT", f"{tile}/place", {"width": 5}, "width"),
    ):
        said = problem(ours.ask(method, where, sent), 422)
        assert field in [error["field"] for error in said["errors"]], said
    assert "ETag" in problem(ours.ask("PATCH", tile, {"version": 7, "title": "Q"}), 412)["detail"]
    problem(ours.get("dashboards/99999999999999999999999"), 404)
    for _ in range(MOST_TILES - 5):
        add_tile(board, "queue", options={}, by=ana)
    assert "at most" in problem(ours.post(f"{path}/tiles", {"kind": "queue"}), 409)["detail"]
    assert not board.tiles.exclude(title="").exists()


def test_a_dashboard_is_shown_to_its_roles_alone_and_its_links_to_who_shares(
    program, ana, ben, rita, as_user, workspace
):
    board = make_dashboard(workspace, "Owners", by=ana)
    change_dashboard(board, name="Owners", roles=[Role.CONTRIBUTOR], by=ana)
    assert program(rita).get("dashboards").json()["items"] == []
    problem(program(rita).get(f"dashboards/{board.pk}"), 404)
    _link, word = make_link(board, "lab", days=3, shows={Shows.NAMES}, by=ana)
    path = f"/api/v1/w/vision-team/dashboards/{board.pk}/links"
    problem(program(ana).get(path), 403)  # it speaks outside: no token does
    answer = as_user(ana).get(path)
    assert word not in answer.text
    assert [(one["name"], one["shows"], one["made_by"]) for one in answer.json()["items"]] == [
        ("lab", ["names"], "ana")
    ]
    assert as_user(ana).delete(f"{path}/{answer.json()['items'][0]['id']}").status_code == 204
    assert as_user(ana).get(path).json()["items"][0]["revoked_at"]


def test_dashboards_are_read_to_their_end_and_cost_no_query_each(program, ana, workspace):
    ours = program(ana)
    for n in range(7):
        make_dashboard(workspace, f"board {n % 3}", by=ana)
    assert walk(ours, "dashboards?limit=2") == sorted(f"board {n % 3}" for n in range(7))
    for wrong in ([1, 1], ["a", -1], ["\ud800", 1], ["a\0", 1]):
        problem(ours.get(f"dashboards?cursor={cursor_of(*wrong)}"), 422)
    counts = []
    for more in (0, 20):
        for n in range(more):
            make_dashboard(workspace, f"more {n}", by=ana, overview=True)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            first = ours.get("dashboards?limit=200")
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert ours.get("dashboards?limit=200", If_None_Match=first["ETag"]).status_code == 304
    assert Right.EDIT_DASHBOARDS in ours.get("/api/v1/me").json()["workspaces"][0]["rights"]
