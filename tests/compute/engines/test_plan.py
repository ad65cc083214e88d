"""A world in small lives through whatever Hypothesis thinks of, one plan after the other."""

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compute.engines.ceilings import Ceiling
from compute.engines.facts import (
    Capacity,
    Cause,
    ClusterView,
    JobView,
    NodeView,
    Placement,
    Plan,
    RefusalKind,
    Slice,
    WaitKind,
    can_ever_run,
    fits,
)
from compute.engines.guarantees import Claim, Guarantee, covered
from compute.engines.plan import plan

GB = 1_000_000_000
WORKSTATION = Capacity(cpus=16, memory_bytes=128 * GB, gpus=2)
SMALL = Slice(cpus=2, memory_bytes=7 * GB, gpus=0)


def cluster(pk=1, *, size=SMALL, low=0, high=4, idle=120.0, low_priority=False, open=True) -> ClusterView:
    return ClusterView(pk, f"cluster-{pk}", size, low, high, idle, low_priority, open)


def node(pk, cluster=1, state="idle", job=None, since=0.0, created=None) -> NodeView:
    return NodeView(pk, cluster, state, job, since, float(pk) if created is None else created)


def job(pk, cluster=1, nodes=1, *, ready=True, priority=0) -> JobView:
    return JobView(pk, f"job-{pk}", cluster, nodes, ready, priority, float(pk))


class TestOnePlan:
    def test_a_job_makes_its_cluster_grow_from_nothing(self):
        made = plan(WORKSTATION, [cluster()], [], [job(1, nodes=2)], 0)
        assert [(c.cluster, c.count, c.job, c.cause) for c in made.create] == [(1, 2, 1, Cause.JOB)]
        assert made.waits[1].kind == WaitKind.NODES_STARTING

    def test_a_job_whose_environment_is_being_built_makes_its_cluster_grow_and_lets_others_pass(self):
        first = plan(WORKSTATION, [cluster()], [], [job(1, ready=False)], 0)
        assert first.create[0].count == 1
        then = plan(WORKSTATION, [cluster()], [node(1)], [job(1, ready=False), job(2)], 0)
        assert then.place == (Placement(2, (1,)),)
        assert then.create[0].count == 1
        assert then.waits[1].kind == WaitKind.ENVIRONMENT

    def test_nodes_that_are_on_their_way_are_not_asked_for_twice(self):
        nodes = [node(1, state="preparing"), node(2)]
        made = plan(WORKSTATION, [cluster()], nodes, [job(1, nodes=2)], 0)
        assert not made
        assert made.waits[1].kind == WaitKind.NODES_STARTING

    def test_a_narrow_job_does_not_overtake_a_wide_one_of_its_cluster(self):
        nodes = [node(1, state="running", job=9), node(2)]
        made = plan(WORKSTATION, [cluster(high=2)], nodes, [job(1, nodes=2), job(2)], 0)
        assert not made
        assert made.waits[1].kind == WaitKind.NODES_BUSY
        assert (made.waits[1].busy, made.waits[1].maximum, made.waits[1].jobs) == (1, 2, (9,))
        assert (made.waits[2].kind, made.waits[2].behind) == (WaitKind.BEHIND, 1)

    def test_a_higher_priority_goes_first(self):
        made = plan(WORKSTATION, [cluster()], [node(1)], [job(1), job(2, priority=5)], 0)
        assert made.place == (Placement(2, (1,)),)

    def test_the_minimum_is_made_and_kept(self):
        made = plan(WORKSTATION, [cluster(low=2)], [], [], 0)
        assert [(c.count, c.cause) for c in made.create] == [(2, Cause.MINIMUM)]
        assert not plan(WORKSTATION, [cluster(low=2)], [node(1), node(2)], [], 1_000_000)

    def test_a_node_goes_after_the_idle_time_and_not_before(self):
        assert not plan(WORKSTATION, [cluster()], [node(1)], [], 119.9)
        assert [(r.node, r.cause) for r in plan(WORKSTATION, [cluster()], [node(1)], [], 120).release] == [
            (1, Cause.IDLE)
        ]

    def test_an_idle_node_stays_for_a_job_that_is_not_ready(self):
        assert not plan(WORKSTATION, [cluster()], [node(1)], [job(1, ready=False)], 1_000)

    def test_a_lowered_maximum_takes_idle_nodes_and_no_running_one(self):
        nodes = [node(1, state="running", job=9), node(2), node(3)]
        made = plan(WORKSTATION, [cluster(high=1)], nodes, [], 0)
        assert {(r.node, r.cause) for r in made.release} == {(2, Cause.MAXIMUM), (3, Cause.MAXIMUM)}

    def test_a_closed_cluster_gives_up_its_idle_nodes_and_starts_nothing(self):
        made = plan(WORKSTATION, [cluster(low=1, open=False)], [node(1)], [job(1)], 0)
        assert [(r.node, r.cause) for r in made.release] == [(1, Cause.CLOSED)]
        assert not made.place
        assert made.waits[1].kind == WaitKind.CLUSTER_CLOSED

    def test_an_unusable_node_is_let_go(self):
        made = plan(WORKSTATION, [cluster()], [node(1, state="unusable")], [], 0)
        assert [(r.node, r.cause) for r in made.release] == [(1, Cause.UNUSABLE)]

    def test_idle_nodes_of_another_cluster_make_room(self):
        both = [cluster(1, high=8), cluster(2, high=8)]
        nodes = [node(n, cluster=2) for n in range(1, 9)]
        made = plan(WORKSTATION, both, nodes, [job(1, nodes=2)], 0)
        assert [(r.cause, r.for_job) for r in made.release] == [(Cause.ROOM, 1)] * 2
        assert made.waits[1].kind == WaitKind.ROOM_BEING_MADE

    def test_nothing_more_is_taken_while_enough_is_on_its_way(self):
        both = [cluster(1, high=8), cluster(2, high=8, low_priority=True)]
        nodes = [node(n, cluster=2, state="running", job=50 + n) for n in range(1, 7)]
        nodes += [node(7, cluster=2, state="preempted"), node(8, cluster=2, state="leaving")]
        made = plan(WORKSTATION, both, nodes, [job(1, nodes=2)], 0)
        assert not made
        assert made.waits[1].kind == WaitKind.ROOM_BEING_MADE

    def test_a_dedicated_job_takes_the_youngest_low_priority_nodes_and_first_those_without_a_job(self):
        both = [cluster(1, high=8), cluster(2, low=1, high=8, low_priority=True)]
        nodes = [node(n, cluster=2, state="running", job=50 + n) for n in range(2, 9)] + [node(1, cluster=2)]
        made = plan(WORKSTATION, both, nodes, [job(1, nodes=2), job(60, cluster=2)], 0)
        assert {p.node for p in made.preempt} == {1, 8}
        assert not made.place

    def test_a_job_that_loses_one_node_loses_its_others_before_another_job_loses_any(self):
        both = [cluster(1, high=8), cluster(2, high=8, low_priority=True)]
        nodes = [node(n, cluster=2, state="running", job=50 if n in {1, 8} else 50 + n) for n in range(1, 9)]
        made = plan(WORKSTATION, both, nodes, [job(1, nodes=2)], 0)
        assert {p.node for p in made.preempt} == {1, 8}

    def test_nothing_is_preempted_that_would_not_do(self):
        three = [cluster(1, high=8), cluster(2, high=8, low_priority=True), cluster(3, high=8)]
        nodes = [node(1, cluster=2, state="running", job=51)]
        nodes += [node(n, cluster=3, state="running", job=50 + n) for n in range(2, 9)]
        made = plan(WORKSTATION, three, nodes, [job(1, nodes=2)], 0)
        assert not made.preempt
        wait = made.waits[1]
        assert (wait.kind, wait.missing, wait.clusters[0]) == (WaitKind.HOST_FULL, ("cpus",), 3)

    def test_low_priority_takes_nothing_from_anybody(self):
        both = [cluster(1, high=8, low_priority=True), cluster(2, high=8, low_priority=True)]
        nodes = [node(n, cluster=2, state="running", job=50 + n) for n in range(1, 9)]
        made = plan(WORKSTATION, both, nodes, [job(1)], 0)
        assert not made
        assert made.waits[1].kind == WaitKind.HOST_FULL

    def test_what_a_wide_job_waits_for_is_not_given_to_a_narrow_one_that_came_later(self):
        both = [cluster(1, high=8), cluster(2, high=8)]
        nodes = [node(n, cluster=2, state="running", job=50 + n) for n in range(1, 7)]
        made = plan(WORKSTATION, both, nodes, [job(1, nodes=4), job(2, cluster=2)], 0)
        assert not made
        assert made.waits[2].kind == WaitKind.HOST_FULL
        assert made.waits[2].behind == 1

    def test_a_job_the_minimums_of_others_leave_no_room_for_says_so_and_blocks_nobody(self):
        both = [cluster(1, high=8), cluster(2, low=4, high=8)]
        nodes = [node(n, cluster=2) for n in range(1, 5)]
        made = plan(WORKSTATION, both, nodes, [job(1, nodes=8), job(2)], 0)
        assert (made.waits[1].kind, made.waits[1].clusters) == (WaitKind.KEPT, (2,))
        assert made.create[0].job == 2

    def test_a_dedicated_minimum_takes_low_priority_nodes(self):
        both = [cluster(1, low=1), cluster(2, high=8, low_priority=True)]
        nodes = [node(n, cluster=2, state="running", job=50 + n) for n in range(1, 9)]
        made = plan(WORKSTATION, both, nodes, [], 0)
        assert [(p.node, p.for_job, p.for_cluster) for p in made.preempt] == [(8, None, 1)]

    def test_a_job_wider_than_a_lowered_maximum_says_so_and_blocks_nobody(self):
        made = plan(WORKSTATION, [cluster(high=1)], [node(1)], [job(1, nodes=2), job(2)], 0)
        assert made.waits[1].kind == WaitKind.NEVER
        assert made.place == (Placement(2, (1,)),)

    def test_memory_and_gpus_bound_as_cpus_do(self):
        greedy = cluster(size=Slice(1, 80 * GB, 0))
        made = plan(WORKSTATION, [greedy], [node(1, state="running", job=9)], [job(1)], 0)
        assert made.waits[1].kind == WaitKind.HOST_FULL
        assert (made.waits[1].missing, made.waits[1].clusters, made.waits[1].jobs) == (("memory_bytes",), (1,), (9,))


@pytest.mark.parametrize(
    ("size", "nodes", "kind", "resource"),
    [
        (SMALL, 5, RefusalKind.TOO_MANY_NODES, ""),
        (Slice(32, GB, 0), 1, RefusalKind.NODE_TOO_BIG, "cpus"),
        (Slice(1, 129 * GB, 0), 1, RefusalKind.NODE_TOO_BIG, "memory_bytes"),
        (Slice(1, GB, 4), 1, RefusalKind.NODE_TOO_BIG, "gpus"),
        (Slice(1, GB, 1), 3, RefusalKind.TOGETHER_TOO_BIG, "gpus"),
    ],
)
def test_what_can_never_run_is_refused_with_the_reason(size, nodes, kind, resource):
    refusal = can_ever_run(WORKSTATION, cluster(size=size), nodes)
    assert refusal is not None
    assert (refusal.kind, refusal.resource) == (kind, resource)
    assert refusal.asked > refusal.available


def test_what_fits_is_not_refused():
    assert can_ever_run(WORKSTATION, cluster(high=8), 8) is None
    assert fits(WORKSTATION, SMALL) is None


# The world in small


@dataclass
class World:
    """Carries plans out, and checks each of them against the promises."""

    capacity: Capacity
    clusters: dict[int, ClusterView]
    nodes: dict[int, NodeView] = field(default_factory=dict)
    waiting: dict[int, JobView] = field(default_factory=dict)
    running: dict[int, JobView] = field(default_factory=dict)
    placed: set[int] = field(default_factory=set)
    now: float = 0.0
    ids: "count[int]" = field(default_factory=lambda: count(1))
    limits: list[tuple[int, frozenset[int], bool]] = field(default_factory=list)  # cores, clusters, of what runs
    guaranteed: int | None = None  # cores, of those whose jobs have odd numbers; None: nobody is guaranteed anything

    def submit(self, cluster: int, nodes: int, *, ready: bool, priority: int = 0) -> int:
        pk = next(self.ids)
        self.waiting[pk] = JobView(pk, str(pk), cluster, nodes, ready, priority, float(pk))
        return pk

    def get_ready(self) -> None:
        self.waiting = {pk: replace(j, ready=True) for pk, j in self.waiting.items()}

    def end(self, pk: int) -> None:
        """End a running job; its nodes are idle, or gone when they were being taken away."""
        del self.running[pk]
        for n in [n for n in self.nodes.values() if n.job == pk]:
            if n.state == "running":
                self.nodes[n.id] = replace(n, state="idle", job=None, since=self.now)
            else:
                del self.nodes[n.id]

    def pass_by(self, seconds: float) -> None:
        """Let nodes get ready, and those on their way out be gone; a preempted job waits again in its old place."""
        self.now += seconds
        for pk, j in list(self.running.items()):
            if any(n.job == pk and n.state == "preempted" for n in self.nodes.values()):
                self.end(pk)
                self.waiting[pk] = j
        for n in list(self.nodes.values()):
            if n.state == "preparing":
                self.nodes[n.id] = replace(n, state="idle", since=self.now)
            elif n.state in {"leaving", "preempted"} and n.job is None:
                del self.nodes[n.id]

    def share_out(self) -> None:
        """Say of each job whether it is guaranteed or borrows, as the ledger would."""
        if self.guaranteed is None:
            return
        since = {n.job: n.since for n in self.nodes.values() if n.job is not None}
        runs = sorted(self.running.values(), key=lambda j: (since[j.id], j.id))
        waits = sorted((j for j in self.waiting.values() if j.ready), key=lambda j: (-j.priority, j.order, j.id))
        odd = frozenset(pk for pk in (*self.running, *self.waiting) if pk % 2)
        claims = [Claim(j.id, self.clusters[j.cluster].slice.cpus * j.nodes) for j in (*runs, *waits)]
        taken = covered([Guarantee(1, self.guaranteed, odd)], claims)
        low = frozenset(pk for pk, c in self.clusters.items() if c.low_priority)
        self.waiting = {
            pk: replace(
                j,
                guaranteed=j.ready and pk in taken,
                takes_from=low if j.cluster in low else frozenset(self.clusters),
            )
            for pk, j in self.waiting.items()
        }
        self.nodes = {pk: replace(n, borrowed=n.job is not None and n.job not in taken) for pk, n in self.nodes.items()}

    def plan(self) -> Plan:
        self.share_out()
        return plan(
            self.capacity,
            list(self.clusters.values()),
            list(self.nodes.values()),
            list(self.waiting.values()),
            self.now,
            [self.ceiling(n, *limit) for n, limit in enumerate(self.limits)],
        )

    def ceiling(self, pk: int, cores: int, clusters: frozenset[int], of_runs: bool) -> Ceiling:
        counted = [n for n in self.nodes.values() if n.cluster in clusters and (n.job is not None or not of_runs)]
        used = sum(self.clusters[n.cluster].slice.cpus for n in counted)
        if not of_runs:
            return Ceiling(pk, cores, used, clusters=clusters)
        return Ceiling(pk, cores, used, jobs=frozenset(j.id for j in self.waiting.values() if j.cluster in clusters))

    def step(self) -> Plan:
        """Make a plan, check it, carry it out."""
        made = self.plan()
        self.check(made)
        for placement in made.place:
            self.running[placement.job] = self.waiting.pop(placement.job)
            self.placed.add(placement.job)
            for pk in placement.nodes:
                self.nodes[pk] = replace(self.nodes[pk], state="running", job=placement.job, since=self.now)
        for release in made.release:
            self.nodes[release.node] = replace(self.nodes[release.node], state="leaving", since=self.now)
        for taken in made.preempt:
            self.nodes[taken.node] = replace(self.nodes[taken.node], state="preempted", since=self.now)
        for create in made.create:
            for _ in range(create.count):
                pk = next(self.ids)
                self.nodes[pk] = NodeView(pk, create.cluster, "preparing", None, self.now, self.now)
        self.check_room()
        return made

    def check_room(self) -> None:
        for resource in ("cpus", "memory_bytes", "gpus"):
            held = sum(getattr(self.clusters[n.cluster].slice, resource) for n in self.nodes.values())
            assert held <= getattr(self.capacity, resource), f"over capacity in {resource}"
        for n, limit in enumerate(self.limits):
            assert self.ceiling(n, *limit).used <= limit[0], "over a limit of cores"

    def check(self, made: Plan) -> None:
        touched = (
            [pk for p in made.place for pk in p.nodes] + [r.node for r in made.release] + [p.node for p in made.preempt]
        )
        assert len(touched) == len(set(touched)), "a node is used twice"
        for placement in made.place:
            j = self.waiting[placement.job]
            assert j.ready
            assert len(placement.nodes) == j.nodes, "all at once"
            assert all(self.nodes[pk].state == "idle" and self.nodes[pk].cluster == j.cluster for pk in placement.nodes)
        placed = {p.job for p in made.place}
        for j in self.waiting.values():
            assert (j.id in made.waits) != (j.id in placed), "everyone who waits is told why"
        for late in placed:
            for early in self.waiting.values():
                first = (
                    early.ready and early.cluster == self.waiting[late].cluster and early.turn < self.waiting[late].turn
                )
                if first and early.id not in placed:
                    apart = {WaitKind.KEPT, WaitKind.NEVER, *([WaitKind.QUOTA] if self.limits else [])}
                    assert made.waits[early.id].kind in apart, "overtaken"
        for release in made.release:
            assert self.nodes[release.node].state in {"idle", "unusable"}
        left = Counter(n.cluster for n in self.nodes.values() if n.state in {"preparing", "idle", "running"})
        left.subtract(self.nodes[r.node].cluster for r in made.release if r.cause != Cause.UNUSABLE)
        for release in made.release:
            c = self.clusters[self.nodes[release.node].cluster]
            if c.takes_work and release.cause != Cause.UNUSABLE:
                assert left[c.id] >= c.min_nodes, "below the minimum"
            if release.cause == Cause.IDLE:
                assert self.now - self.nodes[release.node].since >= c.idle_seconds
        for taken in made.preempt:
            c = self.clusters[self.nodes[taken.node].cluster]
            if taken.borrowed:
                assert taken.for_job is not None
                j = self.waiting[taken.for_job]
                assert j.guaranteed
                assert c.id in j.takes_from
                assert self.nodes[taken.node].borrowed, "what is not borrowed is not taken back"
            else:
                assert c.low_priority, "dedicated nodes are never preempted"
                assert not self.clusters[taken.for_cluster].low_priority
            assert self.nodes[taken.node].state in {"preparing", "idle", "running"}
        free = self.room_left()
        for taken in made.preempt:
            need = self.waiting[taken.for_job].nodes if taken.for_job else self.clusters[taken.for_cluster].min_nodes
            asked = self.clusters[taken.for_cluster].slice * need
            assert any(want > have for want, have in zip(asked, free, strict=True)), "there was room without it"
        held = Counter(n.cluster for n in self.nodes.values())
        for create in made.create:
            held[create.cluster] += create.count
            c = self.clusters[create.cluster]
            assert c.takes_work
            assert held[c.id] <= c.max_nodes, "above the maximum"

    def room_left(self):
        taken = [self.clusters[n.cluster].slice for n in self.nodes.values()]
        return [have - sum(tuple(s)[i] for s in taken) for i, have in enumerate(self.capacity)]

    def settle(self, seconds: float = 0.0) -> None:
        """Step until a plan is empty; it must come soon."""
        for _ in range(60):
            if not self.step() and not any(
                n.state in {"preparing", "leaving", "preempted"} for n in self.nodes.values()
            ):
                return
            self.pass_by(seconds)
        raise AssertionError("it does not settle")


slices = st.builds(
    Slice,
    cpus=st.integers(1, 6),
    memory_bytes=st.integers(1, 24).map(lambda n: n * GB),
    gpus=st.sampled_from([0, 0, 0, 1, 2]),
)


@st.composite
def worlds(draw) -> World:
    capacity = Capacity(draw(st.integers(4, 16)), draw(st.integers(8, 64)) * GB, draw(st.integers(0, 4)))
    clusters = {}
    for pk in range(1, draw(st.integers(1, 4)) + 1):
        high = draw(st.integers(1, 5))
        clusters[pk] = ClusterView(
            pk,
            str(pk),
            draw(slices),
            min(high, draw(st.sampled_from([0, 0, 0, 1, 2]))),
            high,
            draw(st.sampled_from([0.0, 30.0, 120.0])),
            draw(st.booleans()),
            True,
        )
    return World(capacity, clusters)


EVENTS = ["submit", "submit", "submit", "end", "end", "pass", "ready", "resize", "close", "break"]
events = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=30)
QUICK = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)


def happen(world: World, event: str, a: int, b: int, flag: bool) -> None:
    pk = list(world.clusters)[a % len(world.clusters)]
    c = world.clusters[pk]
    if event == "submit":
        world.submit(pk, b % 5 + 1, ready=flag, priority=b % 2 if a == 5 else 0)
    elif event == "end" and world.running:
        world.end(list(world.running)[a % len(world.running)])
    elif event == "pass":
        world.pass_by(b * 20.0)
    elif event == "ready":
        world.get_ready()
    elif event == "resize":
        high = b % 5 + 1
        world.clusters[pk] = replace(c, min_nodes=min(high, a % 3), max_nodes=high)
    elif event == "close":
        world.clusters[pk] = replace(c, takes_work=not c.takes_work)
    elif event == "break":
        idle = [n for n in world.nodes.values() if n.state == "idle"]
        if idle:
            world.nodes[idle[0].id] = replace(idle[0], state="unusable")


@settings(QUICK, max_examples=100)
@given(worlds(), events)
def test_every_promise_holds_whatever_happens(world, happenings):
    for happening in happenings:
        happen(world, *happening)
        world.step()


@settings(QUICK, max_examples=60)
@given(worlds(), events)
def test_a_world_left_alone_comes_to_rest_and_its_plan_is_then_empty(world, happenings):
    for happening in happenings:
        happen(world, *happening)
        world.step()
    world.settle()
    assert not world.step()
    for c in world.clusters.values():  # a minimum is only missed for want of room
        alive = sum(n.cluster == c.id for n in world.nodes.values())
        if c.takes_work and alive < c.min_nodes and not world.waiting:
            assert any(want > have for want, have in zip(c.slice, world.room_left(), strict=True))
    world.now += 10_000
    world.settle()
    if not world.waiting:
        for c in world.clusters.values():
            idle = sum(n.cluster == c.id and n.state == "idle" for n in world.nodes.values())
            assert idle <= c.min_nodes, "idle nodes stay beyond the idle time"


@settings(QUICK, max_examples=100)
@given(worlds(), events)
def test_every_job_that_can_run_is_placed_when_jobs_end_though_new_ones_keep_coming(world, happenings):
    for happening in happenings:
        happen(world, *happening)
        world.step()
    world.clusters = {pk: replace(c, takes_work=True) for pk, c in world.clusters.items()}
    world.get_ready()
    possible = {pk for pk, j in world.waiting.items() if beside_all_minimums(world, j)}
    for _round in range(40 * (len(possible) + 2)):
        if possible <= world.placed:
            return
        for pk, c in world.clusters.items():  # narrow ones keep coming, dedicated ones where there are any
            last = not any(j.cluster == pk for j in world.waiting.values() if j.id not in possible)
            if last and c.low_priority != any(not o.low_priority for o in world.clusters.values()):
                world.submit(pk, 1, ready=True)
        world.settle()
        if world.running:
            world.end(min(world.running))
    raise AssertionError(
        f"starved: {possible - world.placed}: {[world.plan().waits[pk] for pk in possible - world.placed]}"
    )


def beside_all_minimums(world: World, j: JobView) -> bool:
    c = world.clusters[j.cluster]
    kept = [o.slice * o.min_nodes for o in world.clusters.values() if o.id != c.id]
    left = [have - sum(tuple(k)[i] for k in kept) for i, have in enumerate(world.capacity)]
    enough = all(want <= have for want, have in zip(c.slice * j.nodes, left, strict=True))
    return enough and can_ever_run(world.capacity, c, j.nodes) is None


@st.composite
def limited_worlds(draw) -> World:
    world: World = draw(worlds())
    world.clusters = {pk: replace(c, min_nodes=0) for pk, c in world.clusters.items()}
    some = st.frozensets(st.sampled_from(list(world.clusters)), min_size=1)
    world.limits = draw(st.lists(st.tuples(st.integers(0, 12), some, st.booleans()), min_size=1, max_size=3))
    return world


@settings(QUICK, max_examples=100)
@given(limited_worlds(), events)
def test_no_limit_of_cores_is_exceeded_and_whoever_it_lets_run_gets_there(world, happenings):
    for happening in happenings:
        if happening[0] not in {"resize", "close"}:
            happen(world, *happening)
        world.step()
    world.get_ready()

    def is_possible(j: JobView) -> bool:
        cores = world.clusters[j.cluster].slice.cpus * j.nodes
        return beside_all_minimums(world, j) and all(cores <= most for most, of, _ in world.limits if j.cluster in of)

    possible = {pk for pk, j in world.waiting.items() if is_possible(j)}
    for _round in range(40 * (len(possible) + 2)):
        if possible <= world.placed:
            return
        world.settle()
        if world.running:
            world.end(min(world.running))
    raise AssertionError(f"starved: {[world.plan().waits[pk] for pk in possible - world.placed]}")


@st.composite
def guaranteed_worlds(draw) -> World:
    world: World = draw(worlds())
    world.guaranteed = draw(st.integers(0, 12))
    return world


@settings(QUICK, max_examples=100)
@given(guaranteed_worlds(), events)
def test_who_is_guaranteed_cores_gets_them_and_the_world_still_comes_to_rest(world, happenings):
    for happening in happenings:
        happen(world, *happening)
        world.step()
    world.clusters = {pk: replace(c, takes_work=True) for pk, c in world.clusters.items()}
    world.get_ready()
    world.settle()
    assert not world.step()
    wanted = [j for j in world.waiting.values() if j.guaranteed and beside_all_minimums(world, j)]
    if wanted and not any(c.min_nodes for c in world.clusters.values()):
        first = min(wanted, key=lambda j: j.turn)
        own = [n for n in world.nodes.values() if n.cluster == first.cluster]
        assert not all(n.borrowed for n in own if n.state == "running") or len(own) < first.nodes


@pytest.mark.parametrize("low_priority", [False, True])
class TestGuarantees:
    """Job 1 is guaranteed what it asks for; 50 and more borrow."""

    def first(self, nodes: int, **facts) -> JobView:
        return replace(job(1, nodes=nodes, **facts), guaranteed=True, takes_from=frozenset({1, 2}))

    def busy(self, *clusters: int) -> list[NodeView]:
        """Return running nodes, each with a job of its own; the later ones run since later."""
        return [
            replace(node(n, cluster=c, state="running", job=50 + n, since=float(n)), borrowed=True)
            for n, c in enumerate(clusters, 1)
        ]

    def test_it_takes_the_place_of_those_who_borrow_the_latest_first(self, low_priority):
        made = plan(WORKSTATION, [cluster(high=3, low_priority=low_priority)], self.busy(1, 1, 1), [self.first(2)], 0)
        assert [(p.node, p.for_job, p.borrowed) for p in made.preempt] == [(3, 1, True), (2, 1, True)]
        assert made.waits[1].kind == WaitKind.ROOM_BEING_MADE

    def test_it_takes_room_from_another_cluster_that_borrows(self, low_priority):
        both = [cluster(1, high=8, low_priority=low_priority), cluster(2, high=8, low_priority=low_priority)]
        made = plan(WORKSTATION, both, self.busy(*[2] * 8), [self.first(1)], 0)
        assert [(p.node, p.borrowed) for p in made.preempt] == [(8, True)]

    def test_it_takes_cores_below_a_limit_that_is_used_up(self, low_priority):
        limit = [Ceiling(1, 4, 4, clusters=frozenset({1, 2}))]
        both = [cluster(1, high=8, low_priority=low_priority), cluster(2, high=8, low_priority=low_priority)]
        made = plan(WORKSTATION, both, self.busy(2, 2), [self.first(1)], 0, limit)
        assert [(p.node, p.borrowed) for p in made.preempt] == [(2, True)]

    def test_nobody_is_stopped_for_what_would_not_do(self, low_priority):
        nodes = [*self.busy(1), node(7, state="running", job=60)]
        made = plan(WORKSTATION, [cluster(high=2, low_priority=low_priority)], nodes, [self.first(2)], 0)
        assert not made.preempt
        assert made.waits[1].kind == WaitKind.NODES_BUSY

    def test_it_goes_before_those_who_borrow_and_stops_nobody_where_there_is_room(self, low_priority):
        nodes = [node(1), *self.busy(1, 1)[1:]]
        before = replace(job(9), order=0.0)
        made = plan(WORKSTATION, [cluster(high=2, low_priority=low_priority)], nodes, [before, self.first(1)], 0)
        assert made.place == (Placement(1, (1,)),)
        assert not made.preempt

    def test_once_they_are_on_their_way_out_nobody_else_is_stopped(self, low_priority):
        nodes = self.busy(1, 1, 1)
        nodes[2] = replace(nodes[2], state="preempted")
        made = plan(WORKSTATION, [cluster(high=3, low_priority=low_priority)], nodes, [self.first(1)], 0)
        assert not made
        assert made.waits[1].kind == WaitKind.ROOM_BEING_MADE


def test_guarantees_cover_whole_jobs_in_order_and_ones_own_goes_before_the_teams():
    team, own = Guarantee(1, 8, frozenset({1, 2, 3})), Guarantee(2, 4, frozenset({2}))
    assert covered([team, own], [Claim(1, 6), Claim(2, 4), Claim(3, 2)]) == {1, 2, 3}
    assert covered([team, own], [Claim(1, 9), Claim(3, 4), Claim(2, 4), Claim(4, 1)]) == {2, 3}
    assert covered([], [Claim(1, 1)]) == frozenset()
