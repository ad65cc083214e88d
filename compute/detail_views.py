"""The page of one target: overview, nodes, runs and activity; its scale settings, identity and deletion."""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute import actions, attaching, history, listing
from compute.create_views import like
from compute.drivers.base import Attaches, Provisions, Resizes
from compute.engines import embedded
from compute.forms import IdentityForm, ScaleForm
from compute.models import ComputeTarget, Examination, Host, Job
from compute.quotas.verdict_views import verdict_context
from compute.sizes import find
from compute.states import NodeState
from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require

TABS = {
    "overview": gettext_lazy("Overview"),
    "connection": gettext_lazy("Connection"),
    "nodes": gettext_lazy("Nodes"),
    "runs": gettext_lazy("Runs"),
    "activity": gettext_lazy("Activity"),
}
ABILITIES = {"connection": Attaches, "nodes": Resizes}  # what a kind has to be able to for a tab
PARTS = {"header", "properties", "scale", "identity", "nodes", "activity", "connection", "changed_key"}


@require_safe
def target_detail(request: StudioRequest, name: str) -> HttpResponse:
    """Show a tab of a target's page; `?part=` is one part of it, for the page that keeps it live."""
    target = target_of(request, name)
    part = request.GET.get("part", "")
    if wants_partial(request) and part in PARTS:
        return render(request, f"compute/_target_{part}.html", _facts(request, target, part))
    tabs = {key: label for key, label in TABS.items() if isinstance(target.driver, ABILITIES.get(key, object))}
    tab = request.GET.get("tab", "overview")
    tab = tab if tab in tabs else "overview"
    context = _facts(request, target, tab) | {"nav": "compute", "tabs": tabs, "tab": tab}
    return render(request, "compute/target_detail.html", context)


def target_of(request: StudioRequest, name: str) -> ComputeTarget:
    """Return the workspace's target of that name. Raises NotThere."""
    if name == actions.LOCAL:
        actions.ensure_local(request.workspace)
    found = ComputeTarget.objects.existing().select_related("created_by", "workspace")
    target = found.filter(workspace=request.workspace, name=name).first()
    if target is None:
        raise NotThere(
            _("There is no compute target “%(name)s” here.") % {"name": name}, _("It may have been deleted.")
        )
    return target


def _facts(request: StudioRequest, target: ComputeTarget, shown: str) -> dict[str, Any]:
    """Return what the page, or the part `shown` of it, says of a target."""
    row = listing.rows([target.pk])[0]
    context: dict[str, Any] = {
        "target": target,
        "row": row,
        "size": find(target.vm_size),
        "can_scale": isinstance(target.driver, Resizes),
        "can_delete": isinstance(target.driver, Provisions),
        "is_attached": isinstance(target.driver, Attaches),
        "counts": [(state, row.nodes[state]) for state in NodeState],
    }
    match shown:
        case "overview":
            context |= {"like": like(target) if target.vm_size else "", "host": _host(target)}
            context["typed"] = list(typed_of(target))
        case "connection":
            context |= _connection(target, request.GET.get("look", ""))
        case "nodes":
            context["nodes"] = [(n, NodeState(n.state)) for n in target.nodes.select_related("job")]
        case "activity":
            before = parse_datetime(request.GET.get("before", "").replace(" ", "+"))
            context["entries"], context["older"] = history.of(target, before=before)
    return context


def typed_of(target: ComputeTarget) -> Iterator[tuple[Any, Any]]:
    """Yield what was typed when it was attached: labels and values, in the form's order."""
    form: Any = target.driver.form
    fields: dict[str, Any] = form.base_fields if isinstance(target.driver, Attaches) else {}
    for name, field in fields.items():
        if not form.is_of_use(name, target.config):
            continue
        if (value := target.config.get(name)) not in (None, "", [], {}):
            choices = dict(getattr(field, "choices", ()))
            yield field.label, choices.get(value, value) if isinstance(value, str) else value


def _connection(target: ComputeTarget, look: str) -> dict[str, Any]:
    """Return the newest look at a target, or the one that was asked for, and the list of all that are kept."""
    looks = list(target.examinations.filter(is_draft=False).select_related("by", "workspace")[:50])
    chosen = [one for one in looks if str(one.pk) == look]
    examination: Examination | None = next(iter(chosen or looks), None)
    return {
        "looks": [(one, attaching.has_passed(one)) for one in looks],
        "examination": examination,
        "passed": examination is not None and attaching.has_passed(examination),
        "asked_key": attaching.asked_key(examination) if examination else None,
        "newest": examination is not None and examination == looks[0],
    }


def _host(target: ComputeTarget) -> Host | None:
    """Return the machine, for the page of the local computer."""
    return embedded.host_of(target) if target.kind == actions.LOCAL else None


@require_http_methods(["GET", "HEAD", "POST"])
def edit_scale(request: StudioRequest, name: str) -> HttpResponse:
    """Show the form of the scale settings, or store it."""
    target = target_of(request, name)
    now = {"min_nodes": target.min_nodes, "max_nodes": target.max_nodes, "idle_seconds": target.idle_seconds}
    form = ScaleForm(request.POST or None, initial=now)
    form.size, form.target = find(target.vm_size), target
    if request.GET.get("part") == "verdict":
        form = ScaleForm(request.GET, initial=now)
        form.size, form.target = find(target.vm_size), target
        form.is_valid()
        return render(request, "compute/_verdict.html", verdict_context(request, form))
    if request.method == "POST":
        require(request.user, Right.RESIZE_COMPUTE, request.workspace)
        if form.is_valid():
            actions.resize_target(target, by=request.user, **form.cleaned_data)
            return _changed(request, target, "scale", _("The scale settings of %(name)s were changed."))
    return _form(request, target, form, "scale")


@require_http_methods(["GET", "HEAD", "POST"])
def edit_identity(request: StudioRequest, name: str) -> HttpResponse:
    """Show the form of the managed identity, or store it."""
    target = target_of(request, name)
    form = IdentityForm(request.POST or None, initial=IdentityForm.initial_of(target))
    if request.method == "POST":
        require(request.user, Right.RESIZE_COMPUTE, request.workspace)
        if form.is_valid():
            actions.set_identity(target, by=request.user, identity=form.chosen)
            return _changed(request, target, "identity", _("The managed identity of %(name)s was changed."))
    return _form(request, target, form, "identity")


def _form(request: StudioRequest, target: ComputeTarget, form: ScaleForm | IdentityForm, part: str) -> HttpResponse:
    context = {
        "nav": "compute",
        "target": target,
        "form": form,
        "part": part,
        "fields": {name: {"field": form[name], "errors": form[name].errors} for name in form.fields},
    }
    if isinstance(form, ScaleForm):
        context |= verdict_context(request, form)
    template = f"compute/_target_{part}_form.html" if wants_partial(request) else "compute/target_edit.html"
    return render(request, template, context, status=422 if form.is_bound else 200)


def _changed(request: StudioRequest, target: ComputeTarget, part: str, said: str) -> HttpResponse:
    if wants_partial(request):
        target.refresh_from_db()
        return render(request, f"compute/_target_{part}.html", _facts(request, target, part))
    messages.success(request, said % {"name": target.name})
    return redirect("compute:detail", workspace=request.workspace.name, name=target.name)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_target(request: StudioRequest, name: str) -> HttpResponse:
    """Ask before a target is deleted, for its name while runs are active; then delete it."""
    target = target_of(request, name)
    active = Job.objects.active().filter(target=target).count()
    wrong = ""
    if request.method == "POST":
        require(request.user, Right.DELETE_COMPUTE, request.workspace)
        if not active or request.POST.get("confirm", "").strip() == target.name:
            actions.delete_target(target, by=request.user)
            messages.success(request, _("%(name)s is being deleted.") % {"name": target.name})
            return redirect("compute:list", workspace=request.workspace.name)
        wrong = _("Type %(name)s to say that you mean it.") % {"name": target.name}
    context = {"nav": "compute", "target": target, "active": active, "wrong": wrong}
    return render(request, "compute/target_delete.html", context, status=422 if wrong else 200)


@require_POST
def preempt_node(request: StudioRequest, name: str, node_id: str) -> HttpResponse:
    """Take a node away by hand."""
    require(request.user, Right.RESIZE_COMPUTE, request.workspace)
    target = target_of(request, name)
    actions.preempt_node(target, node_id, by=request.user)
    messages.success(request, _("Node %(node)s was preempted.") % {"node": node_id})
    url = redirect("compute:detail", workspace=request.workspace.name, name=target.name)
    url["Location"] += "?tab=nodes"
    return url
