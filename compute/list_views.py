"""The list of compute targets: the page, its live parts, and deleting several at once."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from compute import actions, attaching, glance, listing
from compute.attach_views import attachable
from compute.drivers.base import Attaches
from compute.engines import embedded
from compute.listing import Column, Filter, Shown, Tab
from compute.models import ComputeTarget, Job
from compute.states import Priority
from studio.errors import NotThere, StudioError
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require


@require_safe
def target_list(request: StudioRequest) -> HttpResponse:
    """Show a tab of the list; `?part=glance` is what stands over the rows, for the page that watches it."""
    if "choose" in request.GET:
        return _choose_columns(request)
    wanted = Filter.from_query(request.GET)
    actions.ensure_local(request.workspace)
    if wants_partial(request) and request.GET.get("part") == "glance":
        return render(request, "compute/_glance.html", _over_the_rows(request, wanted))
    page = listing.page_of(wanted, request.workspace)
    context = _over_the_rows(request, wanted) | {
        "nav": "compute",
        "page": page,
        "rows": listing.rows(list(page)),
        "columns": _columns(request, wanted.tab),
        "every_column": [(c, c.value in _columns(request, wanted.tab)) for c in wanted.tab.columns],
        "headings": _headings(request.GET, wanted, _columns(request, wanted.tab)),
        "attachable": attachable(),
        "states": Shown,
        "priorities": Priority,
        "shows_priority": wanted.tab is Tab.CLUSTERS,
        "query": _query(request.GET, page=None),
        "query_pairs": [(k, v) for k, v in request.GET.items() if k not in ("column", "choose")],
    }
    template = "compute/_target_table.html" if wants_partial(request) else "compute/target_list.html"
    return render(request, template, context)


@require_safe
def target_row(request: StudioRequest, name: str) -> HttpResponse:
    """Show one row of the list. `?id=` keeps to one target when its name has gone to another."""
    pk = request.GET.get("id", "")
    found = ComputeTarget.objects.filter(workspace=request.workspace)
    found = found.filter(pk=int(pk)) if pk.isdecimal() else found.existing().filter(name=name)
    rows = listing.rows(list(found.values_list("pk", flat=True)[:1]))
    if not rows:
        raise NotThere
    return render(request, "compute/_target_row.html", {"row": rows[0], "columns": _columns(request, rows[0].tab)})


@require_POST
def delete_targets(request: StudioRequest) -> HttpResponse:
    """Delete the selected targets; ask first, naming them, unless the form says that was done."""
    require(request.user, Right.DELETE_COMPUTE, request.workspace)
    names = request.POST.getlist("target")
    targets = list(
        ComputeTarget.objects.existing().filter(workspace=request.workspace, name__in=names).order_by("name")
    )
    if not targets:
        messages.info(request, _("Nothing was selected."))
        return redirect("compute:list", workspace=request.workspace.name)
    active = Job.objects.active().filter(target__in=targets).count()
    if "confirmed" not in request.POST:
        detaches = all(isinstance(target.driver, Attaches) for target in targets)
        context = {"nav": "compute", "targets": targets, "active": active, "detaches": detaches}
        return render(request, "compute/targets_delete.html", context)
    deleted: list[str] = []
    detached: list[str] = []
    for target in targets:
        try:
            if isinstance(target.driver, Attaches):
                attaching.detach(target, by=request.user)
                detached.append(target.name)
            else:
                actions.delete_target(target, by=request.user)
                deleted.append(target.name)
        except StudioError as exc:  # the others are not held up by one that is on its way out already
            messages.error(request, f"{exc.message} {exc.hint}".strip())
    if deleted:
        said = ngettext("%(names)s is being deleted.", "%(names)s are being deleted.", len(deleted))
        messages.success(request, said % {"names": ", ".join(deleted)})
    if detached:
        said = ngettext("%(names)s is detached and runs on.", "%(names)s are detached and run on.", len(detached))
        messages.success(request, said % {"names": ", ".join(detached)})
        return redirect(f"{reverse('compute:list', args=[request.workspace.name])}?tab={Tab.ATTACHED}")
    return redirect("compute:list", workspace=request.workspace.name)


def _over_the_rows(request: StudioRequest, wanted: Filter) -> dict[str, Any]:
    """Return the context of the figures, the tabs and the pill that counts what is new since the page was made."""
    since = request.GET.get("since", "")
    cores = sum(embedded.capacity(host).cpus for host in embedded.hosts())
    fresh = wanted.of(request.workspace).filter(pk__gt=int(since)).count() if since.isdecimal() else 0
    return {
        "glance": glance.glance(request.workspace, cores_capacity=cores),
        "tabs": [(tab, n, _query(QueryDict(), tab=tab)) for tab, n in listing.counts(request.workspace).items()],
        "wanted": wanted,
        "fresh": fresh,
        "since": since if since.isdecimal() else listing.newest_id(request.workspace),
        "here": _query(request.GET, part=None, since=None),
    }


def _query(query: QueryDict, **changes: str | None) -> str:
    """Return a query string with `changes`; None takes a key away."""
    changed = query.copy()
    for key, value in changes.items():
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    return changed.urlencode()


def _headings(query: QueryDict, wanted: Filter, columns: list[str]) -> list[dict[str, str]]:
    """Return each heading: its words, where it leads when it sorts, and what aria-sort says of it."""
    headings: list[dict[str, str]] = []
    for key, label in [("name", _("Name")), *((c, _label(Column(c), wanted.tab)) for c in columns)]:
        if key not in listing.SORTS:
            headings.append({"label": label})
            continue
        now = {key: "ascending", f"-{key}": "descending"}.get(wanted.sort, "none")
        turned = f"-{key}" if now == "ascending" else key
        headings.append({"label": label, "query": _query(query, sort=turned, page=None), "aria": now})
    return headings


def _label(column: Column, tab: Tab) -> str:
    return _("Attached") if tab is Tab.ATTACHED and column is Column.CREATED else str(column.label)


def _columns(request: StudioRequest, tab: Tab) -> list[str]:
    """Return the columns of a tab that this person chose; the choice is kept in the session."""
    chosen = request.session.get("compute_columns")
    known = chosen if isinstance(chosen, list) else [c.value for c in listing.DEFAULT_COLUMNS]
    return [c.value for c in tab.columns if c.value in known]


def _choose_columns(request: StudioRequest) -> HttpResponse:
    here = {c.value for c in Filter.from_query(request.GET).tab.columns}
    elsewhere = [c for c in request.session.get("compute_columns", listing.DEFAULT_COLUMNS) if c not in here]
    chosen = [c for c in request.GET.getlist("column") if c in here]
    request.session["compute_columns"] = [*elsewhere, *chosen]
    rest = _query(request.GET, choose=None, column=None)
    return redirect(f"{request.path}?{rest}")
