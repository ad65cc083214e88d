"""Who gets which node, who grows, who shrinks, who is preempted: pure functions over what one host holds.

`plan` looks at everything at once and returns what should change. The caller applies it, and asks again
whenever something moved; where nothing moves, the plan is empty. The rules, in their order:

- A job gets all its nodes at once: idle ones of its own cluster. First come, first served; and who waits
  holds the room it waits for, so that narrow jobs of other clusters do not starve a wide one. A job whose
  environment is still being built makes its cluster grow, and lets everybody pass.
- Room is made from idle nodes that nobody earlier waits for and no minimum keeps; then, for a dedicated
  cluster, from low-priority nodes, and from these only when the whole need is met by it. A node on its
  way out holds its room until it is gone, and is counted on.
- A job of people who are guaranteed its cores goes before those who borrow, and takes nodes from them where idle ones
  do not do, under the same condition: they were told that they can be stopped.
- A job for which the minimums of other clusters leave no room waits, and stands in nobody's way.
- Cores that a limit does not have are waited for likewise: nothing is preempted for nodes a cluster may not have,
  and idle nodes below the same limit are let go for who comes earlier.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from compute.engines.ceilings import Ceiling, Ceilings
from compute.engines.facts import (
    NOTHING,
    RESOURCES,
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
    WaitKind,
    can_ever_run,
)


def plan(
    capacity: Capacity,
    clusters: Sequence[ClusterView],
    nodes: Sequence[NodeView],
    jobs: Sequence[JobView],
    now: float,
    ceilings: Sequence[Ceiling] = (),
) -> Plan:
    """Return what to change now.

    `clusters` holds every cluster that has a node or a job on this host, `nodes` every node that is not gone
    yet, `jobs` those that wait, `ceilings` the limits of cores that hold for them.
    """
    draft = _Draft(capacity, clusters, nodes, jobs, ceilings)
    draft.release_what_is_unwanted()
    waiting = sorted((job for job in jobs if draft.may_run(job)), key=lambda job: job.turn)
    # Dedicated first: what they need of low-priority nodes is taken before low-priority jobs sit down on them.
    for low_priority in (False, True):
        for job in waiting:
            if job.ready and draft.clusters[job.cluster].low_priority == low_priority:
                draft.serve(job)
        draft.keep_minimums(low_priority=low_priority)
    for job in waiting:
        if not job.ready:
            draft.serve(job)
    draft.release_idle(now)
    return draft.plan()


class _Got(StrEnum):
    """How the search for room ended."""

    NOW = "now"
    COMING = "coming"  # nodes are leaving; their room is held for it
    SHORT = "short"  # others must end first


@dataclass(frozen=True)
class _Hold:
    """Room that a job waits for, though it cannot have it all yet."""

    job: JobView
    need: Room


class _Draft:
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

    # What goes, whoever waits

    def release_what_is_unwanted(self) -> None:
        """Let go of unusable nodes, of idle ones above a lowered maximum, and of all idle ones of a closed cluster."""
        for node in self.nodes:
            if node.state == "unusable":
                self.coming += self.slice_of(node)
                self.quota.leaves(node.cluster, self.slice_of(node).cpus)
                self.release.append(Release(node.id, Cause.UNUSABLE))
        for cluster in self.clusters.values():
            limit, cause = (cluster.max_nodes, Cause.MAXIMUM) if cluster.takes_work else (0, Cause.CLOSED)
            for node in self.idle(cluster.id)[: max(0, len(self.alive[cluster.id]) - limit)]:
                self.give_up(node)
                self.release.append(Release(node.id, cause))

    def release_idle(self, now: float) -> None:
        """Let go of nodes that were idle for their cluster's time, that nobody waits for and no minimum keeps."""
        for cluster in self.clusters.values():
            for node in self.spare(cluster):
                if now - node.since >= cluster.idle_seconds:
                    self.give_up(node)
                    self.release.append(Release(node.id, Cause.IDLE))

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

    # Jobs

    def may_run(self, job: JobView) -> bool:
        """Say whether waiting can help the job; if not, note why it waits."""
        cluster = self.clusters[job.cluster]
        if not cluster.takes_work:
            self.waits[job.id] = Wait(WaitKind.CLUSTER_CLOSED, job.nodes, job.nodes)
            return False
        if refusal := can_ever_run(self.capacity, cluster, job.nodes):
            self.waits[job.id] = Wait(WaitKind.NEVER, job.nodes, job.nodes, maximum=cluster.max_nodes, refusal=refusal)
            return False
        if ceiling := self.quota.never(cluster.id, job.id, job.nodes * cluster.slice.cpus):
            self.waits[job.id] = Wait(
                WaitKind.NEVER, job.nodes, job.nodes, maximum=cluster.max_nodes, ceiling=ceiling.id
            )
            return False
        keepers = self.keepers(cluster)
        missing = (self.capacity - sum(keepers.values(), NOTHING)).gap(cluster.slice * job.nodes)
        if any(missing):
            self.waits[job.id] = Wait(
                WaitKind.KEPT,
                job.nodes,
                job.nodes,
                maximum=cluster.max_nodes,
                missing=_names(missing),
                clusters=_biggest_first(keepers, missing),
            )
            return False
        return True

    def keepers(self, cluster: ClusterView) -> dict[int, Room]:
        """Return the room that the minimums of other clusters keep from this one, by cluster."""
        if cluster.id not in self.kept:
            self.kept[cluster.id] = {
                other.id: other.slice * min(other.keeps, len(self.alive[other.id]))
                for other in self.clusters.values()
                if other.keeps and other.id != cluster.id and (cluster.low_priority or not other.low_priority)
            }
        return self.kept[cluster.id]

    def serve(self, job: JobView) -> None:
        """Place the job if it can start; else claim what is there, find room for the rest, and note why it waits."""
        cluster = self.clusters[job.cluster]
        cores = job.nodes * cluster.slice.cpus
        if over := self.quota.over_of_job(job.id, cores):
            # What its people may run on, it waits for, and nobody of theirs who comes later overtakes it.
            self.quota.take_for_job(job.id, cores)
            self.waits[job.id] = self.wait(job, job.nodes, job.nodes, _Got.SHORT, NOTHING, None, over)
            return
        unclaimed = self.unclaimed[cluster.id]
        mine, self.unclaimed[cluster.id] = unclaimed[: job.nodes], unclaimed[job.nodes :]
        if job.ready and len(mine) == job.nodes and all(node.state == "idle" for node in mine):
            self.place.append(Placement(job.id, tuple(node.id for node in mine)))
            self.runs |= {node.id: job.id for node in mine}
            self.quota.take_for_job(job.id, cores)
            return
        fresh = min(job.nodes - len(mine), self.fresh[cluster.id])
        self.fresh[cluster.id] -= fresh
        rest = job.nodes - len(mine) - fresh
        # Nodes on their way out still count: a cluster never has more than its maximum.
        more = min(
            rest, max(0, cluster.max_nodes - self.count[cluster.id] - self.growth[cluster.id] - self.hoped[cluster.id])
        )
        got, missing, behind, over = _Got.NOW, NOTHING, None, None
        if more:
            got, over = self.find_quota(cluster, more, job, completes=more == rest)
            if got is _Got.NOW:
                got, missing, behind = self.find_room(cluster, more, job, completes=more == rest)
                self.quota.take(cluster.id, 0 if got is _Got.SHORT else more * cluster.slice.cpus)
            (self.hoped if got is _Got.SHORT else self.growth)[cluster.id] += more
            if got is _Got.NOW:
                self.create.append(Create(cluster.id, more, job.id, Cause.JOB))
        if rest > more and job.ready and job.guaranteed and got is not _Got.SHORT:
            self.take_back(job, cluster, rest - more)
        self.waits[job.id] = self.wait(job, rest, more, got, missing, behind, over)
        if self.waits[job.id].kind in {WaitKind.NODES_STARTING, WaitKind.ROOM_BEING_MADE}:
            self.quota.take_for_job(job.id, cores)
        if job.ready:
            self.heads.setdefault(cluster.id, job.id)

    def wait(
        self, job: JobView, rest: int, more: int, got: _Got, missing: Room, behind: int | None, over: Ceiling | None
    ) -> Wait:
        """Say why a job waits that has claimed all but `rest` of its nodes, and `got` room for `more` of these.

        `over`: the limit of cores that has too few left for them.
        """
        cluster = self.clusters[job.cluster]
        here = [self.runs[node] for node in self.alive[cluster.id] if node in self.runs]
        leaving = self.count[cluster.id] - len(self.alive[cluster.id])
        held: dict[int, Room] = {}
        running = here
        if not job.ready:
            kind = WaitKind.ENVIRONMENT
        elif over is not None and over.jobs:
            kind = WaitKind.QUOTA
        elif got is _Got.NOW and more == rest:
            kind = WaitKind.NODES_STARTING
        elif got is _Got.COMING and more == rest:
            kind = WaitKind.ROOM_BEING_MADE
        elif cluster.id in self.heads:
            kind, behind = WaitKind.BEHIND, self.heads[cluster.id]
        elif got is _Got.SHORT and over is not None:
            kind = WaitKind.QUOTA
            held = {c: self.clusters[c].slice * len(nodes) for c, nodes in self.alive.items() if c in over.clusters}
            missing = Room(cluster.slice.cpus, 0, 0)
        elif got is _Got.SHORT:
            kind = WaitKind.HOST_FULL
            held = {c: self.clusters[c].slice * len(nodes) for c, nodes in self.alive.items()}
        else:
            kind = WaitKind.ROOM_BEING_MADE if leaving >= rest - more else WaitKind.NODES_BUSY
        clusters = _biggest_first(held, missing)
        if held:
            running = [self.runs[n] for c in clusters for n in self.alive[c] if n in self.runs]
        return Wait(
            kind,
            nodes=job.nodes,
            lacking=rest,
            busy=len(here),
            maximum=cluster.max_nodes,
            jobs=tuple(sorted({other for other in running if other is not None})),
            missing=_names(missing) if kind is WaitKind.HOST_FULL else (),
            clusters=clusters,
            behind=behind if kind in {WaitKind.BEHIND, WaitKind.HOST_FULL} else None,
            ceiling=over.id if over is not None and kind is WaitKind.QUOTA else None,
        )

    # Room

    def keep_minimums(self, *, low_priority: bool) -> None:
        """Grow clusters that are below their minimum, as far as there is or can be room: each node counts by itself."""
        for cluster in self.clusters.values():
            if cluster.low_priority != low_priority:
                continue
            created = 0
            for _node in range(
                min(cluster.keeps - len(self.alive[cluster.id]), cluster.max_nodes - self.count[cluster.id])
                - self.growth[cluster.id]
            ):
                got, _over = self.find_quota(cluster, 1, None, completes=True)
                if got is _Got.NOW:
                    got, _missing, _behind = self.find_room(cluster, 1, None, completes=True)
                    self.quota.take(cluster.id, 0 if got is _Got.SHORT else cluster.slice.cpus)
                if got is _Got.SHORT:
                    break
                self.growth[cluster.id] += 1
                created += got is _Got.NOW
            if created:
                self.fresh[cluster.id] += created
                self.create.append(Create(cluster.id, created, None, Cause.MINIMUM))

    def find_room(
        self, cluster: ClusterView, count: int, job: JobView | None, *, completes: bool
    ) -> tuple[_Got, Room, int | None]:
        """Take or make room for `count` more nodes; say how it went, what is missing, and who earlier holds it.

        `job` is None for a minimum; `completes` says whether the job can start once it has them.
        """
        need = cluster.slice * count
        earlier = [h for h in self.holds if h.job.cluster != cluster.id if job is None or h.job.turn < job.turn]
        held = sum((h.need for h in earlier), self.promised)
        if (self.free - held).holds(need):
            self.free -= need
            return _Got.NOW, NOTHING, None
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
                return _Got.SHORT, missing, None
            blocker = earlier[0].job.id if earlier and (self.free + self.coming - self.promised).holds(need) else None
            self.let_go(chosen, cluster, job, spare)
            if job is not None and not met:
                self.holds.append(_Hold(job, need))
                return _Got.SHORT, missing, blocker
        self.promised += need
        return _Got.COMING, missing, None

    def find_quota(
        self, cluster: ClusterView, count: int, job: JobView | None, *, completes: bool
    ) -> tuple[_Got, Ceiling | None]:
        """Look whether limits of cores let a cluster have `count` more nodes; say how it went, and which is short.

        Idle nodes below the same limits are let go for it, as for room, and borrowed ones for who is guaranteed them.
        What comes by that is taken; what is there already, only once there is room, too.
        """
        cores = count * cluster.slice.cpus
        over = self.quota.over(cluster.id, cores)
        if over is None:
            return _Got.NOW, None
        spare = [node for other in self.clusters.values() if self.may_ask(cluster, other) for node in self.spare(other)]
        chosen, short = self.cover_quota(cluster, cores, [*spare, *(self.borrowed(job) if completes else [])])
        if short:
            chosen, _short = self.cover_quota(cluster, cores, spare)  # nobody is stopped for what will not do
        if short and (job is None or not job.ready):
            return _Got.SHORT, short
        self.let_go(chosen, cluster, job, spare)
        self.quota.take(cluster.id, cores)
        return (_Got.SHORT, short) if short else (_Got.COMING, over)

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


def _names(missing: Room) -> tuple[str, ...]:
    return tuple(name for name, amount in zip(RESOURCES, missing, strict=True) if amount)


def _biggest_first(held: dict[int, Room], missing: Room) -> tuple[int, ...]:
    """Return the clusters that hold something of what is missing, the biggest holder first."""
    first = next((i for i, amount in enumerate(missing) if amount), 0)
    holders = [cluster for cluster, room in held.items() if room.shares(missing)]
    return tuple(sorted(holders, key=lambda cluster: (-tuple(held[cluster])[first], cluster)))
