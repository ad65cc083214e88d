"""Dashboards among members: who sees one, arranging its tiles, two people at once, tables, samples, what is pushed."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.utils import timezone

from compute.quotas.models import Budget, Limit
from runs.models import Experiment, Run
from runs.states import RunStatus
from studio.dashboards import feeds, rendering, samples
from studio.dashboards.actions import (
    MOST_TILES,
    add_tile,
    change_dashboard,
    make_dashboard,
    place_tile,
    remove_tile,
)
from studio.dashboards.models import Dashboard, Every, Sample, Tile
from studio.dashboards.tiles import as_json
from studio.dashboards.tiles.base import Seen
from studio.errors import NeedsRight, NotAllowedNow
from studio.live import nudge
from studio.people.actions import remove_member
from studio.people.models import Activity
from studio.people.permissions import Role
from tests.compute.clusters import make_cluster, make_node
from tests.sockets import Socket

MEMBER = Seen.by_members()


@pytest.fixture
def board(workspace, ana) -> Dashboard:
    return make_dashboard(workspace, "Overview", by=ana, overview=True)


def order(board: Dashboard) -> list[str]:
    return list(board.tiles.values_list("kind", flat=True))


def make_run(workspace, number: int, status: RunStatus, **facts: Any) -> Run:
    home, _made = Experiment.objects.get_or_create(workspace=workspace, name="digits")
    names = {"run_id": f"digits_{number}", "display_name": f"run_{number}", "target_name": "local"}
    return Run.objects.create(workspace=workspace, experiment=home, number=number, status=status, **names | facts)


def test_a_dashboard_is_for_everybody_or_for_roles_and_owners_see_all(workspace, ana, ben, rita, cleo, board):
    def seen_by(*people: Any) -> list[bool]:
        return [Dashboard.objects.for_user(person).filter(pk=board.pk).exists() for person in people]

    assert seen_by(ana, ben, rita, cleo) == [True, True, True, False]
    change_dashboard(board, name="Overview", roles=[Role.READER], by=ben)
    assert seen_by(ana, ben, rita, cleo) == [True, False, True, False]
    own = make_dashboard(workspace, "Ben's", by=ben)
    change_dashboard(own, name="Ben's", roles=[Role.OWNER], by=ben)
    assert Dashboard.objects.for_user(ben).filter(pk=own.pk).exists(), "who made it does not lose it"
    with pytest.raises(NeedsRight):
        change_dashboard(board, name="Mine", roles=[], by=rita)
    assert set(Activity.objects.values_list("verb", flat=True)) >= {"dashboard.make", "dashboard.edit"}


def test_tiles_are_moved_resized_and_removed_by_two_people_at_once(board, ana, ben, as_user):
    assert order(board) == ["nodes", "queue", "outcomes", "longest", "failures"]
    nodes, queue = board.tiles.get(kind="nodes"), board.tiles.get(kind="queue")
    place_tile(nodes, position=99, by=ana)
    place_tile(queue, position=2, by=ben)  # he saw the order before
    assert order(board) == ["outcomes", "longest", "queue", "failures", "nodes"]
    assert list(board.tiles.values_list("position", flat=True)) == [0, 1, 2, 3, 4]
    place_tile(queue, width=9, height=9, by=ana)
    queue.refresh_from_db()
    assert (queue.width, queue.height) == (4, 3)
    remove_tile(queue, by=ana)
    remove_tile(queue, by=ben)
    with pytest.raises(NotAllowedNow):
        place_tile(queue, position=0, by=ben)
    here = f"/w/vision-team/dashboards/{board.pk}/"
    client = as_user(ben)
    assert client.post(f"{here}tiles/{nodes.pk}/place/", {"go": "left"}).status_code == 302
    assert client.post(f"{here}tiles/{nodes.pk}/place/", {"go": "wider", "position": "x"}).status_code == 302
    assert order(board)[-2:] == ["nodes", "failures"]
    for _n in range(MOST_TILES - board.tiles.count()):
        add_tile(board, "queue", options={}, by=ana)
    with pytest.raises(NotAllowedNow):
        add_tile(board, "queue", options={}, by=ana)


def test_who_saves_over_anothers_change_sees_it_first(board, ana, ben, as_user):
    tile = board.tiles.get(kind="queue")
    url = f"/w/vision-team/dashboards/{board.pk}/tiles/{tile.pk}/"
    mine = {"span": "week", "title": "Mine"}
    assert as_user(ana).post(url, {"span": "year", "title": "<b>Theirs</b>", "version": "1"}).status_code == 302
    refused = as_user(ben).post(url, mine | {"version": "1"})
    assert refused.status_code == 409
    assert "&lt;b&gt;Theirs&lt;/b&gt;" in refused.text
    assert "The last year" in refused.text
    assert as_user(ben).post(url, mine | {"version": "2"}).status_code == 302
    tile.refresh_from_db()
    assert (tile.title, tile.options, tile.version) == ("Mine", {"span": "week"}, 3)
    assert as_user(ben).post(url, {"span": "never", "version": "3"}).status_code == 422


def test_wrong_options_of_a_metric_are_said_where_they_were_typed(board, ana, as_user):
    url = f"/w/vision-team/dashboards/{board.pk}/add/metric/"
    assert "no run with this id" in as_user(ana).post(url, {"of": "run", "name": "nothing"}).text
    answer = as_user(ana).post(url, {"of": "experiment", "name": "nothing"})
    assert answer.status_code == 422
    assert "no experiment of this name" in answer.text
    assert "Say which metric" in answer.text
    assert as_user(ana).get(url.replace("metric", "nothing")).status_code == 404


def test_names_are_text_on_the_page_and_never_formulas_in_a_table(workspace, board, ana, as_user):
    make_run(workspace, 1, RunStatus.FAILED, ended_at=timezone.now(), reason="=cmd|'/c calc'!A1", exit_code=1)
    Run.objects.update(display_name='<script>alert("1")</script>')
    tile = board.tiles.get(kind="failures")
    board.tiles.filter(pk=tile.pk).update(title="<script>x</script>")
    page = as_user(ana).get(f"/w/vision-team/dashboards/{board.pk}/").text
    assert "&lt;script&gt;alert" in page
    assert "<script>x" not in page
    assert "<script>alert" not in page
    table = as_user(ana).get(f"/w/vision-team/dashboards/{board.pk}/tiles/{tile.pk}.csv")
    assert table["Content-Type"].startswith("text/csv")
    assert "'=cmd" in table.text


def test_tiles_say_what_there_is(workspace, board, ana):
    cluster, now = make_cluster(workspace), timezone.now()
    make_node(cluster)
    make_run(workspace, 1, RunStatus.QUEUED, created_at=now - timedelta(minutes=5))
    make_run(workspace, 2, RunStatus.RUNNING, started_at=now, submitted_by=ana)
    make_run(workspace, 3, RunStatus.COMPLETED, ended_at=now - timedelta(days=2))
    make_run(workspace, 4, RunStatus.FAILED, ended_at=now, reason="It fell.")
    make_run(workspace, 5, RunStatus.FAILED, ended_at=now - timedelta(days=9))
    samples.take(now)
    said = {tile.kind: as_json(tile, MEMBER) for tile in board.tiles.all()}
    assert json.loads(json.dumps(said)) == said
    assert said["nodes"]["said"].startswith("Nodes now: 1 (1 idle)")
    assert said["queue"]["said"] == "1 run waits."
    assert said["queue"]["rows"][-1][1:] == [1, 300]
    assert "1 completed, 1 failed, 0 canceled" in said["outcomes"]["said"]
    assert said["longest"]["rows"][0][0] == "run_2"
    assert [row[2] for row in said["failures"]["rows"]] == ["It fell."]


def test_quota_and_spend_say_what_is_left_and_only_who_sees_usage_adds_spend(workspace, board, ana, ben):
    Limit.objects.create(workspace=workspace, family="standarddv2family", cores=4)
    Limit.objects.create(workspace=None, family="all", cores=0)
    Budget.objects.create(workspace=workspace, usd_per_month=Decimal("100"))
    said = as_json(add_tile(board, "quota", options={}, by=ana), Seen())
    assert [row[1:] for row in said["rows"]] == [[0, 0, 0], [0, 4, 4]]
    assert "vision-team" not in str(said)
    spend = add_tile(board, "spend", options={}, by=ana)
    assert as_json(spend, Seen())["said"] == "$0.00 spent this month of a budget of $100.00: 0 %."
    Budget.objects.all().delete()
    assert "No budget is set" in as_json(spend, Seen())["said"]
    with pytest.raises(NeedsRight):
        add_tile(board, "spend", options={}, by=ben)
    with pytest.raises(NeedsRight):  # nor does he show it to others
        change_dashboard(board, name="Mine", roles=[Role.READER], by=ben)
    change_dashboard(board, name="Spent", roles=board.audience, by=ben)
    change_dashboard(board, name="Spent", roles=[Role.READER], by=ana)
    board.refresh_from_db()
    assert (board.name, board.audience) == ("Spent", [Role.READER])


def test_samples_are_taken_once_a_minute_with_one_question_and_thinned(workspace, django_assert_num_queries):
    cluster = make_cluster(workspace)
    make_node(cluster)
    noon = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)
    with django_assert_num_queries(5):  # savepoint, what stands, the workspaces, what is written, and its end
        samples.take(noon)
    samples.take(noon + timedelta(seconds=20))
    assert Sample.objects.count() == 1
    make_node(cluster)
    samples.take(noon + timedelta(minutes=1))
    for _again in range(2):
        samples.thin(noon + timedelta(hours=9))  # the clock was away for hours
    [hour] = Sample.objects.filter(every=Every.HOUR)
    assert (hour.at, hour.nodes) == (noon, {str(cluster.pk): {"idle": 1.5}})
    samples.thin(noon + timedelta(days=1, hours=13))
    assert list(Sample.objects.values_list("every", flat=True)) == [Every.DAY, Every.HOUR]
    samples.thin(noon + timedelta(days=40))
    assert [sample.every for sample in Sample.objects.all()] == [Every.DAY]
    samples.thin(noon + timedelta(days=800))
    assert Sample.objects.count() == 0
    merged = samples.merged([Sample(nodes={}, waiting=3), Sample(nodes={}, waiting=1)], 1, noon, Every.HOUR)
    assert merged.waiting == 3


class Page:
    """An open dashboard, seen from its socket."""

    def __init__(self, board: Dashboard, key: str) -> None:
        self.socket = Socket(f"/ws/w/vision-team/dashboards/{board.pk}/", key)

    async def hears(self, **wanted: Any) -> dict[str, Any]:
        while True:
            said = json.loads((await self.socket.wire.receive_output(5))["text"])
            if all(said.get(name) == value or (value is any and name in said) for name, value in wanted.items()):
                return dict(said)


@pytest.mark.django_db(transaction=True)
async def test_what_moves_is_rendered_once_for_all_and_pushed(workspace, ana, ben, board, as_user, monkeypatch):
    monkeypatch.setattr(feeds, "EVERY", 0.05)
    asked: list[list[Tile]] = []
    real = rendering.shown_of

    def counted(tiles: list[Tile], *rest: Any) -> Any:
        asked.append(tiles)
        return real(tiles, *rest)

    keys = [await sync_to_async(lambda who=who: as_user(who).session.session_key)() for who in (ana, ben)]
    pages = [Page(board, key) for key in keys]
    for page in pages:
        assert await page.socket.opens()
        whole = await page.hears(html=any, name=any)
        assert "Overview" in whole["name"]
    monkeypatch.setattr(rendering, "shown_of", counted)
    queue = await board.tiles.aget(kind="queue")
    run = await sync_to_async(make_run)(workspace, 1, RunStatus.QUEUED)
    for _n in range(50):
        await sync_to_async(run.moved)()
    for page in pages:
        assert "1 run waits" in (await page.hears(tile=queue.pk))["html"]
    assert len(asked) < 10, "fifty changes are a few looks"
    await sync_to_async(change_dashboard)(board, name="Renamed", roles=[Role.READER], by=ana)
    assert await pages[1].socket.closes() == 4404, "it is not for his role any more"
    await pages[0].hears(name="Renamed")
    await sync_to_async(remove_member)(workspace, ben, by=ana)
    assert not await Page(board, keys[1]).socket.opens()
    await pages[0].socket.leaves()


@pytest.mark.django_db(transaction=True)
async def test_a_lost_nudge_is_caught_up_with_and_no_beat_comes_while_nothing_can_be_known(
    workspace, ana, board, as_user, monkeypatch
):
    for name, seconds in {"EVERY": 0.02, "LOOK": 0.02, "BEAT": 0.02}.items():
        monkeypatch.setattr(feeds, name, seconds)
    page = Page(board, await sync_to_async(lambda: as_user(ana).session.session_key)())
    assert await page.socket.opens()
    await page.hears(version=any, html=any)
    await sync_to_async(nudge)(workspace.group, "run:moved", id=1)
    beat = await page.hears(version=any)
    assert "html" not in beat
    await sync_to_async(make_run)(workspace, 1, RunStatus.QUEUED)
    await sync_to_async(cache.incr)(f"pulse.{workspace.group}")  # its message never came
    while "1 run waits" not in (await page.hears(html=any))["html"]:
        pass
    monkeypatch.setattr(feeds, "heard", lambda group: None)
    while True:
        try:
            await page.socket.wire.receive_output(0.3)
        except TimeoutError:
            break
