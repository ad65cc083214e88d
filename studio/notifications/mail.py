"""Notices as e-mail."""

from django.conf import settings

NOWHERE = {"console", "dummy"}  # backends of Django's that send nothing


def is_set_up() -> bool:
    """Say whether this studio can send e-mail at all."""
    return settings.EMAIL_BACKEND.split(".")[-2] not in NOWHERE
