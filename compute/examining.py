"""The connection doctor at work: a task goes through a driver's checks, and each is kept and told as it comes."""

import logging
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from compute import attaching
from compute.drivers import driver_class
from compute.drivers.base import Attaches, Check, CheckState
from compute.models import ComputeTarget, Examination
from studio.seal import unseal

logger = logging.getLogger(__name__)
LONGEST = 45.0  # seconds for all checks; then what was found has to do
CUT_OFF_AFTER = timedelta(seconds=90)  # without an end: the worker is gone
DRAFTS_LAST = timedelta(days=1)
KEPT = 50  # looks at one target


@shared_task(name="compute.examining.examine")
def examine(examination_id: int, round_: int) -> None:
    """Go through the checks once; a second delivery of the same question does nothing while the first is at it."""
    now = timezone.now()
    asked = Examination.objects.filter(pk=examination_id, round=round_, ended_at=None)
    if not asked.filter(Q(started_at=None) | Q(started_at__lt=now - CUT_OFF_AFTER)).update(started_at=now, checks=[]):
        return
    examination = Examination.objects.select_related("workspace", "target__workspace").get(pk=examination_id)
    found: list[dict[str, Any]] = []
    for check in _bounded(_checks(examination)):
        found.append(as_json(check))
        if not asked.update(checks=found):
            return  # it was asked anew meanwhile, or thrown away
        examination.moved()
    if not asked.update(ended_at=timezone.now()):
        return
    examination.refresh_from_db()
    examination.moved()
    if examination.target and not examination.is_draft:
        attaching.take_in(examination)


@shared_task(name="compute.examining.sweep")
def sweep() -> None:
    """End the looks whose worker is gone, let go of drafts nobody came back to, and of old history."""
    now = timezone.now()
    cut_off = Examination.objects.filter(ended_at=None, asked_at__lt=now - CUT_OFF_AFTER).select_related("workspace")
    for examination in cut_off:
        found = [*examination.checks, as_json(_cut_off())]
        Examination.objects.filter(pk=examination.pk, ended_at=None).update(ended_at=now, checks=found)
        examination.moved()
    Examination.objects.filter(is_draft=True, created_at__lt=now - DRAFTS_LAST).delete()
    looks = Count("examinations", filter=Q(examinations__is_draft=False))
    for target in ComputeTarget.objects.annotate(looks=looks).filter(looks__gt=KEPT):
        newest = target.examinations.filter(is_draft=False).values("pk")[:KEPT]
        target.examinations.filter(is_draft=False).exclude(pk__in=list(newest.values_list("pk", flat=True))).delete()
    attaching.finish_detaching()


def subject(examination: Examination) -> ComputeTarget:
    """Return what is looked at: the target, or of a draft one that is stored nowhere yet."""
    if examination.target and not examination.is_draft:
        return examination.target
    target = ComputeTarget(
        workspace=examination.workspace,
        kind=examination.kind,
        name=examination.target.name if examination.target else str(examination.typed.get("name", "")),
        config=examination.config,
    )
    given = {name: unseal(text, where=examination.place_of(name)) for name, text in examination.sealed.items()}
    target.__dict__["given"] = given
    return target


def as_json(check: Check) -> dict[str, Any]:
    """Return a check as it is kept; its words are English until somebody reads them."""
    return {
        "key": check.key,
        "title": str(check.title),
        "state": check.state.value,
        "evidence": check.evidence[:2000],
        "remedy": check.remedy[:2000],
        "needed": check.needed,
        "facts": check.facts,
    }


def _checks(examination: Examination) -> Iterator[Check]:
    driver = driver_class(examination.kind)(subject(examination))
    if not isinstance(driver, Attaches):
        return
    try:
        yield from driver.checks()
    except Exception as exc:  # whatever it was, what was found so far is worth showing; its message may hold a secret
        where = "".join(traceback.format_tb(exc.__traceback__))
        logger.error("Examination %s could not go on: %s\n%s", examination.pk, type(exc).__name__, where)
        yield Check(
            "doctor",
            gettext_noop("The look itself"),
            CheckState.BAD,
            evidence=gettext_noop("The studio failed here; its log says how."),
            remedy=gettext_noop("Check again. If it fails again, tell whoever looks after the studio."),
        )


def _bounded(checks: Iterator[Check]) -> Iterator[Check]:
    end = time.monotonic() + LONGEST
    for check in checks:
        yield check
        if time.monotonic() > end:
            yield _cut_off()
            return


def _cut_off() -> Check:
    return Check(
        "doctor",
        gettext_noop("The look itself"),
        CheckState.BAD,
        evidence=gettext_noop("It took too long and was cut off."),
        remedy=gettext_noop("Check again; if it happens again, look what answers slowly above."),
    )
