"""Budgets: what is spent of them, who is told, and what may no longer start."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from compute import jobs, scheduling
from compute.actions import ensure_local
from compute.engines import embedded
from compute.models import ComputeTarget
from compute.prices.models import GivenPrice
from compute.quotas import budgets
from compute.quotas.actions import set_budget
from compute.quotas.models import Budget
from compute.states import JobState
from compute.usage.models import MonthTotal
from studio.errors import NeedsRight, QuotaExceeded
from studio.notifications.models import Notice, Webhook
from studio.people.models import Activity, Membership, Team, User, Workspace
from tests.compute.clusters import make_cluster, make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster(workspace: Workspace) -> ComputeTarget:
    """Return a cluster whose nodes cost a dollar an hour."""
    made = make_cluster(workspace, "paid", vm_size="Standard_D1_v2", host=embedded.this_host())
    GivenPrice.objects.create(workspace=workspace, target=made, usd_per_hour=1, region="here", as_of=timezone.now())
    return made


@pytest.fixture
def vision(workspace: Workspace, ben: User) -> Team:
    team = Team.objects.create(workspace=workspace, name="vision")
    Membership.objects.filter(workspace=workspace, user=ben).update(team=team)
    return team


def spend(workspace: Workspace, usd: int, person: User, team: Team | None = None, month: Any = None) -> None:
    """Write down that so much was spent this month, each time on another target."""
    facts = {"workspace": workspace, "month": month or budgets.this_month(), "person": person.pk}
    target = make_cluster(workspace, f"spent-{MonthTotal.objects.count()}")
    MonthTotal.objects.create(**facts, team=team.pk if team else 0, target=target, micro_usd=usd * 1_000_000)


def test_a_budget_that_is_used_up_refuses_what_would_cost_and_nothing_else(
    workspace: Workspace, ana: User, ben: User, vision: Team, cluster: ComputeTarget
) -> None:
    set_budget(workspace, Decimal(100), by=ana, team=vision)
    spend(workspace, 99, ben, vision)
    budgets.check(cluster, ben, vision)
    spend(workspace, 1, ana, vision)  # she was in it once
    with pytest.raises(QuotaExceeded) as refused:
        budgets.check(cluster, ben, vision)
    month = timezone.now().strftime("%B %Y")
    assert refused.value.message == f"The budget of vision for {month} is used up: 100.00 of 100.00 USD."
    assert "An Owner can raise it" in refused.value.hint
    budgets.check(cluster, ana, None)  # another pays
    budgets.check(ensure_local(workspace), ben, vision)  # costs nothing


def test_what_waits_is_held_in_words_until_an_owner_lets_it_and_what_goes_on_is_not(
    workspace: Workspace, ana: User, ben: User, cluster: ComputeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.jobs.start", lambda job: None)
    budget = set_budget(workspace, Decimal("0.5"), by=ana, person=ben)
    assert budget is not None
    spend(workspace, 1, ben)
    held = make_job(cluster, JobState.WAITING, submitted_by=ben)
    again = make_job(cluster, JobState.WAITING, submitted_by=ben, attempt=2)
    hers = make_job(cluster, JobState.WAITING, submitted_by=ana)
    assert {job.pk for job in scheduling.schedule()} == {again.pk, hers.pk}
    held.refresh_from_db()
    assert held.wait_reason.startswith("Waits: the budget of ben for ")
    assert jobs.why_held(held) == held.wait_reason
    with pytest.raises(NeedsRight):
        budgets.override(budget, by=ben)
    budgets.override(budget, by=ana)
    budgets.override(budget, by=ana)  # once is enough
    assert [job.pk for job in scheduling.schedule()] == [held.pk]
    assert Activity.objects.filter(verb="budget.override").count() == 1
    budget.refresh_from_db()
    assert budget.overridden_for == budgets.this_month()
    Budget.objects.update(overridden_for=budgets.this_month() - timedelta(days=1))  # a month later
    assert budgets.stopping(cluster, ben, None) is not None


def test_people_are_told_at_80_and_at_100_percent_once_a_month(
    workspace: Workspace, ana: User, ben: User, vision: Team
) -> None:
    hook = Webhook(
        workspace=workspace, name="ops", events=["budget.warned", "budget.reached"], format="json", is_on=True
    )
    hook.save()
    set_budget(workspace, Decimal(10), by=ana, team=vision)
    spend(workspace, 7, ben, vision)
    budgets.watch()
    assert not Notice.objects.exists()
    spend(workspace, 1, ana, vision)
    budgets.watch()
    budgets.watch()
    assert [n.event for n in Notice.objects.all()] == ["budget.warned"]
    assert "used up by 80 %: 8.00 of 10.00 USD" in Notice.objects.get().title
    MonthTotal.objects.update(micro_usd=9_000_000)
    budgets.watch()
    budgets.watch()
    assert [n.event for n in Notice.objects.order_by("pk")] == ["budget.warned", "budget.reached"]
    set_budget(workspace, Decimal(20), by=ana, team=vision)
    budgets.watch()
    assert Notice.objects.count() == 3, "the new amount is told of anew"


def test_another_month_and_another_workspace_are_not_counted(
    workspace: Workspace, ana: User, cluster: ComputeTarget
) -> None:
    set_budget(workspace, Decimal(1), by=ana)
    spend(workspace, 50, ana, month=datetime(2020, 1, 1, tzinfo=UTC).date())
    assert budgets.stopping(cluster, ana, None) is None
    spend(workspace, 1, ana)
    assert budgets.stopping(cluster, ana, None) is not None
