"""Limits, what is used of them, and what would become of a request."""

from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema
from pydantic import StrictInt

from compute.detail_views import target_of
from compute.quotas.actions import Status as Said
from compute.quotas.actions import Wanted, set_limits
from compute.quotas.bounds import Bound, with_use
from compute.quotas.models import ALL, MOST_CORES, Limit, Scope
from compute.quotas.verdict import verdict
from compute.sizes import find
from compute.states import Priority
from studio.api.kit import Asked, Listed, Text
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.actions import team_of
from studio.people.permissions import Right, require

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
    size = find(asked.vm_size)
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
