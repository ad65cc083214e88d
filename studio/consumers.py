"""One websocket a page: forwards the nudges of its workspace, and nothing else."""

import logging
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.sessions.models import Session

from studio.live import SIGNED_OUT, pulse
from studio.people.models import User, Workspace
from studio.people.permissions import Right, may

logger = logging.getLogger(__name__)


def workspace_for(user: Any, name: str, right: Right = Right.VIEW) -> Workspace | None:
    """Return the workspace `name` if `user` has `right` in it, else None."""
    workspace = Workspace.objects.for_user(user).filter(name=name).first()
    return workspace if workspace is not None and may(user, right, workspace) else None


def is_signed_in(user: Any, session_key: str | None) -> bool:
    """Say whether the person may still be here: the account is on, and the session that opened the page goes on."""
    if not User.objects.filter(pk=user.pk, is_active=True).exists():
        return False
    return session_key is None or Session.objects.filter(session_key=session_key).exists()


class PersonalConsumer(AsyncJsonWebsocketConsumer):
    """A socket of one person: denied in the log where it is denied, and closed when its session ends."""

    async def websocket_connect(self, message: Any) -> None:
        user: Any = self.scope["user"]
        self.persons_group = user.group if user.is_authenticated else None
        if self.persons_group:
            await self.channel_layer.group_add(self.persons_group, self.channel_name)
        try:
            await self.connect()
        except DenyConnection:
            logger.warning("Denied: the socket %s to %s.", self.scope["path"], user.get_username() or "nobody")
            await self.close()

    async def dispatch(self, message: dict[str, Any]) -> None:
        if message["type"] == "nudge" and message["event"] == SIGNED_OUT:
            session = self.scope.get("session")
            key = session.session_key if session else None
            if not await database_sync_to_async(is_signed_in, thread_sensitive=False)(self.scope["user"], key):
                await self.close(code=4401)
            return
        await super().dispatch(message)

    async def websocket_disconnect(self, message: Any) -> None:
        if self.persons_group:
            await self.channel_layer.group_discard(self.persons_group, self.channel_name)
        await super().websocket_disconnect(message)


class LiveConsumer(PersonalConsumer):
    """Tell an open page that something of its workspace moved; the page asks again for what it shows."""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        name = self.scope["url_route"]["kwargs"]["workspace"]
        workspace = await database_sync_to_async(workspace_for, thread_sensitive=False)(self.user, name)
        if workspace is None:
            raise DenyConnection
        self.workspace = workspace
        self.groups = [workspace.group]
        await self.channel_layer.group_add(workspace.group, self.channel_name)
        await self.accept()
        made_at = parse_qs(self.scope.get("query_string", b"")).get(b"pulse", [b""])[0]
        if made_at.isdigit() and int(made_at) != await database_sync_to_async(pulse)(workspace.group):
            await self.send_json({"event": "live:back"})  # it moved between the page and its socket

    async def nudge(self, message: dict[str, Any]) -> None:
        """Forward a nudge; when the members changed, look again whether this person still belongs."""
        if message["event"] == "members:moved":
            still = await database_sync_to_async(workspace_for, thread_sensitive=False)(self.user, self.workspace.name)
            if still is None:
                await self.close(code=4403)
                return
        await self.send_json({"event": message["event"], **message["facts"]})

    async def disconnect(self, code: int) -> None:
        for group in self.groups or []:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Ignore what pages send: nothing is commanded over this socket."""
