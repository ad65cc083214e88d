"""The lists of runs and of experiments: what may be filtered and sorted by, kept in the URL, and one page of it.

Made for 100,000 runs: nothing counts all rows, a page is found by its ids through an index, and the number of
queries does not grow with the rows.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import Func, OrderBy
from django.db.models.fields import FloatField, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runs.models import Experiment, Run, Took
from runs.states import ACTIVE, RunStatus
from studio.http import words_in
from studio.people.models import User, Workspace

PAGE = 50
FARTHEST_PAGE = 2000  # the last one a list goes to: filter instead
MOST_MERGED = 5000  # runs that go on; with more, durations are computed row by row


class Elapsed(Func):
    """How long a run took, in the database's own unit, until now while it goes on."""

    output_field = FloatField()

    def __init__(self) -> None:
        super().__init__(F("ended_at"), F("created_at"))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        end, end_params = compiler.compile(self.source_expressions[0])
        begin, begin_params = compiler.compile(self.source_expressions[1])
        return f"(JULIANDAY(COALESCE({end}, 'now')) - JULIANDAY({begin}))", (*end_params, *begin_params)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        end, end_params = compiler.compile(self.source_expressions[0])
        begin, begin_params = compiler.compile(self.source_expressions[1])
        return f"(COALESCE({end}, NOW()) - {begin})", (*end_params, *begin_params)


class NotByIndex(Func):
    """A value to sort by after filtering: SQLite would walk its index, and look every row up in that order."""

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s")


@dataclass(frozen=True)
class Column:
    """One column head that sorts."""

    key: str
    label: str
    url: str
    aria_sort: str  # "ascending", "descending" or "none"


@dataclass(frozen=True)
class RunFilter:
    """What the URL asks of the runs list; what it says wrongly counts as not said."""

    text: str = ""
    statuses: tuple[str, ...] = ()
    experiment: str = ""
    target: str = ""
    tag: str = ""  # "key" or "key=value"
    mine: bool = False
    archived: bool = False  # the archived ones instead of the others
    sort: str = "-created"
    page: int = 1
    embed: bool = False  # the table alone, in another page

    @classmethod
    def from_query(cls, query: QueryDict) -> "RunFilter":
        sort = query.get("sort", "")
        page = query.get("page", "1")
        return cls(
            text=query.get("q", "").strip()[:200],
            statuses=tuple(s for s in RunStatus.values if s in query.getlist("status")),
            experiment=query.get("experiment", "").strip()[:255],
            target=query.get("target", "").strip()[:24],
            tag=query.get("tag", "").strip()[:300],
            mine=query.get("mine") == "1",
            archived=query.get("archived") == "1",
            sort=sort if sort.removeprefix("-") in SORTS else "-created",
            page=min(int(page), FARTHEST_PAGE) if page.isdecimal() and len(page) < 6 and int(page) > 0 else 1,
            embed=query.get("embed") == "1",
        )

    @property
    def query(self) -> str:
        """Return it as a query string with its question mark; what is as usual is left out."""
        said: list[tuple[str, str]] = [("status", status) for status in self.statuses]
        for key, value in (
            ("q", self.text),
            ("experiment", self.experiment),
            ("target", self.target),
            ("tag", self.tag),
        ):
            if value:
                said.append((key, value))
        for key, on in (("mine", self.mine), ("archived", self.archived), ("embed", self.embed)):
            if on:
                said.append((key, "1"))
        if self.sort != "-created":
            said.append(("sort", self.sort))
        if self.page > 1:
            said.append(("page", str(self.page)))
        return "?" + urlencode(said)

    @property
    def narrows(self) -> bool:
        """Say whether it leaves anything out, for the words of an empty list."""
        return bool(
            self.text or self.statuses or self.experiment or self.target or self.tag or self.mine or self.archived
        )

    @property
    def looks_into_rows(self) -> bool:
        """Say whether it asks for what no index of the list holds."""
        return bool(self.text or self.experiment or self.target or self.tag or self.mine)

    @property
    def columns(self) -> Iterator[Column]:
        """Yield the heads of the table; a click on the one sorted by turns it round."""
        for key, label in HEADS.items():
            down = self.sort == f"-{key}"
            up = self.sort == key
            # Times and durations are asked for with the largest first, words from A.
            turned = key if down else f"-{key}" if up else f"-{key}" if key in ("created", "duration") else key
            state = "descending" if down else "ascending" if up else "none"
            yield Column(key, str(label), replace(self, sort=turned, page=1).query, state)

    def of(self, workspace: Workspace, user: User) -> "QuerySet[Run]":
        """Return the runs it lets through, in no order."""
        runs: QuerySet[Run] = Run.objects.filter(workspace=workspace, archived_at__isnull=not self.archived)
        for word in words_in(self.text):
            runs = runs.filter(
                Q(display_name__icontains=word)
                | Q(run_id__icontains=word)
                | Q(experiment__in=Experiment.objects.filter(workspace=workspace, name__icontains=word))
                | Q(description__icontains=word)
            )
        if self.statuses:
            runs = runs.filter(status__in=self.statuses)
        if self.experiment:
            runs = runs.filter(
                experiment__in=Experiment.objects.filter(workspace=workspace, name__iexact=self.experiment)
            )
        if self.target:
            runs = runs.filter(target_name__iexact=self.target)
        if self.tag:
            key, equals, value = (part.strip() for part in self.tag.partition("="))
            if equals:
                runs = runs.annotate(tag_value=Cast(KeyTextTransform(key, "tags"), TextField())).filter(tag_value=value)
            else:
                runs = runs.filter(tags__has_key=key)
        if self.mine:
            runs = runs.filter(submitted_by=user)
        return runs

    def ordered(self, runs: "QuerySet[Run]") -> "QuerySet[Run]":
        """Sort as asked, equal ones newest first, so that no page shows a row twice."""
        key, down = SORTS[self.sort.removeprefix("-")], self.sort.startswith("-")
        expression: Any = Elapsed() if key == "seconds" else F(key)
        if self.looks_into_rows and key in ("display_name", "status", "target_name"):
            expression = NotByIndex(expression)
        # No two runs have one name, almost: whichever of those that do comes first, one index serves both ways.
        second = "-pk" if down or key != "display_name" else "pk"
        return runs.order_by(OrderBy(expression, descending=down), second)


SORTS = {
    "name": "display_name",
    "status": "status",
    "experiment": "experiment__name",
    "target": "target_name",
    "created": "created_at",
    "duration": "seconds",
}
HEADS = {
    "name": _("Run"),
    "status": _("Status"),
    "experiment": _("Experiment"),
    "target": _("Target"),
    "created": _("Submitted"),
    "duration": _("Duration"),
}


@dataclass(frozen=True)
class Page:
    """One page of a list, without a count of all."""

    rows: list[Any]
    number: int
    has_next: bool
    previous_url: str = ""
    next_url: str = ""

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return (self.number - 1) * PAGE + len(self.rows)


def with_what_a_row_shows(runs: "QuerySet[Run]") -> "QuerySet[Run]":
    """Fetch what a row of the list shows, and not the large columns."""
    return runs.select_related("experiment", "submitted_by", "target", "workspace").defer(
        "config", "properties", "description"
    )


def row_html(workspace: Workspace, pk: int) -> str | None:
    """Return the row of a run, as every member of its workspace sees it; None when it is not there."""
    run = with_what_a_row_shows(Run.objects.filter(workspace=workspace, pk=pk)).first()
    return None if run is None else render_to_string("runs/_run_row.html", {"run": run})


def page_of_runs(asked: RunFilter, workspace: Workspace, user: User) -> Page:
    """Return the page the filter asks for, in as many queries however many runs there are."""
    start = (asked.page - 1) * PAGE
    rows, more = part_of_runs(asked, asked.of(workspace, user), start, PAGE)
    has_next = more and asked.page < FARTHEST_PAGE
    return Page(
        rows,
        asked.page,
        has_next,
        replace(asked, page=asked.page - 1).query if asked.page > 1 else "",
        replace(asked, page=asked.page + 1).query if has_next else "",
    )


def part_of_runs(asked: RunFilter, runs: "QuerySet[Run]", start: int, count: int) -> tuple[list[Run], bool]:
    """Return `count` of `runs`, which `asked` let through, from number `start` on, and whether more come after."""
    by = {"experiment": _ids_by_experiment, "duration": _ids_by_duration}.get(asked.sort.removeprefix("-"), _ids)
    ids = (_ids if asked.looks_into_rows else by)(asked, runs, start, count + 1)
    found = {run.pk: run for run in with_what_a_row_shows(Run.objects.filter(pk__in=ids[:count]))}
    return [found[pk] for pk in ids[:count] if pk in found], len(ids) > count


def _ids(asked: RunFilter, runs: "QuerySet[Run]", start: int, count: int) -> list[int]:
    return list(asked.ordered(runs).values_list("pk", flat=True)[start : start + count])


def _ids_by_experiment(asked: RunFilter, runs: "QuerySet[Run]", start: int, count: int) -> list[int]:
    """Count the runs of each experiment first: then only those of the page's own experiments are put in order."""
    counted = dict(runs.order_by().values_list("experiment").annotate(n=Count("pk")))
    names = dict(Experiment.objects.filter(workspace__in=runs.values("workspace")[:1]).values_list("pk", "name"))
    inside: list[int] = []
    passed = room = 0
    for pk in sorted(counted, key=lambda pk: (names[pk], pk), reverse=asked.sort.startswith("-")):
        if passed + counted[pk] <= start and not inside:
            passed += counted[pk]
            continue
        inside.append(pk)
        room += counted[pk]
        if passed + room >= start + count:
            break
    return _ids(asked, runs.filter(experiment__in=inside), start - passed, count) if inside else []


def _ids_by_duration(asked: RunFilter, runs: "QuerySet[Run]", start: int, count: int) -> list[int]:
    """Merge the runs that go on, which are few, into those that have ended, whose durations stand in an index."""
    going = runs.filter(ended_at=None)
    now = timezone.now()
    lasting = [(now - began, pk) for began, pk in going.values_list("created_at", "pk")[: MOST_MERGED + 1]]
    if len(lasting) > MOST_MERGED:
        return _ids(asked, runs, start, count)
    down = asked.sort.startswith("-")
    skipped = max(0, start - len(lasting))  # these come before the page, however long the others have lasted
    ended = runs.filter(ended_at__isnull=False).order_by(OrderBy(Took(), descending=down), "-pk")
    ids = list(ended.values_list("pk", flat=True)[skipped : start + count])  # alone, so that the index has it all
    times = {run.pk: run for run in Run.objects.filter(pk__in=ids).only("ended_at", "created_at")}

    def order(pair: tuple[timedelta, int]) -> tuple[timedelta, int]:
        return (-pair[0] if down else pair[0], -pair[1])

    done = ((times[pk].duration, pk) for pk in ids if pk in times)
    merged = heapq.merge(sorted(lasting, key=order), done, key=order)  # the database's order of its own stays
    return [pk for _lasted, pk in islice(merged, start - skipped, start - skipped + count)]


EXPERIMENT_SORTS = {"name": "name", "latest": "last_submitted", "created": "created_at"}


@dataclass(frozen=True)
class ExperimentFilter:
    """What the URL asks of the experiments list."""

    text: str = ""
    tag: str = ""
    archived: bool = False
    sort: str = "-latest"
    page: int = 1

    @classmethod
    def from_query(cls, query: QueryDict) -> "ExperimentFilter":
        sort, page = query.get("sort", ""), query.get("page", "1")
        return cls(
            text=query.get("q", "").strip()[:200],
            tag=query.get("tag", "").strip()[:300],
            archived=query.get("archived") == "1",
            sort=sort if sort.removeprefix("-") in EXPERIMENT_SORTS else "-latest",
            page=min(int(page), FARTHEST_PAGE) if page.isdecimal() and len(page) < 6 and int(page) > 0 else 1,
        )

    @property
    def query(self) -> str:
        said = [(key, value) for key, value in (("q", self.text), ("tag", self.tag)) if value]
        if self.archived:
            said.append(("archived", "1"))
        if self.sort != "-latest":
            said.append(("sort", self.sort))
        if self.page > 1:
            said.append(("page", str(self.page)))
        return "?" + urlencode(said)

    @property
    def narrows(self) -> bool:
        return bool(self.text or self.tag or self.archived)

    @property
    def columns(self) -> dict[str, Column]:
        heads = {"name": _("Experiment"), "latest": _("Latest run"), "created": _("Created")}
        made = {}
        for key, label in heads.items():
            down, up = self.sort == f"-{key}", self.sort == key
            turned = key if down else f"-{key}" if up or key != "name" else key
            state = "descending" if down else "ascending" if up else "none"
            made[key] = Column(key, str(label), replace(self, sort=turned, page=1).query, state)
        return made

    def page_of(self, workspace: Workspace) -> Page:
        """Return the page it asks for, each experiment with `latest` (a run or None) and `outcomes`: three queries."""
        rows, more = self.part_of(self.of(workspace), (self.page - 1) * PAGE, PAGE)
        has_next = more and self.page < FARTHEST_PAGE
        return Page(
            rows,
            self.page,
            has_next,
            replace(self, page=self.page - 1).query if self.page > 1 else "",
            replace(self, page=self.page + 1).query if has_next else "",
        )

    def of(self, workspace: Workspace) -> "QuerySet[Experiment]":
        """Return the experiments it lets through, in no order."""
        found: QuerySet[Experiment] = Experiment.objects.filter(
            workspace=workspace, archived_at__isnull=not self.archived
        ).select_related("created_by")
        for word in words_in(self.text):
            found = found.filter(Q(name__icontains=word) | Q(description__icontains=word))
        if self.tag:
            key, equals, value = (part.strip() for part in self.tag.partition("="))
            if equals:
                found = found.annotate(tag_value=Cast(KeyTextTransform(key, "tags"), TextField())).filter(
                    tag_value=value
                )
            else:
                found = found.filter(tags__has_key=key)
        return found

    def part_of(self, found: "QuerySet[Experiment]", start: int, count: int) -> tuple[list[Any], bool]:
        """Return `count` of `found` from number `start` on, with `latest` and `outcomes`, and whether more come."""
        newest = Run.objects.filter(experiment=OuterRef("pk"), number=OuterRef("last_number"))
        found = found.annotate(last_submitted=Subquery(newest.values("created_at")[:1]))
        key, down = EXPERIMENT_SORTS[self.sort.removeprefix("-")], self.sort.startswith("-")
        order = F(key).desc(nulls_last=True) if down else F(key).asc(nulls_last=True)
        rows: list[Any] = list(found.order_by(order, "-pk")[start : start + count + 1])
        more, rows = len(rows) > count, rows[:count]
        latest = {
            run.experiment_id: run
            for run in Run.objects.filter(experiment__in=rows, number=F("experiment__last_number")).defer(
                "config", "properties"
            )
        }
        counted = outcomes_of(rows)
        for experiment in rows:
            experiment.latest = latest.get(experiment.pk)
            experiment.outcomes = counted[experiment.pk]
        return rows, more


@dataclass
class Outcomes:
    """How many runs of an experiment are where."""

    active: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0

    @property
    def total(self) -> int:
        return self.active + self.completed + self.failed + self.canceled


def outcomes_of(experiments: list[Experiment]) -> dict[int, Outcomes]:
    """Count the runs of each experiment by outcome, in one query."""
    counted = {experiment.pk: Outcomes() for experiment in experiments}
    rows = (
        Run.objects.filter(experiment__in=experiments)
        .order_by()
        .values_list("experiment", "status")
        .annotate(n=Count("pk"))
    )
    for pk, status, n in rows:
        outcome = "active" if status in ACTIVE else str(status).lower()
        setattr(counted[pk], outcome, getattr(counted[pk], outcome) + n)
    return counted
