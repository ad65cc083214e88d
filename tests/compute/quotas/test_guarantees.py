"""Above what is guaranteed, runs borrow; who is guaranteed takes back what they need, and the reason is named."""

from typing import Any

import pytest

from compute import scheduling
from compute.engines import embedded
from compute.models import ComputeTarget, Job, Node
from compute.quotas import guarantees, ledger
from compute.quotas.models import Reservation
from compute.states import EndReason, JobState, NodeState
from studio.people.models import Membership, Team, User, Workspace
from tests.compute.clusters import make_cluster, make_job
from tests.compute.quotas.accounts import limit

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    host = embedded.this_host()
    type(host).objects.filter(pk=host.pk).update(cpus=16, memory_bytes=1 << 40)
    monkeypatch.setattr("compute.jobs.start", lambda job: job.move(JobState.RUNNING))


@pytest.fixture
def vision(workspace: Workspace, ana: User) -> Team:
    team = Team.objects.create(workspace=workspace, name="vision")
    Membership.objects.filter(workspace=workspace, user=ana).update(team=team)
    return team


def small(workspace: Workspace, name: str, **columns: object) -> ComputeTarget:
    return make_cluster(workspace, name, vm_size="Standard_D1_v2", host=embedded.this_host(), **columns)


def wait(target: ComputeTarget, by: User, team: Team | None = None, nodes: int = 1) -> Job:
    job = make_job(target, JobState.WAITING, submitted_by=by, team=team, node_count=nodes)
    scheduling.schedule()
    job.refresh_from_db()
    return job


def borrowing() -> set[int]:
    return set(Reservation.objects.in_use().filter(borrowed=True).values_list("job", flat=True))


def end(job: Job) -> None:
    """Let a job be over, and the nodes that were taken from it go."""
    from compute.jobs import _free_nodes

    job.refresh_from_db()
    job.move(JobState.ENDED)
    _free_nodes(job)
    scheduling.schedule()


def test_where_nobody_is_guaranteed_anything_nobody_borrows(workspace: Workspace, ben: User) -> None:
    job = wait(small(workspace, "shared"), ben)
    assert job.state == JobState.RUNNING
    assert borrowing() == set()
    assert not guarantees.can_be_stopped(job)


def test_who_is_guaranteed_takes_back_what_the_latest_borrowed(
    workspace: Workspace,
    ana: User,
    ben: User,
    vision: Team,
    queued: list[tuple[str, tuple[object, ...]]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    limit(None, workspace=workspace, team=vision, guaranteed=2)
    cluster = small(workspace, "shared", max_nodes=3)
    first, second, third = (wait(cluster, ben) for _n in range(3))
    assert borrowing() == {first.pk, second.pk, third.pk}
    assert all(map(guarantees.can_be_stopped, (first, second, third)))
    queued.clear()
    with django_capture_on_commit_callbacks(execute=True):
        hers = wait(cluster, ana, vision, nodes=2)
    assert hers.state == JobState.WAITING
    told = {args[0]: args[1:] for name, args in queued if name == "compute.tasks.end_job"}
    why = f"It ran on borrowed cores: vision is guaranteed them, and needs them for {hers.run_name}."
    assert told == {second.pk: (EndReason.PREEMPTED, why), third.pk: (EndReason.PREEMPTED, why)}
    assert set(Node.objects.filter(state=NodeState.PREEMPTED).values_list("reason", flat=True)) == {why}
    end(second)
    end(third)
    hers.refresh_from_db()
    assert hers.state == JobState.RUNNING
    assert not guarantees.can_be_stopped(hers)
    assert borrowing() == {first.pk}
    more = wait(cluster, ana, vision)
    assert more.state == JobState.WAITING, "above her guarantee she waits as everybody does"
    assert not Node.objects.filter(state=NodeState.PREEMPTED).exists()
    assert ledger.check() == []


def test_a_guarantee_is_given_back_to_who_runs_when_others_end(
    workspace: Workspace, ana: User, ben: User, vision: Team
) -> None:
    limit(None, workspace=workspace, person=ben, guaranteed=1)
    cluster = small(workspace, "shared", max_nodes=3)
    first, second = wait(cluster, ben), wait(cluster, ben)
    assert borrowing() == {second.pk}
    end(first)
    assert borrowing() == set(), "what he borrowed is within his guarantee now"
    hers = wait(cluster, ana, vision)
    assert borrowing() == {hers.pk}


def test_other_families_and_workspaces_and_dedicated_work_are_left_alone(
    workspace: Workspace, ana: User, ben: User, vision: Team
) -> None:
    limit(None, "standarddv2family", workspace=workspace, team=vision, guaranteed=4)
    host = embedded.this_host()
    type(host).objects.filter(pk=host.pk).update(cpus=1)  # with the overcommit: four cores
    other = make_cluster(workspace, "f-cluster", vm_size="Standard_F4s_v2", host=host, max_nodes=1)
    theirs = wait(other, ben)
    assert theirs.state == JobState.RUNNING
    assert borrowing() == set(), "nobody is guaranteed anything of that family"
    hers = wait(small(workspace, "d-cluster"), ana, vision)
    assert hers.state == JobState.WAITING
    assert not Node.objects.filter(state=NodeState.PREEMPTED).exists()
