"""Limits and budgets of teams and people, with what they use, wait for and spend."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from compute import sizes
from compute.models import Job
from compute.quotas.budgets import this_month
from compute.quotas.models import ALL, Budget, Limit, Reservation
from compute.states import JobState
from compute.usage.reads import next_month, report
from studio.people.models import Membership, Team, User, Workspace

WAITING = (JobState.PREPARING, JobState.WAITING)
Whose = tuple[str, int | None]  # "workspace", "team" or "person", and the id of the latter two


@dataclass(frozen=True)
class Row:
    """One team or person, or the whole workspace. Cores, and US dollars of this month."""

    team: Team | None
    person: User | None
    limit: Limit | None
    in_use: int
    borrowed: int
    waiting: int
    usd: Decimal | None  # None: the reader may not see it
    budget: Budget | None

    @property
    def name(self) -> str:
        """Return whose row it is; empty for the whole workspace."""
        return self.team.name if self.team else self.person.username if self.person else ""

    @property
    def key(self) -> str:
        return f"team-{self.team.pk}" if self.team else f"person-{self.person.pk}" if self.person else "workspace"

    @property
    def is_used_up(self) -> bool:
        return self.budget is not None and self.usd is not None and self.usd >= self.budget.usd_per_month


def rows(workspace: Workspace, family: str, priority: str, *, costs_of: User | None) -> list[Row]:
    """Return the workspace, its teams and its people. `costs_of`: whose costs are shown; None: everybody's."""
    limits = Limit.objects.filter(workspace=workspace, family=family, priority=priority)
    by_limit = {_whose(limit.team_id, limit.person_id): limit for limit in limits}
    budgets = Budget.objects.filter(workspace=workspace)
    by_budget = {_whose(budget.team_id, budget.person_id): budget for budget in budgets}
    used, borrowed = _in_use(workspace, family, priority)
    waiting, spent = _waiting(workspace, family, priority), _spent(workspace)

    def row(team: Team | None, person: User | None) -> Row:
        whose = _whose(team.pk if team else None, person.pk if person else None)
        sees = costs_of is None or (person is not None and person.pk == costs_of.pk)
        return Row(
            team, person, by_limit.get(whose), used[whose], borrowed[whose], waiting[whose],
            spent[whose] if sees else None, by_budget.get(whose) if sees else None,
        )  # fmt: skip

    teams = [row(team, None) for team in Team.objects.filter(workspace=workspace).order_by("name")]
    members = Membership.objects.filter(workspace=workspace).select_related("user").order_by("user__username")
    return [row(None, None), *teams, *(row(None, member.user) for member in members)]


def _whose(team: int | None, person: int | None) -> Whose:
    return ("person", person) if person is not None else ("team", team) if team is not None else ("workspace", None)


def _in_use(
    workspace: Workspace, family: str, priority: str
) -> tuple[defaultdict[Whose, int], defaultdict[Whose, int]]:
    held = Reservation.objects.in_use().filter(workspace=workspace, priority=priority)
    if family != ALL:
        held = held.filter(family=family)
    used: defaultdict[Whose, int] = defaultdict(int)
    borrowed: defaultdict[Whose, int] = defaultdict(int)
    sums: dict[str, Any] = {"all": Sum("cores"), "part": Sum("cores", filter=Q(borrowed=True))}
    for team, person, cores, part in held.order_by().values_list("team", "person").annotate(**sums):
        for whose in _all_of(team, person):
            used[whose] += cores or 0
            borrowed[whose] += part or 0
    return used, borrowed


def _waiting(workspace: Workspace, family: str, priority: str) -> defaultdict[Whose, int]:
    jobs = Job.objects.filter(target__workspace=workspace, target__vm_priority=priority, state__in=WAITING)
    found: defaultdict[Whose, int] = defaultdict(int)
    grouped = jobs.order_by().values_list("team", "submitted_by", "target__vm_size").annotate(Sum("node_count"))
    for team, person, vm_size, nodes in grouped:
        size = sizes.find(vm_size)
        if size is not None and family in {ALL, size.family_key}:
            for whose in _all_of(team, person):
                found[whose] += nodes * size.vcpus
    return found


def _all_of(team: int | None, person: int | None) -> set[Whose]:
    return {("workspace", None), _whose(team, None), _whose(None, person)}


def _spent(workspace: Workspace) -> defaultdict[Whose, Decimal]:
    month = this_month()
    found: defaultdict[Whose, Decimal] = defaultdict(Decimal)
    for line in report(workspace, month, next_month(month), ("team", "person")):
        for whose in _all_of(line.key["team"], line.key["person"]):
            found[whose] += line.usd
    return found
