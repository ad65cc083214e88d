"""The request as the middleware leaves it, typed; the one question every view asks of it; an answer in pieces."""

import asyncio
from collections.abc import AsyncIterator
from copy import copy
from typing import TYPE_CHECKING

from django.http import HttpRequest, QueryDict, StreamingHttpResponse
from django.urls import resolve
from django_htmx.middleware import HtmxDetails

if TYPE_CHECKING:
    from studio.people.models import Membership, User, Workspace


class StudioRequest(HttpRequest):
    """A signed-in request. `workspace` and `membership` are set where the URL names a workspace."""

    htmx: HtmxDetails
    user: "User"
    workspace: "Workspace"
    membership: "Membership"
    pulse: int  # of the workspace's nudges when the page began to be made; not on parts


def wants_partial(request: StudioRequest) -> bool:
    """Say whether htmx asks for a part of the page; boosted links and the Back button get the whole."""
    return bool(request.htmx) and not request.htmx.boosted and not request.htmx.history_restore_request


def for_content(request: StudioRequest, path: str) -> StudioRequest:
    """Return the request by which a script would ask for the content of another page of the workspace.

    An answer that brings that content along saves the script from asking, see static/js/go.js.
    """
    asked = copy(request)
    for name in ("headers", "accepted_types"):  # they are cached
        vars(asked).pop(name, None)
    asked.META = {**request.META, "HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "main"}
    asked.method, asked.path, asked.path_info = "GET", path, path
    asked.GET, asked.POST = QueryDict(), QueryDict()
    asked.resolver_match = resolve(path)
    asked.htmx = HtmxDetails(asked)
    return asked


def id_in(text: str) -> int:
    """Return the id that a field or a query names; 0, which no row has, for whatever is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


MOST_WORDS = 8


def words_in(text: str) -> list[str]:
    """Return the words that are looked for, each once; of very many the first: every row is held against each."""
    return list(dict.fromkeys(text.split()))[:MOST_WORDS]


class Streamed(StreamingHttpResponse):
    """A response that is read piece by piece by either kind of server.

    Django reads a synchronous iterator to its end before an asynchronous server sends the first byte:
    a download of 10 GB would lie in memory.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = iter(self.streaming_content)  # type: ignore[arg-type]
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
