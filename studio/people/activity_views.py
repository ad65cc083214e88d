"""The page of the activity, its parts, and its export."""

import tempfile
from collections.abc import Iterator
from typing import IO, Any

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from studio import csvs
from studio.errors import NeedsRight
from studio.http import Streamed, StudioRequest, id_in, wants_partial
from studio.people.activity import (
    ActivityFilter,
    as_csv,
    as_json_lines,
    families,
    file_name,
    page_of,
    people_of,
    verdict_of,
)
from studio.people.models import User
from studio.people.permissions import Right, require

MOST_COUNTED = 100  # new entries; then the pill says "100 or more"
SUGGESTED = 200  # names offered while one types
IN_MEMORY = 8 * 1024 * 1024  # bytes of an export; a larger one is a file meanwhile
PIECE = 64 * 1024


@require_safe
def activity(request: StudioRequest) -> HttpResponse:
    """Show who changed what, newest first; `?part=chain` says whether it is whole, `?part=new` how much has come."""
    asked, part = _asked(request), request.GET.get("part")
    if part == "chain":
        return render(
            request, "people/_activity_chain.html", {"verdict": verdict_of(asked, request.workspace), "asked": asked}
        )
    if part == "new" and wants_partial(request):
        return render(request, "people/_activity_new.html", _new(request, asked))
    facts: dict[str, Any] = {"asked": asked, "page": page_of(asked, request.workspace), "fresh": 0}
    facts["newest"] = facts["page"].newest
    if wants_partial(request):
        return render(request, "people/_activity_table.html", facts)
    if part == "chain":
        facts["verdict"] = verdict_of(asked, request.workspace)
    facts["is_administrator"] = may_see_the_studio(request.user)
    facts |= {"nav": "activity", "families": families(), "names": people_of(request.workspace, SUGGESTED)}
    return render(request, "people/activity.html", facts)


def _asked(request: StudioRequest) -> ActivityFilter:
    """Return what is asked for, by who may. Raises NeedsRight."""
    require(request.user, Right.VIEW_ACTIVITY, request.workspace)
    asked = ActivityFilter.from_query(request.GET)
    if asked.of_studio and not may_see_the_studio(request.user):
        raise NeedsRight(
            _("Only an administrator of the studio sees what belongs to no workspace."),
            _("Look at the workspace’s own."),
        )
    return asked


def may_see_the_studio(user: User) -> bool:
    """Say whether `user` administers the studio, and came in person."""
    return user.is_superuser and user.scope is None


def _new(request: StudioRequest, asked: ActivityFilter) -> dict[str, Any]:
    known = id_in(request.GET.get("since", ""))
    fresh = asked.of(request.workspace).filter(pk__gt=known)[:MOST_COUNTED].count()
    return {"asked": asked, "fresh": fresh, "newest": known, "most": MOST_COUNTED}


@require_safe
def export_activity(request: StudioRequest) -> HttpResponseBase:
    """Hand out what the filter lets through, oldest first, with hashes: as CSV or as JSON lines (`format=jsonl`)."""
    asked = _asked(request)
    lines = request.GET.get("format") == "jsonl"
    # Read here, and sent from a file: what is sent is fetched by other threads, which should not each have a database.
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  the response closes it
    for piece in (as_json_lines if lines else as_csv)(asked, request.workspace):
        file.write(piece)
    size = file.tell()
    file.seek(0)
    response = Streamed(_pieces(file), content_type="application/x-ndjson" if lines else csvs.CONTENT_TYPE)
    response["Content-Length"] = str(size)
    response["Content-Disposition"] = (
        f'attachment; filename="{file_name(asked, request.workspace, "jsonl" if lines else "csv")}"'
    )
    response["Cache-Control"] = "private, no-store"
    return response


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece
