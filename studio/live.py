"""Nudges to open pages. The one module that knows the channel layer.

A nudge says that something moved, never what it became: it may be lost, and the page that misses it
catches up with the next one. It is sent when the transaction commits. Each group counts its nudges, so that
a page knows whether it missed one between being made and having its socket.
"""

import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.db import transaction

logger = logging.getLogger(__name__)
SIGNED_OUT = "person:signed-out"  # to a person's own group: each of their sockets looks whether it still may


def nudge(group: str, event: str, **facts: Any) -> None:
    """Tell the pages that watch `group` that `event` happened, once the transaction has committed.

    `event` is a DOM event name such as "run:moved"; `facts` is small JSON (ids, never content).
    """

    def send() -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            _count(group)
            async_to_sync(layer.group_send)(group, {"type": "nudge", "event": event, "facts": facts})
        except Exception:  # the broker may be down; rows are the truth and pages catch up
            logger.warning("A nudge to %s was not sent.", group, exc_info=True)

    transaction.on_commit(send)


def pulse(group: str) -> int:
    """Return how many nudges `group` was sent; another number than before means that something moved since."""
    try:
        return int(cache.get(f"pulse.{group}", 0))
    except Exception:  # the broker may be down; then nothing is pushed either
        logger.warning("The pulse of %s is not known.", group, exc_info=True)
        return 0


def _count(group: str) -> None:
    try:
        cache.incr(f"pulse.{group}")
    except ValueError:
        cache.set(f"pulse.{group}", 1, timeout=None)
