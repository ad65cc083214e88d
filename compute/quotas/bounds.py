"""Which limits apply, what is used of them, and how much is left."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from compute import sizes
from compute.models import ComputeTarget, TargetQuerySet
from compute.quotas.models import ALL, Account, Limit, LimitQuerySet, Reservation, Scope
from compute.states import Priority, ProvisioningState
from studio.people.models import Team, User, Workspace


@dataclass(frozen=True)
class Bound:
    """One limit, and what is used of it: held by nodes, or for a team or a person, by nodes that run their jobs."""

    id: int  # of the Limit
    scope: Scope
    who: str  # the name of the workspace, team or person; empty for the studio
    workspace_id: int | None
    team_id: int | None
    person_id: int | None
    family: str
    priority: str
    limit: int  # cores
    used: int  # cores

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def is_of_runs(self) -> bool:
        """Say whether it counts what runs, of a team or a person, and not what stands."""
        return self.scope in {Scope.TEAM, Scope.PERSON}

    def holds(self, workspace_id: int, family: str, priority: str) -> bool:
        """Say whether nodes of such a cluster count against it, whoever uses them."""
        return self.priority == priority and self.family in {ALL, family} and self.workspace_id in {None, workspace_id}

    @property
    def cores(self) -> str:
        """Return what it limits, as part of a sentence: "NCsv3 cores of vision-team"."""
        return cores_said(self.family, self.priority, self.who)


def cores_said(family: str, priority: str, who: str = "") -> str:
    """Return which cores are meant, as part of a sentence: "NCsv3 cores of vision-team"."""
    low = priority == Priority.LOW_PRIORITY
    if family == ALL:
        what = _("low-priority cores") if low else _("cores")
    else:
        name = {"family": sizes.family_name(family)}
        what = _("low-priority %(family)s cores") % name if low else _("%(family)s cores") % name
    return _("%(cores)s of %(who)s") % {"cores": what, "who": who} if who else what


@dataclass(frozen=True)
class Headroom:
    """How many cores are left for something, over all limits that apply to it."""

    bounds: tuple[Bound, ...]

    @property
    def tightest(self) -> Bound | None:
        """Return the bound that leaves least; None: there is no limit."""
        return min(self.bounds, key=lambda bound: bound.left, default=None)

    @property
    def left(self) -> int | None:
        """Return the cores that are left; None: there is no limit."""
        return self.tightest.left if self.tightest else None

    def never_holds(self, cores: int) -> bool:
        """Say whether one of the limits is less than so many cores, whatever is used of it."""
        return any(bound.limit < cores for bound in self.bounds)


def family_of(target: ComputeTarget) -> str:
    """Return the key of the family that a cluster's nodes are of."""
    size = sizes.find(target.vm_size)
    return size.family_key if size else target.vm_size.casefold()


def headroom(
    workspace: Workspace, family: str, priority: str, *, person: User | None = None, team: Team | None = None
) -> Headroom:
    """Return what is left for `workspace` of a family at a priority, and for a person's or a team's runs there."""
    return headrooms(workspace, family, [priority], person=person, team=team)[priority]


def headrooms(
    workspace: Workspace,
    family: str,
    priorities: Iterable[str] = (Priority.DEDICATED, Priority.LOW_PRIORITY),
    *,
    person: User | None = None,
    team: Team | None = None,
) -> dict[str, Headroom]:
    """Return the same for several priorities at once: in two queries, and one more each for a person and a team."""
    key, wanted = sizes.family_key(family), list(priorities)
    whose = Q(workspace=None) | Q(workspace=workspace, team=None, person=None)
    if person is not None:
        whose |= Q(workspace=workspace, person=person)
    if team is not None:
        whose |= Q(workspace=workspace, team=team)
    found = with_use(Limit.objects.filter(whose, family__in=[ALL, key], priority__in=wanted))
    return {one: Headroom(tuple(bound for bound in found if bound.priority == one)) for one in wanted}


def rooms_of_families(workspace: Workspace, priority: str) -> dict[str, Headroom]:
    """Return what is left for clusters of each VM family there is, by its key, in two queries."""
    whose = Q(workspace=None) | Q(workspace=workspace, team=None, person=None)
    found = with_use(Limit.objects.filter(whose, priority=priority))
    return {key: Headroom(tuple(bound for bound in found if bound.family in {ALL, key})) for key in sizes.families()}


def standing() -> list[Bound]:
    """Return every limit there is."""
    return with_use(Limit.objects.all())


def with_use(rows: LimitQuerySet) -> list[Bound]:
    """Return those limits that name a maximum, with what is used of them."""
    limits = list(rows.exclude(cores=None).select_related("workspace", "team", "person"))
    held, of_people, of_teams = _held(limits), _in_use(limits, "person"), _in_use(limits, "team")

    def used(limit: Limit) -> int:
        if limit.person_id is not None:
            return of_people.get((limit.workspace_id, limit.person_id, limit.family, limit.priority), 0)
        if limit.team_id is not None:
            return of_teams.get((limit.workspace_id, limit.team_id, limit.family, limit.priority), 0)
        return held.get((limit.workspace_id, limit.family, limit.priority), 0)

    return [
        Bound(
            id=limit.pk,
            scope=limit.scope,
            who=str(limit.person or limit.team or limit.workspace or ""),
            workspace_id=limit.workspace_id,
            team_id=limit.team_id,
            person_id=limit.person_id,
            family=limit.family,
            priority=limit.priority,
            limit=limit.cores or 0,
            used=used(limit),
        )
        for limit in limits
    ]


def _held(limits: list[Limit]) -> dict[tuple[int | None, str, str], int]:
    """Return the totals of the accounts that those limits are for."""
    wanted = [
        Q(workspace=limit.workspace_id, family=limit.family, priority=limit.priority)
        for limit in limits
        if limit.scope in {Scope.STUDIO, Scope.WORKSPACE}
    ]
    if not wanted:
        return {}
    found = Account.objects.filter(reduce(or_, wanted)).values_list("workspace", "family", "priority", "cores")
    return {(workspace, family, priority): cores for workspace, family, priority, cores in found}


def _in_use(limits: list[Limit], whose: str) -> dict[tuple[int | None, int, str, str], int]:
    """Return what runs of the teams or people ("team", "person") that those limits are for, by family and in all."""
    ids = {pk for limit in limits if (pk := getattr(limit, f"{whose}_id")) is not None}
    if not ids:
        return {}
    rows = Reservation.objects.in_use().filter(**{f"{whose}__in": ids}).order_by()
    sums: dict[tuple[int | None, int, str, str], int] = {}
    grouped = rows.values_list("workspace", whose, "family", "priority").annotate(sum=Sum("cores"))
    for workspace, pk, family, priority, cores in grouped:
        for name in (family, ALL):
            key = (workspace, pk, name, priority)
            sums[key] = sums.get(key, 0) + cores
    return sums


def promised(workspace: Workspace | None, family: str, priority: str) -> dict[ComputeTarget, int]:
    """Return the cores that the minimums of clusters keep, by cluster, the most first."""
    rows = _with_minimum(workspace.pk if workspace else None, family, priority)
    kept = {target: target.min_nodes * _cores(target.vm_size) for target in rows}
    return dict(sorted(kept.items(), key=lambda pair: -pair[1]))


def promised_in_all(workspace_id: int | None, family: str, priority: str, *, but: ComputeTarget | None = None) -> int:
    """Return the cores that the minimums of all clusters but one keep together."""
    rows = _with_minimum(workspace_id, family, priority)
    if but is not None:
        rows = rows.exclude(pk=but.pk)
    nodes = rows.order_by().values_list("vm_size").annotate(Sum("min_nodes"))
    return sum(count * _cores(vm_size) for vm_size, count in nodes)


def _with_minimum(workspace_id: int | None, family: str, priority: str) -> TargetQuerySet:
    rows = ComputeTarget.objects.existing().filter(vm_priority=priority, min_nodes__gt=0)
    rows = rows.exclude(provisioning_state=ProvisioningState.DELETING)
    if workspace_id is not None:
        rows = rows.filter(workspace=workspace_id)
    if family != ALL:
        rows = rows.filter(vm_size__in=[size.name for size in sizes.all_sizes() if size.family_key == family])
    return rows


def _cores(vm_size: str) -> int:
    size = sizes.find(vm_size)
    return size.vcpus if size else 0
