from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute import scheduling
from compute.actions import ensure_local
from compute.engines import embedded
from compute.models import ComputeTarget, Job
from compute.sizes import by_name
from compute.states import JobState, NodeState
from compute.usage import record
from runs import queueing
from runs.forecast import Basis, End, Lasts, Waiting, starts
from runs.models import Attempt, Run
from runs.queue_listing import Queue, QueueFilter
from runs.states import RunStatus
from studio.errors import NeedsRight, NotAllowedNow
from studio.people.actions import create_workspace
from studio.people.models import Activity, User, Workspace
from tests.compute.clusters import make_cluster, make_job, make_node
from tests.compute.quotas.accounts import limit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Wait = Callable[..., Run]


@pytest.fixture
def cluster(workspace: Workspace) -> ComputeTarget:
    return make_cluster(workspace, host=embedded.this_host(), max_nodes=1)


@pytest.fixture
def wait(workspace: Workspace, cluster: ComputeTarget, ana: User, make_run: Callable[..., Run]) -> Wait:
    """Let a run of somebody wait: wait("name", by=ana, at=minutes)."""

    def make(name: str, *, by: User = ana, at: timedelta = timedelta(), on: Any = None, **facts: Any) -> Run:
        target = on or cluster
        run = make_run(name, status=RunStatus.QUEUED, target=target, target_name=target.name, submitted_by=by)
        values = {"spec": {"experiment": "digits"}, "state": JobState.WAITING} | facts
        job = Job.objects.create(
            target=target, run_id=run.run_id, run_name=name, submitted_by=by, enqueued_at=NOW + at, **values
        )
        Attempt.objects.create(run=run, number=1, job=job)
        return run

    return make


def order(workspace: Workspace) -> list[str]:
    return list(Job.objects.filter(target__workspace=workspace).in_order().values_list("run_name", flat=True))


def test_own_runs_change_places_and_overtake_nobody(
    workspace: Workspace, ana: User, ben: User, rita: User, wait: Wait, queued: list[Any]
) -> None:
    minute = timedelta(minutes=1)
    first, theirs = wait("a1", at=0 * minute), wait("b1", by=ben, at=minute)
    second = wait("a2", at=2 * minute)
    wait("a3", at=3 * minute, priority=5)
    queueing.move(second, up=True, by=ana)
    assert order(workspace) == ["a3", "a2", "b1", "a1"]
    assert ("compute.tasks.schedule", ()) not in queued, "before the commit"
    for run, up, by in ((second, True, ana), (first, False, ana), (theirs, True, ben), (first, True, ben)):
        with pytest.raises(NotAllowedNow):
            queueing.move(run, up=up, by=by)
    with pytest.raises(NeedsRight):
        queueing.move(first, up=True, by=rita)
    Job.objects.filter(run_id=first.run_id).update(state=JobState.RUNNING)
    with pytest.raises(NotAllowedNow):
        queueing.move(first, up=True, by=ana)
    assert Activity.objects.get(verb="queue.move").detail == {"before": 2, "after": 1}


@given(
    places=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=2, max_size=7),
    moves=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=4),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_moved_nobody_else_has_more_before_them(
    places: list[tuple[bool, int]],
    moves: list[tuple[int, bool]],
    workspace: Workspace,
    ana: User,
    ben: User,
    wait: Wait,
) -> None:
    Attempt.objects.all().delete()
    Job.objects.all().delete()
    moment = timedelta(microseconds=1)
    runs = [wait(f"r{n}", by=ana if mine else ben, at=at * moment) for n, (mine, at) in enumerate(places)]
    mine = {f"r{n}" for n, (is_mine, _at) in enumerate(places) if is_mine}

    def before_others() -> dict[str, int]:
        names = order(workspace)
        return {name: len(mine & {*names[: names.index(name)]}) for name in names if name not in mine}

    for index, up in moves:
        then, own = before_others(), [name for name in order(workspace) if name in mine]
        run = runs[index % len(runs)]
        try:
            queueing.move(run, up=up, by=ana)
        except NotAllowedNow:
            continue
        now = before_others()
        assert all(now[name] <= then[name] for name in then)
        swapped = [name for name in order(workspace) if name in mine]
        assert swapped != own
        assert abs(swapped.index(run.display_name) - own.index(run.display_name)) == 1


def test_owners_set_priorities_that_a_restart_keeps(
    workspace: Workspace, ana: User, ben: User, wait: Wait, as_user: Callable[[User], Client]
) -> None:
    wait("early")
    late = wait("late", by=ben, at=timedelta(minutes=5))
    url = reverse("runs:queue_priority", args=[workspace.name])
    for wrong in ("1001", "-1001", "1.5", "nan", "<script>", "٣", "99999999"):
        assert as_user(ana).post(url, {"run": late.run_id, "number": wrong}).status_code == 409
    assert as_user(ben).post(url, {"run": late.run_id, "priority": "100"}).status_code == 403
    assert as_user(ana).post(url, {"run": [late.run_id, "none"], "priority": "100"}).status_code == 302
    assert order(workspace) == ["late", "early"]
    assert Activity.objects.get(verb="queue.priority").detail == {"before": 0, "after": 100}
    page = as_user(ben).get(reverse("runs:queue", args=[workspace.name])).content.decode()
    assert page.index("late") < page.index("early")
    assert "High" in page


def test_who_is_guaranteed_the_cores_stands_before_who_borrows(
    workspace: Workspace, ana: User, ben: User, wait: Wait
) -> None:
    wait("borrows")
    wait("here", on=ensure_local(workspace))
    wait("guaranteed", by=ben, at=timedelta(minutes=5))
    limit(None, workspace=workspace, person=ben, guaranteed=2)
    assert [job.run_name for job in Queue(workspace, ana).jobs] == ["guaranteed", "borrows", "here"]


def test_the_page_says_why_who_holds_it_and_when(
    workspace: Workspace, cluster: ComputeTarget, ana: User, wait: Wait, as_user: Callable[[User], Client]
) -> None:
    now = datetime.now(UTC)
    for minutes in (10, 10, 10):
        facts = {"started_at": NOW, "ended_at": NOW + timedelta(minutes=minutes)}
        done = wait("done", state=JobState.ENDED, end_reason="exited", exit_code=0, **facts)
        record.ended(done.attempts.get().job)
    holds = wait("holds", state=JobState.RUNNING, started_at=now - timedelta(minutes=4))
    held = holds.attempts.get().job
    make_node(cluster, NodeState.RUNNING, job=held)
    wait("next_<script>"), wait("then", at=timedelta(minutes=1)), wait("builds", state=JobState.PREPARING)
    scheduling.schedule()
    entries = {entry.run.display_name: entry for entry in Queue(workspace, ana).entries(QueueFilter())}
    first, then = entries["next_<script>"], entries["then"]
    assert "busy" in first.reason
    assert first.held_by == [holds]
    assert first.start.basis == {Basis.TYPICAL}
    assert first.start.at is not None
    assert then.start.at is not None
    assert abs(first.start.at - now - timedelta(minutes=6)) < timedelta(minutes=1)
    assert then.start.at - first.start.at == timedelta(minutes=10)
    assert entries["builds"].start.at is None
    page = as_user(ana).get(reverse("runs:queue", args=[workspace.name]) + "?target=cpu-cluster").content.decode()
    assert "next_<script>" not in page
    assert "next_&lt;script&gt;" in page
    assert reverse("runs:detail", args=[workspace.name, holds.run_id]) in page
    nobody = as_user(ana).get(reverse("runs:queue", args=[workspace.name]) + "?person=zoe").content.decode()
    assert "Nothing that fits waits." in nobody


def test_what_another_workspace_holds_is_not_named(
    workspace: Workspace, ana: User, ben: User, wait: Wait, as_user: Callable[[User], Client]
) -> None:
    host = embedded.this_host()
    secret = create_workspace("secret-team", ana)
    theirs = make_cluster(secret, "secret-cluster", host=host, max_nodes=100)
    job = make_job(theirs)
    Job.objects.filter(pk=job.pk).update(run_name="secret_run")
    for _n in range(embedded.how_many(host, by_name("Standard_D2_v2"))):
        make_node(theirs, NodeState.RUNNING, job=job)
    wait("waits")
    scheduling.schedule()
    page = as_user(ben).get(reverse("runs:queue", args=[workspace.name])).content.decode()
    assert "another workspace" in page
    assert "secret" not in page
    assert not [text for text in Job.objects.values_list("wait_reason", flat=True) if "secret" in text]


def test_withdrawing_asks_first_and_goes_back_to_the_queue(
    workspace: Workspace, ana: User, wait: Wait, as_user: Callable[[User], Client]
) -> None:
    run, client = wait("a1"), as_user(ana)
    url, sent = reverse("runs:cancel_many", args=[workspace.name]), {"run": run.run_id, "from": "queue"}
    asked = client.post(url, sent)
    assert 'name="from" value="queue"' in asked.content.decode()
    answer = client.post(url, sent | {"confirmed": "1"})
    assert answer["Location"] == reverse("runs:queue", args=[workspace.name])
    assert not Job.objects.active().exists()


def test_a_guess_is_honest_about_what_nobody_knows() -> None:
    hour = timedelta(hours=1)
    usual, most, unknown = Lasts(typical=hour), Lasts(limit=3 * hour), Lasts()
    assert usual.end(NOW - 2 * hour, NOW) == End(None)
    assert Lasts(hour, 3 * hour).end(NOW - 2 * hour, NOW) == End(NOW + hour, frozenset({Basis.LIMIT}))
    busy = [(End(NOW + hour, frozenset({Basis.TYPICAL})), 1), (End(None), 1)]
    queue = [Waiting(1, 1, most), Waiting(2, 1, usual), Waiting(3, 2, unknown)]
    found = starts(0, busy, queue, NOW)
    assert found[1] == End(NOW + hour, frozenset({Basis.TYPICAL}))
    assert found[2] == End(NOW + 4 * hour, frozenset({Basis.TYPICAL, Basis.LIMIT}))
    assert found[3] == End(None)
