"""How much one request may send: looked at before it is kept, for Django keeps a body whole before any view sees it."""

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.defaults import bad_request as plain_bad_request

from studio.errors import StudioError, TooLarge
from studio.problems import KIND, document, is_for_programs, problem, too_large

FRAMES_OF_FILES = 64 * 1024 * 1024  # bytes of a multipart form around its files
ELSEWHERE = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1024 * 1024
READ_AWAY = 64 * 1024 * 1024  # bytes: a browser reads the answer when it has sent all, and sees a cut otherwise
TEXT = b"The request is larger than the studio takes here.\n"


def most_of(path: str) -> int:
    """Return how many bytes a request to `path` may send: files come with the submit form and as snapshots."""
    takes_files = path.endswith("/submit/") or (is_for_programs(path) and path.endswith("/snapshots"))
    return settings.SNAPSHOT_MAX_BYTES + FRAMES_OF_FILES if takes_files else ELSEWHERE


class LimitedBodies:
    """Refuse a body that is too large: by what it says of itself, and by what comes when it says nothing."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        most, came, answered = most_of(scope["path"]), 0, False

        async def counted() -> Any:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message if came <= most else {"type": "http.disconnect"}  # Django lets go of what it has

        async def answer(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) <= most:
            await self.application(scope, counted, answer)
            if answered or came <= most:
                return
        await _refuse(scope["path"], receive, send)


async def _refuse(path: str, receive: Any, send: Any) -> None:
    came, more = 0, True
    while more and came < READ_AWAY:
        message = await receive()
        came += len(message.get("body", b""))
        more = message.get("more_body", False)
    kind, text = b"text/plain; charset=utf-8", TEXT
    if is_for_programs(path):
        kind, text = KIND.encode(), json.dumps(document(too_large(), path)).encode()
    headers = [(b"content-type", kind), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say what was too much about a form; whatever else is bad about a request is answered without words."""
    error = None
    if isinstance(exception, TooManyFilesSent):
        error = TooLarge(
            _("The form brings more than %(n)d files.") % {"n": settings.DATA_UPLOAD_MAX_NUMBER_FILES},
            _("Choose the folder that holds the script and what it reads, or send a zip."),
        )
    elif isinstance(exception, (RequestDataTooBig, TooManyFieldsSent)):
        error = TooLarge(_("The form is too large."), _("Send long texts as files."))
    if is_for_programs(request.path):
        return problem(request, error or StudioError(_("The request cannot be read.")))
    if error is None:
        return plain_bad_request(request, exception)
    return render(request, "error.html", {"error": error}, status=error.status)
