"""A plan in the making: the world as it will be when what was decided so far is done, and the room in it.

It knows what is free, what is on its way out and what is spoken for, and finds or makes room for one cluster. In which
order clusters and jobs have their turn, and why a job waits, is `engines.plan`'s.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from compute.engines.ceilings import Ceiling, Ceilings
from compute.engines.facts import (
    NOTHING,
    Capacity,
    Cause,
    ClusterView,
    Create,
    JobView,
    NodeView,
    Placement,
    Plan,
    Preempt,
    Release,
    Room,
    Slice,
    Wait,
)


class Got(StrEnum):
    """How the search for room ended."""

    NOW = "now"
    COMING = "coming"  # nodes are leaving; their room is held for it
    SHORT = "short"  # others must end first


@dataclass(frozen=True)
class _Hold:
    """Room that a job waits for, though it cannot have it all yet."""

    job: JobView
    need: Room


class Draft:
    """A plan in the making: the world as it will be when what was decided so far is done."""

    def __init__(
        self,
        capacity: Capacity,
        clusters: Sequence[ClusterView],
        nodes: Sequence[NodeView],
        jobs: Sequence[JobView],
        ceilings: Sequence[Ceiling],
    ) -> None:
        self.capacity = capacity
        self.quota = Ceilings(ceilings)
        self.clusters = {cluster.id: cluster for cluster in sorted(clusters, key=lambda c: c.id)}
        self.nodes = sorted(nodes, key=lambda node: node.id)
        self.count = Counter(node.cluster for node in nodes)  # every node holds room, whatever its state
        self.alive: dict[int, dict[int, NodeView]] = {cluster: {} for cluster in self.clusters}
        self.free: Room = capacity
        self.coming = NOTHING  # room of nodes on their way out
        for node in self.nodes:
            size = self.slice_of(node)
            self.free -= size
            if node.state in {"preparing", "idle", "running"}:
                self.alive[node.cluster][node.id] = node
            elif node.state != "unusable":
                self.coming += size
                self.quota.leaves(node.cluster, size.cpus)
        self.unclaimed = {cluster: _idle_first(alive.values()) for cluster, alive in self.alive.items()}
        self.fresh: Counter[int] = Counter()  # nodes created by this plan that no job has claimed
        self.growth: Counter[int] = Counter()  # nodes created by this plan, or whose room is on its way
        self.hoped: Counter[int] = Counter()  # nodes whose room is waited for
        self.promised = NOTHING  # room on its way, to somebody
        self.holds: list[_Hold] = []
        self.runs = {node.id: node.job for node in self.nodes if node.state == "running"}
        self.wanted = {job.cluster for job in jobs}
        self.kept: dict[int, dict[int, Room]] = {}
        self.heads: dict[int, int] = {}  # cluster → the first ready job that waits there
        self.place: list[Placement] = []
        self.create: list[Create] = []
        self.release: list[Release] = []
        self.preempt: list[Preempt] = []
        self.waits: dict[int, Wait] = {}

    def plan(self) -> Plan:
        return Plan(tuple(self.place), tuple(self.create), tuple(self.release), tuple(self.preempt), self.waits)

    def slice_of(self, node: NodeView) -> Slice:
        return self.clusters[node.cluster].slice

    def is_low(self, node: NodeView) -> bool:
        return self.clusters[node.cluster].low_priority

    def idle(self, cluster: int) -> list[NodeView]:
        """Return the idle nodes that nobody claimed, the longest idle first."""
        return sorted((n for n in self.unclaimed[cluster] if n.state == "idle"), key=lambda n: (n.since, n.id))

    def spare(self, cluster: ClusterView) -> list[NodeView]:
        """Return the idle nodes that nobody claimed and the minimum does not keep, the longest idle first."""
        return self.idle(cluster.id)[: max(0, len(self.alive[cluster.id]) - cluster.keeps)]

    def give_up(self, node: NodeView) -> None:
        """Count on the room of a node that goes."""
        del self.alive[node.cluster][node.id]
        self.unclaimed[node.cluster] = [n for n in self.unclaimed[node.cluster] if n.id != node.id]
        self.runs.pop(node.id, None)
        self.coming += self.slice_of(node)
        self.quota.leaves(node.cluster, self.slice_of(node).cpus)

    # Room

    def find_room(
        self, cluster: ClusterView, count: int, job: JobView | None, *, completes: bool
    ) -> tuple[Got, Room, int | None]:
        """Take or make room for `count` more nodes; say how it went, what is missing, and who earlier holds it.

        `job` is None for a minimum; `completes` says whether the job can start once it has them.
        """
        need = cluster.slice * count
        earlier = [h for h in self.holds if h.job.cluster != cluster.id if job is None or h.job.turn < job.turn]
        held = sum((h.need for h in earlier), self.promised)
        if (self.free - held).holds(need):
            self.free -= need
            return Got.NOW, NOTHING, None
        missing = (self.free + self.coming - held).gap(need)
        if any(missing):
            ready = job is None or job.ready
            spare = [
                node for other in self.clusters.values() if self.may_ask(cluster, other) for node in self.spare(other)
            ]
            victims = self.victims(cluster, spare, job) if completes and ready else []
            chosen = self.cover(missing, spare, victims)
            met = self.sum_of(chosen).holds(missing)
            if not met or not completes:  # what a low-priority node gives up must be of use at once
                chosen = [n for n in chosen if n in spare and (cluster.low_priority or not self.is_low(n))]
                met = self.sum_of(chosen).holds(missing)
            if not met and (job is None or not ready):  # neither takes what will not do, nor keeps others from it
                return Got.SHORT, missing, None
            blocker = earlier[0].job.id if earlier and (self.free + self.coming - self.promised).holds(need) else None
            self.let_go(chosen, cluster, job, spare)
            if job is not None and not met:
                self.holds.append(_Hold(job, need))
                return Got.SHORT, missing, blocker
        self.promised += need
        return Got.COMING, missing, None

    def find_quota(
        self, cluster: ClusterView, count: int, job: JobView | None, *, completes: bool
    ) -> tuple[Got, Ceiling | None]:
        """Look whether limits of cores let a cluster have `count` more nodes; say how it went, and which is short.

        Idle nodes below the same limits are let go for it, as for room, and borrowed ones for who is guaranteed them.
        What comes by that is taken; what is there already, only once there is room, too.
        """
        cores = count * cluster.slice.cpus
        over = self.quota.over(cluster.id, cores)
        if over is None:
            return Got.NOW, None
        spare = [node for other in self.clusters.values() if self.may_ask(cluster, other) for node in self.spare(other)]
        chosen, short = self.cover_quota(cluster, cores, [*spare, *(self.borrowed(job) if completes else [])])
        if short:
            chosen, _short = self.cover_quota(cluster, cores, spare)  # nobody is stopped for what will not do
        if short and (job is None or not job.ready):
            return Got.SHORT, short
        self.let_go(chosen, cluster, job, spare)
        self.quota.take(cluster.id, cores)
        return (Got.SHORT, short) if short else (Got.COMING, over)

    def cover_quota(
        self, cluster: ClusterView, cores: int, candidates: Sequence[NodeView]
    ) -> tuple[list[NodeView], Ceiling | None]:
        """Choose nodes below the limits that are short, the first ones first; return also which stays short."""
        chosen: list[NodeView] = []
        freed: Counter[int] = Counter()
        while short := self.quota.over(cluster.id, cores, freed=freed):
            node = next((n for n in candidates if n not in chosen and n.cluster in short.clusters), None)
            if node is None:
                return chosen, short
            chosen.append(node)
            freed[node.cluster] += self.slice_of(node).cpus
        return chosen, None

    def may_ask(self, cluster: ClusterView, other: ClusterView) -> bool:
        """Say whether idle nodes of `other` that nobody claimed so far are there for `cluster`."""
        if other.id == cluster.id:
            return False
        # Low-priority jobs have not claimed theirs yet when a dedicated cluster asks.
        return cluster.low_priority or not other.low_priority or other.id not in self.wanted

    def victims(self, cluster: ClusterView, spare: list[NodeView], job: JobView | None) -> list[NodeView]:
        """Return the nodes that may be taken for a job or a minimum, in the order they go.

        Low-priority ones for a dedicated cluster; then, for who is guaranteed them, borrowed ones.
        """
        kept_out = {node.id for node in spare}
        low = [
            node
            for other in ([] if cluster.low_priority else self.clusters.values())
            if other.low_priority
            for node in self.alive[other.id].values()
            if node.id not in kept_out
        ]
        low.sort(key=lambda node: (node.id in self.runs, -node.created, -node.id))
        return [*low, *(node for node in self.borrowed(job) if node not in low)]

    def borrowed(self, job: JobView | None) -> list[NodeView]:
        """Return the nodes that run borrowed work and are there for a job, the latest placed first."""
        if job is None or not job.ready or not job.guaranteed:
            return []
        there = [self.alive[cluster] for cluster in job.takes_from if cluster in self.alive]
        found = [node for nodes in there for node in nodes.values() if node.borrowed and node.id in self.runs]
        return sorted(found, key=lambda node: (-node.since, -(self.runs[node.id] or 0), -node.id))

    def take_back(self, job: JobView, cluster: ClusterView, count: int) -> None:
        """Take borrowed nodes of a job's own cluster, which has as many as it may have: enough of them, or none."""
        count -= self.count[cluster.id] - len(self.alive[cluster.id])  # these are on their way out already
        own = [node for node in self.borrowed(job) if node.cluster == cluster.id]
        if 0 < count <= len(own):
            self.let_go(own[:count], cluster, job, [])

    def cover(self, missing: Room, spare: list[NodeView], victims: list[NodeView]) -> list[NodeView]:
        """Choose nodes whose room makes up for `missing`, as few as needed; or all that help, when they do not do."""
        chosen: list[NodeView] = []
        candidates = [*spare, *victims]
        left = missing
        while candidates and any(left):
            # A job that loses one node loses all of them: take its other nodes before another job's.
            hit = {self.runs.get(node.id) for node in chosen} - {None}
            helpful = [node for node in candidates if self.slice_of(node).shares(left)]
            if not helpful:
                break
            first = helpful[0]
            if first.id in self.runs:
                first = next((node for node in helpful if self.runs.get(node.id) in hit), first)
            candidates.remove(first)
            chosen.append(first)
            left = self.sum_of(chosen).gap(missing)
        for node in reversed(chosen) if not any(left) else ():
            others = [n for n in chosen if n is not node]
            if self.sum_of(others).holds(missing):
                chosen = others
        return chosen

    def sum_of(self, nodes: Sequence[NodeView]) -> Room:
        return sum((self.slice_of(node) for node in nodes), NOTHING)

    def let_go(
        self, nodes: Sequence[NodeView], cluster: ClusterView, job: JobView | None, spare: Sequence[NodeView]
    ) -> None:
        """Release those of `nodes` that are spare, and preempt the others."""
        for_job = None if job is None else job.id
        for node in nodes:
            self.give_up(node)
            if node in spare:
                self.release.append(Release(node.id, Cause.ROOM, for_job, cluster.id))
            else:
                by_priority = self.is_low(node) and not cluster.low_priority
                self.preempt.append(Preempt(node.id, for_job, cluster.id, borrowed=not by_priority))


def _idle_first(nodes: Iterable[NodeView]) -> list[NodeView]:
    """Return the nodes a waiting job can claim, in the order it does."""
    return sorted((n for n in nodes if n.state != "running"), key=lambda n: (n.state != "idle", n.id))
