"""A run's log as a file: whole, or a range of its bytes."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from compute import logs
from runs.models import Run
from runs.streams import stream_of
from studio.errors import NotThere
from studio.http import StudioRequest
from studio.people.permissions import Right, require

_RANGE = re.compile(r"\Abytes=(\d{0,15})-(\d{0,15})\Z")


@require_safe
def download_log(request: StudioRequest, run_id: str, stream: str) -> HttpResponseBase:
    """Send the bytes of a log as they were written; `?download=1` saves them under a name that says whose they are.

    One HTTP range is understood. A log that still grows is sent as long as it is now.
    """
    require(request.user, Right.VIEW, request.workspace)
    run = get_object_or_404(Run.objects.for_user(request.user), workspace=request.workspace, run_id=run_id)
    found = stream_of(run, stream)
    if found is None:
        raise NotThere
    size = logs.size(found.key) if found.key else 0
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{size:x}"',  # a log only grows: its size says which state of it this is
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if "download" in request.GET:
        headers["Content-Disposition"] = f'attachment; filename="{_file_name(run, stream)}"'
    wanted = _wanted(request, size, headers["ETag"])
    if wanted is None:
        return HttpResponse(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    if request.headers.get("If-None-Match") == headers["ETag"] and len(wanted) == size:
        return HttpResponse(status=304, headers=headers)
    partial = "Range" in request.headers and len(wanted) < size
    if partial:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    headers["Content-Length"] = str(len(wanted))
    options: dict[str, Any] = {
        "status": 206 if partial else 200,
        "headers": headers,
        "content_type": "text/plain; charset=utf-8",
    }
    if request.method == "HEAD":
        return HttpResponse(**options)
    pieces = _pieces_async if isinstance(request, ASGIRequest) else _pieces
    return StreamingHttpResponse(pieces(found.key, wanted), **options)


def _wanted(request: StudioRequest, size: int, etag: str) -> range | None:
    """Return the bytes asked for; None when the log does not reach that far. What is no single range asks for all."""
    match = _RANGE.match(request.headers.get("Range", ""))
    if match is None or match[0] == "bytes=-" or request.headers.get("If-Range", etag) != etag:
        return range(size)
    first, last = match[1], match[2]
    if not first:
        return range(max(0, size - int(last)), size) if int(last) and size else None
    stop = min(size, int(last) + 1) if last else size
    return range(int(first), stop) if int(first) < stop else None


def _pieces(key: str, wanted: range) -> Iterator[bytes]:
    at = wanted.start
    while at < wanted.stop and (piece := logs.read(key, at, min(logs.PIECE, wanted.stop - at))):
        at += len(piece)
        yield piece


async def _pieces_async(key: str, wanted: range) -> AsyncIterator[bytes]:
    read, at = sync_to_async(logs.read, thread_sensitive=False), wanted.start
    while at < wanted.stop and (piece := await read(key, at, min(logs.PIECE, wanted.stop - at))):
        at += len(piece)
        yield piece


def _file_name(run: Run, stream: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", run.display_name)[:80]
    return f"{safe}-{stream.replace('/', '-')}"
