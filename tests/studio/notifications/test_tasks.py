"""What the clock does for notifications."""

from datetime import timedelta

import pytest
from django.utils import timezone

from studio.notifications import tasks
from studio.notifications.models import Delivery, Notice
from studio.people.actions import issue_token
from studio.people.permissions import Right
from tests.studio.notifications.conftest import hours_later
from tests.studio.notifications.test_webhooks import fail
from tests.studio.notifications.things import make_webhook

pytestmark = pytest.mark.django_db


def test_what_waits_is_taken_up_by_the_clock(workspace, webhook, received):
    webhook(received.url)
    fail(workspace)
    tasks.deliver()
    assert len(received.posts) == 1


def test_the_log_is_kept_for_30_days(workspace, ana):
    _one, _delivery = make_webhook(workspace, ana)
    tasks.prune()
    assert Delivery.objects.exists()
    Notice.objects.update(at=timezone.now() - timedelta(days=31))
    tasks.prune()
    assert not Delivery.objects.exists()
    assert not Notice.objects.exists()


def test_who_has_a_token_that_ends_soon_is_told_once(workspace, ana, ben):
    issue_token(workspace, ben, "nightly", {Right.VIEW}, days=6)
    issue_token(workspace, ben, "yearly", {Right.VIEW}, days=300)
    tasks.tell_of_tokens()
    hours_later(1)
    tasks.tell_of_tokens()
    delivery = Delivery.objects.get()
    assert (delivery.person, delivery.notice.title) == (ben, "The API token nightly expires soon")
