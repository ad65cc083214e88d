"""The table of a run's moves."""

import threading

import pytest
from django.db import connection

from runs.models import Experiment, Run
from runs.states import FINAL, MOVES, RunStatus
from studio.errors import NotAllowedNow
from studio.people.models import Workspace


def test_every_status_can_end() -> None:
    for status in RunStatus:
        reached, frontier = {status}, {status}
        while frontier:
            frontier = {to for at in frontier for to in MOVES[at]} - reached
            reached |= frontier
        assert reached & FINAL, status


def test_every_status_can_be_reached_from_the_first() -> None:
    reached = {RunStatus.NOT_STARTED}
    for _ in RunStatus:
        reached |= {to for at in reached for to in MOVES[at]}
    assert reached == set(RunStatus)


def test_the_ends_are_the_providers() -> None:
    assert {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED} == FINAL
    assert RunStatus.CANCELED.value == "Canceled"


@pytest.fixture
def run(workspace: Workspace) -> Run:
    experiment = Experiment.objects.create(workspace=workspace, name="digits")
    return Run.objects.create(
        workspace=workspace, experiment=experiment, number=1, run_id="digits_1_a", display_name="x", target_name="local"
    )


def test_a_move_is_noted_with_its_reason(run: Run) -> None:
    run.move(RunStatus.STARTING)
    run.move(RunStatus.QUEUED, reason="waits for a node")
    assert [(e.old, e.new, e.reason) for e in run.events.all()] == [
        ("NotStarted", "Starting", ""),
        ("Starting", "Queued", "waits for a node"),
    ]


def test_a_forbidden_move_changes_nothing(run: Run) -> None:
    run.move(RunStatus.STARTING)
    run.move(RunStatus.FAILED, reason="no")
    with pytest.raises(NotAllowedNow):
        run.move(RunStatus.RUNNING)
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert run.ended_at is not None


@pytest.mark.django_db(transaction=True)
def test_of_many_who_move_a_run_one_wins(run: Run) -> None:
    run.move(RunStatus.STARTING)
    won: list[int] = []
    lost: list[int] = []

    def move() -> None:
        mine = Run.objects.get(pk=run.pk)
        start.wait()
        try:
            mine.move(RunStatus.RUNNING)
            won.append(1)
        except NotAllowedNow:
            lost.append(1)
        finally:
            connection.close()

    start = threading.Barrier(8)
    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert run.events.filter(new=RunStatus.RUNNING).count() == 1
