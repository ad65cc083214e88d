"""What happened to a target: its scaling attempts and what people changed, in one list by time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse

from compute.models import ComputeTarget, ScalingEvent
from studio.people.models import Activity, Workspace
from studio.people.words import said
from studio.said import said as translated

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
        text=f"{event.before} → {event.after} {translated(event.cause)}",
        icon="circle-alert" if event.error else "arrow-up" if event.after > event.before else "arrow-down",
        took=event.took if event.took else None,
        error=translated(event.error),
    )


def _changed(activity: Activity) -> Entry:
    words = said(activity.verb, activity.detail)
    return Entry(at=activity.at, text=words.text, icon=words.icon, who=activity.actor_name)


def links(workspace: Workspace, ids: list[int]) -> dict[int, str]:
    """Return the addresses of targets by their ids, of those that are there."""
    found = ComputeTarget.objects.existing().filter(workspace=workspace, pk__in=ids).values_list("pk", "name")
    return {pk: reverse("compute:detail", args=[workspace.name, name]) for pk, name in found}
