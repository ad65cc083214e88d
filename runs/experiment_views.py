"""Experiments: their list, and the page of one with its runs."""

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from runs import actions
from runs.forms import LONGEST_DESCRIPTION, pairs_of, tags_of
from runs.list_views import table, table_context
from runs.listing import ExperimentFilter, RunFilter, outcomes_of
from runs.models import Experiment
from runs.states import RunStatus
from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require


@require_safe
def experiment_list(request: StudioRequest) -> HttpResponse:
    asked = ExperimentFilter.from_query(request.GET)
    context = {"nav": "experiments", "asked": asked, "page": asked.page_of(request.workspace)}
    template = "runs/_experiment_table.html" if wants_partial(request) else "runs/experiment_list.html"
    return render(request, template, context)


@require_safe
def experiment_detail(request: StudioRequest, name: str) -> HttpResponse:
    """Show an experiment: its outcomes, its runs, and what people wrote about it."""
    experiment = experiment_of(request, name)
    if wants_partial(request) and request.GET.get("part") == "tiles":
        return render(request, "runs/_experiment_tiles.html", _tiles(experiment))
    asked = replace(RunFilter.from_query(request.GET), experiment=experiment.name)
    if wants_partial(request):
        return table(request, asked)
    return render(request, "runs/experiment_detail.html", _page(request, experiment))


@require_POST
def edit_experiment(request: StudioRequest, name: str) -> HttpResponse:
    """Change an experiment's description and tags, or archive it (`archived=1`) and bring it back (`archived=0`)."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    experiment = experiment_of(request, name)
    if "archived" in request.POST:
        archived = request.POST["archived"] == "1"
        actions.archive_experiment(experiment, by=request.user, archived=archived)
        text = _("%(name)s is archived.") if archived else _("%(name)s is back in the list.")
        messages.success(request, text % {"name": experiment.name})
        if archived:
            return redirect("runs:experiments", workspace=request.workspace.name)
        return redirect("runs:experiment", workspace=request.workspace.name, name=experiment.name)
    description = request.POST.get("description", experiment.description).replace("\r\n", "\n").strip()
    rows, problem = pairs_of(request.POST, "tag"), ""
    try:
        tags = tags_of(rows)
    except ValidationError as exc:
        problem, tags = " ".join(exc.messages), {}
    if len(description) > LONGEST_DESCRIPTION:
        problem = _("A description has up to %(n)d characters; this one has %(have)d.") % {
            "n": LONGEST_DESCRIPTION,
            "have": len(description),
        }
    if problem:
        typed = {"edit_problem": problem, "tag_rows": rows, "typed_description": description, "editing": True}
        return render(request, "runs/experiment_detail.html", _page(request, experiment) | typed, status=422)
    if actions.edit_experiment(experiment, description=description, tags=tags, by=request.user):
        messages.success(request, _("Saved."))
    return redirect("runs:experiment", workspace=request.workspace.name, name=experiment.name)


def experiment_of(request: StudioRequest, name: str) -> Experiment:
    found = Experiment.objects.select_related("created_by", "workspace")
    experiment = found.filter(workspace=request.workspace, name__iexact=name).first()
    if experiment is None:
        raise NotThere
    return experiment


def _page(request: StudioRequest, experiment: Experiment) -> dict[str, Any]:
    asked = replace(RunFilter.from_query(request.GET), experiment=experiment.name)
    return (
        _tiles(experiment)
        | table_context(request, asked)
        | {
            "nav": "experiments",
            "statuses": [(status, status.value in asked.statuses) for status in RunStatus],
            "tag_rows": list(experiment.tags.items()),
            "typed_description": experiment.description,
        }
    )


def _tiles(experiment: Experiment) -> dict[str, Any]:
    return {"experiment": experiment, "outcomes": outcomes_of([experiment])[experiment.pk]}
