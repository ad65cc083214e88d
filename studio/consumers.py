"""One websocket a page: forwards the nudges of its workspace, with the parts that the page shows of what moved."""

import json
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.sessions.models import Session

from studio.live import SIGNED_OUT, pulse
from studio.parts import part_of
from studio.people.chain import group_of as activity_group
from studio.people.models import ApiToken, User, Workspace
from studio.people.permissions import Right, may
from studio.people.second_step import OWED

logger = logging.getLogger(__name__)
ACTIVITY = "activity-new"  # what a page of the activity shows


def workspace_for(user: Any, name: str, right: Right = Right.VIEW) -> Workspace | None:
    """Return the workspace `name` if `user` has `right` in it, else None."""
    workspace = Workspace.objects.for_user(user).filter(name=name).first()
    return workspace if workspace is not None and may(user, right, workspace) else None


def is_signed_in(user: Any, session_key: str | None, token_sha256: str = "") -> bool:
    """Say whether the person may still be here: the account is on, and the session, or the API token, goes on."""
    if not User.objects.filter(pk=user.pk, is_active=True).exists():
        return False
    if token_sha256:
        return ApiToken.objects.working().filter(token_sha256=token_sha256).exists()
    return session_key is None or Session.objects.filter(session_key=session_key).exists()


class PersonalConsumer(AsyncJsonWebsocketConsumer):
    """A socket of one person: denied in the log where it is denied, and closed when its session or API token ends."""

    takes_tokens = False  # a program with an API token may have it, too

    async def websocket_connect(self, message: Any) -> None:
        user: Any = self.scope["user"]
        self.persons_group = user.group if user.is_authenticated else None
        if self.persons_group:
            await self.channel_layer.group_add(self.persons_group, self.channel_name)
        try:
            owes = self.scope["session"].get(OWED) if self.scope.get("session") else False
            if owes or (self.scope.get("token_sha256") and not self.takes_tokens):
                raise DenyConnection
            await self.connect()
        except DenyConnection:
            logger.warning("Denied: the socket %s to %s.", self.scope["path"], user.get_username() or "nobody")
            await self.close()

    async def dispatch(self, message: dict[str, Any]) -> None:
        if message["type"] == "nudge" and message["event"] == SIGNED_OUT:
            session = self.scope.get("session")
            key = session.session_key if session else None
            token = str(self.scope.get("token_sha256", ""))
            if not await database_sync_to_async(is_signed_in, thread_sensitive=False)(self.scope["user"], key, token):
                await self.close(code=4401)
            return
        await super().dispatch(message)

    async def websocket_disconnect(self, message: Any) -> None:
        if self.persons_group:
            await self.channel_layer.group_discard(self.persons_group, self.channel_name)
        await super().websocket_disconnect(message)


class LiveConsumer(PersonalConsumer):
    """Tell an open page that something of its workspace moved.

    A page says which rows it shows, and in which language: {"shows": ["run-7"], "language": "es"}. Such a row comes
    with the nudge as it is now, as {"html": "<tr …"}; the page asks again for everything else that it shows. One that
    shows "activity-new" is told of new activity, where its person may see that.
    """

    MOST_SHOWN = 200
    LONGEST = 8192  # characters of what a page says

    async def connect(self) -> None:
        self.user: Any = self.scope["user"]
        name = self.scope["url_route"]["kwargs"]["workspace"]
        workspace = await database_sync_to_async(workspace_for, thread_sensitive=False)(self.user, name)
        if workspace is None:
            raise DenyConnection
        self.workspace, self.shown, self.language = workspace, frozenset[str](), settings.LANGUAGE_CODE
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
        await self.send_json({"event": message["event"], **message["facts"], **await self.html_of(message)})

    async def html_of(self, message: dict[str, Any]) -> dict[str, str]:
        """Return {"html": …} of the row that the page shows of what moved; nothing where it shows none."""
        kind, _colon, what = message["event"].partition(":")
        pk = message["facts"].get("id")
        if what != "moved" or "count" not in message or f"{kind}-{pk}" not in self.shown:
            return {}
        html = await part_of(self.workspace, kind, pk, message["count"], self.language)
        return {} if html is None else {"html": html}

    async def disconnect(self, code: int) -> None:
        for group in self.groups or []:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Note what the page shows. Nothing else is said over this socket, and nothing is commanded."""
        try:
            said = json.loads(text_data or "") if len(text_data or "") <= self.LONGEST else None
        except (ValueError, RecursionError):
            return
        if not isinstance(said, dict) or not isinstance(said.get("shows"), list):
            return
        self.shown = frozenset(one for one in said["shows"][: self.MOST_SHOWN] if isinstance(one, str))
        if said.get("language") in dict(settings.LANGUAGES):
            self.language = said["language"]
        if ACTIVITY in self.shown:
            await self.watch_activity()

    async def watch_activity(self) -> None:
        """Tell this page of new activity, too, and that there may be some already."""
        group = activity_group(self.workspace.pk)
        ask = database_sync_to_async(workspace_for, thread_sensitive=False)
        if group in self.groups or await ask(self.user, self.workspace.name, Right.VIEW_ACTIVITY) is None:
            return
        for watched in [group, activity_group(None)] if self.user.is_superuser else [group]:
            self.groups.append(watched)
            await self.channel_layer.group_add(watched, self.channel_name)
        await self.send_json({"event": "activity:moved"})
