"""Who is told: a web server that takes webhooks, and a mail server, both real, on loopback."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from tests.integration.team import free_port


@dataclass
class Post:
    """What a webhook sent, as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Verify it as the specification tells receivers to."""
        stamp = self.headers["webhook-timestamp"]
        assert abs(time.time() - int(stamp)) < 300
        key = base64.b64decode(secret.split("_", 1)[1])
        signed = b".".join([self.id.encode(), stamp.encode(), self.body])
        mine = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        theirs = [one.split(",", 1) for one in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(mac, mine) for version, mac in theirs)


Answering = Callable[[BaseHTTPRequestHandler], None]


def answers(code: int, body: bytes = b"ok", **headers: str) -> Answering:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class Receiver:
    """A web server that answers as told: with what stands first in `next`, then as `always`."""

    always: Answering = field(default_factory=lambda: answers(200))
    next: list[Answering] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        names = {name.lower(): value for name, value in handler.headers.items()}
        self.posts.append(Post(handler.path, names, body))
        self.came.set()
        (self.next.pop(0) if self.next else self.always)(handler)

    def hangs(self, handler: BaseHTTPRequestHandler) -> None:
        self.over.wait(60)

    def never_ends(self, handler: BaseHTTPRequestHandler) -> None:
        """Send header after header, each in good time."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.over.wait(0.05):
            handler.wfile.write(b"x-more: and more\r\n")
            handler.wfile.flush()

    def speaks_without_end(self, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.over.is_set():
            handler.wfile.write(b"more " * 10_000)


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                told.take(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    told.url = f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}/hook/very-secret-token"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield told
    told.over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


class _Kept(Message):
    def __init__(self, kept: list[EmailMessage]) -> None:
        super().__init__()
        self.kept = kept

    def prepare_message(self, session: Any, envelope: Any) -> Any:
        return BytesParser(policy=policy.default).parsebytes(envelope.content)

    def handle_message(self, message: Any) -> None:
        self.kept.append(message)


@contextmanager
def mail_server() -> Iterator[tuple[int, list[EmailMessage]]]:
    """Give the port of a mail server, and the mails it took."""
    kept: list[EmailMessage] = []
    port = free_port()
    server = Controller(_Kept(kept), hostname="127.0.0.1", port=port)
    server.start()
    yield port, kept
    server.stop()
