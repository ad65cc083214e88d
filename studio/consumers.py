"""One websocket a page: forwards the nudges of its workspace, and nothing else."""

from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from studio.people.models import Workspace
from studio.people.permissions import Right, may


def workspace_for(user: Any, name: str, right: Right = Right.VIEW) -> Workspace | None:
    """Return the workspace `name` if `user` has `right` in it, else None."""
    workspace = Workspace.objects.for_user(user).filter(name=name).first()
    return workspace if workspace is not None and may(user, right, workspace) else None


class LiveConsumer(AsyncJsonWebsocketConsumer):
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
