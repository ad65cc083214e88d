"""What failed lately, and why."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from runs.models import Run
from runs.states import RunStatus
from studio.dashboards.tiles.base import SHOWN, DaysForm, Item, Kind, Seen, TileData, days_of
from studio.dashboards.tiles.longest import name_of, note_of, url_of
from studio.people.models import Workspace
from studio.said import said as in_words


class Failures(Kind):
    key, icon = "failures", "circle-x"
    label = gettext_lazy("Failures")
    about = gettext_lazy("Which runs failed lately, and why.")
    form = DaysForm
    moved_by = frozenset({"run:moved"})
    template = "dashboards/tiles/_list.html"

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        since = timezone.now() - timedelta(days=days_of(options))
        failed = Run.objects.filter(workspace=workspace, status=RunStatus.FAILED, ended_at__gte=since)
        count = failed.count()
        runs = list(failed.select_related("experiment", "submitted_by").order_by("-ended_at")[:SHOWN])
        facts = {"n": count, "days": days_of(options)}
        said = ngettext("%(n)d run failed in %(days)d days.", "%(n)d runs failed in %(days)d days.", count) % facts
        return TileData(
            said=said if count else _("No run failed in %(days)d days.") % facts,
            columns=[_("Run"), _("Ended"), _("Reason"), _("Where and whose")],
            rows=[[name_of(run, seen), run.ended_at, reason_of(run, seen), note_of(run, seen)] for run in runs],
            items=[
                Item(
                    name=name_of(run, seen),
                    tone="bad",
                    state=str(run.state.label),
                    note=note_of(run, seen),
                    reason=reason_of(run, seen),
                    at=run.ended_at,
                    url=url_of(run, workspace, seen),
                )
                for run in runs
            ],
        )


def reason_of(run: Run, seen: Seen) -> str:
    """Return why a run failed; where texts may not be seen, at most its exit code."""
    if seen.reasons and run.reason:
        return in_words(run.reason)
    if run.exit_code is not None:
        return _("Its program ended with exit code %(code)d.") % {"code": run.exit_code}
    return ""
