"""Limits, what is used of them, budgets, and what would become of a request."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema
from pydantic import StrictInt

from compute import sizes
from compute.detail_views import target_of
from compute.quotas import overview, people
from compute.quotas.actions import Status as Said
from compute.quotas.actions import Wanted, set_limits
from compute.quotas.bounds import Bound, with_use
from compute.quotas.budgets import Spending, this_month
from compute.quotas.models import ALL, MOST_CORES, Limit, Scope
from compute.quotas.verdict import verdict
from compute.states import Priority
from studio.api.kit import Asked, Listed, Text
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.actions import team_of
from studio.people.permissions import Right, may, require

router = Router()


class LimitFacts(Schema):
    scope: Scope
    who: str = Field(description="The workspace, team or person; empty: the whole studio.")
    family: str = Field(description="“*”: all families together.")
    priority: str
    cores: int
    used: int
    left: int


class LimitWanted(Asked):
    family: Text = Field(ALL, max_length=60, description="“*”: all families together.")
    priority: Priority = Priority.DEDICATED
    cores: StrictInt | None = Field(ge=0, le=MOST_CORES, description="null: no limit.")
    version: StrictInt | None = Field(None, ge=0, description="The one you saw; another now refuses the change.")


class LimitsWanted(Asked):
    limits: list[LimitWanted] = Field(min_length=1, max_length=200)


class HowItWent(Schema):
    family: str
    priority: str
    status: str
    message: str
    cores: int | None
    version: int | None


class Wish(Asked):
    vm_size: Text = Field(max_length=40)
    priority: Priority = Priority.DEDICATED
    min_nodes: int = Field(0, ge=0, le=10**6)
    max_nodes: int = Field(1, ge=0, le=10**6)
    node_count: int | None = Field(None, ge=1, le=10**6, description="Of a run, instead of a cluster.")
    target: Text = Field("", max_length=24, description="The cluster that is resized or run on.")


class VerdictSaid(Schema):
    level: str = Field(description="fits, warns or refuses.")
    sentence: str
    hint: str
    asked: int
    used: int
    limit: int | None
    left: int | None
    most_nodes: int | None


class Standing(Schema):
    """A family with its limit, and what nodes hold of it. Cores."""

    scope: Scope = Field(description="The whole studio, or this workspace.")
    family: str = Field(description="“*”: all families together.")
    title: str
    priority: str
    limit: int | None = Field(description="null: no limit.")
    version: int = Field(description="Of the limit, for who changes it; 0: there is none.")
    held: int = Field(description="By nodes, also idle ones.")
    running: int = Field(description="Of these, by nodes that run something.")
    borrowed: int = Field(description="Of these, above what who uses them is guaranteed.")
    free: int | None = Field(description="null: no limit.")


class BudgetFacts(Schema):
    usd_per_month: Decimal
    used: Decimal = Field(description="What is spent of it, as a share: 0.8 is 80 %.")
    is_used_up: bool
    is_overridden: bool = Field(description="Whether an Owner lets runs start this month all the same.")
    version: int


class Share(Schema):
    """What a team, a person or the whole workspace may have, has and spends. Cores, and US dollars of this month."""

    scope: Scope
    who: str
    guaranteed: int | None
    limit: int | None = Field(description="null: no limit.")
    version: int = Field(description="Of the limit; 0: there is none.")
    in_use: int
    borrowed: int
    waiting: int
    month: date = Field(description="Its first day, UTC.")
    usd: Decimal | None = Field(description="Spent this month; null: not yours to see.")
    budget: BudgetFacts | None = Field(description="null: none, or not yours to see.")


class FamilyAsked(Asked):
    family: Text = Field(ALL, max_length=60, description="“*”: all families together.")
    priority: Priority = Priority.DEDICATED


@router.get("", response=Listed[Standing])
def list_quota(request: StudioRequest) -> dict[str, Any]:
    """Every VM family and the totals: the limits of the studio and of the workspace, and what is held of them."""
    rows = [
        {
            "scope": Scope.STUDIO if line.of == "studio" else Scope.WORKSPACE,
            "family": family.key,
            "title": family.title,
            "priority": line.priority,
            "limit": line.limit,
            "version": line.version,
            "held": line.use.held,
            "running": line.use.running,
            "borrowed": line.use.borrowed,
            "free": line.free,
        }
        for family in overview.families(request.workspace)
        for line in family.lines
    ]
    return {"items": rows, "next": None}


@router.get("/shares", response=Listed[Share])
def list_shares(request: StudioRequest, asked: Query[FamilyAsked]) -> dict[str, Any]:
    """What the workspace, its teams and its people are guaranteed and allowed, use, borrow, wait for and spend.

    Costs and budgets are there for who may see everybody's usage; your own always.
    """
    family = family_of(asked)
    everybody = may(request.user, Right.VIEW_USAGE, request.workspace)
    costs_of = None if everybody else request.user
    rows = people.rows(request.workspace, family, asked.priority, costs_of=costs_of)
    return {"items": [_share(request, row) for row in rows], "next": None}


def family_of(asked: FamilyAsked) -> str:
    """Return the key of the family that is meant, or ALL. Raises NotValid."""
    family = sizes.family_key(asked.family)
    if family != ALL and family not in sizes.families():
        raise NotValid([("family", _("There is no family “%(family)s”.") % {"family": asked.family})])
    return family


def _share(request: StudioRequest, row: people.Row) -> dict[str, Any]:
    limit, budget, usd = row.limit, row.budget, row.usd
    spending = Spending(budget, this_month(), usd) if budget is not None and usd is not None else None
    return {
        "scope": Scope.TEAM if row.team else Scope.PERSON if row.person else Scope.WORKSPACE,
        "who": row.name or request.workspace.name,
        "guaranteed": limit.guaranteed if limit else None,
        "limit": limit.cores if limit else None,
        "version": limit.version if limit else 0,
        "in_use": row.in_use,
        "borrowed": row.borrowed,
        "waiting": row.waiting,
        "month": this_month(),
        "usd": usd,
        "budget": spending
        and {
            "usd_per_month": spending.budget.usd_per_month,
            "used": round(spending.share, 4),
            "is_used_up": spending.share >= 1,
            "is_overridden": spending.is_overridden,
            "version": spending.budget.version,
        },
    }


@router.get("/limits", response=Listed[LimitFacts])
def list_limits(request: StudioRequest) -> dict[str, Any]:
    """The limits that apply here, in cores, and what is used of each."""
    found = with_use(Limit.objects.filter(Q(workspace=None) | Q(workspace=request.workspace)))
    return {"items": [_row(bound) for bound in found], "next": None}


def _row(bound: Bound) -> dict[str, Any]:
    return {
        "scope": bound.scope,
        "who": bound.who,
        "family": bound.family,
        "priority": bound.priority,
        "cores": bound.limit,
        "used": bound.used,
        "left": bound.left,
    }


@router.put("/limits", response=Listed[HowItWent])
def change_limits(request: StudioRequest, asked: LimitsWanted) -> dict[str, Any]:
    """Set limits of the workspace; each is checked by itself, and says how it went."""
    require(request.user, Right.EDIT_QUOTA, request.workspace)
    wanted = [
        Wanted(one.family, one.cores, one.priority, workspace=request.workspace, version=one.version)
        for one in asked.limits
    ]
    rows = [
        {
            "family": outcome.wanted.family,
            "priority": outcome.wanted.priority,
            "status": Said(outcome.status).value,
            "message": outcome.message,
            "cores": outcome.limit.cores if outcome.limit else None,
            "version": outcome.limit.version if outcome.limit else None,
        }
        for outcome in set_limits(wanted, by=request.user)
    ]
    return {"items": rows, "next": None}


@router.get("/verdict", response=VerdictSaid)
def get_verdict(request: StudioRequest, asked: Query[Wish]) -> dict[str, Any]:
    """What would become of a cluster or a run: whether it fits into the limits, and what to do where it does not."""
    size = sizes.find(asked.vm_size)
    if size is None:
        raise NotValid([("vm_size", _("There is no size “%(size)s”.") % {"size": asked.vm_size})])
    found = verdict(
        request.workspace,
        size,
        asked.priority,
        min_nodes=asked.min_nodes,
        max_nodes=asked.max_nodes,
        node_count=asked.node_count,
        person=request.user,
        team=team_of(request.workspace, request.user),
        target=target_of(request, asked.target) if asked.target else None,
    )
    return {name: getattr(found, name) for name in VerdictSaid.model_fields}
