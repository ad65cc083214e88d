"""Many viewers of one log in one thread: sockets that are read as fast as the bytes come."""

import json
import mmap
import selectors
import socket
import struct
import time
from pathlib import Path
from typing import Any

from studio.bench.sockets import BINARY, TEXT, Socket

ACKNOWLEDGE = 1024 * 1024  # bytes after which a viewer says how far it has come
PATIENCE = 60.0  # seconds


class Viewer(Socket):
    """One open log. It compares what comes with the file at once, and keeps nothing."""

    def __init__(self, url: str, cookie: tuple[str, str], run_id: str, after: int | None = None) -> None:
        asks = "" if after is None else f"&after={after}"
        super().__init__(url, f"/ws/w/default/runs/{run_id}/log/?stream=1/std_log.txt{asks}", PATIENCE, cookie)
        self.at = 0 if after is None else after
        self.wrong = ""
        self.told: dict[str, Any] = {}
        self._said = self.at

    def read(self) -> bytes:
        """Return what came of the log, maybe nothing; raises ConnectionError when the studio hung up."""
        found = []
        for kind, body in self.frames():
            if kind == BINARY:
                found.append(body)
            elif kind == TEXT:
                said = json.loads(body)
                self.told |= said
                if "from" in said and said["from"] != self.at:
                    self.wrong = f"from {said['from']} instead of {self.at}"
        whole = b"".join(found)
        self.at += len(whole)
        if self.at - self._said >= ACKNOWLEDGE:
            self._said = self.at
            self.say(TEXT, json.dumps({"at": self.at}).encode())
        return whole

    def cut(self) -> None:
        """Leave without a word, as a network does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def until_delivered(viewers: list[Viewer], file: Path, size: int, patience: float = PATIENCE) -> float:
    """Read until each viewer has `size` bytes, the same as the file's; return when the last one had (monotonic)."""
    deadline = time.monotonic() + patience
    waiting = set(viewers)
    with selectors.DefaultSelector() as ready:
        for one in viewers:
            ready.register(one.socket, selectors.EVENT_READ, one)
        known: mmap.mmap | None = None
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} viewers have {[v.at for v in waiting][:5]} of {size} bytes.")
            for key, _events in ready.select(1.0):
                viewer: Viewer = key.data
                start = viewer.at
                data = viewer.read()
                if not data:
                    continue
                if known is None or len(known) < viewer.at:
                    with file.open("rb") as opened:
                        known = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
                if known[start : viewer.at] != data:
                    viewer.wrong = f"other bytes from {start}"
                if viewer.wrong:
                    raise RuntimeError(f"A viewer got something else: {viewer.wrong}.")
                if viewer.at >= size:
                    waiting.discard(viewer)
                    ready.unregister(viewer.socket)
    return time.monotonic()
