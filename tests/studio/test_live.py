"""The page's websocket: who gets it, what it forwards, and when it closes."""

import json

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser

from studio.live import nudge, pulse
from studio.people.actions import remove_member
from studio.sockets import sockets

pytestmark = pytest.mark.django_db(transaction=True)


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


async def test_another_workspaces_nudge_does_not_arrive(workspace, rita):
    page = Page(rita)
    assert await page.opens()
    await sync_to_async(nudge)("workspace.999999", "run:moved", id=1)
    assert await page.wire.receive_nothing()
    await page.leaves()
