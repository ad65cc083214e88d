"""One POST to an address that somebody else chose: signed, bounded in time and size, and never led elsewhere.

Whoever is at the address may mean no good: it may answer without end or byte by byte, name an internal address, or
answer otherwise the second time it is resolved. So the name is resolved once, checked, and connected to as checked.
"""

import base64
import contextlib
import hmac
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import certifi
from django.utils import translation
from django.utils.translation import gettext_noop
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from studio import addresses
from studio.errors import NotAllowedNow, StudioError
from studio.people.models import Allowance, Workspace

CONNECT, READ, WHOLE = 5.0, 10.0, 15.0  # seconds: for each address, for each piece of an answer, and for all of it
MOST_PLACES = 3
MOST_READ = 4096  # bytes of an answer
MOST_SAID = 300  # characters of it
SHORTEST_SECRET = 6  # characters; what is shorter tells nothing of an address
AGENT = "Compute-Studio"


@dataclass(frozen=True)
class Answer:
    """What became of one POST. `problem` is empty when it was taken; `words` are the receiver's own."""

    code: int | None = None
    problem: str = ""
    words: str = ""
    took_ms: int = 0
    retry_after: float | None = None  # seconds, as the receiver wishes

    @property
    def is_about_message(self) -> bool:
        """Say whether it is this message that was refused; else whoever is at the address, which others meet too."""
        return self.code in {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 422}


class BadAddress(ValueError):
    """It is no address that one can post to."""


def parse(url: str) -> Url:
    """Return an address in its parts. Raises BadAddress."""
    try:
        parts = parse_url(url)
    except LocationParseError as exc:
        raise BadAddress from exc
    if parts.scheme not in {"http", "https"} or not parts.host or parts.auth or not parts.host.isascii():
        raise BadAddress
    return parts._replace(fragment=None)


def places_of(workspace: Workspace, url: Url) -> list[addresses.Place]:
    """Return where `url` may be reached; plain HTTP only inside, where an Owner allowed it. Raises StudioError."""
    port = url.port or (443 if url.scheme == "https" else 80)
    found = addresses.places_of(
        (url.host or "").strip("[]"),
        port,
        inside=workspace.allows(Allowance.THIS_MACHINE),
        internal=workspace.allows(Allowance.INTERNAL_WEBHOOKS),
    )
    if url.scheme == "http" and not all(addresses.is_internal(place.address) for place in found):
        raise NotAllowedNow(
            translation.gettext("Plain HTTP would show everybody on the way what is sent."),
            translation.gettext("Use an address that begins with https://."),
        )
    return found[:MOST_PLACES]


def post(workspace: Workspace, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send `body`, and return what it came to; nothing is raised for what the other side does."""
    began = time.monotonic()
    try:
        url = parse(address)
        with translation.override("en"):
            places = places_of(workspace, url)
    except StudioError as exc:
        return Answer(problem=f"{exc.message} {exc.hint}".strip())
    except BadAddress:
        return Answer(problem=gettext_noop("This is no address that one can send to."))
    code, problem, words, wait = _exchange(url, places, body, headers)
    took = round((time.monotonic() - began) * 1000)
    return Answer(code, problem, scrubbed(words, address), took, wait)


def _exchange(
    url: Url, places: list[addresses.Place], body: bytes, headers: Mapping[str, str]
) -> tuple[int | None, str, str, float | None]:
    connection = _connection(url, places)
    try:
        connection.request("POST", url.request_uri, body, {**headers, "user-agent": AGENT}, preload_content=False)
        answer: Any = connection.getresponse()
        if connection.was_cut:  # the end of a cut stream looks like the end of its headers
            raise TimeoutError
        words = ""
        with contextlib.suppress(OSError, HTTPError):
            words = answer.read1(MOST_READ, decode_content=False).decode("utf-8", "replace")
        return answer.status, problem_of(answer.status), words, seconds_of(answer.headers.get("retry-after", ""))
    except (OSError, HTTPError, ValueError) as exc:
        return None, connection.why(exc), "", None
    finally:
        connection.end()


class _Pinned(HTTPConnection):
    """Connects to the places that were checked, and is cut when it takes too long."""

    places: list[addresses.Place]
    lifeline: socket.socket | None = None
    was_cut = False

    def _new_conn(self) -> socket.socket:
        taken = addresses.connect(self.places, CONNECT)
        self.lifeline = taken.dup()  # TLS takes the socket over; what is shut here is shut for it, too
        self.clock = threading.Timer(WHOLE, self.cut)
        self.clock.daemon = True
        self.clock.start()
        return taken

    def cut(self) -> None:
        self.was_cut = True
        if self.lifeline is not None:
            with contextlib.suppress(OSError):
                self.lifeline.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.close()
        if self.lifeline is not None:
            self.clock.cancel()
            self.lifeline.close()

    def why(self, exc: Exception) -> str:
        """Return in one sentence what went wrong. What libraries say holds the address, and is not told."""
        if self.was_cut or isinstance(exc, TimeoutError) or "timed out" in str(exc):
            return gettext_noop("It does not answer in time.")
        if isinstance(exc, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(exc):
            return gettext_noop("Its certificate is not one that this studio trusts.")
        if isinstance(exc, ssl.SSLError) or "SSL" in str(exc):
            return gettext_noop("It does not speak TLS as it should.")
        if self.lifeline is None:
            return gettext_noop("It takes no connection.")
        return gettext_noop("It cut the connection, or answered with what is no HTTP.")


class _PinnedTls(_Pinned, HTTPSConnection):
    """The same over TLS: the certificate must be that of the name, whatever address it stands for."""


def _connection(url: Url, places: list[addresses.Place]) -> _Pinned:
    host = url.host or ""
    connection: _Pinned
    if url.scheme == "https":
        connection = _PinnedTls(host, url.port or 443, timeout=READ, ssl_context=_trust())
    else:
        connection = _Pinned(host, url.port or 80, timeout=READ)
    connection.places = places
    return connection


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """Return whom to trust: the authorities everybody trusts, or those of one's own."""
    return ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())


def problem_of(code: int) -> str:
    """Return in one sentence what an answer's code says is wrong; empty: it was taken."""
    if 200 <= code < 300:
        return ""
    try:
        name = f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        name = str(code)
    if code < 400:
        return gettext_noop("It answers %(code)s: it leads elsewhere, where nothing is sent.") % {"code": name}
    return gettext_noop("It answers %(code)s.") % {"code": name}


def seconds_of(retry_after: str) -> float | None:
    """Return how many seconds from now a header "Retry-After" means: a number of them, or a date."""
    text = retry_after.strip()[:40]
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def scrubbed(text: str, address: str) -> str:
    """Return an answer as one line, short, without what it repeats of the address it was sent to."""
    url = parse(address)
    path, query = url.path or "", url.query or ""
    secrets = {address, url.request_uri, path, query, *path.split("/")}
    secrets |= {value for pair in query.split("&") for value in (pair, pair.partition("=")[2])}
    secrets |= {unquote(secret) for secret in secrets}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_SAID]


def new_signing_secret() -> str:
    """Return a secret as the specification writes it: "whsec_" and 32 random bytes in base64."""
    return f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return what a receiver compares with its own. Source: the Standard Webhooks specification 1.0.0, HMAC-SHA256."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"
