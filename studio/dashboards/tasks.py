"""What the clock has done for dashboards."""

from celery import shared_task

from studio.dashboards import samples


@shared_task(name="studio.dashboards.tasks.take_samples")
def take_samples() -> None:
    """Write down how each workspace stands."""
    samples.take()


@shared_task(name="studio.dashboards.tasks.thin_samples")
def thin_samples() -> None:
    """Thin what was written down."""
    samples.thin()
