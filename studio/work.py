"""Work for the workers, queued once the transaction has committed.

A message is a nudge, and the rows are the truth: what a lost one told, the clock finds within seconds.
"""

import logging
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError
from redis import RedisError

logger = logging.getLogger(__name__)


def queue(task: str, *args: Any) -> None:
    """Have a worker do `task`, once what is going on has committed.

    While the queue is away that is logged and no more: what was asked for is stored, and whoever asked is told so.
    """
    transaction.on_commit(lambda: _send(task, args))


def _send(task: str, args: tuple[Any, ...]) -> None:
    try:
        current_app.send_task(task, list(args))
    except (OperationalError, RedisError, OSError):
        logger.warning("%s was not queued; the clock will come to it.", task, exc_info=True)
