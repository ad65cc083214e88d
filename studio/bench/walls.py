"""Many open walls in one thread: sockets by a link, each read for the newest number it shows.

A WebSocket client of the smallest kind, as a library would be what is measured. Source: RFC 6455.
"""

import base64
import os
import re
import selectors
import socket
import struct
import time
from urllib.parse import urlsplit

PING, PONG, CLOSE = 9, 10, 8
AT_ONCE = 1024 * 1024
PATIENCE = 30.0  # seconds


class Wall:
    """One wall. It knows when it first showed each number that `shown` finds, or a later one."""

    def __init__(self, url: str, path: str, shown: re.Pattern[bytes]) -> None:
        where = urlsplit(url)
        self.shown, self.newest, self.seen = shown, -1, dict[int, float]()
        self._data = bytearray()
        self.socket = socket.create_connection((where.hostname or "", where.port or 80), timeout=PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: {url}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            if not piece:
                break
            answer += piece
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise RuntimeError(f"The socket was refused: {answer[:100]!r}")

    def read(self) -> None:
        """Take what came. Raises ConnectionError when the studio hung up."""
        piece = self.socket.recv(AT_ONCE)
        if not piece:
            raise ConnectionResetError("The studio hung up on a wall.")
        self._data += piece
        now, at, data = time.time(), 0, self._data
        while len(data) - at >= 2:
            size, header = data[at + 1], 2
            if size > 125:
                header = 4 if size == 126 else 10
                if len(data) - at < header:
                    break
                size = struct.unpack_from(">H" if header == 4 else ">Q", data, at + 2)[0]
            if len(data) - at < header + size:
                break
            kind, body = data[at] & 15, bytes(data[at + header : at + header + size])
            at += header + size
            if kind == PING:
                self.socket.sendall(bytes((0x80 | PONG, 0x80 | len(body))) + bytes(4) + body)
            elif kind == CLOSE:
                raise ConnectionResetError("The studio hung up on a wall.")
            elif found := self.shown.search(body):
                self._show(int(found[1]), now)
        del data[:at]

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
