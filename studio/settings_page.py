"""A workspace's settings page: how the studio's parts fare, what this machine has, and how far runs are kept apart."""

import time
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from compute import disk, isolation
from compute.models import Host
from compute.quotas.tasks import last_check
from studio.http import StudioRequest
from studio.notifications import mail
from studio.people import actions as people
from studio.people.models import Allowance, Workspace
from studio.people.permissions import Right, require
from studio.settings import redis_url

RISKS = {
    Allowance.OTHER_LINUX: gettext_lazy(
        "Runs are made for Ubuntu. On another Linux most work, and some of what they need may be missing."
    ),
    Allowance.THIS_MACHINE: gettext_lazy(
        "Whoever may attach could then reach services of the studio's own machine, and a cloud's metadata service "
        "with its credentials."
    ),
    Allowance.INTERNAL_WEBHOOKS: gettext_lazy(
        "Whoever sets up webhooks could then send to services that trust the network they stand in. Those of the "
        "studio's own machine need its addresses allowed, too."
    ),
}
TICK_IS_OLD_AFTER = 40.0  # seconds; the clock is heard every 10


@dataclass(frozen=True)
class Part:
    """One part of the studio, and how it fares."""

    name: str
    said: str
    is_well: bool


@require_safe
def settings_page(request: StudioRequest) -> HttpResponse:
    """Show how the studio fares and what holds on this machine, to every member; no path and no secret is told."""
    require(request.user, Right.VIEW, request.workspace)
    return render(request, "settings.html", {"nav": "studio"} | settings_facts(request.workspace))


def settings_facts(workspace: Workspace) -> dict[str, Any]:
    """Return how the studio fares and what holds, for the page and for programs: no path and no secret."""
    return {
        "version": version(),
        "parts": parts(),
        "hosts": Host.objects.order_by("name"),
        "overcommit": settings.OVERCOMMIT,
        "holds": isolation.what_holds(),
        "free_bytes": disk.free_bytes(),
        "floor_bytes": settings.DISK_FLOOR_BYTES,
        "run_disk_bytes": settings.RUN_DISK_BYTES,
        "run_processes": settings.RUN_PROCESSES,
        "allowances": [(one, workspace.allows(one), RISKS[one]) for one in Allowance],
        "can_seal": bool(settings.SEAL_KEYS),
        "mail_is_set_up": mail.is_set_up(),
    }


@require_POST
def set_allowances(request: StudioRequest) -> HttpResponse:
    """Store what may be attached to this workspace."""
    require(request.user, Right.EDIT_SAFETY, request.workspace)
    wanted = {Allowance(value) for value in request.POST.getlist("allow") if value in Allowance.values}
    people.allow(request.workspace, wanted, by=request.user)
    messages.success(request, _("What may be attached and told was changed."))
    return redirect("settings", workspace=request.workspace.name)


@lru_cache(maxsize=1)
def version() -> str:
    """Return the studio's version."""
    facts = tomllib.loads((Path(settings.BASE_DIR) / "pyproject.toml").read_text())
    return str(facts["project"]["version"])


def parts() -> list[Part]:
    """Return how web, database, broker, worker and clock fare, as seen from this process."""
    found = [
        Part(_("Web"), _("serves this page"), True),
        Part(_("Database"), _("%(name)s answers") % {"name": connection.display_name}, True),
    ]
    try:
        heard = cache.get("studio.tick")
        found += _ledger()
        waiting = _tasks_that_wait()
    except (OSError, redis.RedisError):
        words = _("cannot be reached: nothing is started or followed, and open pages are not told of changes")
        unknown = _("not known while the broker cannot be reached")
        return [
            *found,
            Part(_("Broker"), words, False),
            Part(_("Worker"), unknown, False),
            Part(_("Clock"), unknown, False),
        ]
    found.append(Part(_("Broker"), _("answers"), True))
    age = time.time() - heard if heard else None
    if age is not None and age <= TICK_IS_OLD_AFTER:
        said = _("was heard %(n)d s ago") % {"n": max(0, age)}
        return [*found, Part(_("Worker"), said, True), Part(_("Clock"), said, True)]
    silent = _("was not heard for %(n)d s") % {"n": age} if age else _("was not heard yet")
    if waiting:  # there is work, and nobody takes it
        return [*found, Part(_("Worker"), silent, False), Part(_("Clock"), _("queues work"), True)]
    return [*found, Part(_("Worker"), _("no work waits for it"), True), Part(_("Clock"), silent, False)]


def _ledger() -> list[Part]:
    """Return how the last check of the quota ledger went; nothing before there was one."""
    checked = last_check()
    if checked is None:
        return []
    said = _("says what the nodes do")
    if checked["wrong"]:
        said = _("is wrong in %(n)d places: who runs the studio looks with `manage.py ledger`") % {
            "n": checked["wrong"]
        }
    return [Part(_("Quota ledger"), said, not checked["wrong"])]


def _tasks_that_wait() -> int:
    """Return how many tasks are queued and not taken."""
    if not str(settings.CELERY["broker_url"]).startswith("redis"):
        return 0
    with redis.Redis.from_url(redis_url(0), socket_timeout=2, socket_connect_timeout=2) as queue:
        return int(queue.llen("celery"))
