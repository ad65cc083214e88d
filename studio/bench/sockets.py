"""A WebSocket client of the smallest kind, as a library would be what is measured. Source: RFC 6455."""

import base64
import os
import socket
import struct
from urllib.parse import urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
AT_ONCE = 1024 * 1024  # bytes


class Socket:
    """An open socket of the studio at `url`. `patience`: seconds for an answer."""

    def __init__(self, url: str, path: str, patience: float, cookie: tuple[str, str] | None = None) -> None:
        where = urlsplit(url)
        self.socket = socket.create_connection((where.hostname or "", where.port or 80), timeout=patience)
        self._data = bytearray()
        key = base64.b64encode(os.urandom(16)).decode()
        known = f"Cookie: {cookie[0]}={cookie[1]}\r\n" if cookie else ""
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: {url}\r\n{known}Upgrade: websocket\r\n"
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

    def frames(self) -> list[tuple[int, bytearray]]:
        """Return what came whole, as kinds and contents; pings are answered. Raises ConnectionError when it is over."""
        piece = self.socket.recv(AT_ONCE)
        if not piece:
            raise ConnectionResetError("The studio hung up.")
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
            if kind == PING:
                self.say(PONG, bytes(body))
            elif kind == CLOSE:
                raise ConnectionResetError(f"The studio hung up: {bytes(body)!r}")
            else:
                found.append((kind, body))
        del data[:at]
        return found

    def say(self, kind: int, body: bytes) -> None:
        self.socket.sendall(bytes((0x80 | kind, 0x80 | len(body))) + bytes(4) + body)  # masked, with zeros
