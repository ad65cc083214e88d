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

from collections.abc import Sequence

from compute.engines.ceilings import Ceiling
from compute.engines.draft import Draft, Got
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
    Release,
    Room,
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
    planner = _Planner(capacity, clusters, nodes, jobs, ceilings)
    planner.release_what_is_unwanted()
    waiting = sorted((job for job in jobs if planner.may_run(job)), key=lambda job: job.turn)
    # Dedicated first: what they need of low-priority nodes is taken before low-priority jobs sit down on them.
    for low_priority in (False, True):
        for job in waiting:
            if job.ready and planner.clusters[job.cluster].low_priority == low_priority:
                planner.serve(job)
        planner.keep_minimums(low_priority=low_priority)
    for job in waiting:
        if not job.ready:
            planner.serve(job)
    planner.release_idle(now)
    return planner.plan()


class _Planner(Draft):
    """Gives everybody their turn, and says why who waits does."""

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
            self.waits[job.id] = self.wait(job, job.nodes, job.nodes, Got.SHORT, NOTHING, None, over)
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
        got, missing, behind, over = Got.NOW, NOTHING, None, None
        if more:
            got, over = self.find_quota(cluster, more, job, completes=more == rest)
            if got is Got.NOW:
                got, missing, behind = self.find_room(cluster, more, job, completes=more == rest)
                self.quota.take(cluster.id, 0 if got is Got.SHORT else more * cluster.slice.cpus)
            (self.hoped if got is Got.SHORT else self.growth)[cluster.id] += more
            if got is Got.NOW:
                self.create.append(Create(cluster.id, more, job.id, Cause.JOB))
        if rest > more and job.ready and job.guaranteed and got is not Got.SHORT:
            self.take_back(job, cluster, rest - more)
        self.waits[job.id] = self.wait(job, rest, more, got, missing, behind, over)
        if self.waits[job.id].kind in {WaitKind.NODES_STARTING, WaitKind.ROOM_BEING_MADE}:
            self.quota.take_for_job(job.id, cores)
        if job.ready:
            self.heads.setdefault(cluster.id, job.id)

    def wait(
        self, job: JobView, rest: int, more: int, got: Got, missing: Room, behind: int | None, over: Ceiling | None
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
        elif got is Got.NOW and more == rest:
            kind = WaitKind.NODES_STARTING
        elif got is Got.COMING and more == rest:
            kind = WaitKind.ROOM_BEING_MADE
        elif cluster.id in self.heads:
            kind, behind = WaitKind.BEHIND, self.heads[cluster.id]
        elif got is Got.SHORT and over is not None:
            kind = WaitKind.QUOTA
            held = {c: self.clusters[c].slice * len(nodes) for c, nodes in self.alive.items() if c in over.clusters}
            missing = Room(cluster.slice.cpus, 0, 0)
        elif got is Got.SHORT:
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

    # Minimums

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
                if got is Got.NOW:
                    got, _missing, _behind = self.find_room(cluster, 1, None, completes=True)
                    self.quota.take(cluster.id, 0 if got is Got.SHORT else cluster.slice.cpus)
                if got is Got.SHORT:
                    break
                self.growth[cluster.id] += 1
                created += got is Got.NOW
            if created:
                self.fresh[cluster.id] += created
                self.create.append(Create(cluster.id, created, None, Cause.MINIMUM))


def _names(missing: Room) -> tuple[str, ...]:
    return tuple(name for name, amount in zip(RESOURCES, missing, strict=True) if amount)


def _biggest_first(held: dict[int, Room], missing: Room) -> tuple[int, ...]:
    """Return the clusters that hold something of what is missing, the biggest holder first."""
    first = next((i for i, amount in enumerate(missing) if amount), 0)
    holders = [cluster for cluster, room in held.items() if room.shares(missing)]
    return tuple(sorted(holders, key=lambda cluster: (-tuple(held[cluster])[first], cluster)))
