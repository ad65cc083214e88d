"""One watch on each log that somebody looks at, however many look."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from asyncinotify import Inotify, Mask

from compute import logs

BUSY_SECONDS = 0.02  # between two looks at a log that grows: its lines travel together
QUIET_SECONDS = 0.05  # between two looks at one that does not, as the kernel knows nothing of what another host writes
QUIET_AFTER = 2.0  # seconds without growth
UNBORN_SECONDS = 0.005  # between two looks for a log that is not there yet, of which the kernel cannot tell


class Growth:
    """Has the kernel tell feeds of one event loop, once each time they ask, that their log was written to."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._asked: dict[int, LogFeed] = {}
        self._task = asyncio.create_task(self._listen())

    def ask(self, feed: "LogFeed", file: Path) -> bool:
        """Have the feed woken when the file is written to next; say whether the kernel will."""
        try:
            watch = self._inotify.add_watch(file, Mask.MODIFY | Mask.ONESHOT)
        except OSError:  # there is no such file yet, or there are too many watches
            return False
        self._asked[watch.wd] = feed
        return True

    def close(self) -> None:
        """End it, soon: a descriptor that were closed while the loop listens to it would give its number to another's,
        which the loop would then not listen to.
        """
        self._task.cancel()

    async def _listen(self) -> None:
        with self._inotify:
            async for event in self._inotify:
                feed = self._asked.pop(event.watch.wd, None) if event.watch else None
                if feed is not None:
                    feed.wake()


class LogFeed:
    """Knows how large one log is, and wakes its viewers when that changes.

    The kernel tells of what this machine writes. Beside that the feed looks at the file's size again and again: that
    costs 10 µs and works on shared disks too.
    """

    def __init__(self, key: str) -> None:
        self.key, self.size, self.viewers = key, logs.size(key), 0
        self._changed = asyncio.Event()
        self._woken = asyncio.Event()
        self._is_told = False  # the kernel will wake it

    async def beyond(self, offset: int) -> int:
        """Wait until the log's size is another than `offset`, and return it; less means it was cut."""
        while self.size == offset:
            await self._changed.wait()
        return self.size

    def look(self) -> int:
        """Look at the size now, wake the viewers if it changed, and return it."""
        size = logs.size(self.key)
        if size != self.size:
            self.size = size
            self._changed.set()
            self._changed = asyncio.Event()
        return size

    async def watch(self, growth: Growth | None) -> None:
        """Look until cancelled: when the kernel tells, and now and then, less often while nothing happens."""
        now = asyncio.get_running_loop().time
        grew = now()
        while True:
            before = self.size
            if self.look() != before:
                grew = now()
                await asyncio.sleep(BUSY_SECONDS)
            else:
                await self._rest(growth, is_quiet=now() - grew > QUIET_AFTER)

    async def _rest(self, growth: Growth | None, *, is_quiet: bool) -> None:
        """Wait until the kernel tells, or it is time to look."""
        self._woken.clear()
        if growth is not None and not self._is_told:
            self._is_told = growth.ask(self, logs.file_of(self.key))
            if logs.size(self.key) != self.size:  # it was written to before that
                return
        seconds = QUIET_SECONDS if is_quiet else BUSY_SECONDS if self._is_told else UNBORN_SECONDS
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        await self._woken.wait()
        timer.cancel()

    def wake(self) -> None:
        """Have it look now."""
        self._is_told = False
        self._woken.set()


_feeds: dict[tuple[asyncio.AbstractEventLoop, str], tuple[LogFeed, asyncio.Task[None]]] = {}
_growths: dict[asyncio.AbstractEventLoop, Growth] = {}


@contextlib.contextmanager
def watching(key: str) -> Iterator[LogFeed]:
    """Give the feed of `key`, shared by all who watch it in this process; the last to leave ends it."""
    loop = asyncio.get_running_loop()
    place = loop, key
    if place not in _feeds:
        feed = LogFeed(key)
        if loop not in _growths:
            with contextlib.suppress(OSError):  # the user has as many as the kernel gives: then looking has to do
                _growths[loop] = Growth()
        _feeds[place] = feed, asyncio.create_task(feed.watch(_growths.get(loop)))
    feed, task = _feeds[place]
    feed.viewers += 1
    feed.look()
    try:
        yield feed
    finally:
        feed.viewers -= 1
        if not feed.viewers:
            task.cancel()
            del _feeds[place]
            if not any(other is loop for other, _key in _feeds) and loop in _growths:
                _growths.pop(loop).close()
