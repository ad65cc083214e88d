"""How a target is reached, what the connection doctor found, and the managed identity of a cluster."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpResponse
from ninja import Field, Query, Router, Schema, Status

from compute import actions, attaching
from compute.detail_views import target_of, typed_of
from compute.drivers.base import Attaches, CheckState, Resizes
from compute.host_keys import CHANGED
from compute.models import ComputeTarget, Examination
from studio.api.kit import Asked, Listed, Paging, Text, listed, place_in
from studio.errors import NotThere
from studio.http import StudioRequest
from studio.people.permissions import Right, require
from studio.said import said

router = Router()
MOST_IDS = 20


class Typed(Schema):
    label: str
    value: str


class CheckFacts(Schema):
    key: str = Field(description="The same for the same question in every kind.")
    title: str
    state: CheckState
    needed: bool = Field(description="Whether nothing can be attached while it is bad.")
    evidence: str = Field(description="What was seen, in the other side's words.")
    remedy: str = Field(description="What to do next; empty where it is well.")


class Look(Schema):
    """One look of the connection doctor."""

    id: int
    by: str = Field(description="Empty: the studio itself.")
    asked_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None = Field(description="null: it goes on.")
    has_passed: bool
    checks: list[CheckFacts] = Field(description="In the order in which they were made.")


class Connection(Schema):
    typed: list[Typed] = Field(description="What was typed when it was attached; no credential.")
    has_credentials: bool = Field(
        description="Whether some are kept, sealed: they are replaced in the browser, not read."
    )
    host_key: str = Field(description="The pinned fingerprint; empty: there is none.")
    changed_host_key: str = Field(description="The fingerprint it answers with instead; empty: it has not changed.")
    newest_look: Look | None


class IdentityFacts(Schema):
    type: Literal["None", "SystemAssigned", "UserAssigned"]
    ids: list[str] = Field(description="Resource ids of user-assigned ones; the first is the default.")


class IdentityWanted(Asked):
    type: Literal["None", "SystemAssigned", "UserAssigned"]
    ids: list[Text] = Field([], max_length=MOST_IDS, description="Resource ids, of user-assigned ones alone.")


@router.get("/{name}/connection", response=Connection)
def get_connection(request: StudioRequest, name: str) -> dict[str, Any]:
    """How an attached target is reached, and what the newest look at it found.

    Attaching a target, and replacing its credentials, is done in the browser.
    """
    target = _of_kind(request, name, Attaches)
    newest = _looks(target).order_by("-pk").first()
    return {
        "typed": [{"label": str(label), "value": _plain(value)} for label, value in typed_of(target)],
        "has_credentials": bool(target.sealed),
        "host_key": _sha256(target, "host_key"),
        "changed_host_key": _sha256(target, CHANGED),
        "newest_look": _look(newest) if newest else None,
    }


def _of_kind(request: StudioRequest, name: str, ability: type) -> ComputeTarget:
    """Return a target whose page shows this. Raises NotThere for one of another kind, which has no such part."""
    target = target_of(request, name)
    if not isinstance(target.driver, ability):
        raise NotThere
    return target


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sha256(target: ComputeTarget, name: str) -> str:
    return str((target.config.get(name) or {}).get("sha256", ""))


def _looks(target: ComputeTarget) -> Any:
    return target.examinations.filter(is_draft=False).select_related("by", "workspace")


def _look(one: Examination) -> dict[str, Any]:
    return {
        "id": one.pk,
        "by": one.by.username if one.by else "",
        "asked_at": one.asked_at,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "has_passed": attaching.has_passed(one),
        "checks": [
            {
                "key": check["key"],
                "title": said(str(check["title"])),
                "state": check["state"],
                "needed": check["needed"],
                "evidence": said(check["evidence"]),
                "remedy": "" if check["state"] == CheckState.OK else said(check["remedy"]),
            }
            for check in one.checks
        ],
    }


@router.get("/{name}/looks", response=Listed[Look])
def list_looks(request: StudioRequest, response: HttpResponse, name: str, asked: Query[Paging]) -> dict[str, Any]:
    """What the connection doctor found each time it looked at an attached target, the newest first."""
    found = _looks(_of_kind(request, name, Attaches))
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_look(one) for one in rows], *([rows[-1].pk] if more else []))


@router.post("/{name}/looks", response={202: Look})
def look_again(request: StudioRequest, name: str) -> Status[dict[str, Any]]:
    """Have the connection doctor look at an attached target; the newest look tells how far it is."""
    require(request.user, Right.ATTACH_COMPUTE, request.workspace)
    target = target_of(request, name)
    target.able(Attaches)
    return Status(202, _look(attaching.look_again(target, by=request.user)))


@router.get("/{name}/identity", response=IdentityFacts)
def get_identity(request: StudioRequest, name: str) -> dict[str, Any]:
    """The managed identity of a cluster."""
    return _identity(_of_kind(request, name, Resizes))


def _identity(target: ComputeTarget) -> dict[str, Any]:
    return {"type": target.identity.get("type", "None"), "ids": target.identity.get("ids", [])}


@router.put("/{name}/identity", response=IdentityFacts)
def set_identity(request: StudioRequest, name: str, asked: IdentityWanted) -> dict[str, Any]:
    """Give a cluster its own managed identity, user-assigned ones, or none; never both kinds."""
    require(request.user, Right.RESIZE_COMPUTE, request.workspace)
    target = target_of(request, name)
    target.able(Resizes)
    ids = [one.strip() for one in asked.ids]
    identity = {"type": asked.type} | ({"ids": ids} if ids else {})
    actions.set_identity(target, by=request.user, identity={} if identity == {"type": "None"} else identity)
    target.refresh_from_db()
    return _identity(target)
