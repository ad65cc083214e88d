"""Steps of notifications: short, safe to run twice, lost without harm, for the rows know what waits."""

from datetime import timedelta

from celery import shared_task
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from studio.notifications import outbox
from studio.notifications.actions import announce
from studio.notifications.events import About, Event
from studio.notifications.models import Notice
from studio.people.models import ApiToken

A_STEP = 15.0  # seconds
KEPT = timedelta(days=30)
BATCH = 1000
TOLD_BEFORE = timedelta(days=7)  # a token's last day


@shared_task(name="studio.notifications.tasks.deliver")
def deliver() -> None:
    """Send what waits. Whatever a crash left behind is taken up by the clock's next one."""
    if outbox.drain(A_STEP):
        deliver.delay()


@shared_task(name="studio.notifications.tasks.prune")
def prune() -> None:
    """Forget what happened long ago, with the log of its deliveries."""
    old = Notice.objects.filter(at__lt=timezone.now() - KEPT)
    while ids := list(old.values_list("pk", flat=True)[:BATCH]):
        Notice.objects.filter(pk__in=ids).delete()


@shared_task(name="studio.notifications.tasks.tell_of_tokens")
def tell_of_tokens() -> None:
    """Tell people of their API tokens that end within a week, once."""
    soon = ApiToken.objects.working().filter(expires_at__lt=timezone.now() + TOLD_BEFORE)
    for token in soon.select_related("user", "workspace"):
        data = {"token": token.pk, "name": token.name, "expires_at": token.expires_at.isoformat()}
        told = Notice.objects.filter(workspace=token.workspace, event=Event.TOKEN_EXPIRING, data__token=token.pk)
        with transaction.atomic():
            if told.exists():
                continue
            about = About(
                gettext_noop("The API token %(name)s expires soon") % {"name": token.name},
                gettext_noop("It works until %(day)s.") % {"day": token.expires_at.strftime("%Y-%m-%d %H:%M UTC")},
                gettext_noop("Make another one, and put it where this one is used."),
                path=f"/w/{token.workspace.name}/tokens/",
                facts={gettext_noop("Of"): token.user.username},
                data=data | {"user": token.user.username},
            )
            announce(token.workspace, Event.TOKEN_EXPIRING, about=about, to=[token.user])
