"""Money: what of a month's budget is spent, who is told of it, and what may no longer start when it is used up.

What runs goes on. What would start now is held or refused, unless it costs nothing or an Owner lets it, which is
written down.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute.models import ComputeTarget, Job
from compute.prices.price import Prices
from compute.quotas.models import Budget, Scope
from compute.usage.reads import spent
from studio.errors import QuotaExceeded
from studio.notifications.actions import announce, members_with
from studio.notifications.events import About, Event
from studio.people.actions import note
from studio.people.models import Team, User, Workspace
from studio.people.permissions import Right, require
from studio.work import queue

WARNED_AT = Decimal("0.8")  # of the budget
USED_UP = gettext_noop("The budget of %(who)s for %(month)s is used up: %(spent)s of %(budget)s USD.")
NEARLY = gettext_noop("The budget of %(who)s for %(month)s is used up by %(percent)d %%: %(spent)s of %(budget)s USD.")
WAITS = gettext_noop("Waits: the budget of %(who)s for %(month)s is used up, %(spent)s of %(budget)s USD.")
MEND = gettext_noop("An Owner can raise it, or let runs start all the same until the month is over.")


@dataclass(frozen=True)
class Spending:
    """A budget, and what is spent of it in a month."""

    budget: Budget
    month: date
    usd: Decimal

    @property
    def share(self) -> Decimal:
        """Return what is spent as a share of the budget; of a budget of nothing all is spent."""
        return self.usd / self.budget.usd_per_month if self.budget.usd_per_month else Decimal(1)

    @property
    def is_overridden(self) -> bool:
        return self.budget.overridden_for == self.month

    @property
    def stops(self) -> bool:
        """Say whether nothing that costs money may start."""
        return self.share >= 1 and not self.is_overridden

    def say(self, words: str) -> str:
        return words % {
            "who": self.budget.whose,
            "month": date_format(self.month, "F Y"),
            "spent": f"{self.usd:.2f}",
            "budget": f"{self.budget.usd_per_month:.2f}",
            "percent": int(self.share * 100),
        }


def this_month() -> date:
    return timezone.now().date().replace(day=1)


def spendings(budgets: Iterable[Budget]) -> list[Spending]:
    """Return what is spent of each budget this month."""
    month = this_month()
    return [
        Spending(one, month, spent(one.workspace, month=month, person=one.person, team=one.team)) for one in budgets
    ]


def applying(workspace: Workspace, person: User | None, team: Team | None) -> list[Budget]:
    """Return the budgets that a run of `person`, who works in `team`, is paid from."""
    whose = Q(person=None, team=None)
    if person is not None:
        whose |= Q(person=person)
    if team is not None:
        whose |= Q(team=team)
    return list(Budget.objects.filter(whose, workspace=workspace).select_related("workspace", "person", "team"))


def stopping(target: ComputeTarget, person: User | None, team: Team | None) -> Spending | None:
    """Return the budget that keeps a run from starting on `target`; None: it may, or costs nothing."""
    budgets = applying(target.workspace, person, team)
    if not budgets or not Prices(target.workspace).of(target).amount:
        return None
    return next((one for one in spendings(budgets) if one.stops), None)


def check(target: ComputeTarget, person: User | None, team: Team | None) -> None:
    """Raise QuotaExceeded where the budget that a run would be paid from is used up."""
    if found := stopping(target, person, team):
        scope = Scope.PERSON if found.budget.person else Scope.TEAM if found.budget.team else Scope.WORKSPACE
        raise QuotaExceeded(
            found.say(_(USED_UP)),
            _(MEND),
            used=int(found.usd),
            limit=int(found.budget.usd_per_month),
            scope=scope.value,
        )


def held(jobs: Iterable[Job]) -> dict[int, str]:
    """Return in one sentence each why jobs may not start for want of money. A run that goes on is no new one."""
    first = [job for job in jobs if job.attempt == 1]
    if not first:
        return {}
    spaces = {job.target.workspace_id: job.target.workspace for job in first}
    budgets = Budget.objects.filter(workspace__in=spaces).select_related("workspace", "person", "team")
    stops = [one for one in spendings(budgets) if one.stops]
    if not stops:
        return {}
    prices = {pk: Prices(space) for pk, space in spaces.items()}
    found = {}
    for job in first:
        for one in stops:
            if _pays(one.budget, job) and prices[job.target.workspace_id].of(job.target).amount:
                found[job.pk] = one.say(WAITS)
                break
    return found


def _pays(budget: Budget, job: Job) -> bool:
    if budget.workspace_id != job.target.workspace_id:
        return False
    if budget.person_id is not None:
        return budget.person_id == job.submitted_by_id
    return budget.team_id in {None, job.team_id}


@transaction.atomic
def override(budget: Budget, *, by: User, on: bool = True) -> None:
    """Let runs start until the month is over although the budget is used up, or no longer."""
    require(by, Right.EDIT_QUOTA, budget.workspace)
    before = budget.overridden_for
    after = this_month() if on else None
    if before == after:
        return
    Budget.objects.filter(pk=budget.pk).update(overridden_for=after)
    budget.overridden_for = after
    facts = {"before": before.isoformat() if before else None, "after": after.isoformat() if after else None}
    note(budget.workspace, by, "budget.override", budget, kind="budget", name=budget.whose, detail=facts)
    queue("compute.tasks.schedule")


def watch() -> None:
    """Tell of each budget once a month that it is used up by 80 %, and once that it is used up."""
    for one in spendings(Budget.objects.select_related("workspace", "person", "team")):
        if one.share >= 1:
            _tell(one, Event.BUDGET_REACHED, "reached_for", USED_UP, MEND)
        elif one.share >= WARNED_AT:
            _tell(one, Event.BUDGET_WARNED, "warned_for", NEARLY, "")


@transaction.atomic
def _tell(one: Spending, event: Event, told: str, words: str, hint: str) -> None:
    budget = one.budget
    fresh = Budget.objects.filter(pk=budget.pk).exclude(**{told: one.month})
    if not fresh.update(**{told: one.month}):
        return
    people = members_with(budget.workspace, Right.EDIT_QUOTA)
    people += [budget.person] if budget.person else []
    people += [member.user for member in budget.team.memberships.select_related("user")] if budget.team else []
    data = {"usd": str(one.usd.quantize(Decimal("0.01"))), "budget_usd": str(budget.usd_per_month), "of": budget.whose}
    path = f"/w/{budget.workspace.name}/compute/quota/"
    about = About(one.say(words), "", hint, path, data=data | {"month": one.month.isoformat()})
    announce(budget.workspace, event, about=about, to=people)
