"""Steps of runs: short, safe to run twice, lost without harm."""

import logging
from datetime import timedelta

from celery import shared_task
from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from compute.models import Job
from compute.states import JobState
from compute.tasks import advance, elsewhere
from runs import actions
from runs.models import Attempt, Run
from runs.states import RunStatus

logger = logging.getLogger(__name__)
STUCK_AFTER = timedelta(seconds=10)


@shared_task(name="runs.tasks.advance_run")
def advance_run(run_id: int) -> None:
    """Make ready what a run needs and hand its job over."""
    run = Run.objects.select_related("workspace", "experiment", "snapshot", "target").get(pk=run_id)
    if run.target is not None and elsewhere(advance_run, run.target, run_id):
        return
    job = actions.make_ready(run)
    if job is not None:
        advance(job)
        if job.state == JobState.PREPARING:  # of whatever else it is by now it has told
            actions.record(run, job)


@shared_task(name="runs.tasks.record_job")
def record_job(job_id: int) -> None:
    """Move the run of a job to where its job is."""
    attempt = (
        Attempt.objects.select_related(
            "run__workspace", "run__experiment", "job__target__workspace", "job__environment"
        )
        .filter(job_id=job_id)
        .first()
    )
    if attempt is not None:
        actions.record(attempt.run, attempt.job)


@shared_task(name="runs.tasks.reconcile")
def reconcile() -> None:
    """Bring runs back to where their jobs are, and push on those that a crash left at the start."""
    last = Attempt.objects.filter(run=OuterRef("pk")).order_by("-number")
    active = Run.objects.active().annotate(
        job_state=Subquery(last.values("job__state")[:1]), job_pk=Subquery(last.values("job_id")[:1])
    )
    settled = {
        JobState.WAITING: [RunStatus.QUEUED],
        JobState.QUEUED: [RunStatus.QUEUED, RunStatus.CANCEL_REQUESTED],
        JobState.RUNNING: [RunStatus.RUNNING, RunStatus.CANCEL_REQUESTED],
        JobState.ENDING: [RunStatus.RUNNING, RunStatus.CANCEL_REQUESTED],
    }
    behind = Q(job_state=JobState.ENDED)
    for state, statuses in settled.items():
        behind |= Q(job_state=state) & ~Q(status__in=statuses)
    for job_pk in active.filter(behind).values_list("job_pk", flat=True):
        record_job(job_pk)
    late = timezone.now() - STUCK_AFTER
    for run in active.filter(job_state=JobState.PREPARING, created_at__lt=late, status_changed_at__lt=late):
        advance_run(run.pk)
    waits = Q(state__in=[JobState.WAITING, JobState.QUEUED], run_attempt__run__status=RunStatus.QUEUED)
    for job in Job.objects.filter(waits).exclude(wait_reason=F("run_attempt__run__reason")):
        record_job(job.pk)
