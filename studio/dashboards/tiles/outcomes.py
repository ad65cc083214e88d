"""How runs ended, day by day."""

from collections import defaultdict
from datetime import date, timedelta
from typing import Any

from django.db.models import CharField, Count, F, Func
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runs.models import Run
from runs.states import FINAL, RunStatus
from studio.dashboards import charts
from studio.dashboards.tiles.base import DaysForm, Figure, Kind, Seen, TileData, days_of
from studio.people.models import Workspace

ENDS = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)


class DayOf(Func):
    """The day of a time as text, in UTC, by the database's own means."""

    output_field = CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="SUBSTR(%(expressions)s, 1, 10)")

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="TO_CHAR(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD')")


class Outcomes(Kind):
    key, icon = "outcomes", "circle-check"
    label = gettext_lazy("Runs by outcome")
    about = gettext_lazy("How many runs completed, failed and were canceled, day by day.")
    form = DaysForm
    moved_by = frozenset({"sample:moved", "run:moved"})

    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData:
        today = timezone.now().date()
        days = [today - timedelta(days=n) for n in reversed(range(days_of(options)))]
        counts = counted(workspace, days[0])
        totals = {end: sum(counts[end, day] for day in days) for end in ENDS}
        facts = {"n": len(days), "all": sum(totals.values())} | {end.name.lower(): n for end, n in totals.items()}
        said = _("In %(n)d days %(all)d runs ended: %(completed)d completed, %(failed)d failed, %(canceled)d canceled.")
        drawn = [
            charts.series(str(end.label), end.tone, [str(day) for day in days], [counts[end, day] for day in days])
            for end in ENDS
        ]
        return TileData(
            said=said % facts,
            columns=[_("Day"), *(str(end.label) for end in ENDS)],
            rows=[[str(day), *(counts[end, day] for end in ENDS)] for day in days],
            figures=[Figure(str(end.label), str(totals[end]), end.tone) for end in ENDS],
            chart=charts.chart("bars", "day", drawn) if any(totals.values()) else None,
        )


def counted(workspace: Workspace, since: date) -> dict[tuple[str, date], int]:
    """Return how many runs ended how on which day (UTC)."""
    first = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    first -= first.date() - since
    found: dict[tuple[str, date], int] = defaultdict(int)
    ended = Run.objects.filter(workspace=workspace, ended_at__gte=first, status__in=FINAL).order_by()
    for status, day, n in ended.values_list("status", DayOf(F("ended_at"))).annotate(n=Count("pk")):
        found[status, date.fromisoformat(day)] += n
    return found
