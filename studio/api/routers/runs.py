"""Runs: their list, one as a document, submitting, and what is done to them afterwards."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from runs import actions
from runs.detail_views import run_of
from runs.document import run_document
from runs.forms import LONGEST_DESCRIPTION, tags_of
from runs.listing import SORTS, RunFilter, part_of_runs
from runs.models import Run
from runs.states import RunStatus
from runs.streams import streams_of
from runs.timeline import spans
from studio.api.kit import FARTHEST, Asked, Listed, Paging, Tags, Text, listed, moment_of, once, place_in, sorts
from studio.api.submitting import NewRun, submit
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.permissions import Right, may, require
from studio.said import said

router = Router()


class RunRow(Schema):
    run_id: str
    display_name: str
    experiment: str
    number: int
    status: RunStatus
    reason: str
    hint: str
    target: str
    submitted_by: str
    tags: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    archived: bool


class RunDocument(Schema):
    """A run in the keys of the provider's `get_details()`."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel)

    run_id: str
    target: str
    status: RunStatus
    display_name: str
    experiment_name: str
    run_number: int
    created_time_utc: str
    start_time_utc: str | None = None
    end_time_utc: str | None = None
    submitted_by: str
    description: str
    tags: dict[str, str]
    properties: dict[str, Any]
    warnings: list[dict[str, Any]]
    error: dict[str, Any] | None = None
    run_definition: dict[str, Any]
    log_files: dict[str, str]


class RunsAsked(Paging):
    """The filters of the page."""

    q: Text = Field("", max_length=200, description="Words in name, id, experiment or description.")
    status: list[RunStatus] = Field([], description="Any of these.")
    experiment: Text = Field("", max_length=255)
    target: Text = Field("", max_length=24)
    tag: Text = Field("", max_length=300, description="“key” or “key=value”.")
    parent: Text = Field("", max_length=255, description="The children of this run.")
    mine: bool = False
    archived: bool = Field(False, description="The archived ones instead of the others.")
    sort: str = sorts(SORTS, "-created")


class RunChanges(Asked):
    """What is left away stays."""

    description: Text | None = Field(None, max_length=LONGEST_DESCRIPTION)
    tags: Tags | None = None
    archived: bool | None = None


class Event(Schema):
    at: datetime
    old: str
    new: str
    reason: str


class Phase(Schema):
    status: RunStatus
    since: datetime
    seconds: float | None = Field(description="null: it goes on.")


class Timeline(Schema):
    phases: list[Phase]
    events: list[Event]


@router.get("", response=Listed[RunRow])
def list_runs(request: StudioRequest, response: HttpResponse, asked: Query[RunsAsked]) -> dict[str, Any]:
    """Runs, as the page filters and sorts them."""
    wanted = RunFilter(
        text=asked.q.strip(),
        statuses=tuple(status.value for status in asked.status),
        experiment=asked.experiment.strip(),
        target=asked.target.strip(),
        tag=asked.tag.strip(),
        mine=asked.mine,
        archived=asked.archived,
        sort=asked.sort,
    )
    runs = wanted.of(request.workspace, request.user)
    if asked.parent:
        runs = runs.filter(parent__run_id=asked.parent)
    if asked.sort in {"created", "-created"}:
        rows, place = _by_time(wanted, runs, asked)
    else:
        newest = Run.objects.filter(workspace=request.workspace).order_by("-pk").values_list("pk", flat=True).first()
        start, until = place_in(asked.cursor, int, int) or (0, newest or 0)
        start = min(start, FARTHEST)
        rows, more = part_of_runs(wanted, runs.filter(pk__lte=until), start, asked.limit)
        place = [start + asked.limit, until] if more and start + asked.limit < FARTHEST else []
    return listed(request, response, [_row(run) for run in rows], *place)


def _by_time(wanted: RunFilter, runs: "QuerySet[Run]", asked: RunsAsked) -> tuple[list[Run], list[Any]]:
    """Return a part of the list as it is sorted usually, and the key of its last row, by which the next is found."""
    if (after := place_in(asked.cursor, str, int)) is not None:
        at, pk = moment_of(after[0]), after[1]
        side = Q(created_at__lte=at) if wanted.sort == "-created" else Q(created_at__gte=at)
        runs = runs.filter(side).exclude(created_at=at, pk__gte=pk)  # equal ones come newest first, both ways
    rows, more = part_of_runs(wanted, runs, 0, asked.limit)
    return rows, [rows[-1].created_at.isoformat(), rows[-1].pk] if more and rows else []


def _row(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "display_name": run.display_name,
        "experiment": run.experiment.name,
        "number": run.number,
        "status": run.status,
        "reason": said(run.reason),
        "hint": said(run.hint),
        "target": run.target_name,
        "submitted_by": run.submitted_by.username if run.submitted_by else "",
        "tags": run.tags,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "exit_code": run.exit_code,
        "archived": run.archived_at is not None,
    }


@router.post("", response={201: RunRow})
def submit_run(request: StudioRequest, response: HttpResponse, asked: NewRun) -> Status[dict[str, Any]]:
    """Submit a run.

    Its files are a snapshot, an upload in pieces, one script as text, or those of another run.
    """
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    run = submit(request, asked, token=once(request, "run"))
    return _made(request, response, run)


def _made(request: StudioRequest, response: HttpResponse, run: Run) -> Status[dict[str, Any]]:
    response["Location"] = f"/api/v1/w/{request.workspace.name}/runs/{run.run_id}"
    return Status(201, _row(run))


@router.get("/{run_id}", response=RunDocument, by_alias=True, exclude_unset=True)
def get_run(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """One run as a document, in the keys of the provider's get_details().

    The values of its environment variables are there for who may submit runs.
    """
    return _document(request, run_of(request, run_id))


def _document(request: StudioRequest, run: Run) -> dict[str, Any]:
    base = f"/api/v1/w/{request.workspace.name}/runs/{run.run_id}/logs/"
    logs = {stream: request.build_absolute_uri(base + stream) for group in streams_of(run) for stream in group.streams}
    with_values = may(request.user, Right.SUBMIT_RUN, request.workspace)
    return run_document(run, log_files=logs, with_values=with_values)


@router.patch("/{run_id}", response=RunDocument, by_alias=True, exclude_unset=True)
def change_run(request: StudioRequest, run_id: str, asked: RunChanges) -> dict[str, Any]:
    """Change a run's description or tags, or archive it and bring it back."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    run = run_of(request, run_id)
    tags = None if asked.tags is None else checked_tags(asked.tags)
    if asked.description is not None:
        actions.describe_run(run, asked.description.replace("\r\n", "\n").strip(), by=request.user)
    if tags is not None and tags != run.tags:
        actions.set_tags(run, tags, by=request.user)
    if asked.archived is not None and asked.archived != (run.archived_at is not None):
        actions.archive_runs([run], by=request.user, archived=asked.archived)
    return _document(request, run)


def checked_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return tags that keep the limits of the pages. Raises NotValid."""
    try:
        return tags_of(list(tags.items()))
    except ValidationError as exc:
        raise NotValid([("tags", " ".join(exc.messages))]) from exc


@router.post("/{run_id}/cancel", response={202: RunRow})
def cancel_run(request: StudioRequest, run_id: str) -> Status[dict[str, Any]]:
    """Ask a run to stop."""
    require(request.user, Right.CANCEL_RUN, request.workspace)
    run = run_of(request, run_id)
    actions.cancel_run(run, by=request.user)
    return Status(202, _row(run))


@router.post("/{run_id}/resubmit", response={201: RunRow})
def resubmit_run(request: StudioRequest, response: HttpResponse, run_id: str) -> Status[dict[str, Any]]:
    """Submit the same files and configuration again, as a new run."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    run = run_of(request, run_id)
    new = actions.resubmit_run(run, by=request.user, token=once(request, f"resubmit/{run.pk}"))
    return _made(request, response, new)


@router.get("/{run_id}/events", response=Timeline)
def run_events(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """The phases a run went through, and each of its moves with its reason."""
    run = run_of(request, run_id)
    events = list(run.events.all())
    phases = spans(events, created_at=run.created_at, now=timezone.now())
    return {
        "phases": [
            {"status": one.status, "since": one.since, "seconds": None if one.is_open else one.seconds}
            for one in phases
        ],
        "events": [{"at": one.at, "old": one.old, "new": one.new, "reason": said(one.reason)} for one in events],
    }
