"""A run's log over a websocket: its bytes from an offset on, exactly, as they come.

Binary frames carry the log and nothing else: each continues where the last one ended. Text frames are JSON and
carry what is said about it:

- {"from": 0, "size": 1200, "ended": false}: the next byte sent is number `from`. Sent first, and again when the log
  was cut shorter than what was sent.
- {"of": 393216, "lines": [1200, 980, 1310]}: how many lines end in each `log_index.BLOCK` bytes up to `of`, where a
  log began that is not sent from its beginning; {"of": …, "counted": 131072} while that takes long.
- {"block": 512}: the next binary frame alone does not continue the log: it is what stands at 512 × `log_index.BLOCK`.
  Sent in front of "lines" to a page that asked for a `line` which is not in what follows.
- {"hole": [1073741824, 4294967296]}: the bytes from here to there were left out, as the log is too long to keep. What
  would come from in there comes from its end on, after another "from".
- {"reason": …, "groups": [{"attempt": 1, "streams": […]}]}: why the run waits, and the logs it has by now.
- {"ended": true, "size": 48120332, "sha256": …}: nothing more will be written, and all of it was sent.

A page says {"at": 262144}, how far it has come with what it was sent; a page that falls behind waits for itself.
"""

import asyncio
import contextlib
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection

from compute import log_index, logs
from runs.feeds import LogFeed, watching
from runs.models import Run
from runs.streams import LogStream, stream_of, streams_of
from studio.consumers import PersonalConsumer, is_signed_in, workspace_for

FRAME = 256 * 1024  # bytes at most; half the server's work of 64 KiB
WINDOW = 4 * 1024 * 1024  # bytes sent and not yet dealt with by the page
WHOLE = 20 * 1024 * 1024  # a larger log is opened at its end
TAIL = 64 * 1024  # bytes of it at least: from the block on in which they begin
COUNT_AT_ONCE = 256 * 1024 * 1024  # bytes whose lines are counted before that is told
AROUND = 8 * 1024  # bytes on either side of a line that is asked for: about what a page shows
COUNT_FIRST = 0.05  # seconds that the tail of a log waits for where its lines are
CHECK_SECONDS = 5.0  # between two looks at whether it has ended, should a nudge get lost


@dataclass(frozen=True)
class Facts:
    """What the database says of the log and its run."""

    stream: LogStream
    news: dict[str, Any]  # for the page: "reason", "groups"


class LogConsumer(PersonalConsumer):
    """Send one log of one run to one page. The database is asked at the door, and after nudges; never per byte."""

    takes_tokens = True

    async def connect(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.groups = []
        self.user, where = self.scope["user"], self.scope["url_route"]["kwargs"]
        asked = {name: values[-1] for name, values in parse_qs(self.scope["query_string"].decode("latin-1")).items()}
        self.workspace_name, self.run_id, self.stream = where["workspace"], where["run_id"], asked.get("stream", "")
        after = asked.get("after")
        for number in (after, asked.get("uncounted"), asked.get("line")):
            if number is not None and not (number.isascii() and number.isdigit() and len(number) < 16):
                raise DenyConnection
        self.uncounted = int(asked.get("uncounted", 0))  # bytes in front of which a page that comes again has no lines
        facts = await self.ask()
        if facts is None:
            raise DenyConnection
        self.facts, self.nudged = facts, asyncio.Event()
        self.line = int(asked.get("line", 0))  # that the page was opened at
        self.at = 0  # how far the page has come
        self.binary = asyncio.Lock()  # a part and what it is are told without another frame between them
        self.hole: tuple[int, int] | None = None  # as the page was told
        self.counting: asyncio.Task[None] | None = None
        self.came_on = asyncio.Event()
        self.groups = [self.group]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        self.tasks = [asyncio.create_task(self.until_cut(after)), asyncio.create_task(self.keep_asking())]

    async def ask(self) -> Facts | None:
        """Ask the database; None when the person may not look, or there is no such log."""
        return await database_sync_to_async(self._ask, thread_sensitive=False)()

    def _ask(self) -> Facts | None:
        workspace = workspace_for(self.user, self.workspace_name)
        if workspace is None or not is_signed_in(self.user, None, str(self.scope.get("token_sha256", ""))):
            return None
        run = Run.objects.for_user(self.user).filter(workspace=workspace, run_id=self.run_id).first()
        stream = stream_of(run, self.stream) if run else None
        if run is None or stream is None:
            return None
        self.group, self.run_pk = workspace.group, run.pk
        news = {"reason": run.reason, "status": run.status, "groups": [asdict(group) for group in streams_of(run)]}
        return Facts(stream, news)

    async def until_cut(self, after: str | None) -> None:
        """Pump until the page is gone; a socket that closes under a frame is no error."""
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the server's word for "closed already"
            await self.send_json(self.facts.news)
            with watching(self.facts.stream.key or "none") as feed:
                await self.pump(feed, after)

    async def pump(self, feed: LogFeed, after: str | None) -> None:
        """Send the log from where the page asks on. A frame is read only when the one before has left."""
        ends = asyncio.create_task(self.say_the_end(feed))
        self.tasks.append(ends)
        size = feed.size
        tail = 0 if size <= WHOLE else (size - TAIL) // log_index.BLOCK * log_index.BLOCK
        sent = int(after) if after is not None else tail
        sent = sent if sent <= size else 0
        await self.begin(sent, size)
        uncounted = self.uncounted if after is not None else sent
        if sent and uncounted:
            self.counting = asyncio.create_task(self.count(min(uncounted, sent)))
            self.tasks.append(self.counting)
            # Where the lines are is known already, mostly: then it goes first, and a page that was asked for a line in
            # the middle loads that beside what follows here.
            await asyncio.wait([self.counting], timeout=COUNT_FIRST)
        while True:
            size = await feed.beyond(self.sent)
            if size < self.sent:  # cut: what the page has is no longer what there is
                await self.begin(0, size)
                continue
            while self.sent - self.at >= WINDOW:
                self.came_on.clear()
                await self.came_on.wait()
            hole = logs.hole(feed.key)
            if hole != self.hole:
                self.hole = hole
                await self.send_json({"hole": hole})
            if hole and hole[0] <= self.sent < hole[1]:
                await self.begin(hole[1], size)
                continue
            stop = hole[0] if hole and self.sent < hole[0] else size
            # The page cache answers: what is followed was just written. No thread, which slow queries could take.
            # Not beyond `size`: more than the feed knows of would look like a log that was cut.
            frame = logs.read(feed.key, self.sent, min(FRAME, stop - self.sent))
            if not frame:
                await asyncio.sleep(0.02)
                feed.look()
                continue
            self.sent += len(frame)
            async with self.binary:
                await self.send(bytes_data=frame)

    async def begin(self, start: int, size: int) -> None:
        """Say where the next byte stands."""
        self.sent = self.at = start
        await self.send_json({"from": start, "size": size, "ended": self.facts.stream.ended})

    async def count(self, start: int) -> None:
        """Say where the lines are of a log that is not sent from its beginning; what was counted once is kept."""
        with contextlib.suppress(OSError, RuntimeError):
            for come in [*range(COUNT_AT_ONCE, start, COUNT_AT_ONCE), start]:
                counts = await asyncio.to_thread(log_index.counts, self.facts.stream.key, come)
                if come < start:
                    await self.send_json({"of": start, "counted": come})
            if self.line:
                await self.send_line(start)
            await self.send_json({"of": start, "lines": [stop - begin for begin, stop in pairwise(counts)]})

    async def send_line(self, before: int) -> None:
        """Send the blocks around the line that the page was opened at, as far as they lie in front of byte `before`."""
        key = self.facts.stream.key
        at = await asyncio.to_thread(log_index.start_of, key, self.line)
        if at is None or at >= before:
            return
        first, last = max(0, at - AROUND) // log_index.BLOCK, min(at + AROUND, before - 1) // log_index.BLOCK
        for block in range(first, last + 1):
            data = logs.read(key, block * log_index.BLOCK, log_index.BLOCK)
            async with self.binary:
                await self.send_json({"block": block})
                await self.send(bytes_data=data)

    async def say_the_end(self, feed: LogFeed) -> None:
        """Once nothing more will be written and all is sent, say so, with the log's digest; again if more came."""
        said = -1
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                if self.facts.stream.ended and hasattr(self, "sent") and said != self.sent == feed.look():
                    said = self.sent
                    key = self.facts.stream.key
                    if self.counting:  # the page waits for that
                        await asyncio.wait([self.counting])
                    digest = await asyncio.shield(asyncio.wrap_future(logs.digest(key, said))) if key else ""
                    await self.send_json({"ended": True, "size": said, "sha256": digest})
                await asyncio.sleep(0.05 if said < 0 else 1.0)

    async def keep_asking(self) -> None:
        """Look at the run again after a nudge, and every few seconds in case one was lost."""
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.nudged.wait(), CHECK_SECONDS)
                self.nudged.clear()
                facts = await self.ask()
                if facts is None:
                    await self.close(code=4403)
                    return
                news, self.facts = facts.news != self.facts.news, facts
                if news:
                    await self.send_json(facts.news)

    async def nudge(self, message: dict[str, Any]) -> None:
        """Hear that something of the workspace moved."""
        event, facts = message["event"], message["facts"]
        if event == "members:moved" or (event == "run:moved" and facts.get("id") == self.run_pk):
            self.nudged.set()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Hear how far the page has come."""
        at = content.get("at") if isinstance(content, dict) else None
        if isinstance(at, int) and self.at < at <= getattr(self, "sent", 0):
            self.at = at
            self.came_on.set()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Hang up on what is not JSON: our pages do not send it."""
        try:
            await super().receive(text_data=text_data, **kwargs)
        except ValueError:
            await self.close(code=4400)

    async def disconnect(self, code: int) -> None:
        for task in self.tasks:
            task.cancel()
