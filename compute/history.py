"""What happened to a target: its scaling attempts and what people changed, in one list by time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from compute.models import ComputeTarget, ScalingEvent
from studio.people.models import Activity
from studio.said import said

MOST = 100  # entries a page


@dataclass(frozen=True)
class Entry:
    """One line of the Activity tab."""

    at: datetime
    text: str
    icon: str  # a name of the icon set
    who: str = ""  # empty: the studio itself
    took: timedelta | None = None
    error: str = ""


def of(target: ComputeTarget, *, before: datetime | None = None) -> tuple[list[Entry], datetime | None]:
    """Return the newest entries, or those older than `before`, and the time to go on from when there are more."""
    scaling = ScalingEvent.objects.filter(target=target)
    changes = Activity.objects.filter(workspace=target.workspace_id, object_kind="target", object_id=str(target.pk))
    if before is not None:
        scaling, changes = scaling.filter(at__lt=before), changes.filter(at__lt=before)
    found = sorted(
        [*map(_scaled, scaling[: MOST + 1]), *map(_changed, changes[: MOST + 1])], key=lambda e: e.at, reverse=True
    )
    return found[:MOST], found[MOST - 1].at if len(found) > MOST else None


def _scaled(event: ScalingEvent) -> Entry:
    return Entry(
        at=event.at,
        text=f"{event.before} → {event.after} {said(event.cause)}",
        icon="circle-alert" if event.error else "arrow-up" if event.after > event.before else "arrow-down",
        took=event.took if event.took else None,
        error=said(event.error),
    )


def _changed(activity: Activity) -> Entry:
    icon, text = _in_words(activity.verb, activity.detail)
    return Entry(at=activity.at, text=text, icon=icon, who=activity.actor_name)


def _in_words(verb: str, detail: dict[str, Any]) -> tuple[str, str]:
    """Return the icon and the words of one change: "changed maximum nodes 4 → 6"."""
    before, after = detail.get("before") or {}, detail.get("after") or {}
    match verb:
        case "target.create":
            return "plus", _("created it")
        case "target.attach":
            return "plug", _("attached it")
        case "target.edit":
            return "plug", _("changed its connection")
        case "target.describe":
            return "pencil", _("changed its description or tags")
        case "target.detach":
            return "unplug", _("detached it")
        case "target.hostkey.changed":
            keys = {"before": before.get("sha256"), "after": after.get("sha256")}
            return "shield-alert", _("blocked it: its host key was %(before)s and is %(after)s") % keys
        case "target.hostkey.accept":
            return "shield-check", _("accepted its host key %(key)s") % {"key": after.get("sha256")}
        case "target.delete":
            return "trash-2", _("deleted it")
        case "target.resize":
            return "sliders-horizontal", _("changed %(what)s") % {"what": ", ".join(_scale_changes(before, after))}
        case "target.identity":
            words = {"before": _identity(before), "after": _identity(after)}
            return "key-round", _("changed managed identity %(before)s → %(after)s") % words
        case "node.preempt":
            return "zap", _("preempted node %(node)s") % {"node": detail.get("node", "")}
        case _:
            return "pencil", verb


def _scale_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterable[str]:
    (low, high), (new_low, new_high) = before.get("nodes", [0, 0]), after.get("nodes", [0, 0])
    if low != new_low:
        yield _("minimum nodes %(before)s → %(after)s") % {"before": low, "after": new_low}
    if high != new_high:
        yield _("maximum nodes %(before)s → %(after)s") % {"before": high, "after": new_high}
    idle, new_idle = before.get("idle_seconds"), after.get("idle_seconds")
    if idle != new_idle:
        yield _("idle time %(before)s s → %(after)s s") % {"before": idle, "after": new_idle}


def _identity(identity: dict[str, Any]) -> str:
    match identity.get("type"):
        case "SystemAssigned":
            return _("system-assigned")
        case "UserAssigned":
            return ", ".join(i.rsplit("/", 1)[-1] for i in identity.get("ids", []))
        case _:
            return _("none")
