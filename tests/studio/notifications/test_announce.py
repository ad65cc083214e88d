"""Who is told of what, and that it is stored with what it tells of."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from studio.notifications.actions import announce
from studio.notifications.events import About, Event
from studio.notifications.models import Delivery, MailChoice, Notice, Webhook
from studio.people.models import User, Workspace

pytestmark = pytest.mark.django_db
FAILED = About("brave_lemur failed", data={"experiment": "Digits", "seconds": 700.0})


@pytest.fixture
def webhook(workspace: Workspace) -> Callable[..., Webhook]:
    def make(name: str, *events: Event, **facts: Any) -> Webhook:
        return Webhook.objects.create(workspace=workspace, name=name, events=[*events], **facts)

    return make


def told() -> set[str]:
    return {str(one.webhook or one.person) for one in Delivery.objects.select_related("webhook", "person")}


def test_webhooks_are_told_what_they_want(webhook, workspace, queued, django_capture_on_commit_callbacks):
    webhook("failures", Event.RUN_FAILED)
    webhook("ends", Event.RUN_COMPLETED)
    webhook("off", Event.RUN_FAILED, is_on=False)
    webhook("digits", Event.RUN_FAILED, experiment="digits")
    webhook("others", Event.RUN_FAILED, experiment="letters")
    with django_capture_on_commit_callbacks(execute=True):
        announce(workspace, Event.RUN_FAILED, about=FAILED)
    assert told() == {"failures", "digits"}
    assert [name for name, _args in queued] == ["studio.notifications.tasks.deliver"]


def test_members_are_mailed_as_they_chose(workspace, ana, ben, rita, cleo, settings):
    MailChoice.objects.create(user=rita, events=[Event.RUN_COMPLETED])
    announce(workspace, Event.RUN_FAILED, about=FAILED, to=[ana, ben, ben, rita, cleo])
    assert told() == {"ana", "ben"}
    announce(workspace, Event.RUN_COMPLETED, about=FAILED, to=[ana, rita])
    assert told() == {"ana", "ben", "rita"}
    short = About("brave_lemur failed", data={"seconds": 599})
    Notice.objects.all().delete()
    User.objects.filter(pk=ben.pk).update(email="")
    announce(workspace, Event.RUN_FAILED, about=short, to=[ana, ben])
    announce(workspace, Event.RUN_FAILED, about=FAILED, to=[ben])
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    announce(workspace, Event.RUN_FAILED, about=FAILED, to=[ana])
    assert not Notice.objects.exists()


def test_what_did_not_happen_is_not_told(webhook, workspace, queued):
    webhook("failures", Event.RUN_FAILED)
    with transaction.atomic():
        announce(workspace, Event.RUN_FAILED, about=FAILED)
        assert Notice.objects.exists()
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    assert not queued
