"""Host keys that change: the target is blocked and its runs are held, until somebody who may accepts the new one."""

import logging
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute.models import ComputeTarget
from studio.errors import NotAllowedNow
from studio.notifications.actions import announce, members_with
from studio.notifications.events import About, Event
from studio.people.actions import note
from studio.people.models import User
from studio.people.permissions import Right
from studio.work import queue

logger = logging.getLogger(__name__)
PINNED, CHANGED = "host_key", "changed_host_key"  # of `ComputeTarget.config`
JUMP_PINNED = "jump_host_key"  # of a jump host that is no target of its own


@transaction.atomic
def block(target: ComputeTarget, key: dict[str, Any]) -> None:
    """Block a target that answered with `key`, which is not the pinned one. The same key again changes nothing."""
    found = _locked(target)
    known = found.config.get(PINNED) or {}
    if key.get("sha256") in {None, known.get("sha256"), found.config.get(CHANGED, {}).get("sha256")}:
        return
    _store(found, target, found.config | {CHANGED: key})
    facts = {"before": {"sha256": known.get("sha256")}, "after": {"sha256": key["sha256"]}}
    note(target.workspace, None, "target.hostkey.changed", target, kind="target", name=target.name, detail=facts)
    _announce(found)
    logger.warning("The host key of target %s changed; it is blocked.", target.pk)


@transaction.atomic
def accept(target: ComputeTarget, sha256: str, *, by: User) -> None:
    """Pin the new key of a blocked target and let its runs go on. Raises NotAllowedNow for another than was shown."""
    found = _locked(target)
    key = found.config.get(CHANGED)
    if not key or key.get("sha256") != sha256:
        raise another_than_shown()
    facts = {"before": {"sha256": found.config.get(PINNED, {}).get("sha256")}, "after": {"sha256": sha256}}
    _store(found, target, {k: v for k, v in found.config.items() if k != CHANGED} | {PINNED: key})
    note(target.workspace, by, "target.hostkey.accept", target, kind="target", name=target.name, detail=facts)
    let_go_on()


def let_go_on() -> None:
    """Have the runs that were held looked at, once this is committed."""
    queue("compute.tasks.reconcile")


def another_than_shown() -> NotAllowedNow:
    return NotAllowedNow(
        _("The host key is another one than was shown."), _("Compare the fingerprint that stands there now.")
    )


def _announce(target: ComputeTarget) -> None:
    """Tell whoever attached it, and who may decide, that it is blocked."""
    about = About(
        gettext_noop("Target %(name)s is blocked") % {"name": target.name},
        target.why_held,
        gettext_noop("Compare the fingerprints with the machine's own, and accept the new key only if it is that."),
        path=f"/w/{target.workspace.name}/compute/targets/{target.name}/",
        data={"target": target.name},
    )
    people = members_with(target.workspace, Right.EDIT_SAFETY)
    announce(target.workspace, Event.TARGET_BLOCKED, about=about, to=[*people, *filter(None, [target.created_by])])


def _locked(target: ComputeTarget) -> ComputeTarget:
    return ComputeTarget.objects.select_for_update(of=("self",)).select_related("workspace").get(pk=target.pk)


def _store(found: ComputeTarget, target: ComputeTarget, config: dict[str, Any]) -> None:
    found.config = target.config = config
    found.save(update_fields=["config", "modified_at"])
    found.moved()
