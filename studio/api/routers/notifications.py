"""Whom the workspace tells of what happens: its webhooks without what is secret, and the log of what was sent."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Field, Query, Router, Schema, Status

from studio.api.kit import Listed, Paging, listed, place_in
from studio.errors import NotThere
from studio.http import StudioRequest
from studio.notifications import actions
from studio.notifications.models import Delivery, DeliveryState, Faring, Format, Webhook
from studio.notifications.views import webhook_of, with_figures
from studio.people.permissions import Right, require
from studio.said import said

router = Router()


class WebhookRow(Schema):
    id: int
    name: str
    state: Faring
    problem: str = Field(description="Why it is given up; empty: it is not.")
    format: Format
    experiment: str = Field(description="Of runs, only this one's; empty: of all.")
    address: str = Field(description="Its host and last letters: the rest is a secret.")
    last_delivered_at: datetime | None
    waiting: int = Field(description="Messages that are not sent yet.")


class WebhookFacts(WebhookRow):
    is_on: bool
    language: str = Field(description="Of the sentences.")
    events: list[str]
    created_by: str
    created_at: datetime
    failures: int = Field(description="In a row.")
    resting_until: datetime | None = Field(description="It did not answer as it should, and is left alone until then.")


class DeliveryFacts(Schema):
    id: int
    message_id: str = Field(description="What the receiver knows it by, however often it comes: webhook-id.")
    event: str
    title: str
    at: datetime
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    last_at: datetime | None
    code: int | None = Field(description="Of the last answer.")
    took_ms: int | None
    problem: str
    words: str = Field(description="The receiver's own, in its last answer.")


@router.get("/webhooks", response=Listed[WebhookRow])
def list_webhooks(request: StudioRequest) -> dict[str, Any]:
    """The webhooks of the workspace, and how each fares."""
    rows = [_row(one, WebhookRow) for one in with_figures(request.workspace.webhooks)]
    return {"items": rows, "next": None}


def _row(one: Any, kind: type[Schema]) -> dict[str, Any]:
    given = {
        "id": one.pk,
        "state": one.faring,
        "problem": said(one.problem),
        "address": f"{one.host}/…{one.ending}",
        "last_delivered_at": one.sent_at,
        "created_by": one.created_by.username if kind is WebhookFacts and one.created_by else "",
    }
    return {name: given[name] if name in given else getattr(one, name) for name in kind.model_fields}


@router.get("/webhooks/{int:webhook_id}", response=WebhookFacts)
def get_webhook(request: StudioRequest, webhook_id: int) -> dict[str, Any]:
    """One webhook: what it is told, and how it fares."""
    return _row(_webhook(request, webhook_id), WebhookFacts)


def _webhook(request: StudioRequest, webhook_id: int) -> Webhook:
    webhook = webhook_of(request, webhook_id)  # every member is told that it is there
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    return webhook


@router.get("/webhooks/{int:webhook_id}/deliveries", response=Listed[DeliveryFacts])
def list_deliveries(
    request: StudioRequest, response: HttpResponse, webhook_id: int, asked: Query[Paging]
) -> dict[str, Any]:
    """What was sent to a webhook, the newest first; kept for 30 days."""
    found = _webhook(request, webhook_id).deliveries.select_related("notice")
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_delivery(one) for one in rows], *([rows[-1].pk] if more else []))


def _delivery(one: Delivery) -> dict[str, Any]:
    given = {
        "id": one.pk,
        "event": one.notice.event,
        "title": said(one.notice.title),
        "at": one.notice.at,
        "problem": said(one.problem),
    }
    return {name: given[name] if name in given else getattr(one, name) for name in DeliveryFacts.model_fields}


@router.post("/webhooks/{int:webhook_id}/test", response=DeliveryFacts)
def test_webhook(request: StudioRequest, webhook_id: int) -> dict[str, Any]:
    """Send a test now; the answer is what it came to. It is not tried again."""
    return _delivery(actions.try_webhook(_webhook(request, webhook_id), by=request.user))


@router.post("/webhooks/{int:webhook_id}/deliveries/{int:delivery_id}/again", response={202: DeliveryFacts})
def deliver_again(request: StudioRequest, webhook_id: int, delivery_id: int) -> Status[dict[str, Any]]:
    """Send once more what was sent or given up, under the same id."""
    known = _webhook(request, webhook_id).deliveries.select_related("webhook__workspace", "notice")
    found = known.filter(pk=delivery_id).first()
    if found is None:
        raise NotThere
    actions.deliver_again(found, by=request.user)
    return Status(202, _delivery(known.get(pk=delivery_id)))
