"""What the page of quota shows: each limit with what is used of it, down to clusters and the runs on their nodes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from compute import sizes
from compute.engines import embedded
from compute.models import ComputeTarget
from compute.quotas.bounds import promised
from compute.quotas.models import ALL, Limit, Reservation
from compute.states import Priority
from studio.people.models import User, Workspace

MOST_CLUSTERS = 50  # of a workspace, named one by one
TOTALS = ((ALL, Priority.DEDICATED), (ALL, Priority.LOW_PRIORITY))


@dataclass
class Use:
    """Cores that nodes hold: all of them, those of nodes that run a job, and what of these is borrowed."""

    held: int = 0
    running: int = 0
    borrowed: int = 0

    def add(self, other: "Use") -> None:
        self.held += other.held
        self.running += other.running
        self.borrowed += other.borrowed

    @property
    def idle(self) -> int:
        return self.held - self.running

    @property
    def owned(self) -> int:
        """Return what runs and is not borrowed."""
        return self.running - self.borrowed


@dataclass(frozen=True)
class Line:
    """A limit, or that there is none, and what is used of it. `of`: "studio" or "workspace"."""

    of: str
    family: str
    priority: str
    use: Use
    limit: int | None
    version: int  # 0: there is no row
    capacity: int  # virtual CPUs of all machines, to be shown where nothing is limited

    @property
    def slug(self) -> str:
        family = "all" if self.family == ALL else self.family
        return f"{self.of}-{family}-{self.priority}"

    @property
    def free(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.use.held)

    @property
    def whole(self) -> int:
        """Return how long the bar is."""
        return self.capacity if self.limit is None else self.limit


@dataclass(frozen=True)
class Family:
    """A VM family, or one of the two totals, with its lines: of the studio and of the workspace."""

    key: str
    priority: str
    lines: list[Line]

    @property
    def slug(self) -> str:
        return self.lines[0].slug.partition("-")[2]

    @property
    def title(self) -> str:
        if self.key != ALL:
            return sizes.family_name(self.key)
        return (
            _("Low priority, all families") if self.priority == Priority.LOW_PRIORITY else _("Dedicated, all families")
        )

    @property
    def is_of_interest(self) -> bool:
        return self.key == ALL or any(line.use.held or line.limit is not None for line in self.lines)


@dataclass
class Cluster:
    """A cluster's part: `kept` is what its minimum keeps."""

    target: ComputeTarget
    use: Use
    nodes: int
    kept: int


@dataclass
class Part:
    """A workspace's part of a family. No workspace: all those that the reader does not belong to, together."""

    workspace: Workspace | None
    use: Use = field(default_factory=Use)
    limit: int | None = None
    clusters: list[Cluster] = field(default_factory=list)
    more: int = 0  # clusters that are not named


def families(workspace: Workspace) -> list[Family]:
    """Return the totals and every family, in three queries."""
    uses = _uses()
    whose = Q(workspace=None) | Q(workspace=workspace, team=None, person=None)
    rows = {(row.workspace_id, row.family, row.priority): row for row in Limit.objects.filter(whose)}
    capacity = sum(embedded.capacity(host).cpus for host in embedded.hosts())

    def line(of: str, whose: int | None, family: str, priority: str) -> Line:
        row = rows.get((whose, family, priority))
        use = uses.get((whose, family, priority), Use())
        return Line(of, family, priority, use, row.cores if row else None, row.version if row else 0, capacity)

    pairs: Iterable[tuple[str, str]] = [*TOTALS, *((key, Priority.DEDICATED) for key in sizes.families())]
    return [
        Family(key, priority, [line("studio", None, key, priority), line("workspace", workspace.pk, key, priority)])
        for key, priority in pairs
    ]


def _uses() -> dict[tuple[int | None, str, str], Use]:
    """Return what is held, by workspace (None: all of them), family (or ALL) and priority."""
    found: defaultdict[tuple[int | None, str, str], Use] = defaultdict(Use)
    rows = Reservation.objects.held().order_by().values_list("workspace", "family", "priority")
    for workspace, family, priority, *cores in rows.annotate(**_SUMS):
        use = Use(*(n or 0 for n in cores))
        for whose in (workspace, None):
            for name in (family, ALL):
                found[whose, name, priority].add(use)
    return found


_SUMS: dict[str, Any] = {
    "held": Sum("cores"),
    "running": Sum("cores", filter=Q(job__isnull=False)),
    "borrowed": Sum("cores", filter=Q(borrowed=True)),
}


def parts(user: User, family: str, priority: str) -> list[Part]:
    """Return what each workspace holds of a family, and each of its clusters; only the reader's are named."""
    rows = Reservation.objects.held().filter(priority=priority)
    if family != ALL:
        rows = rows.filter(family=family)
    grouped = rows.order_by().values_list("workspace", "target").annotate(**_SUMS, nodes=Count("pk"))
    spaces = {space.pk: Part(space) for space in Workspace.objects.for_user(user).order_by("name")}
    others, held = Part(None), {}
    for workspace, target, *cores, nodes in grouped:
        use = Use(*(n or 0 for n in cores))
        spaces.get(workspace, others).use.add(use)
        held[target] = (use, nodes)
    limits = Limit.objects.filter(workspace__in=spaces, team=None, person=None, family=family, priority=priority)
    for limit in limits:
        spaces[limit.workspace_id or 0].limit = limit.cores
    kept = {space: promised(space, family, priority) for space in (part.workspace for part in spaces.values()) if space}
    by_id = {target.pk: cores for rows in kept.values() for target, cores in rows.items()}
    named = ComputeTarget.objects.filter(workspace__in=spaces, pk__in={*held, *by_id}).select_related("workspace")
    for target in named.order_by("name"):
        use, nodes = held.get(target.pk, (Use(), 0))
        spaces[target.workspace_id].clusters.append(Cluster(target, use, nodes, by_id.get(target.pk, 0)))
    for part in spaces.values():
        part.clusters.sort(key=lambda one: -max(one.use.held, one.kept))
        part.more, part.clusters = max(0, len(part.clusters) - MOST_CLUSTERS), part.clusters[:MOST_CLUSTERS]
    shown = [part for part in spaces.values() if part.use.held or part.clusters or part.limit is not None]
    return [*shown, *([others] if others.use.held else [])]
