"""Nudges to open pages. The one module that knows the channel layer.

A nudge says that something moved, never what it became (the rows that travel with it are made where it arrives, by
studio/parts.py): it may be lost, and the page that misses it catches up with the next one. It is sent when the
transaction commits. Each group counts its nudges, so that a page knows whether it missed one between being made and
having its socket.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.core.cache import cache
from django.db import transaction

logger = logging.getLogger(__name__)
SIGNED_OUT = "person:signed-out"  # to a person's own group: each of their sockets looks whether it still may


def nudge(group: str, event: str, **facts: Any) -> None:
    """Tell the pages that watch `group` that `event` happened, once the transaction has committed.

    `event` is a DOM event name such as "run:moved"; `facts` is small JSON (ids, never content).
    """

    message = {"type": "nudge", "event": event, "facts": facts}
    transaction.on_commit(lambda: _door.send(group, message))


class _Door:
    """Where nudges leave: one thread with one loop, and so one connection, in the order in which they come.

    Whoever nudges does not wait, and does not connect anew for each: that took longer than the work it told of.
    """

    thread: ThreadPoolExecutor | None

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Have no thread yet: a process that was forked has none, either."""
        self.thread, self.here = None, threading.local()

    def send(self, group: str, message: dict[str, Any]) -> None:
        if isinstance(get_channel_layer(), InMemoryChannelLayer):  # it belongs to the loop that listens
            self._send(group, message, async_to_sync(_publish))
            return
        if self.thread is None:
            self.thread = ThreadPoolExecutor(1, "nudges", self._settle)
        self.thread.submit(lambda: self._send(group, message, lambda *what: self.here.loop.run(_publish(*what))))

    def _settle(self) -> None:
        self.here.loop = asyncio.Runner()

    @staticmethod
    def _send(group: str, message: dict[str, Any], publish: Callable[[str, dict[str, Any]], None]) -> None:
        try:
            publish(group, message | {"count": _count(group)})
        except Exception:  # the broker may be down; rows are the truth and pages catch up
            logger.warning("A nudge to %s was not sent.", group, exc_info=True)


_door = _Door()
os.register_at_fork(after_in_child=_door.begin)


async def _publish(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        await layer.group_send(group, message)


def pulse(group: str) -> int:
    """Return how many nudges `group` was sent; another number than before means that something moved since."""
    return heard(group) or 0


def heard(group: str) -> int | None:
    """Return the same; None when it is not known, because the broker is down: then nothing is pushed either."""
    try:
        return int(cache.get(f"pulse.{group}", 0))
    except Exception:
        logger.warning("The pulse of %s is not known.", group, exc_info=True)
        return None


def _count(group: str) -> int:
    """Count one more nudge of `group`; return how many it were by now."""
    try:
        return int(cache.incr(f"pulse.{group}"))
    except ValueError:
        cache.set(f"pulse.{group}", 1, timeout=None)
        return 1
