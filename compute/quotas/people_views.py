"""The page of limits and budgets of teams and people."""

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from compute import sizes
from compute.quotas import budgets, people
from compute.quotas.actions import set_budget
from compute.quotas.forms import BudgetForm
from compute.quotas.models import ALL, Budget
from compute.quotas.views import Which
from compute.states import Priority
from studio.errors import NotAllowedNow, NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, may, require


@require_safe
def quota_people(request: StudioRequest) -> HttpResponse:
    """Show what teams and people are guaranteed and allowed of `?family=&priority=`, use, wait for and spend."""
    family = sizes.family_key(request.GET.get("family", "*")) or ALL
    family = family if family in sizes.families() else ALL
    low = request.GET.get("priority") == Priority.LOW_PRIORITY
    priority = Priority.LOW_PRIORITY if low else Priority.DEDICATED
    everybody = may(request.user, Right.VIEW_USAGE, request.workspace)
    context = {
        "nav": "quotas",
        "tab": "people",
        "rows": people.rows(request.workspace, family, priority, costs_of=None if everybody else request.user),
        "family": family,
        "priority": priority,
        "slug_end": f"{'all' if family == ALL else family}-{priority}",
        "families": sizes.families().items(),
        "priorities": Priority.choices,
        "month": budgets.this_month(),
    }
    template = "compute/_quota_people_table.html" if wants_partial(request) else "compute/quota_people.html"
    return render(request, template, context)


@require_http_methods(["GET", "HEAD", "POST"])
def budget(request: StudioRequest) -> HttpResponse:
    """Show the form of a budget, or set it; `override` lets runs start although it is used up."""
    require(request.user, Right.EDIT_QUOTA, request.workspace)
    which = Which.asked(request, request.POST if request.method == "POST" else request.GET)
    if which.of == "studio":
        raise NotThere
    row = Budget.objects.filter(workspace=request.workspace, team=which.team, person=which.person).first()
    spending = budgets.spendings([row])[0] if row else None
    version, wrong = row.version if row else 0, ""
    initial = {"usd": row.usd_per_month if row else None, "version": version}
    form = BudgetForm(request.POST or None, initial=initial, auto_id=f"budget-{which.key}-%s")
    if request.method == "POST":
        if row and "override" in request.POST:
            budgets.override(row, by=request.user, on=request.POST["override"] == "on")
            return _saved(request)
        if form.is_valid():
            said: dict[str, Any] = form.cleaned_data
            usd: Decimal | None = said["usd"]
            try:
                set_budget(
                    request.workspace, usd, by=request.user, team=which.team, person=which.person,
                    version=said["version"] or 0,
                )  # fmt: skip
            except NotAllowedNow as exc:
                wrong = f"{exc.message} {exc.hint}"
            else:
                return _saved(request)
    context = {
        "nav": "quotas", "which": which, "form": form, "version": version, "row": row, "spending": spending,
        "wrong": wrong,
    }  # fmt: skip
    return render(request, "compute/quota_budget.html", context, status=422 if form.is_bound else 200)


def _saved(request: StudioRequest) -> HttpResponse:
    messages.success(request, _("The budget is set."))
    return redirect("compute:quota_people", workspace=request.workspace.name)
