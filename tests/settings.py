"""The settings of tests: the studio's own, less what a test must not reach."""

import os
import tempfile
from pathlib import Path

_scratch = Path(tempfile.mkdtemp(prefix="studio-tests-"))
os.environ.setdefault("STUDIO_DATA", str(_scratch))
os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ.setdefault("SEAL_KEYS", "only-for-tests-too")

from studio.settings import *  # noqa: E402, F403
from studio.settings import CELERY, DATABASES, STATIC_ROOT  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(_scratch / "test.sqlite3")}  # a file: threads of a test share it
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CELERY = CELERY | {"broker_url": "memory://", "task_always_eager": False}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
GRACE_SECONDS = 1.0
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns when there is none
