"""Experiments: their list, one of them, what people write about it, and what its runs measured and cost."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Max
from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from compute.usage.reads import Line
from runs import actions, metrics
from runs.experiment_views import experiment_of
from runs.forms import LONGEST_DESCRIPTION
from runs.listing import EXPERIMENT_SORTS, ExperimentFilter
from runs.models import Experiment, Run
from runs.states import RunStatus
from studio.api.kit import FARTHEST, Asked, Continued, Listed, Paging, Tags, Text, listed, place_in, sorts
from studio.api.routers.runs import checked_tags
from studio.api.routers.work import SpanAsked, hours, used_by
from studio.http import StudioRequest
from studio.people.permissions import Right, require

router = Router()
MOST_MEASURED = 100  # runs of one answer, whose files are read for it


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


class RunMeasured(Schema):
    run_id: str
    display_name: str
    number: int
    status: RunStatus
    metrics: dict[str, float] = Field(description="The last value of each, in the run's newest attempt.")


class MeasuredAsked(Continued):
    limit: int = Field(20, ge=1, le=MOST_MEASURED, description="Rows of one answer.")
    archived: bool = Field(False, description="The archived runs, too.")


class ExperimentUsage(Schema):
    node_hours: Decimal
    core_hours: Decimal
    usd: Decimal
    azure_usd: Decimal = Field(description="What the same would cost in Azure.")
    jobs: int = Field(description="Attempts that ended.")


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


@router.get("/{name}/metrics", response=Listed[RunMeasured])
def experiment_metrics(
    request: StudioRequest, response: HttpResponse, name: str, asked: Query[MeasuredAsked]
) -> dict[str, Any]:
    """What the runs of an experiment measured, run by run, the newest first: each metric is a series over its runs."""
    found = experiment_of(request, name).runs.all()
    if not asked.archived:
        found = found.filter(archived_at=None)
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(number__lt=after[0])
    runs = list(found.order_by("-number")[: asked.limit + 1])
    more, runs = len(runs) > asked.limit, runs[: asked.limit]
    values = metrics.last_values(runs)
    rows = [
        {field: getattr(run, field) for field in RunMeasured.model_fields if field != "metrics"}
        | {"metrics": values.get(run.pk, {})}
        for run in runs
    ]
    return listed(request, response, rows, *([runs[-1].number] if more else []))


@router.get("/{name}/usage", response=ExperimentUsage)
def experiment_usage(request: StudioRequest, name: str, asked: Query[SpanAsked]) -> dict[str, Any]:
    """What the runs of an experiment used and cost: yours, or with the right everybody's."""
    experiment = experiment_of(request, name)
    rows = used_by(request, asked, "experiment")
    return hours(next((row.line for row in rows if row.name == experiment.name), Line({})))
