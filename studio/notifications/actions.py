"""Verbs of notifications: announce what happened; make, change, test and delete webhooks."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from urllib3.util import Url

from studio.errors import NotAllowedNow
from studio.live import nudge
from studio.notifications import mail, outbox, posting
from studio.notifications.events import TEST, About, Event
from studio.notifications.models import GIVEN_UP_AFTER, Delivery, DeliveryState, MailChoice, Notice, Webhook
from studio.people.actions import note
from studio.people.models import User, Workspace
from studio.people.permissions import Right, roles_with
from studio.work import queue

DELIVER = "studio.notifications.tasks.deliver"
MOST_WEBHOOKS = 20  # of a workspace
FORMER_SIGNS = timedelta(days=1)  # after a new secret was made
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
        queue(DELIVER)


def who_want(workspace: Workspace, event: Event, about: About, to: Iterable[User]) -> list[User]:
    """Return those of `to` who are told by e-mail: members with an address, as they chose themselves."""
    ids = {one.pk for one in to}
    if not ids or not mail.is_set_up():
        return []
    found = User.objects.filter(pk__in=ids, is_active=True, memberships__workspace=workspace).exclude(email="")
    return [one for one in found.select_related("mail_choice") if MailChoice.of(one).wants(event, about.data)]


def members_with(workspace: Workspace, right: Right) -> list[User]:
    """Return the members whose role carries `right`: whom to tell of what waits for one of them."""
    found = User.objects.filter(memberships__workspace=workspace, memberships__role__in=roles_with(right))
    return list(found.order_by("pk"))


def choose_mail(person: User, events: Iterable[Event], least_minutes: int) -> None:
    """Store what a person wants to be told by e-mail."""
    facts = {"events": sorted(set(events)), "least_minutes": least_minutes}
    MailChoice.objects.update_or_create(user=person, defaults=facts)


def add_webhook(webhook: Webhook, address: str, *, by: User) -> str:
    """Store a new webhook and return its signing secret, which is not shown again. Raises StudioError."""
    url = _allowed(webhook, address)  # a name server may take its time: nothing is locked meanwhile
    with transaction.atomic():
        _lock_name(webhook)
        if webhook.workspace.webhooks.count() >= MOST_WEBHOOKS:
            raise NotAllowedNow(
                _("A workspace has %(n)d webhooks at most.") % {"n": MOST_WEBHOOKS}, _("Delete one that is not used.")
            )
        webhook.created_by = by
        webhook.save()
        secret = posting.new_signing_secret()
        webhook.keep("signing", secret)
        _set_address(webhook, url)
        webhook.save()
        note(webhook.workspace, by, "webhook.add", webhook, **_named(webhook), detail={"after": _facts(webhook)})
        webhook.moved()
        return secret


def change_webhook(webhook: Webhook, address: str, *, by: User) -> None:
    """Store what was changed of a webhook; an empty address keeps the one there is. Raises StudioError."""
    url = _allowed(webhook, address) if address else None  # a name server may take its time: nothing is locked
    with transaction.atomic():
        _lock_name(webhook)
        stored = Webhook.objects.select_for_update().get(pk=webhook.pk)
        changed = ["name", "format", "language", "events", "experiment", "is_on"]
        if url is not None:
            webhook.sealed = stored.sealed  # somebody may have made a new secret meanwhile
            _set_address(webhook, url)
            webhook.failures, webhook.resting_until, webhook.problem = 0, None, ""
            changed += ["sealed", "host", "ending", "failures", "resting_until", "problem"]
        if not webhook.is_on:
            outbox.drop(webhook)
        webhook.save(update_fields=changed)
        note(
            webhook.workspace,
            by,
            "webhook.change",
            webhook,
            **_named(webhook),
            detail={"before": _facts(stored), "after": _facts(webhook) | {"new_address": bool(address)}},
        )
        webhook.moved()


@transaction.atomic
def renew_secret(webhook: Webhook, *, by: User) -> str:
    """Make a new signing secret and return it; for a day the former one signs, too."""
    webhook = Webhook.objects.select_for_update().get(pk=webhook.pk)
    webhook.keep("former", webhook.secret("signing"))
    secret = posting.new_signing_secret()
    webhook.keep("signing", secret)
    webhook.former_until = timezone.now() + FORMER_SIGNS
    webhook.save(update_fields=["sealed", "former_until"])
    note(webhook.workspace, by, "webhook.secret", webhook, **_named(webhook), detail={})
    webhook.moved()
    return secret


@transaction.atomic
def delete_webhook(webhook: Webhook, *, by: User) -> None:
    """Delete a webhook with its log; nothing more is sent."""
    note(webhook.workspace, by, "webhook.delete", webhook, **_named(webhook), detail={"before": _facts(webhook)})
    webhook.delete()
    nudge(webhook.workspace.group, "webhook:gone")


def try_webhook(webhook: Webhook, *, by: User) -> Delivery:
    """Send a test now and return what it came to. It is not tried again."""
    notice = Notice.objects.create(
        workspace=webhook.workspace,
        event=TEST,
        title=gettext_noop("A test of %(name)s") % {"name": webhook.name},
        text=gettext_noop("%(user)s sent it, to see whether it arrives.") % {"user": by.username},
        path=f"/w/{webhook.workspace.name}/",
    )
    now = timezone.now()
    delivery = Delivery.objects.create(notice=notice, webhook=webhook, next_at=None, give_up_at=now)
    outbox.attempt(delivery, webhook)
    with transaction.atomic():
        webhook.moved()
    return delivery


@transaction.atomic
def deliver_again(delivery: Delivery, *, by: User) -> None:
    """Send once more what was sent or given up, under the same id. Raises NotAllowedNow while it waits anyway."""
    webhook = delivery.webhook
    if webhook is None or not webhook.is_on:
        raise NotAllowedNow(_("This webhook is turned off."), _("Turn it on first."))
    now = timezone.now()
    ended = Delivery.objects.filter(pk=delivery.pk).exclude(state=DeliveryState.WAITING)
    fresh = {"state": DeliveryState.WAITING, "attempts": 0, "next_at": now, "give_up_at": now + GIVEN_UP_AFTER}
    if not ended.update(**fresh):
        raise NotAllowedNow(_("It waits to be sent already."))
    Webhook.objects.filter(pk=webhook.pk).update(resting_until=None)
    note(webhook.workspace, by, "webhook.again", webhook, **_named(webhook), detail={"message": delivery.message_id})
    webhook.moved()
    queue(DELIVER)


def _lock_name(webhook: Webhook) -> None:
    """Let nobody else take its name meanwhile. Raises NotAllowedNow when somebody has."""
    Workspace.objects.select_for_update().get(pk=webhook.workspace_id)
    if Webhook.objects.filter(workspace=webhook.workspace, name__iexact=webhook.name).exclude(pk=webhook.pk).exists():
        raise NotAllowedNow(_("The name “%(name)s” is taken.") % {"name": webhook.name})


def _allowed(webhook: Webhook, address: str) -> Url:
    """Return an address that may be reached, as its name is resolved now. Raises StudioError for any other."""
    url = posting.parse(address)
    posting.places_of(webhook.workspace, url)
    return url


def _set_address(webhook: Webhook, url: Url) -> None:
    """Seal an address and keep what is shown of it."""
    webhook.keep("address", url.url)
    webhook.host = (url.netloc or "")[:255]
    webhook.ending = url.url[-4:]


def _named(webhook: Webhook) -> dict[str, str]:
    return {"kind": "webhook", "name": webhook.name}


def _facts(webhook: Webhook) -> dict[str, Any]:
    names = ("name", "format", "language", "events", "experiment", "is_on", "host")
    return {name: getattr(webhook, name) for name in names}
