"""What the page of usage shows: a range of days, by what it is counted, and a line for each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils import formats, timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import ComputeTarget
from compute.usage.reads import Line, next_month, report
from studio.people.models import Team, User, Workspace

RANGES = {
    "month": gettext_lazy("This month"),
    "last": gettext_lazy("Last month"),
    "days": gettext_lazy("30 days"),
    "year": gettext_lazy("12 months"),
}
OWN = {"target": gettext_lazy("Target"), "experiment": gettext_lazy("Experiment"), "month": gettext_lazy("Month")}
ALL = {"person": gettext_lazy("Person"), "team": gettext_lazy("Team"), **OWN}
MOST_DAYS = 3660
MOST_LINES = 500  # that are shown; all of them are in the CSV


@dataclass(frozen=True)
class UsageFilter:
    """What the URL asks of usage; what it says wrongly counts as not said."""

    everybody: bool = False
    by: str = "target"
    range: str = "month"
    since: date = date.min
    until: date = date.min  # the first day after it

    @classmethod
    def from_query(cls, query: QueryDict) -> "UsageFilter":
        everybody = query.get("whose") == "all"
        by = query.get("by", "")
        chosen = by if by in (ALL if everybody else OWN) else "person" if everybody else "target"
        kind = query.get("range", "month")
        since, last = _day(query.get("since", "")), _day(query.get("until", ""))
        if since and last and since <= last < since + timedelta(days=MOST_DAYS):
            return cls(everybody, chosen, "own", since, last + timedelta(days=1))
        kind = kind if kind in RANGES else "month"
        return cls(everybody, chosen, kind, *_span(kind, timezone.now().date()))

    @property
    def last(self) -> date:
        return self.until - timedelta(days=1)

    @property
    def query(self) -> str:
        said = {"by": self.by} | ({"whose": "all"} if self.everybody else {})
        if self.range == "own":
            said |= {"since": self.since.isoformat(), "until": self.last.isoformat()}
        else:
            said["range"] = self.range
        return "?" + urlencode(said)

    @property
    def links(self) -> dict[str, list[tuple[str, str, bool]]]:
        """Return the choices of the page with their query strings, and which are taken."""
        ways = ALL if self.everybody else OWN
        mine = replace(self, everybody=False, by=self.by if self.by in OWN else "target")
        theirs = replace(self, everybody=True, by="person")
        ranges = []
        for key, label in RANGES.items():
            since, until = _span(key, timezone.now().date())
            ranges.append((str(label), replace(self, range=key, since=since, until=until).query, key == self.range))
        return {
            "by": [(str(label), replace(self, by=key).query, key == self.by) for key, label in ways.items()],
            "range": ranges,
            "whose": [(_("Mine"), mine.query, not self.everybody), (_("Everybody’s"), theirs.query, self.everybody)],
        }


def _day(text: str) -> date | None:
    try:
        found = parse_date(text)
    except ValueError:
        return None
    return found if found and date(2000, 1, 1) <= found <= date(2200, 1, 1) else None


def _span(kind: str, today: date) -> tuple[date, date]:
    """Return the first day of a range and the first after it. Whole months are read from the totals of months."""
    first = today.replace(day=1)
    match kind:
        case "last":
            return (first - timedelta(days=1)).replace(day=1), first
        case "days":
            return today - timedelta(days=29), today + timedelta(days=1)
        case "year":
            return next_month(first).replace(year=next_month(first).year - 1), next_month(first)
        case _:
            return first, next_month(first)


@dataclass(frozen=True)
class Row:
    """One line of the page: its words, and what was used."""

    name: str
    line: Line


def rows_of(asked: UsageFilter, workspace: Workspace, user: User) -> list[Row]:
    """Return a line for each of what is asked for: months in their order, all else with the most used first."""
    whose = {} if asked.everybody else {"person": user.pk}
    lines = report(workspace, asked.since, asked.until, [asked.by], **whose)
    names = _names(asked.by, workspace, [line.key[asked.by] for line in lines])
    rows = [Row(names[line.key[asked.by]], line) for line in lines if line.node_ms or line.jobs]
    return rows if asked.by == "month" else sorted(rows, key=lambda row: (-row.line.node_ms, row.name))


def total(rows: list[Row]) -> Line:
    """Add all lines up."""
    names = ("node_ms", "core_ms", "micro_usd", "azure_micro_usd", "jobs")
    return Line({}, *(sum(getattr(row.line, name) for row in rows) for name in names))


def _names(by: str, workspace: Workspace, keys: list[Any]) -> dict[Any, str]:
    """Return what people call each key; what is gone is called so."""
    match by:
        case "person":
            found = dict(User.objects.filter(pk__in=keys).values_list("pk", "username"))
            return {key: found.get(key, _("nobody known")) for key in keys}
        case "team":
            found = dict(Team.objects.filter(workspace=workspace, pk__in=keys).values_list("pk", "name"))
            return {key: found.get(key, _("a team that is gone") if key else _("no team")) for key in keys}
        case "target":
            found = dict(ComputeTarget.objects.filter(workspace=workspace, pk__in=keys).values_list("pk", "name"))
            return {key: found.get(key, "—") for key in keys}
        case "month":
            return {key: formats.date_format(key, "YEAR_MONTH_FORMAT") for key in keys}
        case _:
            return {key: key or "—" for key in keys}


def table(asked: UsageFilter, rows: list[Row]) -> Iterator[list[Any]]:
    """Yield the lines of a CSV, its head first."""
    yield [asked.by, "from", "to", "runs_ended", "node_hours", "core_hours", "usd", "usd_in_azure"]
    for row in rows:
        line = row.line
        amounts = (line.node_hours, line.core_hours, line.usd, line.azure_usd)
        name = line.key["month"].strftime("%Y-%m") if asked.by == "month" else row.name
        yield [name, asked.since, asked.last, line.jobs, *(round(amount, 4) for amount in amounts)]
