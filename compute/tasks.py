"""Steps of jobs, clusters and environments: short, safe to run twice, lost without harm."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from compute import actions, environments, gone, jobs, processes, scheduling
from compute.drivers import kinds_with
from compute.drivers.base import Attaches, Queues, Streams
from compute.engines import embedded
from compute.models import ComputeTarget, Environment, EnvironmentState, Job
from compute.states import FOLLOWED, EndReason, JobState
from compute.watch import watcher
from studio.errors import CredentialsRejected, HostKeyChanged, TargetUnreachable
from studio.people.models import Workspace

logger = logging.getLogger(__name__)
STUCK_AFTER = timedelta(seconds=10)  # a step that takes longer was cut off


def elsewhere(task: Any, target: ComputeTarget, *args: Any) -> bool:
    """Say whether a target's processes are another machine's, and if so hand the task over to a worker there."""
    if target.host_id is None:
        embedded.adopt([target])
        target.refresh_from_db(fields=["host"])
    if target.host_id is not None and embedded.is_here(target.host_id):
        return False
    if target.host is None:  # too large for this machine: the right one will take it up
        return True
    _hand_over(task, target.host.name, *args)
    return True


def _hand_over(task: Any, host: str, *args: Any, **options: Any) -> None:
    task.apply_async(args, queue=f"host.{host}", **options)


@shared_task(name="compute.tasks.schedule")
def schedule() -> None:
    """Have every machine look whether jobs or clusters need nodes."""
    schedule_here()
    for name in embedded.others():
        _hand_over(schedule_here, name, expires=60)


@shared_task(name="compute.tasks.schedule_here")
def schedule_here() -> None:
    """Give this machine's nodes to jobs, and its clusters the nodes they need."""
    for job in scheduling.schedule():
        watch_job(job)


@shared_task(name="compute.tasks.follow_job")
def follow_job(job_id: int) -> None:
    """Ask how a job is."""
    job = Job.objects.select_related("target__workspace").get(pk=job_id)
    if elsewhere(follow_job, job.target, job_id):
        return
    follow(job)


def follow(job: Job) -> None:
    """Ask how a job is, and have its end told. A machine that does not answer is asked again later."""
    try:
        jobs.follow(job)
        watch_job(job)
    except (TargetUnreachable, CredentialsRejected, HostKeyChanged) as exc:
        logger.info("Job %s cannot be followed: %s", job, exc.message)


@shared_task(name="compute.tasks.end_job")
def end_job(job_id: int, because: str, detail: str = "") -> None:
    """Begin to end a job."""
    job = Job.objects.select_related("target__workspace").get(pk=job_id)
    if elsewhere(end_job, job.target, job_id, because, detail):
        return
    jobs.end(job, EndReason(because), detail)
    watch_job(job)


@shared_task(name="compute.tasks.environment_ended")
def environment_ended(environment_id: int) -> None:
    """Look how a build went, and let the jobs that waited for it go on."""
    environment = Environment.objects.get(pk=environment_id)
    if (host := environment.definition.get("host", settings.HOST_NAME)) != settings.HOST_NAME:
        _hand_over(environment_ended, host, environment_id)
        return
    environment = environments.check(environment)
    if environment.state == EnvironmentState.BUILDING:
        watch_environment(environment)
        return
    for job in Job.objects.filter(environment=environment, state=JobState.PREPARING).select_related(
        "target__workspace"
    ):
        advance(job)


def advance(job: Job) -> None:
    """Let a job whose files lie ready go on, as far as it can now."""
    jobs.enqueue(job)
    if job.state == JobState.WAITING:
        schedule_here()
        job.refresh_from_db()
        if job.state == JobState.WAITING:
            jobs.tell(job)
        return
    watch_job(job)
    if job.state == JobState.PREPARING and job.environment:
        watch_environment(job.environment)
        schedule_here()  # its cluster may grow while its environment is built


def watch_job(job: Job) -> None:
    """Follow a job again when one of its processes ends, or now, when one ended before it could be watched."""
    if job.state not in FOLLOWED:
        return
    driver = job.target.driver
    if isinstance(driver, Streams):
        driver.listen(job, partial(follow_job.delay, job.pk))
    elif not isinstance(driver, Attaches):
        watched = [watcher.watch(rank, partial(follow_job.delay, job.pk)) for rank in job.handle.get("ranks", [])]
        if not all(watched):
            jobs.follow(job)


def watch_environment(environment: Environment) -> None:
    """Look at a build again when its process ends, or soon, when it ended before it could be watched."""
    if environment.state == EnvironmentState.BUILDING and environment.handle:
        look = partial(environment_ended.delay, environment.pk)
        if not watcher.watch(environment.handle, look):
            environment_ended.apply_async((environment.pk,), countdown=0.5)


@shared_task(name="compute.tasks.reconcile")
def reconcile() -> None:
    """Have every machine take up whatever a crash, a restart or a lost message left half done."""
    for workspace in Workspace.objects.exclude(targets__name=actions.LOCAL, targets__deleted_at=None):
        actions.ensure_local(workspace)
    look_after()
    for name in embedded.others():
        _hand_over(look_after, name, expires=5)
    gone.look_after_what_waits()


@shared_task(name="compute.tasks.look_after")
def look_after() -> None:
    """Look after the jobs, builds and clusters of this machine; those of others are not seen from here."""
    host = embedded.this_host()
    embedded.note_presence(host)
    for environment in environments.of_this_machine().filter(state=EnvironmentState.BUILDING):
        environment_ended(environment.pk)
    late = timezone.now() - STUCK_AFTER
    active = Job.objects.active().filter(target__host=host).select_related("target__workspace", "environment")
    for job in active.filter(state=JobState.STARTING, handle={}, enqueued_at__lt=late):
        jobs.start(job)  # starts no process that runs already
        watch_job(job)
    for job in active.filter(Q(ask_at=None) | Q(ask_at__lte=timezone.now()), state__in=FOLLOWED):
        follow(job)
    for job in active.filter(
        state=JobState.PREPARING, environment__state__in=[EnvironmentState.READY, EnvironmentState.FAILED]
    ):
        advance(job)
    for job in active.filter(state=JobState.WAITING).exclude(target__kind__in=kinds_with(Queues)):
        jobs.start_when_room(job)
        watch_job(job)
    scheduling.settle()
    schedule_here()


@shared_task(name="compute.tasks.refresh_targets")
def refresh_targets() -> None:
    """Ask every target how it is."""
    for target in ComputeTarget.objects.existing().select_related("workspace"):
        actions.refresh_target(target)


@shared_task(name="compute.tasks.evict_environments")
def evict_environments() -> None:
    """Have every machine remove the environments that nothing has used for long."""
    evict_here()
    for name in embedded.others():
        _hand_over(evict_here, name, expires=600)


@shared_task(name="compute.tasks.evict_here")
def evict_here() -> None:
    """Remove this machine's environments that nothing has used for long."""
    environments.evict_unused()


@worker_ready.connect
def find_again(**_: Any) -> None:
    """A worker that starts takes up at once what runs on this machine, not at the next reconcile."""
    _hand_over(look_after, settings.HOST_NAME)
    gone.end_what_was_let_go()


@worker_ready.connect
def make_ready(**_: Any) -> None:
    """A worker has a shepherd ready before the first run comes."""
    processes.keep_spare()
