"""What the clock has done for dashboards."""

from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from studio.dashboards import samples


@shared_task(name="studio.dashboards.tasks.take_samples")
def take_samples() -> None:
    """Write down how each workspace stands."""
    samples.take()


@shared_task(name="studio.dashboards.tasks.thin_samples")
def thin_samples() -> None:
    """Thin what was written down."""
    samples.thin()


@worker_ready.connect
def begin(**_: Any) -> None:
    """A worker that starts takes the first sample at once, so that the first visit finds one."""
    take_samples.delay()
