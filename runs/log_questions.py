"""What a page asks about a log that is too large to be held whole: where a line or a moment is, and what is in it.

One address, one question at a time:

- ?line=5000, ?offset=1048576 or ?time=2026-11-22T14:32:00Z → {"line", "offset", "size"}: the line, and where it begins
- ?times&from=0&to=1048576 → {"times": [[seconds since 1970, bytes], …]}: what lies before that byte was written by then
- ?search=text, with &regex and &case, or ?errors; &from, &to and &most → JSON, one object a line, as it is found.
  See `compute.log_search`; the last may be {"stopped": true} instead: it took too long.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.http import HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from compute import log_index, log_search, logs
from runs.models import Run
from runs.streams import stream_of
from studio.errors import NotThere, StudioError
from studio.http import StudioRequest
from studio.people.permissions import Right, require

MOST = 100_000  # matches that are told one by one
AT_ONCE = 4  # searches of this process; others wait their turn
NEVER = 2**53
PROGRAM = os.fspath(Path(log_search.__file__).absolute())
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@require_safe
async def ask(request: StudioRequest, run_id: str, stream: str) -> HttpResponseBase:
    """Answer one question about a log."""
    key = await sync_to_async(_key_of)(request, run_id, stream)
    asked = request.GET
    if "search" in asked or "errors" in asked:
        command = _command(request)
        start = _number(request, "from", 0)
        lines = await asyncio.to_thread(log_index.lines_before, key, start) if start else 0
        answer = StreamingHttpResponse(_search(key, [*command, str(lines)]), content_type="application/x-ndjson")
        answer["Cache-Control"] = "no-store"
        answer["X-Accel-Buffering"] = "no"
        return answer
    if "times" in asked:
        stop = _number(request, "to", NEVER)
        return JsonResponse({"times": await asyncio.to_thread(log_index.marks, key, _number(request, "from", 0), stop)})
    return JsonResponse(await asyncio.to_thread(_place, request, key))


def _key_of(request: StudioRequest, run_id: str, stream: str) -> str:
    """Return the log's key, for those who may see it."""
    require(request.user, Right.VIEW, request.workspace)
    run = get_object_or_404(Run.objects.for_user(request.user), workspace=request.workspace, run_id=run_id)
    found = stream_of(run, stream)
    if found is None or not found.key:
        raise NotThere
    return found.key


def _place(request: StudioRequest, key: str) -> dict[str, int]:
    size = logs.size(key)
    if "line" in request.GET:
        line = _number(request, "line", 1)
        offset = log_index.start_of(key, line)
        if offset is None:
            line = log_index.lines_before(key, size - 1) + 1 if size else 1
            offset = log_index.start_of(key, line) or 0
        return {"line": line, "offset": offset, "size": size}
    if "time" in request.GET:
        offset = log_index.offset_at(key, _moment(request.GET["time"]))
    else:
        offset = _number(request, "offset", 0)
    line = log_index.lines_before(key, min(offset, max(0, size - 1))) + 1
    return {"line": line, "offset": log_index.start_of(key, line) or 0, "size": size}


def _command(request: StudioRequest) -> list[str]:
    asked = request.GET
    kind = "errors" if "errors" in asked else "regex" if "regex" in asked else "text"
    needle = asked.get("search", "").encode()
    if kind != "errors" and not 0 < len(needle) <= 1000:
        raise StudioError(_("Search for 1 to 1000 bytes."))
    if kind == "regex":
        try:
            re.compile(needle)
        except (re.error, OverflowError, RecursionError) as exc:
            raise StudioError(_("This is no regular expression: {error}.").format(error=exc)) from exc
    start, stop = _number(request, "from", 0), _number(request, "to", NEVER)
    most = min(MOST, _number(request, "most", MOST))
    return [kind, needle.hex(), "same" if "case" in asked else "any", str(start), str(stop), str(most)]


async def _search(key: str, arguments: list[str]) -> AsyncIterator[bytes]:
    """Pass on what the search says; a page that leaves ends it."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)):
        with await asyncio.to_thread(logs.opened, key) as file:
            child = await asyncio.create_subprocess_exec(
                *[sys.executable, "-I", "-S", PROGRAM, *arguments],
                stdin=file,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                limit=2**24,
            )
        try:
            while child.stdout and (line := await child.stdout.readline()):
                yield line
            if await child.wait():
                yield b'{"stopped": true}\n'
        finally:
            if child.returncode is None:
                child.kill()
                await asyncio.shield(child.wait())


def _number(request: StudioRequest, name: str, otherwise: int) -> int:
    text = request.GET.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 16):
        raise StudioError(_("“{text}” is no number.").format(text=text[:40]))
    return int(text) if text else otherwise


def _moment(text: str) -> float:
    """Return seconds since 1970; a moment without a zone is UTC's."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as exc:
        raise StudioError(_("“{text}” is no moment, such as 2026-11-22T14:32:00Z.").format(text=text[:40])) from exc
