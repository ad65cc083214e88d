"""The live load of a target's nodes, once a second, while somebody looks."""

import asyncio
import contextlib
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection

from compute import processes
from compute.drivers.base import Handle
from compute.models import ComputeTarget, Job
from compute.states import JobState
from studio.consumers import PersonalConsumer, workspace_for

SECONDS = 1.0  # between two messages


def handles_of(user: Any, workspace: str, name: str) -> tuple[ComputeTarget, dict[str, Handle]] | None:
    """Return a target and the process that each of its nodes runs, by node id; None for who may not see it.

    On a target without nodes, such as the local computer, a job's ranks stand for nodes.
    """
    space = workspace_for(user, workspace)
    target = ComputeTarget.objects.existing().select_related("workspace").filter(workspace=space, name=name).first()
    if space is None or target is None:
        return None
    handles: dict[str, Handle] = {}
    for job in Job.objects.filter(target=target, state__in=[JobState.RUNNING, JobState.ENDING]):
        handles.update(zip(job.placed_on, job.handle.get("ranks", []), strict=False))
    return target, handles


def loads(handles: dict[str, Handle]) -> dict[str, dict[str, float]]:
    """Return CPU (percent of one CPU) and memory (bytes) of each node whose process is known."""
    found = {node: processes.usage(handle) for node, handle in handles.items()}
    return {
        node: {"cpu_percent": used.cpu_percent, "memory_bytes": used.memory_bytes}
        for node, used in found.items()
        if used
    }


class NodesConsumer(PersonalConsumer):
    """Send what each node's job uses. The database is asked at the door and after a nudge, not in the loop."""

    async def connect(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.groups = []
        where = self.scope["url_route"]["kwargs"]
        self.asked = (self.scope["user"], where["workspace"], where["name"])
        found = await self.ask()
        if found is None:
            raise DenyConnection
        target, self.handles = found
        self.target_id = target.pk
        self.groups = [target.workspace.group]
        await self.channel_layer.group_add(target.workspace.group, self.channel_name)
        await self.accept()
        self.task = asyncio.create_task(self.send_loads())

    async def ask(self) -> tuple[ComputeTarget, dict[str, Handle]] | None:
        return await database_sync_to_async(handles_of, thread_sensitive=False)(*self.asked)

    async def nudge(self, message: dict[str, Any]) -> None:
        """Look again which jobs run where when the target moved, and whether this person still may when members did."""
        event, facts = message["event"], message["facts"]
        ours = {"target:moved": facts.get("id"), "run:moved": facts.get("target")}.get(event) == self.target_id
        if not ours and event != "members:moved":
            return
        found = await self.ask()
        if found is None:
            await self.close(code=4403 if event == "members:moved" else 4404)
            return
        self.handles = found[1]

    async def send_loads(self) -> None:
        while True:
            await self.send_json(await asyncio.to_thread(loads, self.handles))
            await asyncio.sleep(SECONDS)

    async def disconnect(self, code: int) -> None:
        for group in self.groups or []:
            await self.channel_layer.group_discard(group, self.channel_name)
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Ignore what pages send: nothing is commanded over this socket."""
