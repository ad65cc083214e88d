"""Who holds the cores of a family: workspaces, their clusters, and the nodes of these with the runs on them."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from compute.detail_views import target_of
from compute.quotas import overview
from compute.quotas.models import Reservation
from studio.api.kit import Listed, Paging, listed, place_in
from studio.api.routers.quotas import FamilyAsked, family_of
from studio.http import StudioRequest

router = Router()


class Held(Schema):
    """Cores that nodes hold."""

    held: int
    running: int = Field(description="Of these, by nodes that run something.")
    borrowed: int = Field(description="Of these, above what who uses them is guaranteed.")


class ClusterHolds(Held):
    target: str
    nodes: int
    kept: int = Field(description="Cores that its minimum keeps.")


class Holder(Held):
    workspace: str | None = Field(description="null: those that you do not belong to, together.")
    limit: int | None = Field(description="Of the workspace; null: no limit.")
    clusters: list[ClusterHolds] = Field(description="Those that hold most, or keep most.")
    more: int = Field(description="Clusters that are not named.")


class NodeHolds(Schema):
    node: str
    family: str
    priority: str
    cores: int
    since: datetime
    run_id: str | None
    person: str = Field(description="Who uses it now; empty: nobody.")
    borrowed: bool


@router.get("/holders", response=Listed[Holder])
def list_holders(request: StudioRequest, asked: Query[FamilyAsked]) -> dict[str, Any]:
    """What each workspace of yours holds of a family, down to its clusters, and the others together."""
    found = overview.parts(request.user, family_of(asked), asked.priority)
    return {"items": [_holder(part) for part in found], "next": None}


def _holder(part: overview.Part) -> dict[str, Any]:
    return _use(part.use) | {
        "workspace": part.workspace.name if part.workspace else None,
        "limit": part.limit,
        "clusters": [
            _use(one.use) | {"target": one.target.name, "nodes": one.nodes, "kept": one.kept} for one in part.clusters
        ],
        "more": part.more,
    }


def _use(use: overview.Use) -> dict[str, int]:
    return {"held": use.held, "running": use.running, "borrowed": use.borrowed}


@router.get("/holders/{name}", response=Listed[NodeHolds])
def list_held(request: StudioRequest, response: HttpResponse, name: str, asked: Query[Paging]) -> dict[str, Any]:
    """The nodes of a cluster as the ledger of cores has them, each with the run on it."""
    found = Reservation.objects.held().filter(target=target_of(request, name)).select_related("job", "person")
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__gt=after[0])
    rows = list(found.order_by("pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_node(one) for one in rows], *([rows[-1].pk] if more else []))


def _node(one: Reservation) -> dict[str, Any]:
    kept = {name: getattr(one, name) for name in ("family", "priority", "cores", "borrowed")}
    return kept | {
        "node": one.node_name,
        "since": one.created_at,
        "run_id": one.job.run_id if one.job else None,
        "person": one.person.username if one.person else "",
    }
