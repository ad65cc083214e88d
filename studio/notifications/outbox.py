"""What waits is sent, again and again where it must be, until it arrived or was given up.

Whoever sends to a webhook or a person claims it first, for long enough; one that dies in the middle loses its claim
after that, and what it sent may be sent again, under the same id. A webhook that does not answer rests ever longer,
so that one of them costs a worker little, however much waits for it.
"""

import logging
import random
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Min, Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from studio.notifications import formats, mail, posting
from studio.notifications.models import Delivery, DeliveryState, Webhook
from studio.notifications.posting import Answer
from studio.people.models import User
from studio.seal import CannotUnseal

logger = logging.getLogger(__name__)
CLAIMED_FOR = timedelta(seconds=90)  # longer than one message ever takes
FIRST_WAIT, LONGEST_WAIT = 10.0, 4 * 3600.0  # seconds; each wait is three times the one before
LONGEST_REST = timedelta(days=1)  # however long a receiver wishes
A_TURN = 5.0  # seconds for one webhook, while others wait
GONE = 410
_slots = threading.BoundedSemaphore(2)  # of the process; the others of its threads have runs to look after


def drain(seconds: float) -> bool:
    """Send what is due, for about so long; say whether some is left. Two of a process do so at once, and no more."""
    if not _slots.acquire(blocking=False):
        return False  # those who do look again before they end
    try:
        deadline, served = time.monotonic() + seconds, set[int]()
        while time.monotonic() < deadline:
            if webhook := _claim_webhook(but=served):
                _serve(webhook)
                served.add(webhook.pk)
            elif served:
                served = set()  # another turn for each
            elif not _send_mail():
                return False
        return True
    finally:
        _slots.release()


def wait_after(tries: int) -> float:
    """Return the seconds until the next try after so many, never the same for two."""
    return float(min(FIRST_WAIT * 3 ** max(tries - 1, 0), LONGEST_WAIT)) * random.uniform(0.8, 1.2)  # noqa: S311


# Webhooks


def _over(name: str, longest: timedelta) -> Q:
    """Say of a moment in a column that it is over, also where the clock was set back: nothing waits that `longest`."""
    now = timezone.now()
    return Q(**{f"{name}__lte": now}) | Q(**{f"{name}__gt": now + longest})


def _free() -> Q:
    is_not_busy = Q(busy_until=None) | _over("busy_until", CLAIMED_FOR)
    return is_not_busy & (Q(resting_until=None) | _over("resting_until", LONGEST_REST))


def _due() -> Q:
    return Q(state=DeliveryState.WAITING) & _over("next_at", LONGEST_REST)


def _claim_webhook(but: set[int]) -> Webhook | None:
    """Return a webhook that nobody else sends to from now on, the one that waits longest; None when there is none."""
    free = Webhook.objects.filter(_free(), is_on=True).exclude(pk__in=but)
    waiting = Delivery.objects.filter(_due(), webhook__in=free).order_by()
    for pk in waiting.values("webhook_id").annotate(first=Min("next_at")).order_by("first").values_list("webhook_id"):
        if Webhook.objects.filter(_free(), pk=pk[0], is_on=True).update(busy_until=timezone.now() + CLAIMED_FOR):
            return Webhook.objects.select_related("workspace").get(pk=pk[0])
    return None


def _serve(webhook: Webhook) -> None:
    """Send what waits for a webhook, for a while, as long as it answers."""
    deadline = time.monotonic() + A_TURN
    try:
        for delivery in _waiting_for(webhook):
            Webhook.objects.filter(pk=webhook.pk).update(busy_until=timezone.now() + CLAIMED_FOR)
            if not attempt(delivery, webhook) or time.monotonic() > deadline:
                break
    finally:
        with transaction.atomic():
            Webhook.objects.filter(pk=webhook.pk).update(busy_until=None)
            webhook.moved()


def _waiting_for(webhook: Webhook) -> Iterator[Delivery]:
    while found := webhook.deliveries.filter(_due()).select_related("notice__workspace").order_by("next_at").first():
        yield found


def attempt(delivery: Delivery, webhook: Webhook) -> bool:
    """Send one delivery now and store what it came to; say whether the webhook may be sent more."""
    now = timezone.now()
    Delivery.objects.filter(pk=delivery.pk).update(attempts=F("attempts") + 1, last_at=now)
    delivery.attempts += 1
    answer = send(delivery, webhook)
    logger.info("Webhook %s was sent %s: %s", webhook.pk, delivery.message_id, answer.problem or answer.code)
    return record(delivery, webhook, answer)


def send(delivery: Delivery, webhook: Webhook) -> Answer:
    """Sign and post one delivery."""
    body = formats.body_of(delivery.notice, webhook.format, webhook.language)
    stamp = int(time.time())
    try:
        address = webhook.secret("address")
        secrets = [webhook.secret(name) for name in ("signing", *webhook.former_signing)]
    except (CannotUnseal, KeyError):
        return Answer(problem=gettext_noop("Its address cannot be unsealed any more: give it again."))
    signatures = [posting.signature(secret, delivery.message_id, stamp, body) for secret in secrets]
    headers = {
        "content-type": "application/json",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": " ".join(signatures),
    }
    return posting.post(webhook.workspace, address, body, headers)


@transaction.atomic
def record(delivery: Delivery, webhook: Webhook, answer: Answer) -> bool:
    """Store what a delivery came to; say whether the webhook may be sent more."""
    facts = {"code": answer.code, "took_ms": answer.took_ms, "problem": answer.problem[:500], "words": answer.words}
    if not answer.problem:
        _store(delivery, DeliveryState.SENT, next_at=None, **facts)
        Webhook.objects.filter(pk=webhook.pk).update(failures=0, resting_until=None, problem="")
        return True
    if answer.code == GONE:
        _store(delivery, DeliveryState.FAILED, next_at=None, **facts)
        problem = gettext_noop("It answered that it is gone for good, and was turned off.")
        Webhook.objects.filter(pk=webhook.pk).update(is_on=False, problem=problem)
        drop(webhook)
        return False
    tries = delivery.attempts if answer.is_about_message else max(delivery.attempts, webhook.failures + 1)
    wait = timedelta(seconds=min(max(wait_after(tries), answer.retry_after or 0.0), LONGEST_REST.total_seconds()))
    next_at = timezone.now() + wait
    changes: dict[str, object] = {}
    if next_at > delivery.give_up_at:
        _store(delivery, DeliveryState.FAILED, next_at=None, **facts)
        changes["problem"] = answer.problem[:500]
        logger.warning("Webhook %s is given up for now: %s", webhook.pk, answer.problem)
    else:
        _store(delivery, DeliveryState.WAITING, next_at=next_at, **facts)
    if not answer.is_about_message:
        changes |= {"failures": F("failures") + 1, "resting_until": next_at}
        webhook.failures += 1
    if changes:
        Webhook.objects.filter(pk=webhook.pk).update(**changes)
    return answer.is_about_message


def _store(delivery: Delivery, state: DeliveryState, **facts: object) -> None:
    Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING).update(state=state, **facts)
    delivery.state = state
    for name, value in facts.items():
        setattr(delivery, name, value)


def drop(webhook: Webhook) -> None:
    """Have nothing wait any more for a webhook that is turned off."""
    waiting = webhook.deliveries.filter(state=DeliveryState.WAITING)
    waiting.update(state=DeliveryState.DROPPED, next_at=None)


# E-mail


def _send_mail() -> bool:
    """Send one person what waits for them, in one mail; say whether there was somebody."""
    person, deliveries = _claim_person()
    if person is None:
        return False
    wanted = [one for one in deliveries if mail.is_wanted(one.notice, person)]
    _settle([one for one in deliveries if one not in wanted], DeliveryState.DROPPED)
    if not wanted:
        return True
    problem = mail.send(person, wanted)
    if not problem:
        _settle(wanted, DeliveryState.SENT)
        return True
    logger.warning("A mail to person %s was not sent: %s", person.pk, problem.sentence)
    late = [one for one in wanted if problem.is_final or _next(one) > one.give_up_at]
    _settle(late, DeliveryState.FAILED, problem=problem.sentence)
    again = [one for one in wanted if one not in late]
    Delivery.objects.filter(pk__in=[one.pk for one in again]).update(
        next_at=max((_next(one) for one in again), default=None), problem=problem.sentence
    )
    if not problem.is_final:  # the server does not answer: nobody else's mail finds it any sooner
        soon = timezone.now() + timedelta(seconds=FIRST_WAIT)
        Delivery.objects.filter(_due(), webhook=None).update(next_at=soon)
    return True


def _next(delivery: Delivery) -> datetime:
    return timezone.now() + timedelta(seconds=wait_after(delivery.attempts))


def _claim_person() -> tuple[User | None, list[Delivery]]:
    """Return somebody for whom a mail is due, and all that waits for them; nobody else sends it from now on."""
    for pk in Delivery.objects.filter(_due(), webhook=None).order_by("next_at").values_list("person_id", flat=True)[:1]:
        batch, now = uuid.uuid4(), timezone.now()
        theirs = Delivery.objects.filter(state=DeliveryState.WAITING, person_id=pk)
        theirs.filter(_due() | Q(attempts=0)).update(
            batch=batch, next_at=now + CLAIMED_FOR, attempts=F("attempts") + 1, last_at=now
        )
        found = Delivery.objects.filter(batch=batch).select_related("notice__workspace", "person__mail_choice")
        deliveries = list(found.order_by("pk"))
        return (deliveries[0].person if deliveries else None), deliveries
    return None, []


def _settle(deliveries: list[Delivery], state: DeliveryState, problem: str = "") -> None:
    if deliveries:
        found = Delivery.objects.filter(pk__in=[one.pk for one in deliveries])
        found.update(state=state, next_at=None, problem=problem[:500])
