"""Where plans meet rows: reads the world, asks `engines.plan`, stores what it decided, then acts on it.

One scheduler at a time decides for a host: the host's row is locked while a plan is made and stored. What
touches the machine happens after the commit, and each such step may be repeated by the next call.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from compute import disk, jobs, launch, reasons, sizes
from compute.drivers import kinds_with
from compute.drivers.base import Provisions, Queues
from compute.engines import embedded, plan
from compute.engines.ceilings import Ceiling
from compute.engines.facts import ClusterView, JobView, NodeView, Plan, Preempt, can_ever_run
from compute.models import ComputeTarget, Host, Job, Node, ScalingEvent
from compute.quotas import bounds, budgets, guarantees, ledger
from compute.states import AllocationState, EndReason, JobState, NodeState, ProvisioningState
from studio.errors import QuotaExceeded
from studio.work import queue

logger = logging.getLogger(__name__)
MOST_ROUNDS = 20  # each round is a plan carried out; a settled world needs one
PREPARING_FOR = timedelta(seconds=10)  # a node that prepares for longer was cut off


@dataclass(frozen=True)
class World:
    """What a plan is made from, and the rows behind it."""

    host: Host
    targets: dict[int, ComputeTarget]
    nodes: dict[int, Node]
    jobs: dict[int, Job]  # those that wait, ready or not
    bounds: dict[int, bounds.Bound]  # the limits of cores that there are
    guarantees: guarantees.Standing
    held: dict[int, str]  # why a job cannot start now, whatever nodes there are


@dataclass
class Decided:
    """What one round stored and is to be carried out now that it is committed."""

    placed: list[Job]
    created: list[tuple[ComputeTarget, list[Node], int, str]]  # with the count before, and the cause
    leaving: list[Node]
    preempted: list[tuple[Node, str]]

    def __bool__(self) -> bool:
        return bool(self.placed or self.created or self.leaving or self.preempted)

    def settles(self, world: World) -> bool:
        """Say whether nothing can be left to decide: all that waited has its place, and no node comes or goes."""
        moving = self.created or self.leaving or self.preempted
        return len(self.placed) == len(world.jobs) and not moving and not world.guarantees.markets


def schedule() -> list[Job]:
    """Give this machine's nodes to jobs, until nothing is left to do; return the jobs started."""
    host = embedded.this_host()
    started = _schedule(host)
    if _sweep():  # what waits for room is looked at again; what has room already does not wait for this
        started += _schedule(host)
    return started


def _schedule(host: Host) -> list[Job]:
    started: list[Job] = []
    for _round in range(MOST_ROUNDS):
        with transaction.atomic():
            world = _read(Host.objects.select_for_update().get(pk=host.pk))
            plan_ = _plan(world)
            decided = _store(world, plan_)
            if not decided:
                _store_waits(world, plan_)
        if not decided:
            break
        _carry_out(decided)
        started += decided.placed
        if decided.settles(world):
            break
    else:
        logger.warning("The scheduler did not settle in %d rounds.", MOST_ROUNDS)
    return started


def refused(target: ComputeTarget, node_count: int, *, maximum: int | None = None) -> str | None:
    """Return in one sentence why `node_count` nodes of `target` can never stand together here, or None."""
    capacity = embedded.capacity(embedded.host_of(target))
    view = _cluster_view(target, maximum=maximum)
    refusal = can_ever_run(capacity, view, node_count)
    return reasons.why_never(refusal, target) if refusal else None


def preempt(node: Node, reason: str) -> None:
    """Take a node away: it is marked, and its job, if it has one, begins to end."""
    if not node.move(NodeState.PREEMPTED, reason=reason):
        return
    node.target.moved()
    if node.job:
        launch.say(node.job, f"Node {node.node_id} was preempted: {reason}")
        queue("compute.tasks.end_job", node.job.pk, EndReason.PREEMPTED, reason)


def settle() -> None:
    """Carry on with nodes, allocation states and deletions that a crash or a lost message left half done."""
    late = timezone.now() - PREPARING_FOR
    for node in Node.objects.filter(state=NodeState.PREPARING, state_changed_at__lt=late):
        _prepare(node)
    orphaned = Node.objects.filter(state=NodeState.RUNNING).filter(Q(job=None) | Q(job__state=JobState.ENDED))
    if pks := list(orphaned.values_list("pk", flat=True)):
        with transaction.atomic():
            still = orphaned.filter(pk__in=pks)
            still.update(state=NodeState.IDLE, job=None, state_changed_at=timezone.now())
            ledger.unassign(nodes=Node.objects.filter(pk__in=pks, job=None).values_list("pk", flat=True))
    _sweep()
    resizing = ComputeTarget.objects.existing().filter(allocation_state=AllocationState.RESIZING)
    for target in resizing.select_related("workspace"):
        _settle_allocation(target)


def _sweep() -> bool:
    """Remove the nodes that were on their way out and have no job any more, and the targets that have no node.

    Returns whether there was such a node.
    """
    on_their_way = Node.objects.filter(state__in=[NodeState.PREEMPTED, NodeState.LEAVING])
    gone = on_their_way.filter(Q(job=None) | Q(job__state=JobState.ENDED)).select_related("target__workspace")
    for node in gone:
        _remove(node)
        _settle_allocation(node.target)
    ours = ComputeTarget.objects.existing().of_kinds(*kinds_with(Provisions))
    deleting = ours.filter(provisioning_state=ProvisioningState.DELETING, nodes=None)
    for target in deleting.exclude(jobs__in=Job.objects.active()).select_related("workspace"):
        _finish_deletion(target)
    return bool(gone)


def _finish_deletion(target: ComputeTarget) -> None:
    """Take a deleted target off the lists, now that nothing of it is left."""
    target.able(Provisions).delete()
    with transaction.atomic():
        gone = ComputeTarget.objects.filter(pk=target.pk, deleted_at=None, nodes=None)
        if gone.update(deleted_at=timezone.now()):
            target.moved()


def _read(host: Host) -> World:
    queues = ComputeTarget.objects.existing().of_kinds(*kinds_with(Queues))
    embedded.adopt(queues.filter(host=None))
    targets = {t.pk: t for t in queues.filter(host=host).select_related("workspace", "host")}
    nodes = {n.pk: n for n in Node.objects.filter(host=host).select_related("job")}
    for node in nodes.values():
        node.target = targets[node.target_id]
    waiting = Job.objects.filter(state__in=[JobState.PREPARING, JobState.WAITING], target__in=targets)
    found = {j.pk: j for j in waiting.in_order().select_related("submitted_by", "team")}
    for job in found.values():
        job.target = targets[job.target_id]
    limits = {bound.id: bound for bound in bounds.standing()}
    ready = [job for job in found.values() if job.state == JobState.WAITING]
    return World(host, targets, nodes, found, limits, guarantees.standing(ready), _held(found))


def _held(waiting: dict[int, Job]) -> dict[int, str]:
    """Return why a job that waits cannot start now, whatever nodes there are: the disk is full, or the money spent."""
    if not waiting:
        return {}
    if full := disk.why_full():
        return dict.fromkeys(waiting, full)
    return budgets.held(waiting.values())


def _cluster_view(target: ComputeTarget, *, maximum: int | None = None) -> ClusterView:
    return ClusterView(
        id=target.pk,
        name=target.name,
        slice=embedded.slice_of(sizes.by_name(target.vm_size)),
        min_nodes=target.min_nodes,
        max_nodes=target.max_nodes if maximum is None else maximum,
        idle_seconds=target.idle_seconds,
        low_priority=target.is_low_priority,
        takes_work=target.takes_runs,
    )


def _plan(world: World) -> Plan:
    return plan.plan(
        embedded.capacity(world.host),
        [_cluster_view(t) for t in world.targets.values()],
        [
            NodeView(
                id=n.pk,
                cluster=n.target_id,
                state=n.state,
                job=n.job_id,
                since=n.state_changed_at.timestamp(),
                created=n.created_at.timestamp(),
                borrowed=n.job_id in world.guarantees.borrowed,
            )
            for n in world.nodes.values()
        ],
        [
            JobView(
                id=j.pk,
                name=j.run_name,
                cluster=j.target_id,
                nodes=j.node_count,
                ready=j.state == JobState.WAITING,
                priority=j.priority,
                order=j.enqueued_at.timestamp(),
                guaranteed=j.pk in world.guarantees.guaranteed,
                takes_from=_takes_from(j, world) if j.pk in world.guarantees.guaranteed else frozenset(),
            )
            for j in world.jobs.values()
            if j.pk not in world.held
        ],
        timezone.now().timestamp(),
        [_ceiling(bound, world) for bound in world.bounds.values()],
    )


def _takes_from(job: Job, world: World) -> frozenset[int]:
    """Return the clusters whose borrowed nodes a job may take back: of its workspace, of no higher priority class."""
    return frozenset(
        pk
        for pk, target in world.targets.items()
        if target.workspace_id == job.target.workspace_id and (target.is_low_priority or not job.target.is_low_priority)
    )


def _ceiling(bound: bounds.Bound, world: World) -> Ceiling:
    clusters = {
        pk for pk, t in world.targets.items() if bound.holds(t.workspace_id, bounds.family_of(t), t.vm_priority)
    }
    if not bound.is_of_runs:
        return Ceiling(bound.id, bound.limit, bound.used, clusters=frozenset(clusters))
    theirs = [
        pk
        for pk, job in world.jobs.items()
        if job.target_id in clusters
        and (bound.person_id or job.submitted_by_id) == job.submitted_by_id
        and (bound.team_id or job.team_id) == job.team_id
    ]
    return Ceiling(bound.id, bound.limit, bound.used, jobs=frozenset(theirs))


def _store(world: World, decided: Plan) -> Decided:
    """Store a plan's decisions; each is conditional on the row being as the plan saw it."""
    done = Decided([], [], [], [])
    now = timezone.now()
    if decided.place or decided.create:
        ledger.lock()
    guarantees.mark(world.guarantees)
    for placement in decided.place:
        job = world.jobs[placement.job]
        borrows = world.guarantees.matters_to(job.target) and job.pk not in world.guarantees.guaranteed
        if _place(job, [world.nodes[pk] for pk in placement.nodes], borrowed=borrows):
            done.placed.append(job)
    for create in decided.create:
        target = world.targets[create.cluster]
        before = sum(n.target_id == target.pk for n in world.nodes.values())
        made = _new_nodes(world, target, create.count)
        if not made:
            continue
        run = world.jobs[create.job].run_name if create.job else ""
        cause = reasons.why_nodes_changed(create.cause, target, run=run)
        done.created.append((target, made, before, cause))
        _allocate(target, AllocationState.RESIZING)
    for release in decided.release:
        node = world.nodes[release.node]
        run = cluster = ""
        if release.for_cluster:
            whose = world.targets[release.for_cluster]
            cluster = reasons.name_for(whose.name, whose, node.target)
            run = reasons.name_for(world.jobs[release.for_job].run_name, whose, node.target) if release.for_job else ""
        if node.move(
            NodeState.LEAVING, reason=reasons.why_nodes_changed(release.cause, node.target, run=run, cluster=cluster)
        ):
            done.leaving.append(node)
            _allocate(node.target, AllocationState.RESIZING)
    for taken in decided.preempt:
        node = world.nodes[taken.node]
        reason = _why_taken(taken, world)
        Node.objects.filter(pk=node.pk).update(state_changed_at=now)
        preempt(node, reason)
        done.preempted.append((node, reason))
        _allocate(node.target, AllocationState.RESIZING)
    return done


def _why_taken(taken: Preempt, world: World) -> str:
    if taken.borrowed and taken.for_job is not None:
        job = world.jobs[taken.for_job]
        facts = {"who": str(job.team or job.submitted_by or ""), "run": job.run_name}
        return _("It ran on borrowed cores: %(who)s is guaranteed them, and needs them for %(run)s.") % facts
    by = world.targets[taken.for_cluster]
    name = reasons.name_for(by.name, by, world.nodes[taken.node].target)
    return _("Cluster %(name)s, which is dedicated, took its place.") % {"name": name}


def _place(job: Job, nodes: list[Node], *, borrowed: bool) -> bool:
    """Give nodes to a job; say whether it got them. Somebody may have moved it, or used up what its people may have."""
    try:
        with transaction.atomic():
            ledger.assign(job, [node.pk for node in nodes], borrowed=borrowed)
            if not job.move(JobState.STARTING, placed_on=[node.node_id for node in nodes], wait_reason=""):
                transaction.set_rollback(True)
                return False
            for node in nodes:
                node.move(NodeState.RUNNING)
            Node.objects.filter(pk__in=[node.pk for node in nodes]).update(job=job)
    except QuotaExceeded as exc:
        logger.info("Job %s is not placed: %s", job, exc.message)
        return False
    job.target.moved()
    return True


def _new_nodes(world: World, target: ComputeTarget, count: int) -> list[Node]:
    """Make nodes with their reservations: all of them, or none, when the quota was used up since the plan was made."""
    made: list[Node] = []
    try:
        with transaction.atomic():
            for _n in range(count):
                made.append(_new_node(world, target, made))
            ledger.reserve(target, made)
    except QuotaExceeded as exc:
        logger.info("Cluster %s does not grow: %s", target, exc.message)
        return []
    world.nodes.update((node.pk, node) for node in made)
    return made


def _new_node(world: World, target: ComputeTarget, beside: list[Node]) -> Node:
    slice_ = embedded.slice_of(sizes.by_name(target.vm_size))
    cpus, gpus = embedded.carve(world.host, slice_, [*world.nodes.values(), *beside])
    return Node.objects.create(
        target=target,
        host=world.host,
        node_id=Node.new_id(),
        cpus=cpus,
        gpus=gpus,
        virtual_cpus=slice_.cpus,
        memory_bytes=slice_.memory_bytes,
    )


def _carry_out(decided: Decided) -> None:
    """Do what was stored: start jobs, prepare and remove nodes."""
    for job in decided.placed:
        for node_id in job.placed_on:
            launch.say(job, f"Node {job.target.name}/{node_id} assigned")
        jobs.start(job)
    for target, made, before, cause in decided.created:
        began = timezone.now()
        for node in made:
            _prepare(node)
        _note_scaling(target, before, before + len(made), cause, timezone.now() - began)
        _settle_allocation(target)
    for node in decided.leaving:
        count = node.target.nodes.count()
        began = timezone.now()
        if _remove(node):
            _note_scaling(node.target, count, count - 1, node.reason, timezone.now() - began)
        _settle_allocation(node.target)
    for node, reason in decided.preempted:
        count = node.target.nodes.count()
        fresh = Node.objects.filter(pk=node.pk).select_related("job").first()
        if fresh and (fresh.job is None or fresh.job.state == JobState.ENDED):
            _remove(fresh)
        _note_scaling(node.target, count, count - 1, _("preempted: %(why)s") % {"why": reason}, timedelta())
        _settle_allocation(node.target)


def _prepare(node: Node) -> None:
    """Make a node ready for work. On this machine a slice is ready once its place is stored."""
    with transaction.atomic():
        if node.move(NodeState.IDLE):
            node.target.moved()


def _remove(node: Node) -> bool:
    """Forget a node that has no job any more; say whether it was there."""
    with transaction.atomic():
        gone = ledger.remove(Node.objects.filter(pk=node.pk, state__in=[NodeState.LEAVING, NodeState.PREEMPTED]))
        node.target.moved()
    return bool(gone)


def _allocate(target: ComputeTarget, state: AllocationState) -> None:
    now = timezone.now()
    changed = ComputeTarget.objects.filter(pk=target.pk).exclude(allocation_state=state)
    if changed.update(allocation_state=state, allocation_changed_at=now):
        target.allocation_state, target.allocation_changed_at = state, now
    target.moved()


def _settle_allocation(target: ComputeTarget) -> None:
    """Call a cluster steady again when no node of it comes or goes."""
    moving = [NodeState.PREPARING, NodeState.LEAVING, NodeState.PREEMPTED]
    with transaction.atomic():
        if not target.nodes.filter(state__in=moving).exists():
            _allocate(target, AllocationState.STEADY)


def _note_scaling(target: ComputeTarget, before: int, after: int, cause: str, took: timedelta) -> None:
    ScalingEvent.objects.create(target=target, before=before, after=after, cause=cause[:255], took=took)
    logger.info("Cluster %s: %d → %d nodes, %s.", target, before, after, cause)


def _store_waits(world: World, decided: Plan) -> None:
    """Store why each job waits, and tell when that changed."""
    named = world.jobs | {n.job.pk: n.job for n in world.nodes.values() if n.job}
    told = {
        pk: reasons.why_it_waits(wait, world.jobs[pk], jobs=named, targets=world.targets, bounds=world.bounds)
        for pk, wait in decided.waits.items()
    }
    for pk, reason in (told | world.held).items():
        job, reason = world.jobs[pk], reason[:500]
        facts = {} if pk in world.held else reasons.facts_of(decided.waits[pk])
        if (job.wait_reason, job.wait) == (reason, facts):
            continue
        is_new = job.wait_reason != reason
        if Job.objects.filter(pk=pk, state=job.state).update(wait_reason=reason, wait=facts):
            job.wait_reason, job.wait = reason, facts
            if is_new and job.state == JobState.WAITING:
                jobs.tell(job)


def free_counts(targets: Iterable[ComputeTarget]) -> dict[int, dict[str, int]]:
    """Return the number of nodes by state for each of `targets`, in one query."""
    counts: dict[int, dict[str, int]] = {t.pk: {} for t in targets}
    rows = Node.objects.filter(target__in=counts).values_list("target", "state").annotate(n=Count("pk"))
    for target, state, n in rows:
        counts[target][state] = n
    return counts
