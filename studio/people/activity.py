"""Reading the activity: what the URL may ask of it, one page of it, where its objects are, and an export."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.cache import cache
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from redis import RedisError

from studio import csvs
from studio.http import id_in, words_in
from studio.people import chain
from studio.people.models import Activity, Chain, Workspace
from studio.people.origin import Way
from studio.people.verbs import FAMILIES, KINDS
from studio.people.words import Said, said

PAGE = 50
BATCH = 2000  # entries that an export reads at once
LOOKED_AT = 20_000  # entries of a chain that the page looks through; `manage.py doctor` looks through all
LOOKED_FOR = 60  # seconds, for which the page believes what it has found

Find = Callable[[Workspace, list[int]], dict[int, str]]  # ids → addresses of those that are there
_finds: dict[str, Find] = {}


def register(kind: str, find: Find) -> None:
    """Have `find` say at which address an object of this kind has its page."""
    _finds[kind] = find


@dataclass(frozen=True)
class ActivityFilter:
    """What the URL asks of the activity; what it says wrongly counts as not said."""

    text: str = ""
    who: str = ""
    family: str = ""
    kind: str = ""  # of one object, with its id
    object_id: str = ""
    since: date | None = None
    until: date | None = None  # this day, too
    of_studio: bool = False  # what belongs to no workspace, instead
    before: int = 0  # the page ends with the entry before this one; 0: the newest

    @classmethod
    def from_query(cls, query: QueryDict) -> "ActivityFilter":
        kind, _colon, object_id = query.get("object", "").partition(":")
        return cls(
            text=query.get("q", "").strip()[:200],
            who=query.get("who", "").strip()[:150],
            family=query.get("family", "") if query.get("family", "") in FAMILIES else "",
            kind=kind[:20] if object_id else "",
            object_id=object_id[:255],
            since=_day(query.get("since", "")),
            until=_day(query.get("until", "")),
            of_studio=query.get("of") == "studio",
            before=id_in(query.get("before", "")),
        )

    @property
    def query(self) -> str:
        """Return it as a query string with its question mark."""
        return "?" + urlencode([(key, value) for key, value in self._said() if value])

    def _said(self) -> Iterator[tuple[str, str]]:
        yield "of", "studio" if self.of_studio else ""
        yield "q", self.text
        yield "who", self.who
        yield "family", self.family
        yield "object", self.object
        yield "since", self.since.isoformat() if self.since else ""
        yield "until", self.until.isoformat() if self.until else ""
        yield "before", str(self.before) if self.before else ""

    @property
    def object(self) -> str:
        return f"{self.kind}:{self.object_id}" if self.object_id else ""

    @property
    def narrows(self) -> bool:
        return self.newest != self.everything

    @property
    def everything(self) -> "ActivityFilter":
        return ActivityFilter(of_studio=self.of_studio)

    @property
    def newest(self) -> "ActivityFilter":
        return replace(self, before=0)

    @property
    def of_any_object(self) -> "ActivityFilter":
        return replace(self, kind="", object_id="", before=0)

    def of(self, workspace: Workspace) -> QuerySet[Activity]:
        """Return the entries it lets through, in no order."""
        found = self._all_of(workspace).order_by()
        for word in words_in(self.text):
            found = found.alias(_detail=Cast("detail", TextField())).filter(_holds(word))
        if self.who:
            found = found.filter(actor_name=self.who)
        if self.family:
            found = found.filter(verb__startswith=f"{self.family}.")
        if self.object_id:
            found = found.filter(object_kind=self.kind, object_id=self.object_id)
        if self.since:
            found = found.filter(at__gte=_midnight(self.since))
        if self.until:
            found = found.filter(at__lt=_midnight(self.until) + timedelta(days=1))
        return found

    def _all_of(self, workspace: Workspace) -> QuerySet[Activity]:
        return chain.entries_of(None if self.of_studio else workspace.pk)

    def newest_of(self, workspace: Workspace) -> int:
        """Return the id of the newest entry there is, whatever else is asked."""
        return self._all_of(workspace).order_by("-pk").values_list("pk", flat=True).first() or 0

    def end_of(self, workspace: Workspace) -> Chain | None:
        """Return the end of the chain in which the entries are."""
        return Chain.objects.filter(Q(workspace=None) if self.of_studio else Q(workspace=workspace)).first()


def _holds(word: str) -> Q:
    wanted = Q(_detail__icontains=word) | Q(_detail__icontains=json.dumps(word)[1:-1])  # it may be kept so
    for name in ("object_name", "actor_name", "verb", "address", "token"):
        wanted |= Q(**{f"{name}__icontains": word})
    return wanted


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 1970 <= found.year < 9999 else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True)
class Row:
    """One entry as the page shows it."""

    entry: Activity
    address: str  # of the object's page; empty: it has none, or is gone

    @cached_property
    def said(self) -> Said:
        return said(self.entry.verb, self.entry.detail)

    @property
    def kind(self) -> str:
        return str(KINDS.get(self.entry.object_kind, self.entry.object_kind))

    @property
    def way(self) -> str:
        return str(Way(self.entry.way).label) if self.entry.way in Way.values else ""


@dataclass(frozen=True)
class Page:
    """One page of the activity, newest first."""

    rows: list[Row]
    newest: int  # id of the newest entry there is, whatever the filter
    older: str  # the query of the page after this one; empty: this is the last


def page_of(asked: ActivityFilter, workspace: Workspace) -> Page:
    """Return the page that is asked for; it is found by its place, so that the thousandth costs what the first does."""
    newest = asked.newest_of(workspace)
    found = asked.of(workspace).order_by("-pk")
    if asked.before:
        found = found.filter(pk__lt=asked.before)
    entries = list(found[: PAGE + 1])
    older = replace(asked, before=entries[PAGE - 1].pk).query if len(entries) > PAGE else ""
    return Page(_rows(workspace, entries[:PAGE]), newest, older)


def _rows(workspace: Workspace, entries: list[Activity]) -> list[Row]:
    addresses: dict[tuple[str, str], str] = {}
    for kind in {entry.object_kind for entry in entries} & _finds.keys():
        ids = {id_in(entry.object_id) for entry in entries if entry.object_kind == kind}
        found = _finds[kind](workspace, sorted(ids - {0}))
        addresses |= {(kind, str(pk)): address for pk, address in found.items()}
    return [Row(entry, addresses.get((entry.object_kind, entry.object_id), "")) for entry in entries]


def _at(name: str) -> Find:
    """Return a find for what has its place on one page of the workspace."""
    return lambda workspace, ids: dict.fromkeys(ids, reverse(name, args=[workspace.name]))


register("member", _at("members"))
register("team", _at("members"))
register("workspace", _at("settings"))


def families() -> list[tuple[str, str]]:
    """Return what changes are counted among, with its name, in the order of the names."""
    return sorted(((key, str(name)) for key, name in FAMILIES.items()), key=lambda pair: pair[1].lower())


def people_of(workspace: Workspace, most: int) -> list[str]:
    """Return names to offer while one types: the members', and the studio's own."""
    return ["studio", *workspace.memberships.order_by("user__username").values_list("user__username", flat=True)[:most]]


# Whether it is whole


def verdict_of(asked: ActivityFilter, workspace: Workspace) -> chain.Verdict:
    """Look through the newest entries of the chain, unless that was done a moment ago."""
    end = asked.end_of(workspace)
    if end is None:
        return chain.Verdict(0, "")
    key = f"activity.{end.pk}.{end.length}.{end.last_hash[:16]}"
    known: chain.Verdict | None = None
    with suppress(RedisError):  # what is not kept is looked at anew
        known = cache.get(key)
    if known is None:
        known = chain.verify(end, newest=LOOKED_AT)
        if not known.waiting:
            with suppress(RedisError):
                cache.set(key, known, LOOKED_FOR)
    return known


# Export

HEAD = [
    "seq", "at", "who", "way", "token", "address", "verb", "object_kind", "object_id", "object_name", "said", "before",
    "after", "detail", "hash",
]  # fmt: skip


def as_csv(asked: ActivityFilter, workspace: Workspace) -> Iterator[bytes]:
    """Yield the entries that the filter lets through, oldest first, as a table."""
    return (piece.encode() for piece in csvs.written(_table(asked, workspace)))


def _table(asked: ActivityFilter, workspace: Workspace) -> Iterator[Iterable[Any]]:
    yield HEAD
    for entry in _entries(asked, workspace):
        words, detail = said(entry.verb, entry.detail), entry.detail
        yield [
            entry.seq, entry.at.astimezone(UTC).isoformat(timespec="microseconds"), entry.actor_name, entry.way,
            entry.token, entry.address, entry.verb, entry.object_kind, entry.object_id, entry.object_name, words.text,
            *(_compact(detail[key]) if key in detail else "" for key in ("before", "after")),
            _compact(detail), entry.hash,
        ]  # fmt: skip


def as_json_lines(asked: ActivityFilter, workspace: Workspace) -> Iterator[bytes]:
    """Yield the entries that the filter lets through, oldest first, each as a line with exactly what is hashed."""
    name = chain.OF_NO_WORKSPACE if asked.of_studio else str(workspace.guid)
    for entry in _entries(asked, workspace):
        yield _compact(chain.canonical(name, entry.__dict__) | {"hash": entry.hash}).encode() + b"\n"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _entries(asked: ActivityFilter, workspace: Workspace) -> Iterator[Activity]:
    found, last = asked.newest.of(workspace).order_by("pk"), 0
    while batch := list(found.filter(pk__gt=last)[:BATCH]):
        yield from batch
        last = batch[-1].pk


def file_name(asked: ActivityFilter, workspace: Workspace, ending: str) -> str:
    """Return what an export is called."""
    of = chain.OF_NO_WORKSPACE if asked.of_studio else workspace.name
    return f"activity-{of}-{timezone.now():%Y%m%d-%H%M%S}.{ending}"
