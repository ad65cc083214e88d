"""The queue, and what was used."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from compute.usage.reads import Line
from runs import queueing
from runs.detail_views import run_of
from runs.queue_listing import Entry, Queue, QueueFilter
from runs.usage_listing import ALL, MOST_DAYS, OWN, Row, UsageFilter, rows_of
from studio.api.kit import Asked, Listed, Text
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.permissions import Right, require

router = Router()


class Waits(Schema):
    place: int
    run_id: str
    display_name: str
    target: str
    submitted_by: str
    priority: int
    nodes: int
    waits_since: datetime
    reason: str
    may_start_at: datetime | None
    rests_on: str = Field(description="What the time of its start rests on.")
    held_by: list[str] = Field(description="The runs that hold what it waits for.")


class QueueAsked(Asked):
    target: Text = Field("", max_length=24)
    person: Text = Field("", max_length=150)


class Move(Asked):
    to: Literal["up", "down"]


class Priorities(Asked):
    runs: list[Text] = Field(min_length=1, max_length=500)
    priority: int = Field(ge=-1000, le=1000)


class Changed(Schema):
    changed: int


class SpanAsked(Asked):
    whose: Literal["mine", "all"] = "mine"
    since: date | None = Field(None, description="Without both, this month.")
    until: date | None = Field(None, description="This day, too.")


class UsageAsked(SpanAsked):
    by: Text = Field("target", max_length=20)


class Used(Schema):
    name: str
    node_hours: Decimal
    core_hours: Decimal
    usd: Decimal
    azure_usd: Decimal
    jobs: int


@router.get("/queue", response=Listed[Waits])
def list_queue(request: StudioRequest, asked: Query[QueueAsked]) -> dict[str, Any]:
    """Everything that waits, in order: why, who holds the capacity, and when it may start."""
    entries = Queue(request.workspace, request.user).entries(QueueFilter(asked.target, asked.person))
    return {"items": [_waits(entry) for entry in entries], "next": None}


def _waits(entry: Entry) -> dict[str, Any]:
    job = entry.job
    return {
        "place": entry.place,
        "run_id": entry.run.run_id,
        "display_name": entry.run.display_name,
        "target": job.target.name,
        "submitted_by": job.submitted_by.username if job.submitted_by else "",
        "priority": job.priority,
        "nodes": job.node_count,
        "waits_since": job.enqueued_at,
        "reason": entry.reason,
        "may_start_at": entry.start.at,
        "rests_on": entry.rests_on,
        "held_by": [run.run_id for run in entry.held_by],
    }


@router.post("/queue/{run_id}/move", response=Changed)
def move_in_queue(request: StudioRequest, run_id: str, asked: Move) -> dict[str, int]:
    """Let a run of yours change places with the one of yours before or behind it."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    queueing.move(run_of(request, run_id), up=asked.to == "up", by=request.user)
    return {"changed": 1}


@router.put("/queue/priorities", response=Changed)
def set_priorities(request: StudioRequest, asked: Priorities) -> dict[str, int]:
    """Give runs that wait a priority: the higher goes first."""
    require(request.user, Right.ORDER_QUEUE, request.workspace)
    return {"changed": queueing.set_priority(request.workspace, asked.runs, asked.priority, by=request.user)}


@router.get("/usage", response=Listed[Used])
def get_usage(request: StudioRequest, asked: Query[UsageAsked]) -> dict[str, Any]:
    """What was used, in hours and US dollars: yours, or with the right everybody's."""
    ways = ALL if asked.whose == "all" else OWN
    rows = used_by(request, asked, asked.by if asked.by in ways else "")
    return {"items": [{"name": row.name} | hours(row.line) for row in rows], "next": None}


def used_by(request: StudioRequest, asked: SpanAsked, by: str) -> list[Row]:
    """Return a line for each of what is counted `by`. Raises NeedsRight, NotValid."""
    everybody = asked.whose == "all"
    if everybody:
        require(request.user, Right.VIEW_USAGE, request.workspace)
    if not by:
        raise NotValid([("by", _("It is one of %(names)s.") % {"names": ", ".join(ALL if everybody else OWN)})])
    return rows_of(UsageFilter(everybody, by, "own", *_span(asked)), request.workspace, request.user)


def hours(line: Line) -> dict[str, Any]:
    """Return what a line counts, as Used says it."""
    return {name: getattr(line, name) for name in ("node_hours", "core_hours", "usd", "azure_usd", "jobs")}


def _span(asked: SpanAsked) -> tuple[date, date]:
    """Return the first day, and the first one after. Raises NotValid."""
    today = timezone.now().date()
    since, until = asked.since or today.replace(day=1), asked.until or today
    if not 2000 <= since.year <= until.year <= 2200 or not since <= until < since + timedelta(days=MOST_DAYS):
        raise NotValid([("since", _("It is up to %(n)d days, the first before the last.") % {"n": MOST_DAYS})])
    return since, until + timedelta(days=1)
