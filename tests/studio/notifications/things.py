"""A webhook with a delivery in its log, for tests that look at pages."""

from typing import Any

from django.utils import timezone

from studio.notifications.events import Event
from studio.notifications.models import Delivery, DeliveryState, Notice, Webhook
from studio.people.models import User, Workspace


def make_webhook(workspace: Workspace, by: User, **facts: Any) -> tuple[Webhook, Delivery]:
    """Make one whose address lies inside, so that nothing is ever sent there, and something it was told."""
    webhook = Webhook.objects.create(
        workspace=workspace,
        created_by=by,
        **{"name": "ops", "host": "hooks.slack.com", "ending": "wxyz", "events": [Event.RUN_FAILED.value]} | facts,
    )
    webhook.keep("address", "https://127.0.0.1/hook/wxyz")
    webhook.keep("signing", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    webhook.save()
    notice = Notice.objects.create(workspace=workspace, event=Event.RUN_FAILED, title="Run brave_lemur_7k2 failed")
    now = timezone.now()
    delivery = Delivery.objects.create(
        notice=notice, webhook=webhook, state=DeliveryState.SENT, attempts=2, next_at=None, give_up_at=now,
        last_at=now, code=200, took_ms=84, words="ok",
    )  # fmt: skip
    return webhook, delivery
