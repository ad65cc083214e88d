"""Many viewers of one log in one thread: sockets that are read as fast as the bytes come.

A WebSocket client of the smallest kind, as a library would be what is measured. Source: RFC 6455.
"""

import base64
import json
import mmap
import os
import selectors
import socket
import struct
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
ACKNOWLEDGE = 1024 * 1024  # bytes after which a viewer says how far it has come
AT_ONCE = 1024 * 1024
PATIENCE = 60.0  # seconds


class Viewer:
    """One open log. It compares what comes with the file at once, and keeps nothing."""

    def __init__(self, url: str, cookie: tuple[str, str], run_id: str, after: int | None = None) -> None:
        where = urlsplit(url)
        self.socket = socket.create_connection((where.hostname or "", where.port or 80), timeout=PATIENCE)
        self.at = 0 if after is None else after
        self.wrong = ""
        self.told: dict[str, Any] = {}
        self._said, self._data = self.at, bytearray()
        asks = "" if after is None else f"&after={after}"
        secret = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws/w/default/runs/{run_id}/log/?stream=1/std_log.txt{asks} HTTP/1.1\r\nHost: {where.netloc}\r\n"
            f"Origin: {url}\r\nCookie: {cookie[0]}={cookie[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {secret}\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            answer += piece
            if not piece:
                break
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise RuntimeError(f"The socket was refused: {answer[:100]!r}")

    def read(self) -> bytes:
        """Return what came of the log, maybe nothing; raises ConnectionError when the studio hung up."""
        piece = self.socket.recv(AT_ONCE)
        if not piece:
            raise ConnectionResetError(f"The studio hung up after {self.at:,} bytes.")
        self._data += piece
        found, at, data = [], 0, self._data
        while len(data) - at >= 2:
            size, header = data[at + 1], 2
            if size > 125:
                header = 4 if size == 126 else 10
                if len(data) - at < header:
                    break
                size = struct.unpack_from(">H" if header == 4 else ">Q", data, at + 2)[0]
            if len(data) - at < header + size:
                break
            kind, body = data[at] & 15, data[at + header : at + header + size]
            at += header + size
            if kind == BINARY:
                found.append(body)
            elif kind == TEXT:
                said = json.loads(body)
                self.told |= said
                if "from" in said and said["from"] != self.at:
                    self.wrong = f"from {said['from']} instead of {self.at}"
            elif kind == CLOSE:
                raise ConnectionResetError(f"The studio hung up after {self.at:,} bytes: {bytes(body)!r}")
            elif kind == PING:
                self._say(PONG, bytes(body))
        del data[:at]
        whole = b"".join(found)
        self.at += len(whole)
        if self.at - self._said >= ACKNOWLEDGE:
            self._said = self.at
            self._say(TEXT, json.dumps({"at": self.at}).encode())
        return whole

    def _say(self, kind: int, body: bytes) -> None:
        self.socket.sendall(bytes((0x80 | kind, 0x80 | len(body))) + bytes(4) + body)  # masked, with zeros

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
