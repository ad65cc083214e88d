"""Links to dashboards: what one opens, what it never opens, and what it never tells."""

import json
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs.models import Run
from runs.states import RunStatus
from studio.dashboards import consumers, feeds, samples
from studio.dashboards.actions import add_tile, delete_dashboard, make_dashboard, make_link, revoke_link
from studio.dashboards.models import Dashboard, Link, Shows
from studio.errors import StudioError
from studio.live import nudge
from studio.people.models import Activity, User, Workspace
from tests.compute.clusters import make_cluster, make_job, make_node
from tests.sockets import Socket
from tests.studio.test_every_door import DOORS, address, knock, urls
from tests.studio.world import World

MARKS = {
    "person": "marked-person",
    "run": "marked_run",
    "experiment": "marked-experiment",
    "target": "marked-target",
    "metric": "marked-metric",
    "reason": "marked reason at /marked/path on marked-host.example",
    "command": "--marked-command",
    "secret": "marked-secret",
}


def board_with_marks(workspace: Workspace, ana: User) -> Dashboard:
    """Return a dashboard of every tile over runs that carry a mark wherever something could be told."""
    marked = User.objects.create_user(MARKS["person"], "marked@marked.example", first_name="Marked", last_name="Person")
    cluster = make_cluster(workspace, MARKS["target"], config={"address": "marked-host.example"})
    make_node(cluster)
    home = workspace.experiments.create(name=MARKS["experiment"])
    config = {"arguments": [MARKS["command"]], "variables": {"TOKEN": MARKS["secret"]}}
    for number, status in enumerate([RunStatus.RUNNING, RunStatus.FAILED, RunStatus.QUEUED], 1):
        now = timezone.now()
        run = Run.objects.create(
            workspace=workspace,
            experiment=home,
            number=number,
            run_id=f"{MARKS['run']}_{number}",
            display_name=f"{MARKS['run']}_{number}",
            status=status,
            reason=MARKS["reason"],
            target=cluster,
            target_name=cluster.name,
            submitted_by=marked,
            config=config,
            tags={"marked": "marked"},
            started_at=now,
            ended_at=now if status.is_final else None,
        )
        job = make_job(cluster)
        run.attempts.create(number=1, job=job)
        outputs = job.folder / "rank-0" / "outputs"
        outputs.mkdir(parents=True)
        (outputs / "metrics.jsonl").write_text(json.dumps({"name": MARKS["metric"], "value": 12}) + "\n")
    samples.take()
    board = make_dashboard(workspace, "Board", by=ana, overview=True)
    add_tile(board, "nodes", options={"span": "day", "cluster": str(cluster.pk)}, by=ana)
    add_tile(board, "metric", options={"of": "run", "name": f"{MARKS['run']}_1", "metric": ""}, by=ana)
    of_all = {"of": "experiment", "name": MARKS["experiment"], "metric": MARKS["metric"]}
    add_tile(board, "metric", options=of_all, by=ana)
    return board


def at(token: str, csv: int | None = None) -> str:
    return reverse("dashboard_link_csv", args=[token, csv]) if csv else reverse("dashboard_link", args=[token])


def test_a_link_shows_its_dashboard_without_a_cookie_and_asks_to_be_kept_private(workspace, ana):
    board = board_with_marks(workspace, ana)
    _link, token = make_link(board, "lab", days=30, shows=set(), by=ana)
    assert len(token) >= 43  # 256 bits
    visitor = Client()
    answer = visitor.get(at(token) + "?theme=dark")
    assert answer.status_code == 200
    assert not answer.cookies
    assert 'data-theme="dark"' in answer.text
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "noindex" in answer["X-Robots-Tag"]
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert Link.objects.get().used_at is not None
    assert token not in str(list(Activity.objects.values_list("detail", "object_name")))
    assert token not in str(list(Link.objects.values()))


async def read(token: str) -> str:
    """Return everything that a link's socket says at first."""
    socket = Socket(f"/ws/d/{token}/?language=en")
    assert await socket.opens()
    said = str((await socket.wire.receive_output(5))["text"])
    await socket.leaves()
    return said


@pytest.mark.django_db(transaction=True)
async def test_what_was_not_chosen_is_in_no_byte_of_a_page_a_table_or_a_socket(workspace, ana):
    board = await sync_to_async(board_with_marks)(workspace, ana)

    def said_by_pages(shows: set[Shows]) -> tuple[str, str]:
        _link, token = make_link(board, "lab", days=1, shows=shows, by=ana)
        visitor = Client()
        tables = [visitor.get(at(token, tile.pk)) for tile in board.tiles.all()]
        allowed = 200 if Shows.CSV in shows else 404
        assert {table.status_code for table in tables} == {allowed}
        return token, visitor.get(at(token)).text + "".join(table.text for table in tables)

    for shows, told in [
        (set(), set()),
        ({Shows.CSV}, set()),
        ({Shows.CSV, Shows.PEOPLE}, {"person"}),
        ({Shows.CSV, Shows.NAMES}, {"run", "experiment", "target", "metric"}),
        ({Shows.CSV, Shows.REASONS}, {"reason"}),
        (set(Shows), {"person", "run", "experiment", "target", "metric", "reason"}),
    ]:
        token, said = await sync_to_async(said_by_pages)(shows)
        pushed = await read(token)
        for name, mark in MARKS.items():
            assert (mark in said) == (name in told), f"{name} on a page of {shows}"
            assert (mark in pushed) == (name in told), f"{name} in the socket of {shows}"
        if not told:
            assert "marked" not in said.lower().replace(token.lower(), "")
            assert "marked" not in pushed.lower()


def test_a_link_opens_nothing_once_it_is_revoked_or_too_old_and_nothing_of_another_dashboard(workspace, ana):
    board, other = (make_dashboard(workspace, name, by=ana, overview=True) for name in ("One", "Other"))
    link, token = make_link(board, "lab", days=30, shows={Shows.CSV}, by=ana)
    old, late = make_link(board, "lab", days=1, shows={Shows.CSV}, by=ana)
    visitor, own, foreign = Client(), board.tiles.earliest("pk").pk, other.tiles.earliest("pk").pk
    assert visitor.get(at(token, own)).status_code == 200
    assert visitor.get(at(token, foreign)).status_code == 404
    Link.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    revoke_link(link, by=ana)
    for gone in (token, late, "guessed", "x" * 5000):
        answers = [visitor.get(at(gone)), visitor.get(at(gone, own))]
        assert {answer.status_code for answer in answers} == {404}
        assert all("One" not in answer.text and not answer.cookies for answer in answers)
    with pytest.raises(StudioError):
        make_link(board, "lab", days=366, shows=set(), by=ana)


@pytest.mark.usefixtures("with_tiny")
def test_a_token_opens_no_other_url_whether_it_comes_as_a_header_a_cookie_or_a_query(db):
    world = World()
    token = world.here.link_token
    known = {"dashboard_link", "dashboard_link_csv"}
    for name, _pattern in urls():
        for method, way in DOORS[name].ways():
            if "nobody" in way.who or name in known:
                continue
            visitor = Client(headers={"authorization": f"Bearer {token}"})
            visitor.cookies["sessionid"] = token
            url = address(name, world.here)
            status, _said = knock(visitor, method, f"{url}?token={token}", way, world.here)
            assert status in {302, 401, 403, 404}, f"{method} {name}"
    for place in ("tiles/", "share/", "edit/", "../w/here/", "tiles/1/", f"tiles/{world.there.tile}.csv"):
        assert Client().get(at(token) + place).status_code in {302, 404}, place


def test_who_guesses_is_told_nothing_for_a_while(workspace, ana, settings):
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | {"open_dashboard": "3/5m/ip"}
    _link, token = make_link(make_dashboard(workspace, "One", by=ana), "lab", days=30, shows=set(), by=ana)
    visitor = Client()
    assert [visitor.get(at(f"guess{n}")).status_code for n in range(3)] == [404] * 3
    assert visitor.get(at(token)).status_code == 404
    assert Client(REMOTE_ADDR="10.1.2.3").get(at(token)).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_a_socket_needs_a_link_that_works_and_closes_with_it(workspace, ana, caplog):
    board = await sync_to_async(make_dashboard)(workspace, "One", by=ana, overview=True)
    link, token = await sync_to_async(make_link)(board, "lab", days=30, shows=set(), by=ana)
    assert not await Socket("/ws/d/guessed/").opens()
    assert not await Socket(f"/ws/d/{token}/", origin="https://evil.example").opens()
    assert token not in caplog.text
    for path in (f"/ws/w/vision-team/dashboards/{board.pk}/", "/ws/w/vision-team/live/"):
        assert not await Socket(path, token).opens(), "a token is no session"
    _hall, other = await sync_to_async(make_link)(board, "hall", days=30, shows=set(), by=ana)
    walls = [Socket(f"/ws/d/{each}/") for each in (token, other)]
    for wall in walls:
        assert await wall.opens()
        await wall.wire.receive_output(5)
    await sync_to_async(revoke_link)(link, by=ana)
    assert await walls[0].closes() == 4404
    assert not await Socket(f"/ws/d/{token}/").opens()
    await sync_to_async(delete_dashboard)(board, by=ana)
    assert await walls[1].closes() == 4404


@pytest.mark.django_db(transaction=True)
async def test_a_wall_whose_link_ends_unheard_closes_all_the_same(workspace, ana, monkeypatch):
    for module, name in ((feeds, "LOOK"), (feeds, "BEAT"), (consumers, "AGAIN")):
        monkeypatch.setattr(module, name, 0.02)
    board = await sync_to_async(make_dashboard)(workspace, "One", by=ana, overview=True)
    link, token = await sync_to_async(make_link)(board, "lab", days=30, shows=set(), by=ana)
    wall = Socket(f"/ws/d/{token}/")
    assert await wall.opens()
    await wall.wire.receive_output(5)
    await sync_to_async(nudge)(workspace.group, "run:moved", id=1)  # beats begin with the first nudge
    await Link.objects.filter(pk=link.pk).aupdate(revoked_at=timezone.now())  # the broker lost what told of it
    assert await wall.closes() == 4404
