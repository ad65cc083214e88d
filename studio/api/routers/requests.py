"""Requests for a higher limit: their list, asking, taking one back, and answering."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema, Status
from pydantic import StrictInt

from compute import sizes
from compute.detail_views import target_of
from compute.quotas import asking
from compute.quotas.asking import Blocked
from compute.quotas.models import ALL, MOST_CORES, QuotaRequest, RequestState, Scope
from compute.states import Priority
from runs.detail_views import run_of
from studio.api.kit import Asked, Listed, Paging, Text, listed, place_in
from studio.errors import NotThere, NotValid
from studio.http import StudioRequest
from studio.people.permissions import Right, require
from studio.said import said

router = Router()
MOST_NODES = 10_000  # that a request names, as on the page


class BlockedFacts(Schema):
    vm_size: str = Field(description="Empty: no size in particular.")
    family: str = Field(description="“*”: all families together.")
    priority: str
    min_nodes: int
    max_nodes: int
    node_count: int = Field(description="Of a run; 0: it is about a cluster.")
    target: str = Field(description="The cluster that is resized or run on.")
    run_id: str = Field(description="The run that waits for it.")


class RequestRow(Schema):
    id: int
    state: RequestState
    scope: Scope = Field(description="Whose limit it is about.")
    who: str = Field(description="The workspace, team or person; empty: the whole studio.")
    family: str = Field(description="“*”: all families together.")
    priority: str
    limit_was: int = Field(description="Cores, when it was asked.")
    cores: int = Field(description="What the limit should become, in cores.")
    reason: str
    asked_by: str
    created_at: datetime
    answered_by: str
    answered_at: datetime | None
    answer: str
    granted: int | None = Field(description="What the limit became, in cores.")


class RequestFacts(RequestRow):
    said: str = Field(description="The sentence that refused it, or warned.")
    blocked: BlockedFacts
    limit: int | None = Field(description="Now, in cores; null: there is none any more.")
    version: int | None = Field(description="Of the limit; whoever approves may send it.")
    may_answer: bool = Field(description="Whether you may.")


class RequestsAsked(Paging):
    state: RequestState | None = None


class NewRequest(Asked):
    """What is blocked, and how high the limit should be."""

    cores: StrictInt = Field(ge=1, le=MOST_CORES, description="Cores in all, not cores more.")
    reason: Text = Field(min_length=1, max_length=1000, description="Whoever answers reads it.")
    vm_size: Text = Field("", max_length=40)
    family: Text = Field(ALL, max_length=60, description="Where no size is meant; “*”: all families together.")
    priority: Priority = Priority.DEDICATED
    min_nodes: StrictInt = Field(0, ge=0, le=MOST_NODES)
    max_nodes: StrictInt = Field(0, ge=0, le=MOST_NODES)
    node_count: StrictInt = Field(0, ge=0, le=MOST_NODES, description="Of a run, instead of a cluster.")
    target: Text = Field("", max_length=24, description="The cluster that is resized or run on.")
    run_id: Text = Field("", max_length=255, description="The run that waits for it.")


class Approval(Asked):
    cores: StrictInt = Field(ge=0, le=MOST_CORES, description="What the limit becomes.")
    answer: Text = Field("", max_length=1000)
    version: StrictInt | None = Field(None, ge=0, lt=2**31, description="Of the limit you saw; another refuses it.")


class Refusal(Asked):
    answer: Text = Field(min_length=1, max_length=1000, description="Why; whoever asked reads it.")


@router.get("", response=Listed[RequestRow])
def list_quota_requests(request: StudioRequest, response: HttpResponse, asked: Query[RequestsAsked]) -> dict[str, Any]:
    """Requests for a higher limit, the newest first: your own, and those that you may answer."""
    found = _seen(request)
    if asked.state is not None:
        found = found.filter(state=asked.state)
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_row(one) for one in rows], *([rows[-1].pk] if more else []))


def _seen(request: StudioRequest) -> Any:
    seen = QuotaRequest.objects.for_user(request.user, request.workspace)
    return seen.select_related("workspace", "asked_by", "answered_by", "team", "person")


def _row(one: QuotaRequest) -> dict[str, Any]:
    told = {"id", "who", "asked_by", "answered_by"}
    return {name: getattr(one, name) for name in RequestRow.model_fields if name not in told} | {
        "id": one.pk,
        "who": str(one.person or one.team or ("" if one.scope == Scope.STUDIO else one.workspace)),
        "asked_by": one.asked_by.username if one.asked_by else "",
        "answered_by": one.answered_by.username if one.answered_by else "",
    }


def _facts(request: StudioRequest, pk: int) -> dict[str, Any]:
    """Return a request as it is now. Raises NotThere for one that is not to be seen."""
    one = _seen(request).filter(pk=pk).first()
    if one is None:
        raise NotThere
    blocked, limit = Blocked(**one.blocked), asking.limit_of(one)
    answerable = QuotaRequest.objects.open().answerable_by(request.user, request.workspace)
    return _row(one) | {
        "said": said(one.said),
        "blocked": {
            "vm_size": blocked.size,
            "family": blocked.family or one.family,
            "priority": blocked.priority,
            "min_nodes": blocked.min_nodes,
            "max_nodes": blocked.max_nodes,
            "node_count": blocked.node_count,
            "target": blocked.target,
            "run_id": blocked.run,
        },
        "limit": limit.cores if limit else None,
        "version": limit.version if limit else None,
        "may_answer": answerable.filter(pk=one.pk).exists(),
    }


@router.post("", response={201: RequestFacts})
def ask_quota(request: StudioRequest, response: HttpResponse, asked: NewRequest) -> Status[dict[str, Any]]:
    """Ask for a higher limit, with what is blocked by the one there is.

    Which limit that is, of the studio, the workspace, a team or a person, the studio finds: the one that leaves least.
    Asked again while the first waits, the request that is there is changed.
    """
    require(request.user, Right.ASK_QUOTA, request.workspace)
    blocked, reason = _blocked(request, asked), asked.reason.strip()
    if not reason:
        raise NotValid([("reason", _("Say what for: whoever answers reads it."))])
    one = asking.ask(request.workspace, blocked, cores=asked.cores, reason=reason, back="", by=request.user)
    response["Location"] = f"{request.path}/{one.pk}"
    return Status(201, _facts(request, one.pk))


def _blocked(request: StudioRequest, asked: NewRequest) -> Blocked:
    """Return what is blocked. Raises NotValid for what does not exist, NotThere for a target or a run that does not."""
    size, family = sizes.find(asked.vm_size), sizes.family_key(asked.family)
    if asked.vm_size and size is None:
        raise NotValid([("vm_size", _("There is no size “%(size)s”.") % {"size": asked.vm_size})])
    if family != ALL and family not in sizes.families():
        raise NotValid([("family", _("There is no family “%(family)s”.") % {"family": asked.family})])
    return Blocked(
        size=size.name if size else "",
        family=size.family_key if size else family,
        priority=asked.priority.value,
        min_nodes=asked.min_nodes,
        max_nodes=asked.max_nodes,
        node_count=asked.node_count,
        target=target_of(request, asked.target).name if asked.target else "",
        run=run_of(request, asked.run_id).run_id if asked.run_id else "",
    )


@router.get("/{int:request_id}", response=RequestFacts)
def get_quota_request(request: StudioRequest, request_id: int) -> dict[str, Any]:
    """One request: what is blocked, by which limit, and what became of it."""
    return _facts(request, request_id)


@router.post("/{int:request_id}/withdraw", response=RequestFacts)
def withdraw_quota_request(request: StudioRequest, request_id: int) -> dict[str, Any]:
    """Take back a request of yours that waits for an answer."""
    require(request.user, Right.ASK_QUOTA, request.workspace)
    one = _seen(request).filter(pk=request_id, asked_by=request.user).first()
    if one is None:
        raise NotThere
    asking.withdraw(one, by=request.user)
    return _facts(request, request_id)


@router.post("/{int:request_id}/approve", response=RequestFacts)
def approve_quota_request(request: StudioRequest, request_id: int, asked: Approval) -> dict[str, Any]:
    """Raise the limit, and tell whoever asked. For who is signed in: no token answers requests."""
    one = _to_answer(request, request_id)
    asking.approve(one, cores=asked.cores, by=request.user, answer=asked.answer, version=asked.version)
    return _facts(request, request_id)


@router.post("/{int:request_id}/decline", response=RequestFacts)
def decline_quota_request(request: StudioRequest, request_id: int, asked: Refusal) -> dict[str, Any]:
    """Decline a request, with the reason why. For who is signed in: no token answers requests."""
    one = _to_answer(request, request_id)
    asking.decline(one, answer=asked.answer, by=request.user)
    return _facts(request, request_id)


def _to_answer(request: StudioRequest, pk: int) -> QuotaRequest:
    """Return a request for who may answer some. Raises NotThere, NeedsRight."""
    if not (request.user.is_superuser and request.user.scope is None):  # who answers those about the studio's limits
        if not QuotaRequest.objects.filter(workspace=request.workspace, pk=pk).exists():
            raise NotThere
        require(request.user, Right.EDIT_QUOTA, request.workspace)
    one: QuotaRequest | None = _seen(request).filter(pk=pk).first()
    if one is None:
        raise NotThere
    return one
