"""How much room this machine's disk has for runs, and what is said when it is too little."""

import shutil
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from studio.templatetags.studio import size_of


def free_bytes() -> int:
    """Return how many bytes are free where jobs write; where that cannot be told, none is called missing."""
    folder = Path(settings.JOB_DIR)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return int(settings.DISK_FLOOR_BYTES)


def why_full() -> str:
    """Say in one sentence why new runs wait for disk, or nothing while there is room."""
    free = free_bytes()
    if free >= settings.DISK_FLOOR_BYTES:
        return ""
    return _("Waits: the disk of this machine has %(free)s left, less than the floor of %(floor)s.") % {
        "free": size_of(free),
        "floor": size_of(settings.DISK_FLOOR_BYTES),
    }
