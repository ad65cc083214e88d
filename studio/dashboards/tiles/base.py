"""What every kind of tile is made of: its options, its question, and what comes of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import Job
from studio.dashboards.charts import Chart
from studio.dashboards.models import Every, Link, Sample, Shows
from studio.people.models import Workspace
from studio.people.permissions import Right

SHOWN = 8  # rows of a list


@dataclass(frozen=True)
class Seen:
    """How much the viewers of a tile see of it. One page of each such kind is made, and shown to all of them."""

    people: bool = False
    names: bool = False
    reasons: bool = False
    csv: bool = False
    member: bool = False  # links lead to pages of the studio

    @classmethod
    def by_members(cls) -> "Seen":
        return cls(people=True, names=True, reasons=True, csv=True, member=True)

    @classmethod
    def by(cls, link: Link) -> "Seen":
        """Return what the link's maker chose; everything else is left out."""
        return cls(*(one.value in link.shows for one in (Shows.PEOPLE, Shows.NAMES, Shows.REASONS, Shows.CSV)))


@dataclass(frozen=True)
class Figure:
    """A number in large type."""

    label: str
    value: str = ""
    tone: str = ""
    since: datetime | None = None  # shown as the time from then on, instead of a value
    share: float | None = None  # of a whole, as a bar: 0 to 1


@dataclass(frozen=True)
class Item:
    """A line of a list."""

    name: str
    tone: str
    state: str
    note: str = ""  # whose, where
    reason: str = ""
    since: datetime | None = None
    at: datetime | None = None
    url: str = ""


@dataclass(frozen=True)
class TileData:
    """What a tile shows: a sentence that says it all, the table behind it, and how it is drawn."""

    said: str
    columns: list[str]
    rows: list[list[Any]]
    figures: list[Figure] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    chart: Chart | None = None
    as_of: datetime | None = None  # of the newest sample, where it is made of samples
    watches: list[Job] = field(default_factory=list, compare=False)  # whose metrics files may still grow

    def as_json(self) -> dict[str, Any]:
        """Return it as the interface for programs says it."""
        return {
            "said": self.said,
            "columns": self.columns,
            "rows": [[v.isoformat() if isinstance(v, datetime) else v for v in row] for row in self.rows],
            "as_of": self.as_of.isoformat() if self.as_of else None,
        }


class TileForm(forms.Form):
    """What can be chosen about a tile. `cleaned_data` less the title is stored as its options."""

    title = forms.CharField(
        label=gettext_lazy("Title"),
        max_length=100,
        required=False,
        help_text=gettext_lazy("Empty: as the kind of tile says. A link shows it as it is."),
    )

    def __init__(self, workspace: Workspace, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace

    @property
    def options(self) -> dict[str, Any]:
        return {key: value for key, value in self.cleaned_data.items() if key != "title"}


class Kind(ABC):
    """A kind of tile: a title, options, a question that is cheap however much there is, and a template."""

    key: ClassVar[str]
    label: ClassVar[str | Promise]
    about: ClassVar[str | Promise]  # one sentence for who chooses
    icon: ClassVar[str]
    form: ClassVar[type[TileForm]] = TileForm
    moved_by: ClassVar[frozenset[str]]  # nudges after which it may show something else
    template: ClassVar[str] = "dashboards/tiles/_chart.html"
    width: ClassVar[int] = 2
    height: ClassVar[int] = 1
    right: ClassVar[Right | None] = None  # of who puts one on a dashboard, beside the right to edit it

    def title(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> str:
        return str(self.label)

    @abstractmethod
    def ask(self, workspace: Workspace, options: dict[str, Any], seen: Seen) -> TileData: ...


SPANS: dict[str, tuple[str | Promise, timedelta, Every]] = {
    "hour": (gettext_lazy("The last hour"), timedelta(hours=1), Every.MINUTE),
    "day": (gettext_lazy("The last 24 hours"), timedelta(days=1), Every.MINUTE),
    "week": (gettext_lazy("The last 7 days"), timedelta(days=7), Every.HOUR),
    "month": (gettext_lazy("The last 30 days"), timedelta(days=30), Every.HOUR),
    "year": (gettext_lazy("The last year"), timedelta(days=365), Every.DAY),
}
MOST_SAMPLES = 400  # drawn: what a screen has room for


class SpanForm(TileForm):
    span = forms.ChoiceField(
        label=gettext_lazy("Time"), choices=[(key, label) for key, (label, _s, _e) in SPANS.items()], initial="day"
    )


class DaysForm(TileForm):
    days = forms.ChoiceField(
        label=gettext_lazy("Time"),
        choices=[("7", gettext_lazy("The last 7 days")), ("30", gettext_lazy("The last 30 days"))],
        initial="7",
    )


def days_of(options: dict[str, Any]) -> int:
    return 30 if options.get("days") == "30" else 7


def samples_of(workspace: Workspace, options: dict[str, Any]) -> list[Sample]:
    """Return the samples of the chosen time, the oldest first, few enough to be drawn; the newest one is the last."""
    _label, span, every = SPANS.get(str(options.get("span")), SPANS["day"])
    since = timezone.now() - span
    known = Sample.objects.filter(workspace=workspace)
    found = list(known.filter(every=every, at__gte=since))
    newest = found[-1] if every == Every.MINUTE and found else known.filter(every=Every.MINUTE).last()
    step = -(-len(found) // MOST_SAMPLES) or 1
    kept = found[::-1][::step][::-1]
    if newest is not None and newest.at >= since and (not kept or kept[-1].at < newest.at):
        kept.append(newest)
    return kept


def span_in_words(options: dict[str, Any]) -> str:
    return str(SPANS.get(str(options.get("span")), SPANS["day"])[0])


def nothing_yet() -> str:
    return _("Nothing was sampled yet: the first minute is still to come.")
