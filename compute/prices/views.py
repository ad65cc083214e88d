"""The page of prices: of sizes in Azure, of this studio's machines, and of what is attached."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from compute import sizes
from compute.drivers import kinds_with
from compute.drivers.base import Attaches
from compute.engines import embedded
from compute.models import ComputeTarget, Host, TargetQuerySet
from compute.prices import actions
from compute.prices.forms import MachinePriceForm, SizePriceForm, TargetPriceForm
from compute.prices.models import GivenPrice, Unit
from compute.prices.price import LIST_REGION, Price, Prices
from compute.states import Priority
from studio.errors import NotThere
from studio.http import StudioRequest
from studio.people.models import Workspace
from studio.people.permissions import Right, require

MOST_TARGETS = 200


@dataclass(frozen=True)
class Priced:
    """A machine or an attached target with the form of its price."""

    thing: Any
    form: forms.Form
    price: GivenPrice | None


@require_http_methods(["GET", "HEAD", "POST"])
def price_list(request: StudioRequest) -> HttpResponse:
    """Show what everything costs, or set the price of a size in Azure (`remove`: the list price again)."""
    if request.method != "POST":
        return _page(request)
    require(request.user, Right.EDIT_QUOTA, request.workspace)
    if "remove" in request.POST:
        row = GivenPrice.objects.filter(workspace=request.workspace, pk=_number(request.POST["remove"])).first()
        if row is None or not row.vm_size:
            raise NotThere
        actions.price_size(
            request.workspace, row.vm_size, row.priority, None,
            region=row.region, as_of=row.as_of, by=request.user,
        )  # fmt: skip
        messages.success(request, _("%(size)s costs its list price again.") % {"size": row.vm_size})
        return redirect("compute:prices", workspace=request.workspace.name)
    form = SizePriceForm(request.POST, auto_id="size_%s")
    if not form.is_valid():
        return _page(request, size_form=form)
    said = form.cleaned_data
    actions.price_size(
        request.workspace, said["vm_size"], said["priority"], said["usd"],
        region=said["region"], as_of=said["as_of"], by=request.user,
    )  # fmt: skip
    messages.success(request, _("The price of %(name)s is set.") % {"name": said["vm_size"]})
    return redirect("compute:prices", workspace=request.workspace.name)


@require_POST
def price_machine(request: StudioRequest, name: str) -> HttpResponse:
    """Set what nodes on a machine cost this workspace."""
    require(request.user, Right.EDIT_QUOTA, request.workspace)
    host = Host.objects.filter(name=name).first()
    if host is None:
        raise NotThere
    form = MachinePriceForm(request.POST, auto_id=f"machine_{host.pk}_%s")
    if not form.is_valid():
        return _page(request, machine_form=(host.pk, form))
    usd, unit = form.cleaned_data["usd"], Unit(form.cleaned_data["unit"])
    free = unit != Unit.AZURE and not usd
    actions.price_machine(request.workspace, host, None if free else usd, unit, by=request.user)
    messages.success(request, _("The price of %(name)s is set.") % {"name": host.name})
    return redirect("compute:prices", workspace=request.workspace.name)


@require_POST
def price_target(request: StudioRequest, name: str) -> HttpResponse:
    """Set what an hour of an attached target costs."""
    require(request.user, Right.ATTACH_COMPUTE, request.workspace)
    target = attached_to(request.workspace).filter(name=name).first()
    if target is None:
        raise NotThere
    form = TargetPriceForm(request.POST, auto_id=f"target_{target.pk}_%s")
    if not form.is_valid():
        return _page(request, target_form=(target.pk, form))
    actions.price_target(target, form.cleaned_data["usd"], by=request.user)
    messages.success(request, _("The price of %(name)s is set.") % {"name": target.name})
    return redirect("compute:prices", workspace=request.workspace.name)


def _page(
    request: StudioRequest,
    *,
    size_form: SizePriceForm | None = None,
    machine_form: tuple[int, forms.Form] | None = None,
    target_form: tuple[int, forms.Form] | None = None,
) -> HttpResponse:
    """Render the page; a form given is one that was filled in wrongly."""
    prices = Prices(request.workspace)
    by_host = {row.host_id: row for row in prices.given if row.host_id}
    by_target = {row.target_id: row for row in prices.given if row.target_id}
    targets = attached_to(request.workspace).order_by("name")[:MOST_TARGETS]
    initial = {"region": LIST_REGION, "as_of": timezone.localdate(), "priority": Priority.DEDICATED}
    context = {
        "nav": "quotas",
        "sizes": [size.name for size in sizes.all_sizes()],
        "size_form": size_form or SizePriceForm(initial=initial, auto_id="size_%s"),
        "set_sizes": [(row, _listed(row)) for row in prices.given if row.vm_size],
        "listed": [_both(prices, size) for size in sizes.all_sizes()],
        "machines": [_of_machine(host, by_host.get(host.pk), machine_form) for host in embedded.hosts() if host.pk],
        "targets": [_of_target(target, by_target.get(target.pk), target_form) for target in targets],
    }
    wrong = size_form or machine_form or target_form
    return render(request, "compute/price_list.html", context, status=422 if wrong else 200)


def attached_to(workspace: Workspace) -> TargetQuerySet:
    """Return the targets that a workspace has attached, whose hours may have a price."""
    existing = ComputeTarget.objects.existing().select_related("workspace")
    return existing.filter(workspace=workspace, kind__in=kinds_with(Attaches))


def _of_machine(host: Host, row: GivenPrice | None, wrong: tuple[int, forms.Form] | None) -> Priced:
    if wrong and wrong[0] == host.pk:
        return Priced(host, wrong[1], row)
    initial = {"unit": row.unit if row else Unit.CORE, "usd": _plain(row)}
    return Priced(host, MachinePriceForm(initial=initial, auto_id=f"machine_{host.pk}_%s"), row)


def _of_target(target: ComputeTarget, row: GivenPrice | None, wrong: tuple[int, forms.Form] | None) -> Priced:
    if wrong and wrong[0] == target.pk:
        return Priced(target, wrong[1], row)
    return Priced(target, TargetPriceForm(initial={"usd": _plain(row)}, auto_id=f"target_{target.pk}_%s"), row)


def _plain(row: GivenPrice | None) -> str:
    """Return the figure as one would type it: "0.05", not "0.0500"."""
    return f"{row.usd_per_hour.normalize():f}" if row else ""


def _listed(row: GivenPrice) -> Any:
    size = sizes.find(row.vm_size)
    return size.price(row.priority) if size else None


def _both(prices: Prices, size: sizes.VmSize) -> tuple[sizes.VmSize, Price | None, Price | None]:
    """Return a size with its dedicated and its low-priority price."""
    low = prices.in_azure(size.name, Priority.LOW_PRIORITY) if size.low_priority_capable else None
    return size, prices.in_azure(size.name, Priority.DEDICATED), low


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 19 else 0
