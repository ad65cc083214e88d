"""One feed of each dashboard that somebody looks at: what moved is rendered once, however many look.

A feed hears the nudges of its workspace by a channel of its own, so that hundreds of walls cost one subscription. What
a tile shows is asked anew after a nudge that may have changed it, at most every EVERY seconds, and goes out only when
it is another than before. Viewers take what is newest when they are ready for it: none is waited for, nothing queues.

A beat says that all of this still works: that nudges arrive, that none was missed, and that the database answers.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.utils import timezone

from compute.models import Job
from runs import metrics
from studio.dashboards import rendering
from studio.dashboards.models import Dashboard
from studio.dashboards.tiles import TILES
from studio.dashboards.tiles.base import Seen
from studio.live import heard

logger = logging.getLogger(__name__)
EVERY = 0.75  # seconds between two looks at a tile that moves all the time
LOOK = 1.0  # seconds between two looks at the files that runs write metrics to
BEAT = 5.0  # seconds
ACCESS = frozenset({"members:moved", "dashboard:moved"})


class Key(NamedTuple):
    """Which dashboard, how much is seen of it, and in which language."""

    dashboard: int
    seen: Seen
    language: str


@dataclass
class Feed:
    """What one dashboard shows to viewers of one kind, in this process."""

    key: Key
    group: str  # of the workspace's nudges
    viewers: int = 0
    number: int = 0  # of the newest message
    messages: dict[str, tuple[int, str]] = field(default_factory=dict)  # what → number and text
    access: int = 0  # counts when who may look could have changed
    is_gone: bool = False
    _shown: dict[int, rendering.Shown] = field(default_factory=dict)
    _dirty: set[int] = field(default_factory=set)
    _all: bool = True
    _failing: bool = False
    _count: int | None = None  # of the newest nudge
    _stamps: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changed, self._wake = asyncio.Event(), asyncio.Event()
        self._wake.set()

    async def beyond(self, number: int) -> None:
        """Wait until there is a newer message than `number`."""
        while self.number <= number:
            await self._changed.wait()

    def newer(self, number: int) -> list[str]:
        """Return the messages that came after `number`, in their order."""
        return [text for at, text in sorted(self.messages.values()) if at > number]

    def publish(self, what: str, said: dict[str, Any]) -> None:
        self.number += 1
        at = timezone.now().isoformat(timespec="milliseconds")
        self.messages[what] = self.number, json.dumps({**said, "at": at}, separators=(",", ":"))
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Keep it fresh until cancelled."""
        layer = get_channel_layer()
        assert layer is not None  # noqa: S101  the settings have one
        channel = await layer.new_channel()
        await layer.group_add(self.group, channel)  # before the first look: no gap
        others = [asyncio.create_task(self.render()), asyncio.create_task(self.beat())]
        try:
            while True:
                self.hear(await layer.receive(channel))
        finally:
            for task in others:
                task.cancel()
            await layer.group_discard(self.group, channel)

    def hear(self, nudge: dict[str, Any]) -> None:
        """Note which tiles a nudge may have changed."""
        event, facts = nudge["event"], nudge["facts"]
        self._count = nudge.get("count", self._count)
        if event in ACCESS:
            if event == "dashboard:moved" and facts.get("id") != self.key.dashboard:
                return
            self.access += 1
            self._all = self._all or event == "dashboard:moved"
            self.publish("access", {})
            self._wake.set()
            return
        moved = {pk for pk, one in self._shown.items() if event in TILES[one.tile.kind].moved_by}
        if moved:
            self._dirty |= moved
            self._wake.set()

    async def render(self) -> None:
        """Ask and render what may have changed, and publish what did."""
        while not self.is_gone:
            await self._wake.wait()
            self._wake.clear()
            began = monotonic()
            whole, dirty = self._all, self._dirty
            self._all, self._dirty = False, set()
            try:
                await (self.render_all() if whole else self.render_some(dirty))
                self._failing = False
            except Exception:  # the database may be away: without a beat, pages say how old they are
                logger.warning("The dashboard %s was not rendered.", self.key.dashboard, exc_info=True)
                self._failing, self._all = True, True
                self._wake.set()
            await asyncio.sleep(max(0.0, began + EVERY - monotonic()))

    async def render_all(self) -> None:
        board = await _in_thread(rendering.board_of, *self.key)
        if board is None:
            self.is_gone = True
            self.publish("board", {})
            return
        self._shown = {one.tile.pk: one for one in board.shown}
        for what in [what for what in self.messages if what.startswith("tile-")]:
            del self.messages[what]
        self.publish("board", {"name": board.name, "html": board.html, "version": rendering.build()})

    async def render_some(self, pks: set[int]) -> None:
        tiles = [one.tile for pk, one in self._shown.items() if pk in pks]
        for shown in await _in_thread(rendering.shown_of, tiles, self.key.seen, self.key.language):
            if shown.digest != self._shown[shown.tile.pk].digest:
                self.publish(f"tile-{shown.tile.pk}", {"tile": shown.tile.pk, "html": shown.html})
            self._shown[shown.tile.pk] = shown

    async def beat(self) -> None:
        """Look after metrics files, and say again and again that what is shown is what there is."""
        last = 0.0
        while True:
            await asyncio.sleep(LOOK)
            self._dirty |= (grown := await asyncio.to_thread(self.grown))
            if grown:
                self._wake.set()
            if monotonic() - last < BEAT:
                continue
            last = monotonic()
            count = await asyncio.to_thread(heard, self.group)
            if count is None or self._failing or not self.messages:
                continue
            if self._count is not None and count != self._count:  # a nudge was lost on its way
                self._all = True
                self._wake.set()
            self._count = count
            self.publish("beat", {"version": rendering.build()})

    def grown(self) -> set[int]:
        """Return the tiles whose runs have written more metrics since the last look."""
        found = set()
        watched: list[tuple[int, Job]] = [(pk, job) for pk, one in self._shown.items() for job in one.data.watches]
        for pk, job in watched:
            where = f"{pk} {job.folder}"
            stamp = metrics.stamp(job)
            if self._stamps.setdefault(where, stamp) != stamp:
                self._stamps[where] = stamp
                found.add(pk)
        return found


async def _in_thread(ask: Any, *arguments: Any) -> Any:
    return await database_sync_to_async(ask, thread_sensitive=False)(*arguments)


_feeds: dict[tuple[asyncio.AbstractEventLoop, Key], tuple[Feed, asyncio.Task[None]]] = {}


@contextlib.contextmanager
def watching(dashboard: Dashboard, seen: Seen, language: str) -> Iterator[Feed]:
    """Give the feed of a dashboard, shared by all of this process who see as much; the last to leave ends it."""
    key = Key(dashboard.pk, seen, language)
    place = asyncio.get_running_loop(), key
    if place not in _feeds or _feeds[place][1].done():
        feed = Feed(key, dashboard.workspace.group)
        _feeds[place] = feed, asyncio.create_task(feed.run())
    feed, task = _feeds[place]
    feed.viewers += 1
    try:
        yield feed
    finally:
        feed.viewers -= 1
        if not feed.viewers:
            task.cancel()
            if _feeds.get(place, (None,))[0] is feed:
                del _feeds[place]
