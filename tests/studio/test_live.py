"""The page's websocket: who gets it, what it forwards, and when it closes."""

import json

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.utils.translation import override

from runs.models import Experiment, Run
from runs.states import RunStatus
from studio import parts
from studio.live import nudge, pulse
from studio.people.actions import create_workspace, remove_member
from studio.people.chain import group_of as activity_group
from studio.sockets import sockets

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def a_run(workspace):
    home = Experiment.objects.create(workspace=workspace, name="digits")
    facts = {"number": 1, "run_id": "digits_1", "display_name": "brave_lemur", "target_name": "local", "config": {}}
    return Run.objects.create(workspace=workspace, experiment=home, **facts)


class Page:
    """An open page, seen from its websocket."""

    def __init__(self, user, workspace="vision-team", query=b""):
        path = f"/ws/w/{workspace}/live/"
        scope = {"type": "websocket", "path": path, "headers": [], "subprotocols": [], "user": user}
        scope["query_string"] = query
        self.wire = ApplicationCommunicator(URLRouter(sockets), scope)

    async def opens(self):
        await self.wire.send_input({"type": "websocket.connect"})
        return (await self.wire.receive_output(2))["type"] == "websocket.accept"

    async def hears(self):
        return json.loads((await self.wire.receive_output(2))["text"])

    async def says(self, what):
        await self.wire.send_input({"type": "websocket.receive", "text": json.dumps(what)})

    async def leaves(self):
        await self.wire.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.wire.wait()


async def test_what_moved_before_the_page_had_its_socket_is_caught_up_with(workspace, rita):
    made_at = await sync_to_async(pulse)(workspace.group)
    still, moved = (Page(rita, query=f"pulse={made_at}".encode()) for _ in range(2))
    assert await still.opens()
    await sync_to_async(nudge)(workspace.group, "run:moved", id=7)
    assert (await still.hears())["event"] == "run:moved"
    assert await moved.opens()
    assert await moved.hears() == {"event": "live:back"}
    await still.leaves()
    await moved.leaves()


async def test_a_nudge_reaches_the_open_page_of_a_member(workspace, rita):
    page = Page(rita)
    assert await page.opens()
    await sync_to_async(nudge)(workspace.group, "run:moved", id=7, target=3)
    assert await page.hears() == {"event": "run:moved", "id": 7, "target": 3}
    await page.leaves()


async def test_a_stranger_and_a_visitor_are_denied(workspace, cleo):
    for user in (cleo, AnonymousUser()):
        assert not await Page(user).opens()


async def test_a_workspace_that_is_not_there_is_denied(workspace, ana):
    assert not await Page(ana, "no-such").opens()


async def test_a_member_who_is_removed_is_cut_off(workspace, ana, ben):
    page, other = Page(ben), Page(ana)
    assert await page.opens()
    assert await other.opens()
    await sync_to_async(remove_member)(workspace, ben, by=ana)
    assert await page.wire.receive_output(2) == {"type": "websocket.close", "code": 4403}
    assert (await other.hears())["event"] == "members:moved"
    await other.leaves()


async def test_what_a_page_sends_is_ignored(workspace, rita):
    page = Page(rita)
    assert await page.opens()
    await page.wire.send_input({"type": "websocket.receive", "text": '{"type": "nudge", "event": "run:moved"}'})
    assert await page.wire.receive_nothing()
    await page.leaves()


async def test_new_activity_is_told_to_who_may_see_it_and_shows_it(workspace, ana, rita):
    owner, elsewhere, reader = Page(ana), Page(ana), Page(rita)
    for page in (owner, elsewhere, reader):
        assert await page.opens()
    for page in (owner, reader):
        await page.wire.send_input({"type": "websocket.receive", "text": '{"shows": ["activity-new"]}'})
    assert await owner.hears() == {"event": "activity:moved"}  # there may be some since the page was made
    await sync_to_async(nudge)(activity_group(workspace.pk), "activity:moved")
    assert await owner.hears() == {"event": "activity:moved"}
    for page in (reader, elsewhere):
        assert await page.wire.receive_nothing()
    for page in (owner, elsewhere, reader):
        await page.leaves()


async def test_another_workspaces_nudge_does_not_arrive(workspace, rita):
    page = Page(rita)
    assert await page.opens()
    await sync_to_async(nudge)("workspace.999999", "run:moved", id=1)
    assert await page.wire.receive_nothing()
    await page.leaves()


async def test_a_row_that_the_page_shows_comes_with_its_nudge_in_the_pages_language(workspace, rita, a_run):
    page, other = Page(rita), Page(rita)
    assert await page.opens()
    assert await other.opens()
    await page.says({"shows": [f"run-{a_run.pk}"], "language": "es"})
    await other.says({"shows": ["run-0"], "language": "es"})
    await sync_to_async(a_run.move)(RunStatus.STARTING)
    heard = await page.hears()
    assert heard["event"] == "run:moved"
    assert f'<tr id="run-{a_run.pk}"' in heard["html"]
    with override("es"):
        assert str(RunStatus.STARTING.label) in heard["html"]
    assert "html" not in await other.hears()
    await page.leaves()
    await other.leaves()


async def test_twenty_pages_have_a_row_made_once_a_nudge(workspace, rita, a_run, monkeypatch):
    made = []

    def make(_workspace, pk):
        made.append(pk)
        return "<tr></tr>"

    monkeypatch.setitem(parts._made_by, "run", make)
    pages = [Page(rita) for _ in range(20)]
    for page in pages:
        assert await page.opens()
        await page.says({"shows": [f"run-{a_run.pk}"]})
    for times in (1, 2):
        await sync_to_async(nudge)(workspace.group, "run:moved", id=a_run.pk)
        assert {(await page.hears())["html"] for page in pages} == {"<tr></tr>"}
        assert made == [a_run.pk] * times
    for page in pages:
        await page.leaves()


async def test_a_row_of_another_workspace_never_comes(workspace, rita, cleo, a_run):
    elsewhere = await sync_to_async(create_workspace)("elsewhere", cleo)
    page = Page(rita)
    assert await page.opens()
    await sync_to_async(Run.objects.filter(pk=a_run.pk).update)(workspace=elsewhere)
    await page.says({"shows": [f"run-{a_run.pk}"]})
    await sync_to_async(nudge)(workspace.group, "run:moved", id=a_run.pk)
    assert "html" not in await page.hears()
    await page.leaves()


async def test_a_row_that_cannot_be_made_is_left_to_the_page(workspace, rita, a_run, monkeypatch):
    monkeypatch.setitem(parts._made_by, "run", lambda _workspace, _pk: 1 / 0)
    page = Page(rita)
    assert await page.opens()
    await page.says({"shows": [f"run-{a_run.pk}"]})
    await sync_to_async(nudge)(workspace.group, "run:moved", id=a_run.pk)
    assert await page.hears() == {"event": "run:moved", "id": a_run.pk}
    await page.leaves()


@pytest.mark.parametrize(
    "said",
    ["", "[", "[1]", '{"shows": 7}', '{"shows": [[1], null]}', "[" * 8000, '{"shows": ["' + "x" * 9000 + '"]}'],
)
async def test_nonsense_from_a_page_does_no_harm(workspace, rita, said):
    page = Page(rita)
    assert await page.opens()
    await page.wire.send_input({"type": "websocket.receive", "text": said})
    await page.wire.send_input({"type": "websocket.receive", "bytes": b"\xff\x00"})
    await sync_to_async(nudge)(workspace.group, "run:moved", id=1)
    assert await page.hears() == {"event": "run:moved", "id": 1}
    await page.leaves()
