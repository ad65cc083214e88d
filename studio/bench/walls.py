"""Many open walls in one thread: sockets by a link, each read for the newest number it shows."""

import re
import selectors
import time

from studio.bench.sockets import Socket

PATIENCE = 30.0  # seconds


class Wall(Socket):
    """One wall. It knows when it first showed each number that `shown` finds, or a later one."""

    def __init__(self, url: str, path: str, shown: re.Pattern[bytes]) -> None:
        super().__init__(url, path, PATIENCE)
        self.shown, self.newest, self.seen = shown, -1, dict[int, float]()

    def read(self) -> None:
        """Take what came. Raises ConnectionError when the studio hung up."""
        frames, now = self.frames(), time.time()
        for _kind, body in frames:
            if found := self.shown.search(body):
                self._show(int(found[1]), now)

    def _show(self, number: int, now: float) -> None:
        for each in range(self.newest + 1, number + 1):
            self.seen[each] = now
        self.newest = max(self.newest, number)


def watch(walls: list[Wall], until: int, patience: float) -> None:
    """Read until each wall shows the number `until`. Raises TimeoutError."""
    deadline, waiting = time.monotonic() + patience, set(walls)
    with selectors.DefaultSelector() as ready:
        for one in walls:
            ready.register(one.socket, selectors.EVENT_READ, one)
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} walls do not show {until}, but {[w.newest for w in waiting][:5]}.")
            for key, _events in ready.select(1.0):
                wall: Wall = key.data
                wall.read()
                if wall.newest >= until:
                    waiting.discard(wall)
