"""Verbs of notifications: announce what happened; make, change, test and delete webhooks."""

from collections.abc import Iterable
from datetime import timedelta

from celery import current_app
from django.db import transaction
from django.utils import timezone

from studio.notifications import mail
from studio.notifications.events import About, Event
from studio.notifications.models import GIVEN_UP_AFTER, Delivery, MailChoice, Notice, Webhook
from studio.people.models import User, Workspace

MAIL_WAITS = timedelta(minutes=1)  # so that what ends together comes in one mail


@transaction.atomic(savepoint=False)
def announce(workspace: Workspace, event: Event, *, about: About, to: Iterable[User] = ()) -> None:
    """Tell the workspace's webhooks that want it, and by e-mail those of `to` who do, of what happened.

    Call it in the transaction that changes what it tells of: both are stored, or neither. It is sent after the commit.
    """
    webhooks = [one for one in Webhook.objects.filter(workspace=workspace, is_on=True) if one.wants(event, about)]
    people = who_want(workspace, event, about, to)
    if not webhooks and not people:
        return
    now = timezone.now()
    notice = Notice.objects.create(
        workspace=workspace,
        event=event,
        at=now,
        title=about.title[:300],
        text=about.text[:1000],
        hint=about.hint[:1000],
        path=about.path[:500],
        facts=about.facts,
        data=about.data,
    )
    common = {"notice": notice, "give_up_at": now + GIVEN_UP_AFTER}
    Delivery.objects.bulk_create(
        [
            *(Delivery(webhook=one, next_at=now, **common) for one in webhooks),
            *(Delivery(person=one, next_at=now + MAIL_WAITS, **common) for one in people),
        ]
    )
    for webhook in webhooks:
        webhook.workspace = workspace
        webhook.moved()
    if webhooks:
        transaction.on_commit(lambda: current_app.send_task("studio.notifications.tasks.deliver"))


def who_want(workspace: Workspace, event: Event, about: About, to: Iterable[User]) -> list[User]:
    """Return those of `to` who are told by e-mail: members with an address, as they chose themselves."""
    ids = {one.pk for one in to}
    if not ids or not mail.is_set_up():
        return []
    found = User.objects.filter(pk__in=ids, is_active=True, memberships__workspace=workspace).exclude(email="")
    return [one for one in found.select_related("mail_choice") if choice_of(one).wants(event, about)]


def choice_of(person: User) -> MailChoice:
    """Return what a person wants to be told by e-mail."""
    known: MailChoice | None = getattr(person, "mail_choice", None)
    return known or MailChoice.default_of(person)
