"""Every node has its reservation, no limit is exceeded, and what is wrong is found and never hidden."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models import RestrictedError
from django.utils import timezone

from compute.models import Node
from compute.quotas import bounds, ledger, tasks
from compute.quotas.models import Account, Reservation
from compute.states import Priority
from studio.errors import QuotaExceeded
from studio.people.models import Activity, Team, User, Workspace
from tests.compute.clusters import make_cluster, make_job
from tests.compute.quotas.accounts import hold, limit

pytestmark = pytest.mark.django_db
DV2, NCV3 = "standarddv2family", "standardncv3family"


def total(workspace: Workspace | None, family: str, priority: str = Priority.DEDICATED) -> int:
    found = Account.objects.filter(workspace=workspace, family=family, priority=priority).first()
    return found.cores if found else 0


def test_a_node_is_held_from_its_making_to_its_end(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    nodes = hold(cluster, 3)
    assert [total(None, "*"), total(None, DV2), total(workspace, "*"), total(workspace, DV2)] == [6] * 4
    with pytest.raises(RestrictedError):
        nodes[0].delete()
    assert ledger.remove(Node.objects.filter(pk=nodes[0].pk)) == 1
    assert ledger.remove(Node.objects.filter(pk=nodes[0].pk)) == 0
    assert [total(None, "*"), total(workspace, DV2)] == [4, 4]
    gone = Reservation.objects.get(node_name=nodes[0].node_id)
    assert gone.released_at
    assert gone.node is None
    assert gone.cores == 2
    assert ledger.check() == []


def test_what_was_released_is_kept_for_a_year(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = hold(make_cluster(workspace), 5)
    ledger.remove(Node.objects.filter(pk__in=[node.pk for node in nodes[:4]]))
    old = Reservation.objects.filter(node_name__in=[node.node_id for node in nodes[:3]])
    old.update(released_at=timezone.now() - timedelta(days=366))
    monkeypatch.setattr(ledger, "AT_ONCE", 2)
    tasks.check_ledger()
    assert {one.node_name for one in Reservation.objects.all()} == {node.node_id for node in nodes[3:]}
    assert (total(workspace, "*"), ledger.check()) == (2, [])


def test_the_tightest_limit_decides_and_the_error_names_all_three(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    limit(20), limit(10, DV2), limit(6, DV2, workspace), limit(2, NCV3, workspace)
    hold(cluster, 2)
    with pytest.raises(QuotaExceeded, match=r"2 of 6 Dv2 cores of vision-team left; this needs 4\.") as refused:
        hold(cluster, 2)
    said = refused.value
    assert (said.asked, said.used, said.limit, said.scope) == (4, 4, 6, "workspace")
    assert Node.objects.count() == 2
    hold(cluster, 1)
    assert bounds.headroom(workspace, "Standard Dv2 Family", Priority.DEDICATED).left == 0
    assert bounds.headroom(workspace, "NCsv3", Priority.DEDICATED).left == 2
    assert bounds.headroom(workspace, DV2, Priority.LOW_PRIORITY).left is None


def test_low_priority_is_one_pool_for_all_families(workspace: Workspace) -> None:
    limit(6, priority=Priority.LOW_PRIORITY)
    hold(make_cluster(workspace, "a", vm_priority="LowPriority"), 2)
    other = make_cluster(workspace, "b", vm_priority="LowPriority", vm_size="Standard_DS2_v2")
    hold(other, 1)
    with pytest.raises(QuotaExceeded, match="0 of 6 low-priority cores left"):
        hold(other, 1)
    hold(make_cluster(workspace, "c"), 9)


def test_people_and_teams_are_limited_by_what_runs(workspace: Workspace, ben: User) -> None:
    cluster, team = make_cluster(workspace), Team.objects.create(workspace=workspace, name="vision")
    limit(4, "*", workspace, person=ben), limit(6, DV2, workspace, team=team)
    nodes = hold(cluster, 5)
    first = make_job(cluster, submitted_by=ben, team=team)
    ledger.assign(first, [nodes[0].pk, nodes[1].pk])
    assert Reservation.objects.in_use().count() == 2
    with pytest.raises(QuotaExceeded, match="0 of 4 cores of ben left; this needs 2"):
        ledger.assign(make_job(cluster, submitted_by=ben, team=team), [nodes[2].pk])
    ledger.assign(make_job(cluster, team=team), [nodes[2].pk], borrowed=True)
    assert Reservation.objects.get(node=nodes[2]).borrowed
    with pytest.raises(QuotaExceeded, match="0 of 6 Dv2 cores of vision left"):
        ledger.assign(make_job(cluster, team=team), [nodes[3].pk])
    ledger.unassign(job=first)
    room = bounds.headroom(workspace, DV2, Priority.DEDICATED, person=ben, team=team)
    assert [bound.left for bound in room.bounds] == [4, 4]


def test_drift_is_found_shown_and_repaired_only_when_asked(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = make_cluster(workspace)
    nodes = hold(cluster, 3)
    Account.objects.filter(workspace=None, family=DV2).update(cores=99)
    Reservation.objects.filter(node=nodes[0]).update(cores=7)
    Reservation.objects.filter(node=nodes[1]).delete()
    with pytest.raises(SystemExit) as ended:
        call_command("ledger")
    said = capsys.readouterr().out
    assert ended.value.code == 1
    assert f"Node {nodes[1]} of cpu-cluster has no reservation" in said
    assert "says 99 cores; 9 are held" in said
    assert len(ledger.check()) == 6  # nothing was repaired
    call_command("ledger", "--rebuild")
    assert ledger.check() == []
    assert total(workspace, "*") == 6
    assert Activity.objects.get(verb="ledger.rebuild").detail["n"] == 6
    call_command("ledger")


def test_two_reservations_of_one_node_are_impossible(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    nodes = hold(cluster)
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.reserve(cluster, nodes)
    assert ledger.check() == []
