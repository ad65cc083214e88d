"""What is looked at again and again: whether the ledger says what the nodes do, and how far budgets are used up."""

import logging
from typing import Any

from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from compute.quotas import budgets, ledger

logger = logging.getLogger(__name__)
KEPT = "studio.ledger"  # {"at": ISO time, "wrong": how many}


@shared_task(name="compute.quotas.tasks.check_ledger")
def check_ledger() -> None:
    """Look whether the ledger says what the nodes do, and let go of what was released long ago."""
    ledger.forget()
    found = ledger.check()
    cache.set(KEPT, {"at": timezone.now().isoformat(), "wrong": len(found)}, 24 * 3600)
    for drift in found[:50]:
        logger.error("The quota ledger is wrong: %s.", drift.what)
    if found:
        logger.error("The quota ledger is wrong in %d places; see `manage.py ledger`.", len(found))


@shared_task(name="compute.quotas.tasks.watch_budgets")
def watch_budgets() -> None:
    """Tell people of budgets that are used up, or nearly."""
    budgets.watch()


def last_check() -> dict[str, Any] | None:
    """Return when the ledger was checked last and how much was wrong, or None when nobody knows."""
    found: dict[str, Any] | None = cache.get(KEPT)
    return found
