"""The ledger: one reservation for each node, made with it and released with it, and never more than the limits.

Whoever changes reservations locks the gate first: one row, whatever the family and the workspace, so that nobody
waits for anybody who waits for them, and of two requests that together exceed a limit exactly one wins. On SQLite
a transaction that writes is alone anyway. Before the gate a transaction may have locked a host, and nothing else.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from compute.models import ComputeTarget, Job, Node
from compute.quotas.bounds import Bound, family_of, headroom
from compute.quotas.models import ALL, Account, Reservation
from compute.states import Priority
from studio.errors import QuotaExceeded
from studio.people.actions import note
from studio.people.models import User

logger = logging.getLogger(__name__)
Key = tuple[int | None, str, str]  # of an account: workspace, family, priority
KEPT = timedelta(days=365)  # after the release: each node that ever was has one
AT_ONCE = 1000
NOBODY: dict[str, Any] = {"job": None, "person": None, "team": None, "borrowed": False}


def lock() -> None:
    """Lock the gate until the caller's transaction ends."""
    gate = Account.objects.filter(workspace=None, family=ALL, priority=Priority.DEDICATED)
    if not gate.select_for_update().exists():
        Account.objects.get_or_create(workspace=None, family=ALL, priority=Priority.DEDICATED)
        gate.select_for_update().get()


def reserve(target: ComputeTarget, nodes: Sequence[Node]) -> None:
    """Reserve the cores of nodes that this transaction has made.

    Raises QuotaExceeded when a limit of the studio or of the workspace leaves less; then none of them may stay.
    """
    lock()
    family, priority = family_of(target), target.vm_priority
    cores = sum(node.virtual_cpus for node in nodes)
    for bound in headroom(target.workspace, family, priority).bounds:
        if cores > bound.left:
            raise exceeded(bound, cores)
    Reservation.objects.bulk_create(_reservation(target, node, family) for node in nodes)
    _add({(target.workspace_id, family, priority): cores})


def remove(nodes: QuerySet[Node]) -> int:
    """Delete nodes and release what they held, in the caller's transaction; return how many there were.

    This is the one door by which a node goes.
    """
    lock()
    found = list(nodes.select_for_update(of=("self",)).values_list("pk", flat=True))
    held = Reservation.objects.held().filter(node__in=found)
    sums = held.order_by().values_list("workspace", "family", "priority").annotate(sum=Sum("cores"))
    released = {(workspace, family, priority): -cores for workspace, family, priority, cores in sums}
    held.update(released_at=timezone.now(), node=None, **NOBODY)
    _add(released)
    Node.objects.filter(pk__in=found).delete()
    return len(found)


def forget() -> int:
    """Let go of reservations that were released long ago; return how many. Totals and limits rest on none of them."""
    old = Reservation.objects.filter(released_at__lt=timezone.now() - KEPT)
    gone = 0
    while ids := list(old.values_list("pk", flat=True)[:AT_ONCE]):
        gone += Reservation.objects.filter(pk__in=ids).delete()[0]
    return gone


def assign(job: Job, nodes: Iterable[int], *, borrowed: bool = False) -> None:
    """Note who uses nodes (primary keys) from now on: `job`, whoever submitted it, and their team.

    `borrowed`: it is above what is guaranteed to them, and can be stopped. Raises QuotaExceeded when a limit of the
    person or of the team leaves less.
    """
    lock()
    held = Reservation.objects.held().filter(node__in=list(nodes))
    cores = held.aggregate(sum=Sum("cores"))["sum"] or 0
    target = job.target
    room = headroom(target.workspace, family_of(target), target.vm_priority, person=job.submitted_by, team=job.team)
    for bound in room.bounds:
        if bound.is_of_runs and cores > bound.left:
            raise exceeded(bound, cores)
    held.update(job=job, person=job.submitted_by, team=job.team, borrowed=borrowed)


def unassign(*, job: Job | None = None, nodes: Iterable[int] = ()) -> None:
    """Note that nobody uses the nodes of `job`, or those `nodes` (primary keys), any more."""
    used = Q(job=job) if job is not None else Q(node__in=list(nodes))
    Reservation.objects.held().filter(used).update(**NOBODY)


def exceeded(bound: Bound, cores: int, hint: str = "") -> QuotaExceeded:
    """Return the error that says what was asked for, what is used, and which limit stands in the way."""
    return QuotaExceeded(
        _("%(left)d of %(limit)d %(cores)s left; this needs %(asked)d.")
        % {"left": bound.left, "limit": bound.limit, "cores": bound.cores, "asked": cores},
        hint or _("Ask for less or ask for more quota."),
        asked=cores,
        used=bound.used,
        limit=bound.limit,
        scope=bound.scope.value,
    )


def _reservation(target: ComputeTarget, node: Node, family: str) -> Reservation:
    job = node.job
    return Reservation(
        workspace_id=target.workspace_id,
        target=target,
        node=node,
        node_name=node.node_id,
        family=family,
        priority=target.vm_priority,
        cores=node.virtual_cpus,
        created_at=node.created_at,
        job=job,
        person=job.submitted_by if job else None,
        team=job.team if job else None,
    )


def _accounts(sums: dict[Key, int]) -> Counter[Key]:
    """Return what goes to each account: of the family and of all, for the workspace and for the studio."""
    by_account: Counter[Key] = Counter()
    for (workspace, family, priority), cores in sums.items():
        for whose in (None, workspace):
            for name in (ALL, family):
                by_account[whose, name, priority] += cores
    return by_account


def _add(sums: dict[Key, int]) -> None:
    for (workspace, family, priority), cores in _accounts(sums).items():
        account = Account.objects.filter(workspace=workspace, family=family, priority=priority)
        if not account.update(cores=F("cores") + cores):
            Account.objects.create(workspace_id=workspace, family=family, priority=priority, cores=cores)


# Is it right?


@dataclass(frozen=True)
class Drift:
    """One place where the ledger says something else than the nodes do."""

    what: str  # for people
    node: int | None = None
    account: Key | None = None


@transaction.atomic
def check() -> list[Drift]:
    """Compare the reservations with the nodes that exist, and the totals with the reservations. Repairs nothing."""
    lock()
    return _drift()


@transaction.atomic
def rebuild(*, by: User | None = None) -> list[Drift]:
    """Make the ledger again from the nodes that exist, and write down what was wrong; return it."""
    lock()
    found = _drift()
    if not found:
        return found
    wrong = [drift.node for drift in found if drift.node]
    Reservation.objects.held().filter(node__in=wrong).update(released_at=timezone.now(), node=None, **NOBODY)
    for node in _nodes().filter(pk__in=wrong):
        _reservation(node.target, node, family_of(node.target)).save()
    Account.objects.update(cores=0)
    _add(_held())
    gate = Account.objects.get(workspace=None, family=ALL, priority=Priority.DEDICATED)
    said = [drift.what for drift in found]
    note(None, by, "ledger.rebuild", gate, kind="ledger", name="ledger", detail={"drift": said[:100], "n": len(said)})
    logger.warning("The ledger was rebuilt; it was wrong in %d places: %s", len(said), "; ".join(said[:10]))
    return found


def _nodes() -> QuerySet[Node]:
    return Node.objects.select_related("target", "job__submitted_by", "job__team", "reservation")


def _held() -> dict[Key, int]:
    rows = Reservation.objects.held().order_by().values_list("workspace", "family", "priority")
    return {(workspace, family, priority): cores for workspace, family, priority, cores in rows.annotate(Sum("cores"))}


def _drift() -> list[Drift]:
    """Return what is wrong; node and reservation come from one query, so nothing moves between the two."""
    found = [Drift(said, node=node.pk) for node in _nodes() if (said := _wrong(node))]
    kept = {(a.workspace_id, a.family, a.priority): a.cores for a in Account.objects.all()}
    summed = _accounts(_held())
    for key in kept.keys() | summed.keys():
        if kept.get(key, 0) != summed[key]:
            workspace, family, priority = key
            whose = f"workspace {workspace}" if workspace else "the studio"
            said = f"The total of {family} {priority} of {whose} says {kept.get(key, 0)} cores; {summed[key]} are held"
            found.append(Drift(said, account=key))
    return found


def _wrong(node: Node) -> str:
    """Say how the reservation of a node differs from what it must be; empty: it does not."""
    held = getattr(node, "reservation", None)
    if held is None:
        return f"Node {node} of {node.target} has no reservation"
    must = _reservation(node.target, node, family_of(node.target))
    names = ["workspace_id", "target_id", "family", "priority", "cores", "job_id"]
    wrong = [name.removesuffix("_id") for name in names if getattr(held, name) != getattr(must, name)]
    return f"The reservation of node {node} of {node.target} has another {', '.join(wrong)}" if wrong else ""
