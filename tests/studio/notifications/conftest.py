"""A webhook of ana's workspace at a real receiver, and time that passes when a test says so."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from studio.notifications import actions, outbox
from studio.notifications.events import Event
from studio.notifications.models import Delivery, Webhook
from studio.people.models import Allowance, User, Workspace
from tests.receivers import Receiver, receiver

Webhooks = Callable[..., tuple[Webhook, str]]


@pytest.fixture
def received() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def inside(workspace: Workspace) -> None:
    """Allow what an Owner allows: this machine, and internal networks."""
    workspace.allowances = [Allowance.THIS_MACHINE.value, Allowance.INTERNAL_WEBHOOKS.value]
    workspace.save()


@pytest.fixture
def webhook(workspace: Workspace, ana: User, inside: None) -> Webhooks:
    """Make a webhook that is told of failed runs; return it with its signing secret."""

    def make(url: str, **facts: Any) -> tuple[Webhook, str]:
        one = Webhook(workspace=workspace, **{"name": "ops", "events": [Event.RUN_FAILED.value]} | facts)
        return one, actions.add_webhook(one, url, by=ana)

    return make


def hours_later(hours: float) -> None:
    """Let time pass for all that waits."""
    span = timedelta(hours=hours)
    Delivery.objects.update(next_at=F("next_at") - span, give_up_at=F("give_up_at") - span)
    Webhook.objects.update(resting_until=F("resting_until") - span, busy_until=F("busy_until") - span)


def drain() -> None:
    outbox.drain(10)
