"""Limits are set item by item, in the provider's words, and never behind anybody's back."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from compute.quotas import actions, tasks
from compute.quotas.actions import Status, Wanted, set_budget, set_limits
from compute.quotas.models import Account, Budget, Limit
from compute.states import Priority
from studio import doctor
from studio.errors import NeedsRight, NotAllowedNow
from studio.people.models import Activity, Team, User, Workspace
from studio.people.permissions import Role, Scope
from tests.compute.clusters import make_cluster
from tests.compute.quotas.accounts import hold

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(ana: User, workspace: Workspace) -> User:
    ana.is_superuser = True
    ana.save()
    return ana


def one(by: User, family: str, cores: Any, **more: Any) -> tuple[str, str]:
    outcome = set_limits([Wanted(family, cores, **more)], by=by)[0]
    return outcome.status.value, outcome.message


def test_each_item_says_how_it_went(admin: User, workspace: Workspace) -> None:
    make_cluster(workspace, "steady", min_nodes=4, max_nodes=4)
    outcomes = set_limits(
        [
            Wanted("Standard Dv2 Family", 24),
            Wanted("Dv2", 12, workspace=workspace),
            Wanted("STANDARDDV2FAMILY", 48, workspace=workspace),
            Wanted("standardDv2Family", 7, workspace=workspace),
            Wanted("Zv9", 1),
            Wanted("NCsv3", 4, Priority.LOW_PRIORITY),
            Wanted("*", 50, Priority.LOW_PRIORITY),
            Wanted("*", 9, guaranteed=3, workspace=workspace),
        ],
        by=admin,
    )
    assert [outcome.status.value for outcome in outcomes] == [
        "Success",
        "Success",
        "InvalidQuotaExceedsSubscriptionLimit",
        "InvalidQuotaBelowClusterMinimum",
        "InvalidVMFamilyName",
        "OperationNotSupportedForSku",
        "Success",
        "Failure",
    ]
    assert outcomes[3].message == "steady needs 8 cores at its minimum: cannot go below."
    assert Limit.objects.count() == 3
    noted = Activity.objects.filter(verb="limit.set").order_by("pk")[1]
    assert noted.detail["before"] == {"cores": None, "guaranteed": None}
    assert noted.detail["after"] == {"cores": 12, "guaranteed": None}


def test_a_sum_over_workspaces_may_exceed_the_whole(admin: User, workspace: Workspace) -> None:
    other = Workspace.objects.create(name="other")
    other.memberships.create(user=admin, role=Role.OWNER)
    items = [Wanted("*", 24), Wanted("*", 24, workspace=workspace), Wanted("*", 24, workspace=other)]
    assert {outcome.status for outcome in set_limits(items, by=admin)} == {Status.SUCCESS}


@pytest.mark.parametrize("cores", [-1, 10**12, 1.5, "7", True, float("nan")])
def test_what_is_no_number_of_cores_is_refused(admin: User, cores: object) -> None:
    assert one(admin, "*", cores)[0] == "Failure"
    assert not Limit.objects.exists()


def test_the_later_of_two_sees_what_the_other_set(admin: User, member: Callable[[str, Role], User]) -> None:
    olga = member("olga", Role.OWNER)
    workspace = olga.workspaces.get()
    assert one(admin, "*", 10, workspace=workspace, version=0) == ("Success", "")
    status, said = one(olga, "*", 20, workspace=workspace, version=0)
    assert (status, said) == ("Failure", "ana set it to 10 meanwhile. Look at it again, and decide.")
    assert one(olga, "*", 20, workspace=workspace, version=1) == ("Success", "")
    assert one(admin, "*", None, workspace=workspace, version=2) == ("Success", "")
    assert Limit.objects.get().version == 3


def test_people_and_teams_have_guarantees(admin: User, workspace: Workspace, ben: User) -> None:
    team, stranger = Team.objects.create(workspace=workspace, name="vision"), Workspace.objects.create(name="other")
    stranger.memberships.create(user=admin, role=Role.OWNER)
    assert one(admin, "NCsv3", 8, priority="LowPriority", guaranteed=4, workspace=workspace, team=team)[0] == "Success"
    assert one(admin, "*", 8, guaranteed=9, workspace=workspace, person=ben)[0] == "Failure"
    assert one(admin, "*", 8, workspace=stranger, team=team)[0] == "Failure"
    assert one(admin, "*", 8, person=ben)[0] == "Failure"
    assert one(admin, "*", 8, priority="Spot", workspace=workspace)[0] == "Failure"


def test_only_who_may_sets_them(workspace: Workspace, ana: User, ben: User, cleo: User, admin: User) -> None:
    for who in (ben, cleo):
        with pytest.raises(NeedsRight):
            set_limits([Wanted("*", 1, workspace=workspace)], by=who)
    for who in (ben, User(username="olga", is_superuser=False)):
        with pytest.raises(NeedsRight):
            set_limits([Wanted("*", 1)], by=who)
    admin.scope = Scope(workspace.pk, frozenset())  # by an API token
    with pytest.raises(NeedsRight):
        actions.may_edit(None, admin)


def test_budgets_are_amounts(admin: User, workspace: Workspace, ben: User) -> None:
    made = set_budget(workspace, Decimal("250.5"), by=admin, person=ben, version=0)
    assert made
    with pytest.raises(NotAllowedNow, match=r"it is 250.50 USD"):
        set_budget(workspace, Decimal(9), by=admin, person=ben, version=0)
    for wrong in (Decimal(-1), Decimal("NaN"), Decimal("1e30"), Decimal("Infinity")):
        with pytest.raises(NotAllowedNow):
            set_budget(workspace, wrong, by=admin)
    assert set_budget(workspace, None, by=admin, person=ben, version=1) is None
    assert not Budget.objects.exists()
    verbs = Activity.objects.filter(object_kind="budget").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["budget.set", "budget.remove"]


def test_drift_shows_in_the_log_on_the_settings_page_and_to_the_doctor(
    workspace: Workspace, ana: User, as_user: Callable[[User], Client], caplog: pytest.LogCaptureFixture
) -> None:
    def page() -> str:
        return as_user(ana).get(reverse("settings", args=[workspace.name])).content.decode()

    hold(make_cluster(workspace))
    tasks.check_ledger()
    assert "says what the nodes do" in page()
    assert [finding.word.value for finding in doctor.quotas()] == [doctor.Word.OK.value]
    Account.objects.update(cores=1)
    tasks.check_ledger()
    assert "is wrong in 4 places" in page()
    assert "The quota ledger is wrong in 4 places" in caplog.text
    assert next(doctor.quotas()).word == doctor.Word.BAD
    cache.clear()
    assert "Quota ledger" not in page()
    schedule: Any = settings.CELERY["beat_schedule"]
    assert schedule["ledger"]["task"] == tasks.check_ledger.name
