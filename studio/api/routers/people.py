"""A workspace: its facts, its members, the sizes it can use, and what is found in it."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, Q
from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from compute import sizes
from compute.engines import embedded
from compute.glance import glance
from compute.states import Priority
from runs.models import Run
from studio.api.kit import Asked, Listed, Paging, Text, listed, place_in
from studio.http import StudioRequest
from studio.people.models import Invitation, Membership, Team
from studio.people.permissions import TABLE, Right, Role
from studio.shell import FOUND, find

router = Router()


class WorkspaceFacts(Schema):
    name: str
    id: UUID
    description: str
    created_at: datetime
    members: int
    active_runs: int
    nodes_up: int
    nodes_busy: int
    nodes_at_most: int
    queued_jobs: int
    oldest_wait_since: datetime | None
    spend_usd_per_hour: Decimal = Field(description="Of the nodes that are up, at the prices here.")
    azure_usd_per_hour: Decimal = Field(description="What they would cost in Azure.")
    prices: str = Field(description="What the figures rest on: currency, region and date.")


class Member(Schema):
    username: str
    name: str
    role: str
    team: str | None
    since: datetime


class InvitationFacts(Schema):
    """An invitation that nobody has accepted yet; what opens it is told nobody again."""

    who: str = Field(description="As an Owner typed it.")
    role: Role
    made_by: str
    created_at: datetime
    expires_at: datetime


class RoleFacts(Schema):
    role: Role
    name: str
    rights: list[Right]


class TeamFacts(Schema):
    id: int
    name: str
    members: list[str] = Field(description="Usernames.")
    created_at: datetime


class Size(Schema):
    name: str
    family: str
    category: str
    vcpus: int
    memory_bytes: int
    disk_bytes: int
    gpus: int
    gpu_type: str
    low_priority_capable: bool
    price_usd_per_hour: Decimal | None
    low_priority_price_usd_per_hour: Decimal | None
    recommended: bool
    refused: str = Field(description="Why no machine of the studio can host it; empty: one can.")


class FoundTarget(Schema):
    name: str
    kind: str


class FoundRun(Schema):
    run_id: str
    display_name: str
    status: str


class FoundExperiment(Schema):
    name: str


class Found(Schema):
    targets: list[FoundTarget]
    runs: list[FoundRun]
    experiments: list[FoundExperiment]


class Words(Asked):
    q: Text = Field(min_length=1, max_length=100, description="Part of a name or a tag; “key=value” asks for a tag.")


@router.get("", response=WorkspaceFacts)
def get_workspace(request: StudioRequest) -> dict[str, Any]:
    """A workspace, and what goes on in it."""
    space = request.workspace
    now = glance(space, cores_capacity=0)
    return {
        "name": space.name,
        "id": space.guid,
        "description": space.description,
        "created_at": space.created_at,
        "members": space.memberships.count(),
        "active_runs": Run.objects.active().filter(workspace=space, archived_at=None).count(),
        "nodes_up": now.nodes_up,
        "nodes_busy": now.nodes_busy,
        "nodes_at_most": now.nodes_at_most,
        "queued_jobs": now.queue,
        "oldest_wait_since": now.oldest,
        "spend_usd_per_hour": now.spend_usd_per_hour,
        "azure_usd_per_hour": now.azure_usd_per_hour,
        "prices": now.rests_on,
    }


@router.get("/members", response=Listed[Member])
def list_members(request: StudioRequest) -> dict[str, Any]:
    """Who belongs to the workspace, as what."""
    found = request.workspace.memberships.select_related("user", "team").order_by("user__username")
    return {"items": [_member(one) for one in found], "next": None}


def _member(one: Membership) -> dict[str, Any]:
    return {
        "username": one.user.username,
        "name": one.user.get_full_name(),
        "role": one.role,
        "team": one.team.name if one.team else None,
        "since": one.created_at,
    }


@router.get("/invitations", response=Listed[InvitationFacts])
def list_invitations(request: StudioRequest, response: HttpResponse, asked: Query[Paging]) -> dict[str, Any]:
    """The invitations that nobody has accepted yet, the newest first; people are invited in the browser."""
    found = request.workspace.invitations.pending().select_related("made_by")
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_invitation(one) for one in rows], *([rows[-1].pk] if more else []))


def _invitation(one: Invitation) -> dict[str, Any]:
    kept = {name: getattr(one, name) for name in InvitationFacts.model_fields if name != "made_by"}
    return kept | {"made_by": one.made_by.username}


@router.get("/roles", response=Listed[RoleFacts])
def list_roles(request: StudioRequest) -> dict[str, Any]:
    """What each role may, the least first."""
    rows = [
        {"role": role, "name": str(role.label), "rights": [right for right in Right if right in TABLE[role]]}
        for role in Role
    ]
    return {"items": rows, "next": None}


@router.get("/teams", response=Listed[TeamFacts])
def list_teams(request: StudioRequest, response: HttpResponse, asked: Query[Paging]) -> dict[str, Any]:
    """The teams of the workspace by name, each with who is in it."""
    members = Membership.objects.select_related("user").order_by("user__username")
    found = Team.objects.filter(workspace=request.workspace).prefetch_related(Prefetch("memberships", members))
    if (after := place_in(asked.cursor, str, int)) is not None:
        name, pk = after
        found = found.filter(Q(name__gt=name) | Q(name=name, pk__gt=pk))
    rows = list(found.order_by("name", "pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_team(one) for one in rows], *([rows[-1].name, rows[-1].pk] if more else []))


def _team(team: Team) -> dict[str, Any]:
    members = [one.user.username for one in team.memberships.all()]
    return {"id": team.pk, "name": team.name, "members": members, "created_at": team.created_at}


@router.get("/sizes", response=Listed[Size])
def list_sizes(request: StudioRequest) -> dict[str, Any]:
    """Every VM size, its list price, and whether a machine of the studio can host it."""
    machines = embedded.hosts()
    rows = [
        {name: getattr(size, name) for name in Size.model_fields if hasattr(size, name)}
        | {
            "price_usd_per_hour": size.price(Priority.DEDICATED),
            "refused": embedded.host_verdict(size, *machines),
        }
        for size in sizes.all_sizes()
    ]
    return {"items": rows, "next": None}


@router.get("/search", response=Found)
def search(request: StudioRequest, asked: Query[Words]) -> dict[str, Any]:
    """Targets, runs and experiments whose name, id or tag holds a text."""
    return find(request.workspace, asked.q.strip(), FOUND)
