"""What waits, and how long already."""

from typing import Any

from django.db.models import Count, Min
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from runs.models import Run
from studio.dashboards import charts
from studio.dashboards.tiles.base import Figure, Kind, Seen, SpanForm, TileData, samples_of
from studio.people.models import Workspace


class Queue(Kind):
    key, icon = "queue", "hourglass"
    label = gettext_lazy("Queue")
    about = gettext_lazy("How many runs wait, and how long the one that waits longest.")
    form = SpanForm
    moved_by = frozenset({"sample:moved", "run:moved"})

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        now = Run.objects.waiting().filter(workspace=workspace).aggregate(n=Count("pk"), oldest=Min("created_at"))
        count, oldest = now["n"], now["oldest"]
        samples = samples_of(workspace, options)
        times = [sample.at for sample in samples]
        said = ngettext("%(n)d run waits.", "%(n)d runs wait.", count) % {"n": count} if count else _("Nothing waits.")
        line = charts.series(_("waiting"), "warn", times, [sample.waiting for sample in samples])
        return TileData(
            said=said,
            columns=[_("Time"), _("Runs that wait"), _("Longest wait in seconds")],
            rows=[[s.at, s.waiting, round(s.oldest_seconds)] for s in samples],
            figures=[
                Figure(_("runs wait"), str(count), "warn" if count else "ok"),
                Figure(_("longest wait"), "" if count else "—", since=oldest),
            ],
            chart=charts.chart("area", "time", [line]) if samples else None,
            as_of=times[-1] if times else None,
        )
