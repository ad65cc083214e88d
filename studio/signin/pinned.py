"""A session of requests for addresses that others chose: bounded, led nowhere else, and connected as checked.

Import it where it is used: it brings requests along.
"""

import contextlib
import os
import socket
import threading
from typing import Any, ClassVar

import requests
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from studio import addresses
from studio.errors import NotAllowedNow

CONNECT, READ, WHOLE = 5.0, 8.0, 12.0  # seconds: for each address, for each piece of an answer, for all of it
MOST_PLACES = 2
MOST_READ = 512 * 1024  # bytes of an answer


class Pinned(HTTPConnection):
    """Connects to what the name stands for, if that is allowed."""

    inside: ClassVar[bool]
    lifelines: ClassVar[list[socket.socket]]  # of its session, which cuts what takes too long

    def _new_conn(self) -> socket.socket:
        try:
            places = addresses.places_of(self.host.strip("[]"), self.port or 0, inside=self.inside)
        except NotAllowedNow as exc:
            hint = _("An administrator of the studio can allow that for this provider, under Sign-in.")
            raise NotAllowedNow(exc.message, hint) from exc
        if not isinstance(self, HTTPSConnection) and not all(addresses.is_inside(one.address) for one in places):
            raise NotAllowedNow(
                _("Plain HTTP would show everybody on the way who signs in."),
                _("Use an address that begins with https://."),
            )
        taken = addresses.connect(places[:MOST_PLACES], CONNECT)
        self.lifelines.append(taken.dup())  # TLS takes the socket over; what is shut here is shut for it, too
        return taken


class PinnedTls(Pinned, HTTPSConnection):
    """The same over TLS: the certificate must be that of the name, whatever address it stands for."""


class Adapter(HTTPAdapter):
    """Takes pinned connections, of one session."""

    def __init__(self, inside: bool, lifelines: list[socket.socket]) -> None:
        self.facts = {"inside": inside, "lifelines": lifelines}
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        plain, tls = type("Plain", (Pinned,), self.facts), type("Tls", (PinnedTls,), self.facts)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


class Session(requests.Session):
    """Asks once, follows no redirect, takes no proxy and no netrc of the environment, and reads so much and no more."""

    def __init__(self, *, inside: bool = False) -> None:
        super().__init__()
        self.lifelines: list[socket.socket] = []
        self.trust_env = False
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        for scheme in ("https://", "http://"):
            self.mount(scheme, Adapter(inside, self.lifelines))

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Raises RequestException, TargetUnreachable, NotAllowedNow."""
        clock = threading.Timer(WHOLE, self.cut)
        clock.daemon = True
        clock.start()
        options |= {"allow_redirects": False, "timeout": (CONNECT, READ), "stream": True}
        try:
            response = super().request(method, url, *args, **options)
            body = b""
            for piece in response.iter_content(16 * 1024):
                body += piece
                if len(body) > MOST_READ:
                    raise requests.RequestException("The answer is too long.")
        finally:
            clock.cancel()
        response._content = body
        return response

    def cut(self) -> None:
        """End what is going on: whoever answers byte by byte holds nobody up."""
        for lifeline in self.lifelines:
            with contextlib.suppress(OSError):
                lifeline.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        for lifeline in self.lifelines:
            lifeline.close()
