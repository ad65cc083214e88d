"""Runs that a service has taken and has no place for yet: they wait, and say for what."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from compute import jobs, tasks
from compute.drivers.base import JobReport, Phase
from compute.drivers.datalake import DataLakeDriver
from compute.models import ComputeTarget, Job
from compute.states import FOLLOWED, JOB_MOVES, EndReason, JobState, ProvisioningState
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


def test_one_that_ended_between_two_looks_has_ended(run: Run, service: Service) -> None:
    assert hear(run, service, ENDED, exit_code=0).status == RunStatus.COMPLETED


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
    assert job_of(run).handle == {"job": "1"}


def test_a_restored_studio_counts_it_as_lost(run: Run, service: Service) -> None:
    assert settle("2026-11-25T00:00:00+00:00") == 1
    assert job_of(run).end_reason == EndReason.LOST


def test_every_state_of_a_job_that_is_followed_can_end() -> None:
    assert all(JobState.ENDED in JOB_MOVES[state] for state in FOLLOWED)
