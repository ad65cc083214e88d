"""Connections of requests, on which Azure's and Databricks' libraries stand, to where a name was checked to lead.

Those libraries resolve a name anew for each connection. Here it is checked each time, and connected to as checked.
Import it where it is used: it brings requests along.
"""

import socket
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from studio import addresses

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport

CONNECT = 5.0  # seconds, for each address


class _Checked(HTTPConnection):
    inside: ClassVar[bool]

    def _new_conn(self) -> socket.socket:
        """Connect to what the name stands for now. Raises NotAllowedNow, TargetUnreachable."""
        places = addresses.places_of(self.host.strip("[]"), self.port or 443, inside=self.inside)
        try:
            return addresses.connect(places, CONNECT)
        except OSError as exc:  # in urllib3's words, which the libraries know
            raise NewConnectionError(self, str(exc)) from exc


class _CheckedTls(_Checked, HTTPSConnection):
    """The same over TLS: the certificate must be that of the name, whatever address it stands for."""


class _Adapter(HTTPAdapter):
    def __init__(self, *, inside: bool) -> None:
        self.facts = {"inside": inside}
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        plain, tls = type("Plain", (_Checked,), self.facts), type("Tls", (_CheckedTls,), self.facts)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


def pin(session: requests.Session, *, inside: bool) -> requests.Session:
    """Have a session connect as checked, `inside` also to this machine, as an Owner allowed. Proxies stay."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(inside=inside))
    return session


def transport(*, inside: bool, **limits: Any) -> "RequestsTransport":
    """Return what Azure's clients take as their `transport`; each needs one of its own. `limits`: as they take them."""
    from azure.core.pipeline.transport import RequestsTransport

    return RequestsTransport(session=pin(requests.Session(), inside=inside), **limits)
