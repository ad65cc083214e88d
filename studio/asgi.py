"""The door for pages and websockets."""

import asyncio
import logging
import os
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import WebsocketDenier
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
pages = get_asgi_application()  # first: it sets Django up

from django.conf import settings  # noqa: E402
from django.http.request import split_domain_port, validate_host  # noqa: E402

import studio.celery  # noqa: E402, F401  tasks are queued there, not at the queue's own default
from studio.bodies import LimitedBodies  # noqa: E402
from studio.logs import without_tokens  # noqa: E402
from studio.people.models import ApiToken, hash_of  # noqa: E402
from studio.sockets import sockets  # noqa: E402

logger = logging.getLogger(__name__)


class InTurn:
    """Answer the parts of pages that ask anew one behind the other, first come, first served.

    A nudge has every open page ask at once. Threads side by side would all be late, and the last later than in turn;
    whoever has waited for `patience` seconds goes ahead, so that a slow answer holds nobody up for long.
    """

    patience = 2.0

    def __init__(self, application: Any) -> None:
        self.application = application
        self.turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "GET" or not any(name == b"hx-request" for name, _value in scope["headers"]):
            await self.application(scope, receive, send)
            return
        turn = self.turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        try:
            await asyncio.wait_for(turn.acquire(), self.patience)
        except TimeoutError:
            await self.application(scope, receive, send)
            return
        try:
            await self.application(scope, receive, send)
        finally:
            turn.release()


class FromOurPages:
    """Let only pages of this studio open a socket: a foreign one would bring its reader's cookies along."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"origin", b"host")}
        origin, host = headers.get(b"origin", ""), headers.get(b"host", "")
        if is_ours(origin, host):
            await self.application(scope, receive, send)
            return
        logger.warning("Denied: the socket %s to a page of %r.", without_tokens(scope["path"]), origin[:200])
        denier: Any = WebsocketDenier()
        await denier(scope, receive, send)


class ByToken:
    """Let a program open a socket with an API token: it has no page, no cookies, and what the token allows."""

    def __init__(self, of_pages: Any, of_programs: Any) -> None:
        self.of_pages, self.of_programs = of_pages, of_programs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        shown = dict(scope["headers"]).get(b"authorization")
        if shown is None:
            await self.of_pages(scope, receive, send)
            return
        scheme, _space, word = shown.decode("latin-1").partition(" ")
        find = database_sync_to_async(ApiToken.person_of, thread_sensitive=False)
        person = await find(word.strip()) if scheme.lower() == "bearer" else None
        if person is None:
            logger.warning("Denied: the socket %s to a token that does not work.", without_tokens(scope["path"]))
            denier: Any = WebsocketDenier()
            await denier(scope, receive, send)
            return
        known = {"user": person, "session": None, "token_sha256": hash_of(word.strip())}
        await self.of_programs({**scope, **known}, receive, send)


def is_ours(origin: str, host: str) -> bool:
    """Say whether a page of `origin` may open a socket to `host`: the same name and port, or one the settings trust."""
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    if page.scheme not in {"http", "https"} or not page.netloc:
        return False
    if page.netloc == urlsplit(settings.PUBLIC_URL).netloc or origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    return page.netloc.lower() == host.lower() and validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)


opened = URLRouter(sockets)
application = ProtocolTypeRouter(
    {
        "http": InTurn(LimitedBodies(pages)),
        "websocket": ByToken(FromOurPages(AuthMiddlewareStack(opened)), opened),
    }
)
