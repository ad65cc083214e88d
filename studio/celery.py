"""The door for tasks. Messages are nudges; the rows in the database are the truth."""

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
app = Celery("studio")
app.config_from_object(settings.CELERY)
app.autodiscover_tasks(["compute", "runs"])
