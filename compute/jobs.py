"""The life of a job: it is enqueued, started, followed and ended here, and nowhere else.

Every step may be repeated and may be lost: rows say how far a job is, and `compute.tasks.reconcile` takes
up what a crash left half done. Whoever submitted the job is told by name, never imported.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from compute import disk, environments, launch, logs
from compute.drivers.base import Attaches, Executes, JobReport, Phase, Queues
from compute.models import EnvironmentState, Job
from compute.quotas import budgets, ledger
from compute.states import FOLLOWED, EndReason, JobState, NodeState
from compute.usage import record
from studio.errors import StudioError
from studio.work import queue

logger = logging.getLogger(__name__)
SUBMITTED_AT = "submitted_at"  # in the handle of a job that may wait at its service
OVERDUE_AFTER = timedelta(seconds=30)  # beyond its maximum duration, which most who run it hold by themselves


def enqueue(job: Job) -> None:
    """Let a job whose files lie ready go on: wait for its environment, for nodes, or start at once.

    Called again when its environment has been built. That it waits for nodes is for the caller to tell: as a rule it
    has them at once.
    """
    if job.state != JobState.PREPARING:
        return
    if job.environment:
        environment = environments.check(job.environment)
        if environment.state == EnvironmentState.BUILDING:
            return  # its end calls again
        if environment.state != EnvironmentState.READY:
            end_unstarted(job, EndReason.ENVIRONMENT, environment.reason)
            return
    queues = isinstance(job.target.driver, Queues)
    held = "" if queues else why_held(job)
    if queues or held:
        with transaction.atomic():
            if job.move(JobState.WAITING, wait_reason=held) and held:
                tell(job)
        return
    _start_without_queue(job)


def start_when_room(job: Job) -> None:
    """Start a job that waits for nothing but room on the disk, or for a person, once there is no need to."""
    held = why_held(job)
    if not held:
        _start_without_queue(job)
    elif held != job.wait_reason and Job.objects.filter(pk=job.pk, state=job.state).update(wait_reason=held):
        tell(job)


def why_held(job: Job) -> str:
    """Return in one sentence why a job that needs no node may not start now; empty: it may."""
    driver = job.target.driver
    not_now = driver.why_not_now() if isinstance(driver, Attaches) else ""
    return job.target.why_held or disk.why_full() or not_now or budgets.held([job]).get(job.pk, "")


def _start_without_queue(job: Job) -> None:
    with transaction.atomic():
        won = job.move(JobState.STARTING, wait_reason="")
    if won:
        start(job)


def start(job: Job) -> None:
    """Start the processes of a job that has its place. A job that cannot be started ends and says why."""
    driver = job.target.able(Executes)
    try:
        handle = driver.submit(job)
    except StudioError as exc:
        end_unstarted(job, EndReason.NOT_STARTED, f"{exc.message} {exc.hint}".strip())
        return
    except OSError as exc:
        logger.exception("Job %s could not be started.", job)
        end_unstarted(job, EndReason.NOT_STARTED, _("The machine refused: %(error)s") % {"error": exc})
        return
    with transaction.atomic():
        if isinstance(driver, Attaches) and driver.queues(job):
            waits = _("Waits for %(name)s to find a place for it.") % {"name": job.target.name}
            handle = handle | {SUBMITTED_AT: timezone.now().isoformat()}
            won = job.move(JobState.QUEUED, handle=handle, wait_reason=waits)
        else:
            won = job.move(JobState.RUNNING, handle=handle, started_at=timezone.now())
            if won:
                record.began(job)
        if won:
            tell(job)
        else:  # it was canceled meanwhile
            Job.objects.filter(pk=job.pk).update(handle=handle)
    job.refresh_from_db()
    if job.state not in {JobState.QUEUED, JobState.RUNNING}:
        driver.cancel(handle, EndReason(job.end_reason or EndReason.CANCELED))


def follow(job: Job) -> None:
    """Ask the target how a job is, keep what it printed, and end it when it has ended."""
    if job.state not in FOLLOWED or not job.handle:
        return
    driver = job.target.able(Executes)
    key = launch.log_key(job)
    at, ask_at = logs.size(key), timezone.now()
    for report in driver.follow(job.handle, after=at):
        if report.output:
            logs.append(key, at, report.output)  # others may bring the same bytes
            at += len(report.output)
        if report.facts and report.facts != job.facts:
            job.facts = report.facts
            Job.objects.filter(pk=job.pk).update(facts=job.facts)
            tell(job)
        if report.phase == Phase.ENDED:
            _end(job, report)
            return
        _take_in(job, report)
        ask_at = timezone.now() + timedelta(seconds=report.ask_again_in)
        if report.exit_code:  # one rank has failed: the others have nobody left to talk to
            driver.cancel(job.handle, EndReason.EXITED)
    if isinstance(driver, Attaches):
        Job.objects.filter(pk=job.pk).update(ask_at=ask_at)
        if _is_overdue(job):
            end(job, EndReason.DURATION)
    if job.state == JobState.ENDING:
        driver.cancel(job.handle, EndReason(job.end_reason or EndReason.CANCELED))


def _take_in(job: Job, report: JobReport) -> None:
    """Move a job to where a service says it is: it waits there, for what it says, or has a place and runs."""
    with transaction.atomic():
        if report.phase == Phase.QUEUED and job.state == JobState.QUEUED:
            here = Job.objects.filter(pk=job.pk, state=JobState.QUEUED).exclude(wait_reason=report.waits[:500])
            moved = bool(here.update(wait_reason=report.waits[:500]))
        elif report.phase == Phase.QUEUED and job.state == JobState.RUNNING:
            moved = job.move(JobState.QUEUED, wait_reason=report.waits[:500])
        elif report.phase == Phase.RUNNING and job.state == JobState.QUEUED:
            began = job.started_at or _began(job, report) or timezone.now()
            moved = job.move(JobState.RUNNING, wait_reason="", started_at=began)
            if moved:
                record.began(job)
        else:
            return
        if moved:
            tell(job)
    job.refresh_from_db(fields=["state", "wait_reason", "started_at", "end_reason"])


def _began(job: Job, report: JobReport) -> datetime | None:
    """Return when a job began that nobody saw run: as its service says, else when that got it; None: it never did.

    No later than now and no earlier than that, whatever the service's clock says.
    """
    submitted_at = datetime.fromisoformat(job.handle.get(SUBMITTED_AT) or job.enqueued_at.isoformat())
    if report.started_at:
        return min(max(report.started_at, submitted_at), timezone.now())
    has_run = report.exit_code is not None or report.reason == EndReason.DURATION
    return submitted_at if report.phase == Phase.ENDED and has_run else None


def _ended_at(began: datetime | None, report: JobReport) -> datetime:
    """Return when a job ended: after as long as its service says that it ran, else now."""
    now = timezone.now()
    if began is None or report.started_at is None or report.ended_at is None:
        return now
    return min(now, began + max(timedelta(), report.ended_at - report.started_at))


def _is_overdue(job: Job) -> bool:
    """Say whether a job went on beyond its maximum duration, for a service that holds none."""
    if job.state != JobState.RUNNING or not job.max_seconds or not job.started_at:
        return False
    return timezone.now() - job.started_at > timedelta(seconds=job.max_seconds) + OVERDUE_AFTER


def end(job: Job, because: EndReason, detail: str = "") -> None:
    """Begin to end a job, wherever it is in its life; one that has ended is fine."""
    while job.state != JobState.ENDED:
        if job.state in {JobState.PREPARING, JobState.WAITING}:
            if end_unstarted(job, because, detail):
                return
        elif job.state in {JobState.STARTING, JobState.QUEUED, JobState.RUNNING}:
            with transaction.atomic():
                won = job.move(JobState.ENDING, end_reason=because, end_detail=detail)
            if won:
                job.refresh_from_db()
                if job.handle:
                    job.target.able(Executes).cancel(job.handle, because)
                return
        else:
            return
        job.refresh_from_db()


def end_unstarted(job: Job, because: EndReason, detail: str = "") -> bool:
    """End a job that has no process; say whether this call was the one that ended it."""
    with transaction.atomic():
        won = job.move(JobState.ENDED, end_reason=because, end_detail=detail[:2000], ended_at=timezone.now())
        if won:
            _free_nodes(job)
            tell(job)
    return won


def give_up(job: Job, detail: str) -> None:
    """End a job whose machine does not answer: what became of its processes is not known."""
    if job.state in {JobState.PREPARING, JobState.WAITING}:
        end_unstarted(job, EndReason.LOST, detail)
    else:
        _end(job, JobReport(Phase.ENDED, reason=EndReason.LOST, detail=detail))


def _end(job: Job, report: JobReport) -> None:
    """Store how a job ended, give its nodes back, and tell whoever submitted it."""
    asked = job.end_reason if job.state == JobState.ENDING else ""
    began = job.started_at or (_began(job, report) if job.handle else None)
    facts: dict[str, Any] = {
        "started_at": began,
        "end_reason": asked or report.reason,
        "end_detail": (job.end_detail if asked else "") or report.detail[:2000],
        "exit_code": report.exit_code,
        "receipt": report.receipt,
        "ended_at": _ended_at(began, report),
    }
    with transaction.atomic():
        if job.move(JobState.ENDED, **facts):
            record.ended(job)
            _free_nodes(job)
            tell(job)
            logger.info("Job %s ended: %s, exit code %s.", job, facts["end_reason"], report.exit_code)


def _free_nodes(job: Job) -> None:
    """Give a job's nodes back, idle again unless they are on their way out, and let the scheduler look."""
    now = timezone.now()
    job.nodes.filter(state=NodeState.RUNNING).update(state=NodeState.IDLE, state_changed_at=now)
    job.nodes.update(job=None)
    ledger.unassign(job=job)
    job.target.moved()
    queue("compute.tasks.schedule")


def tell(job: Job) -> None:
    """Let whoever submitted the job know that it moved, once that is committed."""
    queue("runs.tasks.record_job", job.pk)
