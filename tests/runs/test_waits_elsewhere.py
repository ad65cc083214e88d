"""Runs that a service has taken and has no place for yet: they wait, and say for what."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from compute import jobs, tasks
from compute.drivers.base import JobReport, Phase
from compute.drivers.datalake import DataLakeDriver
from compute.models import ComputeTarget, Job
from compute.states import FOLLOWED, JOB_MOVES, EndReason, JobState, ProvisioningState
from compute.usage.models import JobUsage
from runs import tasks as run_tasks
from runs.actions import cancel_run
from runs.models import Run
from runs.states import RunStatus
from runs.timeline import spans
from studio.backup import settle
from studio.errors import TargetUnreachable
from studio.people.models import User, Workspace
from tests.elsewhere import again, job_of, submitted

QUEUED, RUNNING, ENDED = Phase.QUEUED, Phase.RUNNING, Phase.ENDED


@dataclass
class Service:
    """What the service says when it is asked next, and what it was told to cancel."""

    says: JobReport | None = None
    canceled: list[EndReason] = field(default_factory=list)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()

    def follow(_self: Any, handle: Any, after: int) -> Iterator[JobReport]:
        if service.says is None:
            raise TargetUnreachable("It does not answer.")
        yield service.says

    def cancel(_self: Any, _handle: Any, because: EndReason) -> None:
        service.canceled.append(because)

    monkeypatch.setattr(DataLakeDriver, "submit", lambda _self, _job: {"job": "1"})
    monkeypatch.setattr(DataLakeDriver, "follow", follow)
    monkeypatch.setattr(DataLakeDriver, "cancel", cancel)
    return service


@pytest.fixture
def run(service: Service, workspace: Workspace, ana: User) -> Run:
    config = {"subscription_id": "", "resource_group": "vision", "account_name": "lake", "resource_id": ""}
    well = ProvisioningState.SUCCEEDED
    target = ComputeTarget.objects.create(
        workspace=workspace, name="lake", kind="DataLakeAnalytics", provisioning_state=well, config=config
    )
    return submitted(target, ana, {"words.usql": "x"}, max_seconds=3600)


def hear(run: Run, service: Service, phase: Phase, **said: Any) -> Run:
    service.says = JobReport(phase, **said)
    tasks.follow_job(job_of(run).pk)
    return again(run)


def test_it_is_queued_with_its_reason_until_its_process_runs(run: Run, service: Service) -> None:
    assert (run.status, run.reason) == (RunStatus.QUEUED, "Waits for lake to find a place for it.")
    assert job_of(run).started_at is None
    for waits in ("Waits for a node.", "Waits for two nodes."):
        run = hear(run, service, QUEUED, waits=waits)
        assert (run.status, run.reason) == (RunStatus.QUEUED, waits)
    run = hear(run, service, RUNNING)
    assert (run.status, run.reason) == (RunStatus.RUNNING, "")
    began = run.started_at
    assert began is not None
    run = hear(run, service, QUEUED, waits="Its node was taken away.")  # and it may run again
    assert run.status == RunStatus.QUEUED
    run = hear(run, service, RUNNING)
    assert (run.status, run.started_at) == (RunStatus.RUNNING, began)
    run = hear(run, service, ENDED, exit_code=0)
    assert run.status == RunStatus.COMPLETED
    phases = [span.status for span in spans(run.events.all(), created_at=run.created_at, now=timezone.now())]
    assert phases[-4:] == [RunStatus.QUEUED, RunStatus.RUNNING] * 2


@pytest.fixture
def time_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the studio's clock."""
    return lambda moment: monkeypatch.setattr(timezone, "now", lambda: moment)


def later(run: Run, seconds: float) -> Any:
    """Return a moment as its service's clock shows it, so long after it got the job."""
    return datetime.fromisoformat(job_of(run).handle["submitted_at"]) + timedelta(seconds=seconds)


def test_one_that_ended_between_two_looks_ran_for_as_long_as_its_service_says(
    run: Run, service: Service, time_is: Callable[[datetime], None]
) -> None:
    began, over = later(run, 10), later(run, 70)
    time_is(later(run, 100))
    run = hear(run, service, ENDED, exit_code=0, started_at=began, ended_at=over)
    job = job_of(run)
    assert (run.status, run.started_at) == (RunStatus.COMPLETED, began)
    assert (job.started_at, job.ended_at) == (began, over)
    phases = spans(run.events.all(), created_at=run.created_at, now=timezone.now())
    assert [span.status for span in phases][-2:] == [RunStatus.QUEUED, RunStatus.RUNNING]
    assert (round(phases[-2].seconds), round(phases[-1].seconds)) == (10, 60)
    row = JobUsage.objects.get(job=job)
    assert (row.started_at, row.ended_at, row.has_succeeded) == (began, over, True)


@pytest.mark.parametrize(
    ("report", "began"),
    [
        ({"exit_code": 1}, 0),  # it ran, and nobody knows when: since it was handed over
        ({"reason": EndReason.DURATION}, 0),
        ({"exit_code": 0, "started_at": -3600, "ended_at": -3000}, 0),  # a clock that is behind
        ({"exit_code": 0, "started_at": 10**6, "ended_at": 10**7}, 100),  # and one that is ahead
        ({"exit_code": 0, "started_at": 50, "ended_at": 10}, 50),
        ({"reason": EndReason.NOT_STARTED}, None),
        ({"reason": EndReason.CANCELED}, None),
    ],
)
def test_the_times_of_one_that_nobody_saw_run_are_possible_ones(
    run: Run, service: Service, time_is: Callable[[datetime], None], report: dict[str, Any], began: float | None
) -> None:
    told = {name: later(run, value) if name.endswith("_at") else value for name, value in report.items()}
    end = later(run, 100)
    expected = None if began is None else later(run, began)
    time_is(end)
    job = job_of(hear(run, service, ENDED, **told))
    assert job.started_at == expected
    assert job.ended_at is not None
    assert (job.started_at or end) <= job.ended_at <= end
    assert JobUsage.objects.filter(job=job).exists() == (began is not None)


def test_one_that_is_seen_running_began_when_its_service_says(
    run: Run, service: Service, time_is: Callable[[datetime], None]
) -> None:
    began = later(run, 3)
    time_is(later(run, 8))
    assert hear(run, service, RUNNING, started_at=began).started_at == began


def test_it_is_canceled_while_it_waits(run: Run, service: Service, ana: User) -> None:
    cancel_run(run, by=ana)
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "ana canceled it.")
    assert service.canceled == [EndReason.CANCELED]
    run = hear(run, service, QUEUED, waits="Waits for a node.")  # it has not heard of it yet
    assert run.status == RunStatus.CANCEL_REQUESTED
    assert len(service.canceled) == 2  # it is told again
    assert hear(run, service, ENDED, reason=EndReason.CANCELED).status == RunStatus.CANCELED


def test_it_may_wait_beyond_its_maximum_duration_and_not_run_beyond_it(run: Run, service: Service) -> None:
    Job.objects.update(enqueued_at=timezone.now() - timedelta(hours=2))
    assert hear(run, service, QUEUED, waits="Waits for a node.").status == RunStatus.QUEUED
    hear(run, service, RUNNING)
    Job.objects.update(started_at=timezone.now() - timedelta(hours=1, seconds=20))
    hear(run, service, RUNNING)
    assert service.canceled == []  # who runs it may still hold the limit by itself
    Job.objects.update(started_at=timezone.now() - timedelta(hours=1, seconds=40))
    hear(run, service, RUNNING)
    assert service.canceled[0] == EndReason.DURATION
    run = hear(run, service, ENDED, reason=EndReason.CANCELED)
    assert (run.status, run.reason) == (RunStatus.FAILED, "It reached its maximum duration of 3600 seconds.")


def test_a_restart_and_lost_messages_find_it_again(run: Run, service: Service) -> None:
    service.says = JobReport(QUEUED, waits="Waits for a node.")
    tasks.look_after()  # as a worker does that starts
    assert run.reason != "Waits for a node."
    run_tasks.reconcile()  # nobody was told
    run.refresh_from_db()
    assert (run.status, run.reason) == (RunStatus.QUEUED, "Waits for a node.")
    service.says = JobReport(RUNNING)
    Job.objects.update(ask_at=None)
    tasks.look_after()
    run_tasks.reconcile()
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING


def test_a_service_that_does_not_answer_leaves_it_waiting(run: Run, service: Service) -> None:
    tasks.follow_job(job_of(run).pk)
    assert again(run).status == RunStatus.QUEUED


def test_one_that_was_canceled_while_it_was_handed_over_is_canceled_there(
    run: Run, service: Service, ana: User
) -> None:
    Job.objects.update(state=JobState.STARTING, handle={})
    job = job_of(run)
    jobs.end(job_of(run), EndReason.CANCELED, "ana canceled it.")
    jobs.start(job)
    assert service.canceled == [EndReason.CANCELED]
    assert job_of(run).handle["job"] == "1"


def test_a_restored_studio_counts_it_as_lost(run: Run, service: Service) -> None:
    assert settle("2026-11-25T00:00:00+00:00") == 1
    assert job_of(run).end_reason == EndReason.LOST


def test_every_state_of_a_job_that_is_followed_can_end() -> None:
    assert all(JobState.ENDED in JOB_MOVES[state] for state in FOLLOWED)
