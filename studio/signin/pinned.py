"""A session of requests for addresses that others chose: bounded, led nowhere else, and connected as checked.

Import it where it is used: it brings requests along.
"""

import os
import socket
import time
from typing import Any

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

    inside = False

    def _new_conn(self) -> socket.socket:
        places = addresses.places_of(self.host.strip("[]"), self.port or 0, inside=self.inside)
        if not isinstance(self, HTTPSConnection) and not all(addresses.is_inside(one.address) for one in places):
            raise NotAllowedNow(
                _("Plain HTTP would show everybody on the way who signs in."),
                _("Use an address that begins with https://."),
            )
        return addresses.connect(places[:MOST_PLACES], CONNECT)


class PinnedTls(Pinned, HTTPSConnection):
    """The same over TLS: the certificate must be that of the name, whatever address it stands for."""


class PinnedInside(Pinned):
    inside = True


class PinnedTlsInside(PinnedTls):
    inside = True


class Plain(HTTPConnectionPool):
    ConnectionCls = Pinned


class Tls(HTTPSConnectionPool):
    ConnectionCls = PinnedTls


class PlainInside(HTTPConnectionPool):
    ConnectionCls = PinnedInside


class TlsInside(HTTPSConnectionPool):
    ConnectionCls = PinnedTlsInside


class Adapter(HTTPAdapter):
    """Takes the pinned connections."""

    def __init__(self, inside: bool) -> None:
        self.inside = inside
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        pools = (PlainInside, TlsInside) if self.inside else (Plain, Tls)
        self.poolmanager.pool_classes_by_scheme = dict(zip(("http", "https"), pools, strict=True))


class Session(requests.Session):
    """Asks once, follows no redirect, takes no proxy and no netrc of the environment, and reads so much and no more."""

    def __init__(self, *, inside: bool = False) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        self.mount("https://", Adapter(inside))
        self.mount("http://", Adapter(inside))

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Raises RequestException, TargetUnreachable, NotAllowedNow."""
        until = time.monotonic() + WHOLE
        options |= {"allow_redirects": False, "timeout": (CONNECT, READ), "stream": True}
        response = super().request(method, url, *args, **options)
        body = b""
        for piece in response.iter_content(16 * 1024):
            body += piece
            if len(body) > MOST_READ or time.monotonic() > until:
                response.close()
                raise requests.RequestException("The answer is too long, or too slow.")
        response._content = body
        return response
