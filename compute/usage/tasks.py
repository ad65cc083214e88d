"""What is done for usage from time to time."""

import logging

from celery import shared_task

from compute.usage import check

logger = logging.getLogger(__name__)


@shared_task(name="compute.usage.tasks.take_up")
def take_up() -> None:
    """Note the usage of jobs that ran before usage was kept."""
    if taken := check.take_up():
        logger.warning("The usage of %d jobs had not been noted.", taken)
