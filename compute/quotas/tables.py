"""Limits as a table: written for a spreadsheet, and read back from one, row by row."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from compute import sizes
from compute.quotas.actions import Outcome, Status, Wanted, may_edit, preview_limits, set_limits
from compute.quotas.models import ALL, Limit, Scope
from compute.states import Priority
from studio.csvs import plain
from studio.errors import NeedsRight, NotValid
from studio.people.models import Membership, Team, User, Workspace

HEAD = ("scope", "who", "family", "priority", "cores", "guaranteed")
SCOPES = {"studio": Scope.STUDIO, "workspace": Scope.WORKSPACE, "team": Scope.TEAM, "person": Scope.PERSON}
MOST_BYTES, MOST_ROWS = 1_000_000, 5000
COUNT = re.compile(r"\A\d{1,9}\Z")


@dataclass
class Row:
    """One line of a table: what it says, and what becomes of it. `number` is its line in the file."""

    number: int
    cells: list[str]
    wanted: Wanted | None = None
    outcome: Outcome | None = None
    wrong: list[str] = field(default_factory=list)  # why it is refused
    before: str = ""
    after: str = ""

    @property
    def is_refused(self) -> bool:
        return bool(self.wrong) or self.outcome is None or self.outcome.status != Status.SUCCESS

    @property
    def why(self) -> str:
        return " ".join(self.wrong) or (self.outcome.message if self.outcome else "")

    @property
    def changes(self) -> bool:
        return not self.is_refused and self.before != self.after


def written(workspace: Workspace) -> Iterator[list[Any]]:
    """Yield the limits that apply in a workspace as rows, with a head."""
    yield list(HEAD)
    limits = Limit.objects.filter(Q(workspace=None) | Q(workspace=workspace)).select_related("team", "person")
    names = {scope: name for name, scope in SCOPES.items()}
    for limit in limits.order_by("workspace", "team__name", "person__username", "family", "priority"):
        family = ALL if limit.family == ALL else sizes.family_name(limit.family)
        who = limit.person.username if limit.person else limit.team.name if limit.team else ""
        yield [names[limit.scope], who, family, limit.priority, limit.cores, limit.guaranteed]


def decoded(data: bytes) -> str:
    """Return a file's text. Raises NotValid for what is too large or no UTF-8."""
    if len(data) > MOST_BYTES:
        raise NotValid([("file", _("The file is larger than %(n)d MB.") % {"n": MOST_BYTES // 1_000_000})])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        said = _("The file is not in UTF-8. Save it as “CSV UTF-8”.")
        raise NotValid([("file", said)]) from exc
    if "\0" in text:
        raise NotValid([("file", _("The file is no text."))])
    return text


def read(text: str, workspace: Workspace, *, by: User) -> list[Row]:
    """Return what the rows of a table want, and what would become of each. Raises NotValid for none."""
    head, _newline, _rest = text.partition("\n")
    separator = ";" if ";" in head and "," not in head else ","
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as exc:
        raise NotValid([("file", _("The file is no table: %(why)s.") % {"why": exc})]) from exc
    if not lines or tuple(cell.strip().casefold() for cell in lines[0][: len(HEAD)]) != HEAD:
        raise NotValid([("file", _("The first line has to be: %(head)s.") % {"head": ",".join(HEAD)})])
    if len(lines) > MOST_ROWS:
        raise NotValid([("file", _("The table has more than %(n)d rows.") % {"n": MOST_ROWS})])
    people = {
        one.user.username: one.user for one in Membership.objects.filter(workspace=workspace).select_related("user")
    }
    teams = {team.name: team for team in Team.objects.filter(workspace=workspace)}
    rows = [
        Row(number, [plain(cell.strip()) for cell in line]) for number, line in enumerate(lines[1:], 2) if any(line)
    ]
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        _understand(row, workspace, people, teams, by)
        if row.wanted is not None:
            of = row.wanted
            key = (of.scope, of.team, of.person, sizes.family_key(of.family), of.priority)
            if key in seen:
                row.wanted, row.wrong = None, [_("This limit is in the table twice.")]
            seen.add(key)
    _judge(rows, by)
    return rows


def apply(rows: list[Row], *, by: User) -> None:
    """Set what was not refused, each by itself; how it went stands on each row."""
    todo = [row for row in rows if row.changes and row.wanted is not None]
    for row, outcome in zip(todo, set_limits([row.wanted for row in todo if row.wanted], by=by), strict=True):
        row.outcome = outcome


def _understand(row: Row, workspace: Workspace, people: dict[str, User], teams: dict[str, Team], by: User) -> None:
    if len(row.cells) < len(HEAD) or any(row.cells[len(HEAD) :]):
        row.wrong.append(_("It has %(n)d cells, not %(must)d.") % {"n": len(row.cells), "must": len(HEAD)})
        return
    scope, who, family, priority, cores, guaranteed = row.cells[: len(HEAD)]
    kind = SCOPES.get(scope.casefold())
    if kind is None:
        row.wrong.append(_("“%(name)s” is none of: %(names)s.") % {"name": scope[:40], "names": ", ".join(SCOPES)})
    if kind == Scope.TEAM and who not in teams:
        row.wrong.append(_("There is no team “%(name)s” here.") % {"name": who[:40]})
    if kind == Scope.PERSON and who not in people:
        row.wrong.append(_("Nobody here is called “%(name)s”.") % {"name": who[:40]})
    by_name = {value.casefold(): value for value in Priority.values}
    if priority.casefold() not in by_name:
        row.wrong.append(_("“%(name)s” is no priority.") % {"name": priority[:20]})
    numbers = {"cores": cores, "guaranteed": guaranteed}
    for name, text in numbers.items():
        if text and not COUNT.match(text):
            said = _("“%(text)s” is no whole number of cores (%(column)s).")
            row.wrong.append(said % {"text": text[:40], "column": name})
    where = None if kind == Scope.STUDIO else workspace
    try:
        may_edit(where, by)
    except NeedsRight as exc:
        row.wrong.append(exc.message)
    if row.wrong:
        return
    row.wanted = Wanted(
        family, int(cores) if cores else None, by_name[priority.casefold()], int(guaranteed) if guaranteed else None,
        where, teams[who] if kind == Scope.TEAM else None, people[who] if kind == Scope.PERSON else None,
    )  # fmt: skip


def _judge(rows: list[Row], by: User) -> None:
    wanted = [row for row in rows if row.wanted is not None]
    for row, outcome in zip(wanted, preview_limits([row.wanted for row in wanted if row.wanted], by=by), strict=True):
        row.outcome, limit = outcome, outcome.limit
        row.before = _said(limit.cores, limit.guaranteed) if limit else _said(None, None)
        row.after = _said(outcome.wanted.cores, outcome.wanted.guaranteed)


def _said(cores: int | None, guaranteed: int | None) -> str:
    most = _("no limit") if cores is None else str(cores)
    return most if guaranteed is None else _("%(most)s, %(n)d guaranteed") % {"most": most, "n": guaranteed}
