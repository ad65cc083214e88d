"""Compute targets: their list, clusters to create, resize and delete, nodes, and what happened to them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpResponse, QueryDict
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema, Status

from compute import actions, attaching, history, listing
from compute.create_views import create_from
from compute.detail_views import target_of
from compute.drivers.base import Attaches
from compute.forms import ClusterForm, ScaleForm
from compute.listing import SORTS, Filter, Shown, Tab
from compute.models import ComputeTarget
from compute.sizes import find
from compute.states import Priority
from studio.api.kit import (
    FARTHEST,
    Asked,
    Continued,
    Listed,
    Paging,
    Tags,
    Text,
    listed,
    moment_of,
    not_valid,
    once,
    place_in,
    sorts,
)
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.permissions import Right, require
from studio.said import said

router = Router()


class Target(Schema):
    name: str
    kind: str
    description: str
    tags: dict[str, str]
    state: Shown = Field(description="In one word: how it is, and whether it has something to do.")
    reason: str = Field(description="Why it is so, in a few words.")
    provisioning_state: str
    allocation_state: str
    vm_size: str
    vm_priority: str
    price_usd_per_hour: Decimal | None = Field(description="Of one node, here.")
    price: str = Field(description="What the prices rest on: currency, region and date.")
    azure_price_usd_per_hour: Decimal | None = Field(description="Of the same in Azure.")
    cost_usd_per_hour: Decimal | None = Field(description="Of the nodes that are up.")
    min_nodes: int
    max_nodes: int
    idle_seconds: int
    nodes: dict[str, int] = Field(description="How many are in each state.")
    running_jobs: int
    queued_jobs: int
    last_run_ended_at: datetime | None
    identity: dict[str, Any]
    host_key: str = Field(description="The pinned fingerprint of an attached machine.")
    created_by: str
    created_at: datetime
    modified_at: datetime


class TargetsAsked(Paging):
    """The filters of the page."""

    tab: Tab | None = Field(None, description="Those that one tab of the page lists; otherwise all.")
    q: Text = Field("", max_length=200, description="Words in name, size, tags or description.")
    state: Shown | None = None
    priority: Priority | None = None
    tag: Text = Field("", max_length=200, description="“key” or “key=value”.")
    sort: str = sorts(SORTS, "name")


class Identity(Asked):
    system_assigned: bool = False
    user_assigned: Text = Field("", max_length=500, description="The resource id of one.")


class Ssh(Asked):
    admin_user: Text = Field("azureuser", max_length=32)
    public_key: Text = Field(max_length=5000)


class Subnet(Asked):
    resource_group: Text = Field(max_length=90)
    vnet: Text = Field(max_length=64)
    subnet: Text = Field(max_length=80)


class NewCluster(Asked):
    name: Text = Field(max_length=60)
    vm_size: Text = Field(max_length=40)
    priority: Priority = Priority.DEDICATED
    min_nodes: int = Field(0, ge=0)
    max_nodes: int = Field(4, ge=0)
    idle_seconds: int = Field(120, ge=1)
    description: Text = Field("", max_length=500)
    tags: Tags = {}
    identity: Identity | None = None
    ssh: Ssh | None = None
    subnet: Subnet | None = None


class Scale(Asked):
    min_nodes: int = Field(ge=0)
    max_nodes: int = Field(ge=0)
    idle_seconds: int = Field(ge=1)


class NodeFacts(Schema):
    node_id: str
    state: str
    state_changed_at: datetime
    reason: str
    created_at: datetime
    virtual_cpus: int
    memory_bytes: int
    gpus: int
    run_id: str | None


class Happened(Schema):
    at: datetime
    who: str = Field(description="Empty: the studio itself.")
    what: str
    took_s: float | None
    error: str


@router.get("", response=Listed[Target])
def list_targets(request: StudioRequest, response: HttpResponse, asked: Query[TargetsAsked]) -> dict[str, Any]:
    """Compute targets, as the page filters and sorts them."""
    actions.ensure_local(request.workspace)
    wanted = Filter(
        tab=asked.tab or Tab.CLUSTERS,
        every_tab=asked.tab is None,
        text=asked.q.strip(),
        state=asked.state or "",
        priority=asked.priority or "",
        tag=asked.tag.strip(),
        sort=asked.sort,
    )
    start, newest = place_in(asked.cursor, int, int) or (0, listing.newest_id(request.workspace))
    found = wanted.ordered(wanted.of(request.workspace).filter(pk__lte=newest)).values_list("pk", flat=True)
    ids = list(found[min(start, FARTHEST) : min(start, FARTHEST) + asked.limit + 1])
    rows = [_row(row) for row in listing.rows(ids[: asked.limit])]
    more = len(ids) > asked.limit and start + asked.limit < FARTHEST
    return listed(request, response, rows, *([start + asked.limit, newest] if more else []))


def _row(row: listing.Row) -> dict[str, Any]:
    target = row.target
    return {
        "name": target.name,
        "kind": target.kind,
        "description": target.description,
        "tags": target.tags,
        "state": row.state,
        "reason": str(row.reason),
        "provisioning_state": target.provisioning_state,
        "allocation_state": target.allocation_state,
        "vm_size": target.vm_size,
        "vm_priority": target.vm_priority,
        "price_usd_per_hour": row.price.amount if row.price else None,
        "price": row.price.said if row.price else "",
        "azure_price_usd_per_hour": row.azure_price.amount if row.azure_price else None,
        "cost_usd_per_hour": row.cost_now,
        "min_nodes": target.min_nodes,
        "max_nodes": target.max_nodes,
        "idle_seconds": target.idle_seconds,
        "nodes": dict(row.nodes),
        "running_jobs": row.running,
        "queued_jobs": row.queued,
        "last_run_ended_at": row.last_end,
        "identity": target.identity,
        "host_key": row.host_key,
        "created_by": target.created_by.username if target.created_by else "",
        "created_at": target.created_at,
        "modified_at": target.modified_at,
    }


def _as_it_is(target: ComputeTarget) -> dict[str, Any]:
    return _row(listing.rows([target.pk])[0])


@router.post("", response={201: Target})
def create_cluster(request: StudioRequest, response: HttpResponse, asked: NewCluster) -> Status[dict[str, Any]]:
    """Create a cluster.

    What is attached is attached on its page, where the connection is examined first.
    """
    require(request.user, Right.CREATE_COMPUTE, request.workspace)
    token = once(request, "target")
    made = ComputeTarget.objects.filter(workspace=request.workspace, token=token).first()
    if made is None:
        form = ClusterForm(request.workspace, _as_form(asked))
        if not form.is_valid():
            raise not_valid(form, IN_API)
        made = create_from(form, by=request.user, token=token)
    response["Location"] = f"{request.path}/{made.name}"
    return Status(201, _as_it_is(made))


IN_API = {
    "identity_id": "identity.user_assigned",
    "admin_user": "ssh.admin_user",
    "public_key": "ssh.public_key",
    "vnet_group": "subnet.resource_group",
    "vnet": "subnet.vnet",
    "subnet": "subnet.subnet",
}


def _as_form(asked: NewCluster) -> QueryDict:
    """Return the wizard's answers for what a program asks, so that one form holds the rules."""
    if wrong := [key for key, value in asked.tags.items() if set("=\r\n") & set(key) or len(value.splitlines()) > 1]:
        raise NotValid(
            [("tags", _("“%(key)s”: a key holds no “=”, and a tag no line break.") % {"key": wrong[0][:80]})]
        )
    size, answers = find(asked.vm_size), QueryDict(mutable=True)
    said_by_name = {
        "name": asked.name,
        "type": "GPU" if size and size.is_gpu else "CPU",
        "vm_size": asked.vm_size,
        "priority": asked.priority.value,
        "min_nodes": str(asked.min_nodes),
        "max_nodes": str(asked.max_nodes),
        "idle_seconds": str(asked.idle_seconds),
        "description": asked.description,
        "tags": "\n".join(f"{key}={value}" for key, value in asked.tags.items()),
    }
    if asked.identity is not None:
        user_assigned = asked.identity.user_assigned
        if asked.identity.system_assigned and user_assigned:
            raise NotValid([("identity", _("It is one's own or a user-assigned one, and not both."))])
        said_by_name["identity"] = "user" if user_assigned else "system" if asked.identity.system_assigned else ""
        said_by_name["identity_id"] = user_assigned
    if asked.ssh is not None:
        said_by_name |= {"ssh": "on", "admin_user": asked.ssh.admin_user, "public_key": asked.ssh.public_key}
    if asked.subnet is not None:
        network = asked.subnet
        said_by_name |= {"vnet_group": network.resource_group, "vnet": network.vnet, "subnet": network.subnet}
    answers.update(said_by_name)
    return answers


@router.get("/{name}", response=Target)
def get_target(request: StudioRequest, name: str) -> dict[str, Any]:
    """One compute target."""
    return _as_it_is(target_of(request, name))


@router.delete("/{name}", response={202: Target})
def delete_target(request: StudioRequest, name: str) -> Status[dict[str, Any]]:
    """Delete a cluster, or detach what was attached.

    The runs of a cluster end and its nodes leave; what is detached runs on, without the studio.
    """
    require(request.user, Right.DELETE_COMPUTE, request.workspace)
    target = target_of(request, name)
    if isinstance(target.driver, Attaches):
        require(request.user, Right.ATTACH_COMPUTE, request.workspace)
        attaching.detach(target, by=request.user)
    else:
        actions.delete_target(target, by=request.user)
    return Status(202, _as_it_is(target))


@router.get("/{name}/scale", response=Scale)
def get_scale(request: StudioRequest, name: str) -> ComputeTarget:
    """The scale settings of a cluster."""
    return target_of(request, name)


@router.put("/{name}/scale", response=Scale)
def set_scale(request: StudioRequest, name: str, asked: Scale) -> ComputeTarget:
    """Change the scale settings of a cluster."""
    require(request.user, Right.RESIZE_COMPUTE, request.workspace)
    target = target_of(request, name)
    form = ScaleForm(asked.model_dump())
    form.size = find(target.vm_size)
    if not form.is_valid():
        raise not_valid(form)
    actions.resize_target(target, by=request.user, **form.cleaned_data)
    target.refresh_from_db()
    return target


@router.get("/{name}/nodes", response=Listed[NodeFacts])
def list_nodes(request: StudioRequest, name: str) -> dict[str, Any]:
    """The nodes of a cluster."""
    nodes = target_of(request, name).nodes.select_related("job")
    rows = [
        {field: getattr(node, field) for field in NodeFacts.model_fields if field not in {"gpus", "run_id", "reason"}}
        | {"gpus": len(node.gpus), "run_id": node.job.run_id if node.job else None, "reason": said(node.reason)}
        for node in nodes
    ]
    return {"items": rows, "next": None}


@router.post("/{name}/nodes/{node_id}/preempt", response={204: None})
def preempt_node(request: StudioRequest, name: str, node_id: str) -> Status[None]:
    """Take a node away, as a provider would, to see how its run takes it."""
    require(request.user, Right.RESIZE_COMPUTE, request.workspace)
    actions.preempt_node(target_of(request, name), node_id, by=request.user)
    return Status(204, None)


@router.get("/{name}/history", response=Listed[Happened])
def target_history(
    request: StudioRequest, response: HttpResponse, name: str, asked: Query[Continued]
) -> dict[str, Any]:
    """What happened to a target: how it scaled, and what people changed."""
    place = place_in(asked.cursor, str)
    entries, older = history.of(target_of(request, name), before=moment_of(place[0]) if place else None)
    rows = [
        {
            "at": one.at,
            "who": one.who,
            "what": one.text,
            "took_s": one.took.total_seconds() if one.took else None,
            "error": one.error,
        }
        for one in entries
    ]
    return listed(request, response, rows, *([older.isoformat()] if older else []))
