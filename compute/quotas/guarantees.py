"""Who runs on cores that a team or a person is guaranteed, who borrows, and who is guaranteed what they wait for."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Min, Sum

from compute import sizes
from compute.engines.guarantees import Claim, Guarantee, covered
from compute.models import ComputeTarget, Job
from compute.quotas import ledger
from compute.quotas.bounds import family_of
from compute.quotas.models import ALL, Limit, Reservation


@dataclass(frozen=True)
class Standing:
    """How guarantees are used now. Where nobody is guaranteed anything, nobody borrows."""

    guaranteed: frozenset[int] = frozenset()  # jobs that wait for what they are guaranteed
    borrowed: frozenset[int] = frozenset()  # jobs that run on what others may take back
    markets: frozenset[tuple[int, str, str]] = frozenset()  # workspace, family or ALL, priority: where it matters

    def matters_to(self, target: ComputeTarget) -> bool:
        """Say whether somebody is guaranteed cores of what a cluster's nodes are."""
        families = (family_of(target), ALL)
        return any((target.workspace_id, family, target.vm_priority) in self.markets for family in families)


@dataclass(frozen=True)
class _Work:
    """A job and what decides which guarantees are for it."""

    job: int
    cores: int
    workspace: int
    person: int | None
    team: int | None
    family: str
    priority: str

    def may_use(self, limit: Limit) -> bool:
        theirs = limit.person_id == self.person if limit.person_id is not None else limit.team_id == self.team
        here = limit.workspace_id == self.workspace and limit.priority == self.priority
        return theirs and here and limit.family in {ALL, self.family}


def standing(waiting: Iterable[Job]) -> Standing:
    """Return how guarantees are used by what runs, and by `waiting` in its order, each with its target."""
    limits = list(Limit.objects.exclude(guaranteed=None))
    if not limits:
        return Standing()
    markets = frozenset((limit.workspace_id or 0, limit.family, limit.priority) for limit in limits)
    runs = _running({limit.workspace_id for limit in limits})
    waits = [_work(job) for job in waiting]
    everything = [*runs, *waits]
    guarantees = [
        Guarantee(limit.pk, limit.guaranteed or 0, frozenset(work.job for work in everything if work.may_use(limit)))
        for limit in limits
    ]
    taken = covered(guarantees, [Claim(work.job, work.cores) for work in everything])
    matters = {
        work.job
        for work in runs
        if any((work.workspace, family, work.priority) in markets for family in (work.family, ALL))
    }
    return Standing(
        guaranteed=frozenset(work.job for work in waits) & taken, borrowed=frozenset(matters) - taken, markets=markets
    )


def mark(now: Standing) -> None:
    """Store which reservations are borrowed, where that changed. In the caller's transaction."""
    used = Reservation.objects.in_use()
    begun = used.filter(job__in=now.borrowed, borrowed=False)
    over = used.filter(borrowed=True).exclude(job__in=now.borrowed)
    if begun.exists() or over.exists():
        ledger.lock()
        begun.update(borrowed=True)
        over.update(borrowed=False)


def can_be_stopped(job: Job) -> bool:
    """Say whether a job runs on borrowed cores, which their owner may take back."""
    return Reservation.objects.in_use().filter(job=job, borrowed=True).exists()


def _running(workspaces: set[int | None]) -> list[_Work]:
    """Return what runs in those workspaces, the longest running first."""
    rows = (
        Reservation.objects.in_use()
        .filter(workspace__in=workspaces)
        .order_by()
        .values_list("job", "workspace", "person", "team", "family", "priority")
        .annotate(cores=Sum("cores"), since=Min("node__state_changed_at"))
        .order_by("since", "job")
    )
    return [
        _Work(job, cores, workspace, person, team, family, priority)
        for job, workspace, person, team, family, priority, cores, _since in rows
    ]


def _work(job: Job) -> _Work:
    cores = job.node_count * sizes.by_name(job.target.vm_size).vcpus
    facts = (job.target.workspace_id, job.submitted_by_id, job.team_id, family_of(job.target), job.target.vm_priority)
    return _Work(job.pk, cores, *facts)
