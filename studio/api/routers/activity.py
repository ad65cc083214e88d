"""Who changed what, when: the audit trail of a workspace."""

from datetime import date, datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from studio.api.kit import Listed, Paging, Text, listed, place_in
from studio.errors import NotValid
from studio.http import StudioRequest
from studio.people.activity import ActivityFilter, verdict_of
from studio.people.models import Activity
from studio.people.permissions import Right, require
from studio.people.verbs import FAMILIES

router = Router()


class Change(Schema):
    id: int
    at: datetime
    actor: str
    way: str = Field(description="browser, token, command or studio; empty: older than this was written down.")
    token: str = Field(description="The name of the API token.")
    address: str
    verb: str
    object_kind: str
    object_id: str
    object_name: str
    detail: dict[str, Any] | list[Any] | str | None
    seq: int | None = Field(description="Its place in the chain of the workspace.")
    hash: str = Field(description="Of this entry and the one before it: a gap shows.")


class ChainFacts(Schema):
    """What looking through the newest entries of the chain found."""

    is_whole: bool
    length: int = Field(description="Entries that are linked.")
    last_hash: str
    waiting: int = Field(description="Entries that are not linked yet.")
    wrong: int | None = Field(description="The first entry that does not fit.")
    why: str = Field(description="gap, edit, tail, end or late; empty: it is whole.")
    begins: int = Field(description="The first entry that was looked at.")


class ChangesAsked(Paging):
    """The filters of the page."""

    q: Text = Field("", max_length=200, description="Words in it.")
    who: Text = Field("", max_length=150, description="A user name; “studio” is the studio itself.")
    family: Text = Field("", max_length=40, description="Of what kind the change is: “run”, “target”, “member”, …")
    kind: Text = Field("", max_length=20, description="Of one object, with its id: “target”, “run”, …")
    object_id: Text = Field("", max_length=255)
    since: date | None = None
    until: date | None = Field(None, description="This day, too.")


@router.get("", response=Listed[Change])
def list_activity(request: StudioRequest, response: HttpResponse, asked: Query[ChangesAsked]) -> dict[str, Any]:
    """What was changed in the workspace, the newest first."""
    require(request.user, Right.VIEW_ACTIVITY, request.workspace)
    if asked.family and asked.family not in FAMILIES:
        raise NotValid([("family", _("It is one of %(names)s.") % {"names": ", ".join(sorted(FAMILIES))})])
    if bool(asked.kind) != bool(asked.object_id):
        raise NotValid([("object_id", _("kind and object_id go together."))])
    for name in ("since", "until"):
        day = getattr(asked, name)
        if day is not None and not 1970 <= day.year < 9999:
            raise NotValid([(name, _("There was nothing then."))])
    found = ActivityFilter(
        text=asked.q.strip(),
        who=asked.who.strip(),
        family=asked.family,
        kind=asked.kind,
        object_id=asked.object_id,
        since=asked.since,
        until=asked.until,
    ).of(request.workspace)
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_row(one) for one in rows], *([rows[-1].pk] if more else []))


@router.get("/chain", response=ChainFacts)
def activity_chain(request: StudioRequest) -> Any:
    """Whether the chain of the workspace's activity is whole: no entry is missing, and none is another than it was."""
    require(request.user, Right.VIEW_ACTIVITY, request.workspace)
    return verdict_of(ActivityFilter(), request.workspace)


def _row(one: Activity) -> dict[str, Any]:
    kept = {name: getattr(one, name) for name in Change.model_fields if name not in {"actor", "id"}}
    return kept | {"id": one.pk, "actor": one.actor_name}
