"""What was used, read from the totals; what runs now is counted until this moment."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.utils import timezone

from compute.usage.models import AMOUNTS, DayTotal, JobUsage, MonthTotal
from compute.usage.record import MICRO, parts_of
from compute.usage.spans import HOUR_MS, Part
from studio.people.models import Team, User, Workspace

KEYS = ("month", "day", "person", "team", "experiment", "target", "family", "priority")


@dataclass(frozen=True)
class Line:
    """One line of a report. `key` holds what it is of, by the names asked for: ids of people, teams and targets."""

    key: dict[str, Any]
    node_ms: int = 0
    core_ms: int = 0
    micro_usd: int = 0
    azure_micro_usd: int = 0
    jobs: int = 0  # that ended

    @property
    def node_hours(self) -> Decimal:
        return Decimal(self.node_ms) / HOUR_MS

    @property
    def core_hours(self) -> Decimal:
        return Decimal(self.core_ms) / HOUR_MS

    @property
    def usd(self) -> Decimal:
        return Decimal(self.micro_usd) / MICRO

    @property
    def azure_usd(self) -> Decimal:
        return Decimal(self.azure_micro_usd) / MICRO


def spent(workspace: Workspace, *, month: date, person: User | None = None, team: Team | None = None) -> Decimal:
    """Return the US dollars spent in the month (UTC) that `month` lies in, with what runs now up to this moment."""
    first = month.replace(day=1)
    whose = ({"person": person.pk} if person else {}) | ({"team": team.pk} if team else {})
    ended = MonthTotal.objects.filter(workspace=workspace, month=first, **whose).aggregate(n=Sum("micro_usd"))["n"] or 0
    going = sum(part.micro_usd for _row, part in _going(workspace, first, next_month(first), whose))
    return Decimal(ended + going) / MICRO


def report(workspace: Workspace, since: date, until: date, by: Sequence[str] = (), **whose: int) -> list[Line]:
    """Return what was used from `since` up to and without `until` (days in UTC), a line for each of what is in `by`.

    `by` names some of KEYS; `whose` narrows to one of them, by id: person=7. Lines are in the order of their keys.
    """
    if unknown := {*by, *whose} - set(KEYS):
        raise ValueError(f"Usage is not kept by {', '.join(sorted(unknown))}.")
    rows: QuerySet[Any]
    in_days = {"day", "experiment"} & {*by, *whose}
    if since.day == 1 and until.day == 1 and not in_days:
        rows = MonthTotal.objects.filter(workspace=workspace, month__gte=since, month__lt=until, **whose)
    else:
        rows = DayTotal.objects.filter(workspace=workspace, day__gte=since, day__lt=until, **whose)
        if "month" in by:
            rows = rows.annotate(month=TruncMonth("day"))
    sums = {f"sum_{name}": Sum(name) for name in (*AMOUNTS, "jobs")}
    found: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 5)
    grouped = rows.order_by().values_list(*by).annotate(**sums) if by else [tuple(rows.aggregate(**sums).values())]
    for line in grouped:
        for index, value in enumerate(line[len(by) :]):
            found[line[: len(by)]][index] += value or 0
    for row, part in _going(workspace, since, until, whose):
        key = tuple(_of(row, part, name) for name in by)
        for index, name in enumerate(AMOUNTS):
            found[key][index] += getattr(part, name)
    return [Line(dict(zip(by, key, strict=True)), *sums) for key, sums in sorted(found.items())]


def _going(workspace: Workspace, since: date, until: date, whose: dict[str, Any]) -> Iterator[tuple[JobUsage, Part]]:
    """Yield each day's part of what runs now, between two days."""
    now = timezone.now()
    for row in JobUsage.objects.filter(workspace=workspace, ended_at=None, **whose):
        yield from ((row, part) for part in parts_of(row, now) if since <= part.day < until)


def _of(row: JobUsage, part: Part, name: str) -> Any:
    if name in ("day", "month"):
        return getattr(part, name)
    return getattr(row, "target_id" if name == "target" else name)


def next_month(month: date) -> date:
    """Return the first day of the month after."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def typical_seconds(workspace: Workspace, experiment: str, *, of: int = 20) -> tuple[float, int] | None:
    """Return the median duration of the newest jobs of an experiment that succeeded, and how many these are."""
    done = JobUsage.objects.filter(workspace=workspace, experiment=experiment, has_succeeded=True)
    times: list[tuple[datetime, datetime | None]] = list(
        done.order_by("-ended_at").values_list("started_at", "ended_at")[:of]
    )
    lasted = sorted((end - begin).total_seconds() for begin, end in times if end and end >= begin)
    return (lasted[len(lasted) // 2], len(lasted)) if lasted else None
