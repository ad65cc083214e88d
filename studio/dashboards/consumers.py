"""The sockets of dashboards: whole tiles as they change, and a beat that says that nothing was missed.

What is sent is JSON: {"html", "name", "version", "at"} is the whole board, {"tile": 7, "html", "at"} one tile of it,
and {"version", "at"} a beat. What pages say is not listened to.
"""

import asyncio
import contextlib
import logging
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http import HttpRequest

from studio.consumers import PersonalConsumer, workspace_for
from studio.dashboards import links
from studio.dashboards.feeds import watching
from studio.dashboards.models import Dashboard, Link
from studio.dashboards.tiles.base import Seen

logger = logging.getLogger(__name__)
AGAIN = 60.0  # seconds after which it is looked whether a page may go on, whatever was heard: a nudge may be lost
GONE = 4404  # the dashboard was deleted, or is not for this person any more; the link was revoked or is too old


def language_of(scope: Any) -> str:
    """Return the language that a page asks for, among ours."""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("language", [""])[0]
    return asked if asked in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


class _Board(AsyncWebsocketConsumer):
    """Sends a dashboard to one page: what is newest, as fast as the page takes it."""

    task: asyncio.Task[None] | None = None
    groups = []

    async def still(self) -> bool:
        """Say whether the page may go on."""
        raise NotImplementedError

    def begin(self, dashboard: Dashboard, seen: Seen) -> None:
        self.task = asyncio.create_task(self.send_board(dashboard, seen, language_of(self.scope)))

    async def send_board(self, dashboard: Dashboard, seen: Seen, language: str) -> None:
        with watching(dashboard, seen, language) as feed:
            sent, access, looked = 0, feed.access, monotonic()
            while True:
                await feed.beyond(sent)
                if feed.is_gone or self.is_over():
                    await self.close(code=GONE)
                    return
                if (now := feed.access) != access or monotonic() - looked > AGAIN:
                    access, looked = now, monotonic()  # before it is asked: what moves meanwhile is asked for again
                    if not await self.still():
                        await self.close(code=GONE)
                        return
                news, sent = feed.newer(sent), feed.number
                for text in news:
                    await self.send(text_data=text)

    def is_over(self) -> bool:
        """Say whether the time of the page is over."""
        return False

    async def disconnect(self, code: int) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Ignore what pages say: nothing is commanded over this socket."""


class MemberConsumer(PersonalConsumer, _Board):
    """A dashboard to somebody who is signed in."""

    async def connect(self) -> None:
        dashboard = await self.find()
        if dashboard is None:
            raise DenyConnection
        await self.accept()
        self.begin(dashboard, Seen.by_members())

    async def find(self) -> Dashboard | None:
        where = self.scope["url_route"]["kwargs"]
        return await database_sync_to_async(dashboard_for, thread_sensitive=False)(self.scope["user"], **where)

    async def still(self) -> bool:
        return await self.find() is not None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Ignore what pages say."""


def dashboard_for(user: Any, workspace: str, pk: str) -> Dashboard | None:
    """Return a dashboard of a workspace for somebody who may see it, else None."""
    space = workspace_for(user, workspace)
    if space is None or not (pk.isascii() and pk.isdigit() and len(pk) < 19):
        return None
    return Dashboard.objects.for_user(user).select_related("workspace").filter(workspace=space, pk=int(pk)).first()


class LinkConsumer(_Board):
    """A dashboard to whoever has a link to it. Cookies that come along mean nothing here."""

    async def websocket_connect(self, message: Any) -> None:
        link = await sync_to_async(links.opened, thread_sensitive=False)(
            request_of(self.scope), self.scope["url_route"]["kwargs"]["token"]
        )
        if link is None:
            logger.warning("Denied: a socket of a link that opens no dashboard.")
            await self.close()
            return
        self.link = link
        await self.accept()
        self.begin(link.dashboard, Seen.by(link))

    async def still(self) -> bool:
        return await Link.objects.working().filter(pk=self.link.pk).aexists()

    def is_over(self) -> bool:
        return self.link.is_too_old


def request_of(scope: Any) -> HttpRequest:
    """Return a request that says where a socket comes from, for whoever counts by address."""
    request = HttpRequest()
    request.method = "GET"
    request.META["REMOTE_ADDR"] = (scope.get("client") or ["127.0.0.1"])[0]
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            request.META["HTTP_X_FORWARDED_FOR"] = value.decode("latin-1")
    return request
