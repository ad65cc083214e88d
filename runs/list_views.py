"""The list of runs: the page, its live rows, and what is done to several at once."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from compute.models import ComputeTarget
from runs import actions
from runs.listing import RunFilter, page_of_runs, with_what_a_row_shows
from runs.models import Experiment, Run
from runs.states import RunStatus
from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require

MOST_AT_ONCE = 500
MOST_COUNTED = 100  # new runs; then the pill says "100 or more"
SUGGESTED = 200  # names offered while one types


@require_safe
def run_list(request: StudioRequest) -> HttpResponse:
    """Show a page of runs; `?embed=1`, and every part of a page, is the table alone."""
    asked = RunFilter.from_query(request.GET)
    if asked.embed or wants_partial(request):
        return table(request, asked)
    experiments = Experiment.objects.filter(workspace=request.workspace, archived_at=None).order_by("name")
    targets = ComputeTarget.objects.existing().filter(workspace=request.workspace).order_by("name")
    context = table_context(request, asked) | {
        "nav": "runs",
        "statuses": [(status, status.value in asked.statuses) for status in RunStatus],
        "experiments": experiments.values_list("name", flat=True)[:SUGGESTED],
        "targets": targets.values_list("name", flat=True)[:SUGGESTED],
    }
    return render(request, "runs/run_list.html", context)


def table(request: StudioRequest, asked: RunFilter) -> HttpResponse:
    """Show the table alone, or with `?part=new&since=…` how many runs came since the page was made."""
    since = request.GET.get("since", "")
    if request.GET.get("part") == "new" and since.isdecimal() and len(since) < 19:
        fresh = asked.of(request.workspace, request.user).filter(pk__gt=int(since))[:MOST_COUNTED].count()
        context = {"asked": asked, "fresh": fresh, "newest": since, "most": MOST_COUNTED, "base": request.path}
        return render(request, "runs/_run_new.html", context)
    return render(request, "runs/_run_table.html", table_context(request, asked))


def table_context(request: StudioRequest, asked: RunFilter) -> dict[str, object]:
    """Return what the table of runs needs, in whatever page it stands."""
    newest = Run.objects.filter(workspace=request.workspace).order_by("-pk").values_list("pk", flat=True).first()
    return {
        "asked": asked,
        "page": page_of_runs(asked, request.workspace, request.user),
        "newest": newest or 0,
        "fresh": 0,
        "base": request.path,
    }


@require_safe
def run_row(request: StudioRequest, run_id: str) -> HttpResponse:
    """Show one row of the list."""
    found = with_what_a_row_shows(Run.objects.filter(workspace=request.workspace, run_id=run_id)).first()
    if found is None:
        raise NotThere
    return render(request, "runs/_run_row.html", {"run": found})


@require_POST
def archive_runs(request: StudioRequest) -> HttpResponse:
    """Archive the selected runs, or bring them back (`archived=0`)."""
    require(request.user, Right.SUBMIT_RUN, request.workspace)
    archived = request.POST.get("archived") != "0"
    runs = _selected(request)
    changed = actions.archive_runs(runs, by=request.user, archived=archived)
    left = len(runs) - changed
    if not runs:
        messages.info(request, _("No run was selected."))
    elif archived:
        said = ngettext("%(n)d run is archived.", "%(n)d runs are archived.", changed) % {"n": changed}
        if left:
            said += " " + ngettext("%(n)d still goes on and stays.", "%(n)d still go on and stay.", left) % {"n": left}
        messages.success(request, said)
    else:
        said = ngettext("%(n)d run is back in the lists.", "%(n)d runs are back in the lists.", changed)
        messages.success(request, said % {"n": changed})
    return _back(request)


@require_POST
def cancel_runs(request: StudioRequest) -> HttpResponse:
    """Cancel those of the selected runs that still go on; ask first, naming them, unless that was done."""
    require(request.user, Right.CANCEL_RUN, request.workspace)
    runs = _selected(request)
    active = [run for run in runs if not run.has_ended and run.status != RunStatus.CANCEL_REQUESTED]
    if not active:
        messages.info(request, _("None of the selected runs can be canceled."))
        return _back(request)
    if "confirmed" not in request.POST:
        context = {"nav": "runs", "runs": active, "back": _back_query(request), "origin": request.POST.get("from", "")}
        return render(request, "runs/runs_cancel.html", context)
    canceled = actions.cancel_all(active, by=request.user)
    said = ngettext("%(n)d run is being canceled.", "%(n)d runs are being canceled.", canceled)
    messages.success(request, said % {"n": canceled})
    return _back(request)


def _selected(request: StudioRequest) -> list[Run]:
    ids = request.POST.getlist("run")[:MOST_AT_ONCE]
    return list(
        Run.objects.select_related("workspace").filter(workspace=request.workspace, run_id__in=ids).order_by("pk")
    )


def _back_query(request: StudioRequest) -> str:
    """Return the list's own query string, read as a filter so that nothing else comes through."""
    from django.http import QueryDict

    return RunFilter.from_query(QueryDict(request.POST.get("back", "").removeprefix("?"))).query


def _back(request: StudioRequest) -> HttpResponse:
    if request.POST.get("from") == "queue":
        return redirect("runs:queue", workspace=request.workspace.name)
    response = redirect("runs:list", workspace=request.workspace.name)
    response["Location"] += _back_query(request).removesuffix("?")
    return response
