"""The door for tasks. Messages are nudges; the rows in the database are the truth."""

import os
import time

from celery import Celery
from django.conf import settings
from django.core.cache import cache

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
app = Celery("studio")
app.config_from_object(settings.CELERY)
app.autodiscover_tasks(
    ["studio.notifications", "compute", "compute.quotas", "compute.usage", "runs", "studio.dashboards"]
)
app.autodiscover_tasks(["compute"], related_name="examining")


@app.task(name="studio.answer")
def answer(key: str) -> None:
    """Say for `manage.py doctor` that a worker of this machine is there."""
    cache.set(key, settings.HOST_NAME, 60)


@app.task(name="studio.tick")
def tick() -> None:
    """Note when the clock was heard last."""
    cache.set("studio.tick", time.time(), 24 * 3600)


@app.task(name="studio.link_activity")
def link_activity() -> None:
    """Link the entries of the activity that a crash has left."""
    from studio.people.chain import link_all

    link_all()
