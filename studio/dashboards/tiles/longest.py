"""The runs that have run longest."""

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from runs.models import Run
from runs.states import RunStatus
from studio.dashboards.tiles.base import SHOWN, Item, Kind, Seen, TileData
from studio.people.models import Workspace

GOING = (RunStatus.RUNNING, RunStatus.NOT_RESPONDING, RunStatus.FINALIZING, RunStatus.CANCEL_REQUESTED)


class Longest(Kind):
    key, icon = "longest", "timer"
    label = gettext_lazy("Longest running")
    about = gettext_lazy("What runs now, the longest first.")
    moved_by = frozenset({"run:moved"})
    template = "dashboards/tiles/_list.html"

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        going = Run.objects.filter(workspace=workspace, status__in=GOING, started_at__isnull=False)
        count = going.count()
        runs = list(going.select_related("experiment", "submitted_by").order_by("started_at")[:SHOWN])
        said = ngettext("%(n)d run is running.", "%(n)d runs are running.", count) % {"n": count}
        return TileData(
            said=said if count else _("Nothing runs now."),
            columns=[_("Run"), _("Status"), _("Started"), _("Where and whose")],
            rows=[[name_of(run, seen), str(run.state.label), run.started_at, note_of(run, seen)] for run in runs],
            items=[
                Item(
                    name=name_of(run, seen),
                    tone=run.state.tone,
                    state=str(run.state.label),
                    note=note_of(run, seen),
                    since=run.started_at,
                    url=url_of(run, workspace, seen),
                )
                for run in runs
            ],
        )


def name_of(run: Run, seen: Seen) -> str:
    """Return a run's name, where it may be seen."""
    return run.display_name if seen.names else _("a run")


def note_of(run: Run, seen: Seen) -> str:
    """Return experiment, target and person of a run, as far as they may be seen."""
    parts = [run.experiment.name, run.target_name] if seen.names else []
    if seen.people and run.submitted_by is not None:
        parts.append(run.submitted_by.username)
    return " · ".join(parts)


def url_of(run: Run, workspace: Workspace, seen: Seen) -> str:
    return reverse("runs:detail", args=[workspace.name, run.run_id]) if seen.member else ""
