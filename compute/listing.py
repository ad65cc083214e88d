"""The list of targets: which ones, in which order, which page, and the facts each row shows.

Made for ten thousand targets: the database filters, sorts and counts; what a row needs is asked for its page alone.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Lower
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from compute import attaching
from compute.drivers import kinds_with
from compute.drivers.base import Attaches, Provisions, Resizes, Starts
from compute.host_keys import CHANGED
from compute.models import ComputeTarget, Examination, Job, Node
from compute.prices.price import Price, Prices, price_here
from compute.sizes import VmSize, find
from compute.states import AllocationState, JobState, NodeState, Priority, ProvisioningState, Toned
from studio.http import words_in
from studio.people.models import Workspace
from studio.said import said
from studio.templatetags.studio import size_of

PAGE_SIZE = 50

UP = (NodeState.PREPARING, NodeState.IDLE, NodeState.RUNNING, NodeState.LEAVING)  # these hold capacity
BUSY = (JobState.STARTING, JobState.RUNNING, JobState.ENDING)
QUEUED = (JobState.PREPARING, JobState.WAITING, JobState.QUEUED)


class Tab(Toned):
    """The tabs of the list, as the provider's studio has them, and one for this computer."""

    INSTANCES = "instances", gettext_lazy("Compute instances")
    CLUSTERS = "clusters", gettext_lazy("Compute clusters")
    ATTACHED = "attached", gettext_lazy("Attached compute")
    LOCAL = "local", gettext_lazy("Local")

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of target that this tab lists; empty where this version knows none."""
        match self:
            case Tab.LOCAL:
                return ["local"]
            case Tab.INSTANCES:
                return kinds_with(Starts)
            case Tab.CLUSTERS:
                return [k for k in kinds_with(Resizes) if k in kinds_with(Provisions)]
            case _:
                return kinds_with(Attaches)

    @property
    def columns(self) -> list["Column"]:
        """Return the columns that say something of its targets."""
        one_machine = {Column.NODES, Column.PRIORITY, Column.COST}
        of_a_connection = {Column.CHECKED, Column.HOST_KEY}
        left_out = one_machine if self is Tab.ATTACHED else of_a_connection
        return [column for column in Column if column not in left_out]


class Shown(Toned):
    """One word for a target in a list, made of its provisioning, its allocation and what runs on it."""

    RUNNING = "running", gettext_lazy("Running")
    RESIZING = "resizing", gettext_lazy("Resizing")
    IDLE = "idle", gettext_lazy("Idle")
    CREATING = "creating", gettext_lazy("Creating")
    UPDATING = "updating", gettext_lazy("Updating")
    FAILED = "failed", gettext_lazy("Failed")
    DELETING = "deleting", gettext_lazy("Deleting")
    UNKNOWN = "unknown", gettext_lazy("Unknown")
    BLOCKED = "blocked", gettext_lazy("Blocked")

    @property
    def tone(self) -> str:
        tones = {"running": "run", "resizing": "run", "creating": "run", "updating": "run"}
        tones |= {"failed": "bad", "blocked": "bad"}
        return tones.get(self.value, "warn" if self is Shown.DELETING else "idle")


class Column(Toned):
    """The columns that may be hidden; the name always stays."""

    STATE = "state", gettext_lazy("State")
    NODES = "nodes", gettext_lazy("Nodes")
    PRIORITY = "priority", gettext_lazy("Priority")
    COST = "cost", gettext_lazy("Cost")
    CHECKED = "checked", gettext_lazy("Last check")
    HOST_KEY = "host_key", gettext_lazy("Host key")
    TAGS = "tags", gettext_lazy("Tags")
    CREATED = "created", gettext_lazy("Created")


DEFAULT_COLUMNS = [c for c in Column if c is not Column.TAGS]


def shown_word() -> Case:
    """Return the SQL expression of `Shown`."""
    states = ProvisioningState
    busy = Job.objects.filter(state__in=BUSY).values("target_id")
    return Case(
        When(provisioning_state=states.DELETING, then=Value(Shown.DELETING)),
        When(kind__in=kinds_with(Attaches), config__changed_host_key__isnull=False, then=Value(Shown.BLOCKED)),
        When(provisioning_state__in=[states.FAILED, states.CANCELED], then=Value(Shown.FAILED)),
        When(provisioning_state=states.CREATING, then=Value(Shown.CREATING)),
        When(provisioning_state=states.UNKNOWN, then=Value(Shown.UNKNOWN)),
        When(allocation_state=AllocationState.RESIZING, then=Value(Shown.RESIZING)),
        When(pk__in=busy, then=Value(Shown.RUNNING)),
        When(provisioning_state=states.UPDATING, then=Value(Shown.UPDATING)),
        default=Value(Shown.IDLE),
        output_field=CharField(),
    )


@dataclass(frozen=True)
class Filter:
    """What the URL asks of the list."""

    tab: Tab = Tab.CLUSTERS
    text: str = ""
    state: str = ""
    priority: str = ""
    tag: str = ""  # "key" or "key=value"
    sort: str = "name"
    page: str = "1"
    every_tab: bool = False  # the targets of all tabs, as no page shows them

    @classmethod
    def from_query(cls, query: QueryDict) -> "Filter":
        """Read a query string; what it says wrongly counts as not said."""

        def one_of(name: str, known: Any, default: str = "") -> str:
            value = query.get(name, "")
            return value if value in known else default

        return cls(
            tab=Tab(one_of("tab", Tab.values, Tab.CLUSTERS)),
            text=query.get("q", "").strip()[:200],
            state=one_of("state", Shown.values),
            priority=one_of("priority", Priority.values),
            tag=query.get("tag", "").strip()[:200],
            sort=one_of("sort", SORTS | {f"-{s}": "" for s in SORTS}, "name"),
            page=query.get("page", "1"),
        )

    @property
    def narrows(self) -> bool:
        """Say whether it leaves anything out, for the words of an empty list."""
        return bool(self.text or self.state or self.priority or self.tag)

    def of(self, workspace: Workspace) -> "QuerySet[ComputeTarget]":
        """Return the targets it lets through, in no order."""
        found: QuerySet[ComputeTarget] = ComputeTarget.objects.existing().filter(workspace=workspace)
        if not self.every_tab:
            found = found.filter(kind__in=self.tab.kinds)
        if self.text or self.tag:
            found = found.annotate(tags_text=Cast("tags", TextField()))
        for word in words_in(self.text):
            found = found.filter(
                Q(name__icontains=word) | Q(vm_size__icontains=word) | _tags_hold(word) | Q(description__icontains=word)
            )
        if self.tag:
            key, equals, value = self.tag.partition("=")
            wanted, plain = (
                f"{json.dumps(key, ensure_ascii=escaped)}: "
                + (json.dumps(value, ensure_ascii=escaped) if equals else "")
                for escaped in (True, False)  # another alphabet may be kept either way
            )
            found = found.filter(Q(tags_text__contains=wanted) | Q(tags_text__contains=plain))
        if self.priority:
            found = found.filter(vm_priority=self.priority)
        if self.state:
            found = found.annotate(shown=shown_word()).filter(shown=self.state)
        return found

    def ordered(self, found: "QuerySet[ComputeTarget]") -> "QuerySet[ComputeTarget]":
        """Sort as asked; equal ones by name, so that a page never shows a row twice."""
        column, down = self.sort.removeprefix("-"), self.sort.startswith("-")
        if column == "state":
            found = found.annotate(shown=shown_word())
        elif column in ("nodes", "cost"):
            up = Node.objects.filter(target=OuterRef("pk"), state__in=UP).order_by().values("target")
            found = found.annotate(up=Coalesce(Subquery(up.annotate(n=Count("pk")).values("n")), 0))
            if column == "cost":
                found = found.annotate(cost=F("up") * price_here(found))
        key = SORTS[column]
        first = (key.desc() if down else key.asc()) if hasattr(key, "desc") else F(key).desc() if down else F(key).asc()
        return found.order_by(first, Lower("name"), "pk")


def _tags_hold(word: str) -> Q:
    """Look for a word in the tags as JSON, where another alphabet may be escaped."""
    return Q(tags_text__icontains=word) | Q(tags_text__icontains=json.dumps(word)[1:-1])


SORTS: dict[str, Any] = {
    "name": Lower("name"),
    "state": "shown",
    "nodes": "up",
    "priority": "vm_priority",
    "cost": "cost",
    "created": "created_at",
}


@dataclass(frozen=True)
class Row:
    """What the list says of one target."""

    target: ComputeTarget
    nodes: Counter[str] = field(default_factory=Counter)  # by state
    running: int = 0  # jobs
    queued: int = 0
    last_end: datetime | None = None  # of its newest run
    price: Price | None = None  # of an hour of a node; None for a kind without nodes
    azure_price: Price | None = None  # of the same in Azure
    examination: Examination | None = None  # the newest that has ended

    @property
    def tab(self) -> Tab:
        """Return the tab that lists it."""
        return next((tab for tab in Tab if self.target.kind in tab.kinds), Tab.CLUSTERS)

    @property
    def is_attached(self) -> bool:
        return self.target.kind in kinds_with(Attaches)

    @property
    def host_key(self) -> str:
        """Return the pinned fingerprint, or nothing."""
        return str(self.target.config.get("host_key", {}).get("sha256", ""))

    @property
    def has_passed(self) -> bool:
        """Say whether the connection was found well; a host key that has changed since is not."""
        is_well = self.examination is not None and attaching.has_passed(self.examination)
        return is_well and CHANGED not in self.target.config

    @property
    def state(self) -> Shown:
        return Shown(self.target.shown)  # type: ignore[attr-defined]

    @property
    def is_deleted(self) -> bool:
        return self.target.deleted_at is not None

    @property
    def can_be_deleted(self) -> bool:
        """Say whether it can be taken off the list: deleted, or detached."""
        return isinstance(self.target.driver, Provisions | Attaches) and not self.is_deleted

    @cached_property
    def size(self) -> VmSize | None:
        return find(self.target.vm_size)

    @property
    def up(self) -> int:
        """Return how many nodes hold capacity now."""
        return sum(self.nodes[state] for state in UP)

    @property
    def cost_now(self) -> Decimal | None:
        """Return the US dollars an hour that the nodes that are up cost; None for a kind without nodes."""
        return None if self.price is None else self.price.amount * self.up

    @property
    def azure_cost_now(self) -> Decimal | None:
        """Return the US dollars an hour that as many nodes cost in Azure; None where that is not known."""
        return None if self.azure_price is None else self.azure_price.amount * self.up

    @property
    def has_nodes(self) -> bool:
        return self.target.max_nodes > 0

    @property
    def reason(self) -> str:
        """Return in a few words why it is as it is; what the engine or the driver says goes first."""
        if self.state is Shown.BLOCKED:
            return said(self.target.why_held)
        if self.target.state_reason:
            return said(self.target.state_reason)
        if self.running or self.queued:
            counts = [
                ngettext("%(n)d running", "%(n)d running", self.running) % {"n": self.running} if self.running else "",
                ngettext("%(n)d queued", "%(n)d queued", self.queued) % {"n": self.queued} if self.queued else "",
            ]
            return ", ".join(filter(None, counts))
        if self.state is not Shown.IDLE or not self.has_nodes:
            return ""
        if idle := self.nodes[NodeState.IDLE]:
            kept = (
                _("kept as the minimum") if idle <= self.target.min_nodes else _("released after %(s)d s without a run")
            )
            words = ngettext("%(n)d idle node", "%(n)d idle nodes", idle) % {"n": idle}
            return f"{words}, {kept % {'s': self.target.idle_seconds}}"
        return "" if self.up else _("scaled to zero")

    @property
    def says_last_run(self) -> bool:
        """Say whether the time of the last run belongs beside the reason: nothing runs, nothing waits."""
        return self.last_end is not None and self.state is Shown.IDLE and not self.queued

    @property
    def active(self) -> int:
        """Return how many runs a deletion would end."""
        return self.running + self.queued

    @property
    def what(self) -> str:
        """Return the line under the name: the size and what it has, or the kind."""
        if self.size is None:
            return self.target.vm_size or str(self.target.driver.label)
        return f"{self.size.name} · {summary(self.size)}"

    @property
    def tag_links(self) -> list[tuple[str, str, str]]:
        """Return each tag with the query string that lists everything that carries it."""
        return [(k, v, urlencode({"tag": f"{k}={v}"})) for k, v in self.target.tags.items()]


def summary(size: VmSize) -> str:
    """Return what a size has, in one line: "6 vCPU, 56 GB, 1×K80"."""
    parts = [_("%(n)d vCPU") % {"n": size.vcpus}, size_of(size.memory_bytes)]
    return ", ".join([*parts, f"{size.gpus}×{gpu(size)}"] if size.gpus else parts)


def gpu(size: VmSize) -> str:
    """Return what people call the GPU: "K80", not "NVIDIA Tesla K80 (half card)"."""
    return size.gpu_type.partition(" (")[0].removeprefix("NVIDIA ").removeprefix("Tesla ")


def rows(targets: list[int]) -> list[Row]:
    """Return the rows of these targets, in this order, deleted ones too; five queries, however many."""
    newest = Job.objects.filter(target=OuterRef("pk"), ended_at__isnull=False).order_by("-pk").values("ended_at")[:1]
    found = (
        ComputeTarget.objects.filter(pk__in=targets)
        .select_related("created_by", "workspace")
        .annotate(shown=shown_word(), last_end=Subquery(newest))
        .in_bulk()
    )
    nodes: dict[int, Counter[str]] = {pk: Counter() for pk in found}
    for pk, state, n in (
        Node.objects.filter(target__in=targets).order_by().values_list("target", "state").annotate(n=Count("pk"))
    ):
        nodes[pk][state] += n
    jobs: dict[int, Counter[str]] = {pk: Counter() for pk in found}
    for pk, state, n in (
        Job.objects.active()
        .filter(target__in=targets)
        .order_by()
        .values_list("target", "state")
        .annotate(n=Count("pk"))
    ):
        jobs[pk][state] += n
    prices = {target.workspace_id: Prices(target.workspace) for target in found.values()}
    looks = _newest_looks([pk for pk, target in found.items() if target.kind in kinds_with(Attaches)])
    return [
        Row(
            found[pk],
            nodes[pk],
            examination=looks.get(pk),
            running=sum(jobs[pk][s] for s in BUSY),
            queued=sum(jobs[pk][s] for s in QUEUED),
            last_end=found[pk].last_end,  # type: ignore[attr-defined]
            price=prices[found[pk].workspace_id].of(found[pk]) if found[pk].max_nodes else None,
            azure_price=prices[found[pk].workspace_id].listed(found[pk]),
        )
        for pk in targets
        if pk in found
    ]


def _newest_looks(targets: list[int]) -> dict[int, Examination]:
    """Return the newest ended look of the connection doctor at each of these targets; no query where there are none."""
    if not targets:
        return {}
    looks = Examination.objects.filter(target__in=targets, is_draft=False, ended_at__isnull=False)
    newest = looks.order_by().values("target").annotate(newest=Max("pk")).values("newest")
    return {look.target_id: look for look in Examination.objects.filter(pk__in=newest) if look.target_id}


def page_of(wanted: Filter, workspace: Workspace) -> "Page[int]":
    """Return the page of target ids that the URL asks for; a page beyond the last is the last."""
    ids = wanted.ordered(wanted.of(workspace)).values_list("pk", flat=True)
    return Paginator(ids, PAGE_SIZE).get_page(wanted.page)


def counts(workspace: Workspace) -> dict[Tab, int]:
    """Return how many targets each tab holds."""
    found = ComputeTarget.objects.existing().filter(workspace=workspace).order_by()
    by_kind = dict(found.values_list("kind").annotate(n=Count("pk")))
    return {tab: sum(by_kind.get(kind, 0) for kind in tab.kinds) for tab in Tab}


def newest_id(workspace: Workspace) -> int:
    """Return the highest id so far: what is above it later is new to the page."""
    return ComputeTarget.objects.filter(workspace=workspace).aggregate(n=Max("pk"))["n"] or 0
