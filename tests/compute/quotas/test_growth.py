"""Clusters grow as far as the quota lets them, what waits says so, and nothing is taken for nodes nobody may have."""

import pytest

from compute import actions, scheduling
from compute.engines import embedded
from compute.models import ComputeTarget, Job, Node
from compute.quotas import ledger
from compute.quotas.models import Reservation
from compute.states import JobState, NodeState
from studio.errors import QuotaExceeded
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster, make_job
from tests.compute.quotas.accounts import limit

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def roomy_machine(settings: object) -> None:
    host = embedded.this_host()
    type(host).objects.filter(pk=host.pk).update(cpus=16, memory_bytes=1 << 40)


def small(workspace: Workspace, name: str, **columns: object) -> ComputeTarget:
    return make_cluster(workspace, name, vm_size="Standard_D1_v2", host=embedded.this_host(), **columns)


def reason(job: Job) -> str:
    job.refresh_from_db()
    return job.wait_reason


def test_a_minimum_grows_to_the_limit_and_on_when_it_is_raised(workspace: Workspace) -> None:
    cluster, most = small(workspace, "steady", min_nodes=3, max_nodes=4), limit(2, "standarddv2family")
    scheduling.schedule()
    assert cluster.nodes.count() == 2
    most.cores = 9
    most.save()
    scheduling.schedule()
    assert cluster.nodes.count() == 3
    assert ledger.check() == []


def test_a_run_waits_for_quota_in_words_and_idle_nodes_make_way(workspace: Workspace) -> None:
    limit(4, workspace=workspace)
    first, second = small(workspace, "first"), small(workspace, "second")
    busy, _made = make_job(first), scheduling.schedule()
    nodes = [first.nodes.create(**facts(first, NodeState.RUNNING, job=busy)) for _n in range(3)]
    ledger.reserve(first, nodes)
    wide = make_job(second, JobState.WAITING, node_count=2)
    low = small(workspace, "low", vm_priority="LowPriority", min_nodes=2)
    scheduling.schedule()
    assert reason(wide) == (
        "Waits for 2 nodes of second: 1 of 4 cores of vision-team left, and it needs 2; it is held by first."
    )
    assert low.nodes.count() == 2  # nothing was taken for it
    Node.objects.filter(pk=nodes[0].pk).update(state=NodeState.IDLE, job=None)
    scheduling._sweep()
    with_room = [job.pk for job in started(wide)]
    assert with_room == [wide.pk]
    assert ledger.check() == []
    never = make_job(second, JobState.WAITING, node_count=5)
    second.max_nodes = 5
    second.save()
    scheduling.schedule()
    assert reason(never) == (
        "It needs 5 cores of vision-team at once, and the limit is 4. Ask for more, or for fewer nodes."
    )


def facts(target: ComputeTarget, state: NodeState, **more: object) -> dict[str, object]:
    return {
        "host": target.host,
        "node_id": Node.new_id(),
        "state": state,
        "virtual_cpus": 1,
        "memory_bytes": 1 << 30,
        **more,
    }


def started(job: Job) -> list[Job]:
    """Let the scheduler settle without a process being started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compute.jobs.start", lambda job: None)
        return scheduling.schedule()


def test_a_person_above_their_limit_waits_and_others_pass(workspace: Workspace, ben: User, ana: User) -> None:
    limit(2, workspace=workspace, person=ben)
    cluster = small(workspace, "shared", min_nodes=4)
    scheduling.schedule()
    theirs = [make_job(cluster, JobState.WAITING, submitted_by=ben) for _n in range(3)]
    hers = make_job(cluster, JobState.WAITING, submitted_by=ana)
    assert {job.pk for job in started(hers)} == {theirs[0].pk, theirs[1].pk, hers.pk}
    assert reason(theirs[2]) == (
        "Waits for 1 node of shared: 0 of 2 cores of ben left, and it needs 1; the rest is in use."
    )
    assert Reservation.objects.in_use().filter(person=ben).count() == 2
    Reservation.objects.update(job=None, person=None)
    with pytest.raises(QuotaExceeded, match="2 of 2 cores of ben left; this needs 3"):
        actions.check_quota(cluster, 3, person=ben, team=None)


def test_a_minimum_above_the_quota_is_refused_and_a_maximum_is_not(workspace: Workspace, ana: User) -> None:
    limit(4, workspace=workspace)
    spec = {"vm_size": "Standard_D1_v2", "vm_priority": "Dedicated"}
    made = actions.create_cluster(workspace, by=ana, name="one", min_nodes=3, max_nodes=50, **spec)  # type: ignore[arg-type]
    with pytest.raises(QuotaExceeded, match="1 of 4 cores of vision-team left; this needs 2") as refused:
        actions.create_cluster(workspace, by=ana, name="two", min_nodes=2, max_nodes=2, **spec)  # type: ignore[arg-type]
    assert refused.value.hint.startswith("Lower minimum nodes to 1, choose low priority (no limit), or ask for more.")
    scheduling.schedule()
    with pytest.raises(QuotaExceeded, match="4 of 4 cores of vision-team left; this needs 5"):
        actions.resize_target(made, by=ana, min_nodes=5, max_nodes=9, idle_seconds=120)
    actions.resize_target(made, by=ana, min_nodes=4, max_nodes=9, idle_seconds=120)
    scheduling.schedule()
    assert made.nodes.count() == 4
