"""Experiments: their list, one of them, and what people write about it."""

from datetime import datetime
from typing import Any

from django.db.models import Max
from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from runs import actions
from runs.experiment_views import experiment_of
from runs.forms import LONGEST_DESCRIPTION
from runs.listing import EXPERIMENT_SORTS, ExperimentFilter
from runs.models import Experiment, Run
from studio.api.kit import FARTHEST, Asked, Listed, Paging, Tags, Text, listed, place_in, sorts
from studio.api.routers.runs import checked_tags
from studio.http import StudioRequest
from studio.people.permissions import Right, require

router = Router()


class Outcomes(Schema):
    active: int
    completed: int
    failed: int
    canceled: int


class ExperimentFacts(Schema):
    name: str
    description: str
    tags: dict[str, str]
    created_by: str
    created_at: datetime
    archived: bool
    latest_run: str | None
    last_submitted_at: datetime | None
    runs: Outcomes


class ExperimentsAsked(Paging):
    """The filters of the page."""

    q: Text = Field("", max_length=200)
    tag: Text = Field("", max_length=300, description="“key” or “key=value”.")
    archived: bool = Field(False, description="The archived ones instead of the others.")
    sort: str = sorts(EXPERIMENT_SORTS, "-latest")


class ExperimentChanges(Asked):
    """What is left away stays."""

    description: Text | None = Field(None, max_length=LONGEST_DESCRIPTION)
    tags: Tags | None = None
    archived: bool | None = None


@router.get("", response=Listed[ExperimentFacts])
def list_experiments(request: StudioRequest, response: HttpResponse, asked: Query[ExperimentsAsked]) -> dict[str, Any]:
    """Experiments, as the page filters and sorts them."""
    space = request.workspace
    wanted = ExperimentFilter(text=asked.q.strip(), tag=asked.tag.strip(), archived=asked.archived, sort=asked.sort)
    newest = Experiment.objects.filter(workspace=space).aggregate(n=Max("pk"))["n"] or 0
    start, until = place_in(asked.cursor, int, int) or (0, newest)
    start = min(start, FARTHEST)
    rows, more = wanted.part_of(wanted.of(space).filter(pk__lte=until), start, asked.limit)
    goes_on = more and start + asked.limit < FARTHEST
    return listed(request, response, [_row(one) for one in rows], *([start + asked.limit, until] if goes_on else []))


def _row(experiment: Any) -> dict[str, Any]:
    """Return what is said of an experiment that `part_of` found."""
    latest: Run | None = experiment.latest
    return {
        "name": experiment.name,
        "description": experiment.description,
        "tags": experiment.tags,
        "created_by": experiment.created_by.username if experiment.created_by else "",
        "created_at": experiment.created_at,
        "archived": experiment.archived_at is not None,
        "latest_run": latest.run_id if latest else None,
        "last_submitted_at": latest.created_at if latest else None,
        "runs": experiment.outcomes,
    }


def _as_it_is(experiment: Experiment) -> dict[str, Any]:
    found = Experiment.objects.filter(pk=experiment.pk).select_related("created_by")
    rows, _more = ExperimentFilter().part_of(found, 0, 1)
    return _row(rows[0])


@router.get("/{name}", response=ExperimentFacts)
def get_experiment(request: StudioRequest, name: str) -> dict[str, Any]:
    """One experiment."""
    return _as_it_is(experiment_of(request, name))


@router.patch("/{name}", response=ExperimentFacts)
def change_experiment(request: StudioRequest, name: str, asked: ExperimentChanges) -> dict[str, Any]:
    """Change an experiment's description or tags, or archive it and bring it back."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    experiment = experiment_of(request, name)
    description, tags = experiment.description, experiment.tags
    if asked.description is not None:
        description = asked.description.replace("\r\n", "\n").strip()
    if asked.tags is not None:
        tags = checked_tags(asked.tags)
    actions.edit_experiment(experiment, description=description, tags=tags, by=request.user)
    if asked.archived is not None and asked.archived != (experiment.archived_at is not None):
        actions.archive_experiment(experiment, by=request.user, archived=asked.archived)
    return _as_it_is(experiment)
