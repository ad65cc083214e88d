"""Verbs over runs and experiments: submit, cancel, resubmit, record, archive."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute import environments, jobs, launch
from compute.actions import cannot_ever_run, check_quota
from compute.drivers.base import Attaches, Queues
from compute.models import ComputeTarget, Job
from compute.quotas import budgets
from compute.states import EndReason, JobState
from runs import announcing, snapshots
from runs.configuration import RunConfiguration
from runs.models import Attempt, Experiment, Run, Snapshot, valid_experiment_name
from runs.names import new_name
from runs.states import ACTIVE, MOVES, RunStatus
from studio.errors import CannotEverRun, NotAllowedNow
from studio.people.actions import note, team_of
from studio.people.models import User, Workspace
from studio.work import queue

logger = logging.getLogger(__name__)
MOST_TAGS, LONGEST_TAG_KEY, LONGEST_TAG_VALUE = 50, 100, 1000  # Source: LIM20, runs


def submit_run(
    workspace: Workspace,
    *,
    by: User,
    experiment: str,
    target: ComputeTarget,
    snapshot: Snapshot,
    config: RunConfiguration,
    tags: dict[str, str] | None = None,
    description: str = "",
    properties: dict[str, Any] | None = None,
    token: UUID | None = None,
) -> Run:
    """Submit a run; the same `token` again returns the run it submitted.

    Raises CannotEverRun when the target can never give what it asks for, or the snapshot lacks its script;
    QuotaExceeded when its nodes are more than a limit allows at once, or its budget is used up;
    NotAllowedNow for a name or a tag that is not valid.
    """
    if token and (made := Run.objects.filter(token=token, workspace=workspace).first()):
        return made
    if token and Run.objects.filter(token=token).exists():
        token = None  # of a form of another workspace
    if reason := cannot_ever_run(target, config.node_count):
        raise CannotEverRun(reason, _("Choose fewer nodes or another target."))
    team = team_of(workspace, by)
    check_quota(target, config.node_count, person=by, team=team)
    budgets.check(target, by, team)
    if config.script not in {entry["path"] for entry in snapshot.manifest}:
        raise CannotEverRun(
            _("The files have no script “%(script)s”.") % {"script": config.script},
            _("Choose one of the files that were uploaded."),
        )
    definition = _definition(target, config)
    check_tags(tags or {})
    now = timezone.now()
    try:
        with transaction.atomic():
            home = _experiment(workspace, experiment, by)
            run = Run.objects.create(
                workspace=workspace,
                experiment=home,
                number=home.last_number,
                run_id=Run.new_id(home.name, now),
                display_name=new_name(),
                description=description,
                target=target,
                target_name=target.name,
                snapshot=snapshot,
                config=config.to_json(),
                tags=tags or {},
                properties={"ContentSnapshotId": snapshot.digest, **(properties or {})},
                submitted_by=by,
                created_at=now,
                token=token,
            )
            run.move(RunStatus.STARTING)
            _attempt(run, target, config, definition, number=1)
            note(workspace, by, "run.submit", run, kind="run", name=run.display_name, detail={"target": target.name})
    except IntegrityError:
        made = Run.objects.filter(token=token, workspace=workspace).first() if token else None
        if made is None:
            raise
        return made
    return run


def resubmit_run(run: Run, *, by: User, token: UUID | None = None) -> Run:
    """Submit the same files and configuration again, as a new run of the same experiment."""
    if run.target is None or run.target.deleted_at or run.snapshot is None:
        raise NotAllowedNow(
            _("The target %(name)s is gone.") % {"name": run.target_name}, _("Use Edit and submit to choose another.")
        )
    return submit_run(
        run.workspace,
        by=by,
        experiment=run.experiment.name,
        target=run.target,
        snapshot=run.snapshot,
        config=RunConfiguration.from_json(run.config),
        tags=run.tags,
        description=run.description,
        properties={**run.properties, "resubmitted_from": run.run_id},
        token=token,
    )


def cancel_run(run: Run, *, by: User) -> None:
    """Ask a run to stop. One that has no process yet is canceled at once; children are canceled with it."""
    reason = gettext_noop("%(user)s canceled it.") % {"user": by.username}
    with transaction.atomic():
        run.move(RunStatus.CANCEL_REQUESTED, reason=reason)
        note(run.workspace, by, "run.cancel", run, kind="run", name=run.display_name)
        last = run.attempts.select_related("job__target__workspace").last()
        if last is None or last.job.state == JobState.ENDED:
            run.move(RunStatus.CANCELED, reason=reason)
            announcing.moved(run, RunStatus.CANCEL_REQUESTED)
        elif last.job.state in {JobState.PREPARING, JobState.WAITING}:
            jobs.end_unstarted(last.job, EndReason.CANCELED, reason)
        else:
            queue("compute.tasks.end_job", last.job_id, EndReason.CANCELED, reason)
    for child in run.children.filter(status__in=ACTIVE - {RunStatus.CANCEL_REQUESTED}):
        cancel_run(child, by=by)


def make_ready(run: Run) -> Job | None:
    """Lay out the files of a run's last attempt and see to its environment; return its job when it can go on.

    Safe to repeat. Touches the disk, so it is a task's work.
    """
    attempt = run.attempts.select_related("job__target__workspace", "job__environment").last()
    if run.has_ended or run.snapshot is None or attempt is None or attempt.job.state != JobState.PREPARING:
        return None
    job, config, snapshot = attempt.job, RunConfiguration.from_json(run.config), run.snapshot
    if not (job.folder / f"rank-{job.node_count - 1}").exists():
        launch.say(job, f"Snapshot {snapshot} ({snapshot.file_count} files, {snapshot.size_bytes:,} bytes)")
        launch.prepare(job, lambda folder: snapshots.materialise(snapshot, folder))
    is_built_here = config.environment.kind != "interpreter" and not isinstance(job.target.driver, Attaches)
    if is_built_here and job.environment is None:
        job.environment = environments.ensure(_definition(job.target, config))
        Job.objects.filter(pk=job.pk).update(environment=job.environment)
        launch.say(job, f"Environment {job.environment} {job.environment.state.lower()}")
    return job


def record(run: Run, job: Job) -> None:
    """Turn how a job is now into a move of its run. What MOVES has no place for changes nothing.

    What the service that runs it says of it is news to the run's page also while the run stays where it is.
    """
    if run.has_ended or not Attempt.objects.filter(run=run, job=job, number=_last_number(run)).exists():
        return
    state = JobState(job.state)
    if state == JobState.PREPARING and job.environment:
        _go(run, RunStatus.PREPARING, environments.sentence(job.environment))
    elif state in {JobState.WAITING, JobState.QUEUED}:
        _go(run, RunStatus.QUEUED, job.wait_reason)
    elif state in {JobState.RUNNING, JobState.ENDING} and job.started_at:
        _go_running(run, job)
    elif state == JobState.ENDED:
        if job.started_at and run.state in {RunStatus.STARTING, RunStatus.QUEUED}:  # it ended before anybody saw it run
            _go_running(run, job, at=max(job.started_at, run.status_changed_at))
        _record_end(run, job)
    if job.facts and not run.has_ended:
        with transaction.atomic():
            run.moved()


def _go_running(run: Run, job: Job, at: datetime | None = None) -> None:
    """Move a run to Running: by way of the queue where its job passed one, be it that nodes were free at once."""
    if run.state in {RunStatus.STARTING, RunStatus.PREPARING} and isinstance(job.target.driver, Queues):
        _go(run, RunStatus.QUEUED, at=max(job.started_at or run.status_changed_at, run.status_changed_at))
    _go(run, RunStatus.RUNNING, started_at=job.started_at, at=at)


def _record_end(run: Run, job: Job) -> None:
    """Move a run to its end, or to its next attempt when its node was taken or its machine restarted."""
    because = EndReason(job.end_reason)
    config = RunConfiguration.from_json(run.config)
    last = run.events.order_by("-at").values_list("at", flat=True).first()
    facts: dict[str, Any] = {"exit_code": job.exit_code, "at": max(filter(None, (job.ended_at, last)), default=None)}
    if run.status == RunStatus.CANCEL_REQUESTED or because == EndReason.CANCELED:
        reason = job.end_detail or run.reason
        if because == EndReason.EXITED and job.exit_code == 0:
            _go(run, RunStatus.COMPLETED, **facts)  # it was faster than the cancel
        else:
            _go(run, RunStatus.CANCELED, reason, **facts)
    elif because == EndReason.PREEMPTED:
        _restart(run, job, config)
    elif because == EndReason.EXITED and job.exit_code == 0:
        _go(run, RunStatus.COMPLETED, **facts)
    else:
        reason, hint = _why_failed(job, config)
        _go(run, RunStatus.FAILED, reason, hint=hint, **facts)


def _restart(run: Run, job: Job, config: RunConfiguration) -> None:
    """Start a preempted run over as its next attempt, unless it has had all it may have."""
    most, why = config.restarts + 1, job.end_detail or _("Its node was taken.")
    if job.attempt >= most:
        reason = _("%(why)s It has used all its attempts: %(n)d.") % {"why": why, "n": most}
        hint = _("Resubmit it to a dedicated cluster, or allow more restarts.")
        _go(run, RunStatus.FAILED, reason, hint=hint)
        return
    reason = _("%(why)s It starts over from its first line: attempt %(n)d of %(most)d.") % {
        "why": why,
        "n": job.attempt + 1,
        "most": most,
    }
    definition = _definition(job.target, config)
    with transaction.atomic():
        if not _go(run, RunStatus.QUEUED, reason):
            return
        # It keeps its place: it was in the queue before those who came while it ran.
        _attempt(run, job.target, config, definition, number=job.attempt + 1, like=job)


def _attempt(
    run: Run,
    target: ComputeTarget,
    config: RunConfiguration,
    definition: dict[str, Any],
    *,
    number: int,
    like: Job | None = None,
) -> None:
    """Add an attempt with its job, and have it advanced once this is committed."""
    interpreter = definition["python"] if config.environment.kind == "interpreter" else ""
    job = Job.objects.create(
        target=target,
        run_id=run.run_id,
        run_name=run.display_name,
        submitted_by=run.submitted_by,
        team=like.team if like else team_of(run.workspace, run.submitted_by),
        attempt=number,
        node_count=config.node_count,
        max_seconds=config.max_seconds,
        enqueued_at=like.enqueued_at if like else run.created_at,
        priority=like.priority if like else 0,
        spec={
            "script": config.script,
            "arguments": config.arguments,
            "interpreter": interpreter,
            "variables": config.variables,
            "experiment": run.experiment.name,
            "options": config.options,
            "environment": asdict(config.environment),
        },
    )
    Attempt.objects.create(run=run, number=number, job=job)
    queue("runs.tasks.advance_run", run.pk)


def _why_failed(job: Job, config: RunConfiguration) -> tuple[str, str]:
    """Return what to say of a job that ended badly, and what to do next."""
    code = job.exit_code
    match EndReason(job.end_reason):
        case EndReason.EXITED if code is not None and code < 0:
            return (
                _("%(script)s was ended by signal %(n)d.") % {"script": config.script, "n": -code},
                _("Look at the last lines of its log; signal 9 often means that memory ran out."),
            )
        case EndReason.EXITED if job.end_detail:  # a service knows more than a number
            said = {"script": config.script, "detail": job.end_detail}
            return _("%(script)s failed: %(detail)s") % said, _("The last lines of its log say where.")
        case EndReason.EXITED:
            return (
                _("%(script)s ended with exit code %(code)s.") % {"script": config.script, "code": code},
                _("The last lines of its log say why."),
            )
        case EndReason.MEMORY:
            reason = _("It went over its node's memory: %(detail)s.") % {"detail": job.end_detail}
            return reason, _("Use a larger size, or less memory.")
        case EndReason.PROCESSES:
            return f"It {job.end_detail}.", _("Start fewer at once.")
        case EndReason.DISK:
            reason = _("It filled the disk: %(detail)s.") % {"detail": job.end_detail}
            return reason, _("Write less, or ask whoever runs the studio for a larger STUDIO_RUN_DISK_BYTES.")
        case EndReason.DURATION:
            return (
                _("It reached its maximum duration of %(n)d seconds.") % {"n": config.max_seconds},
                _("Allow it more time when you submit it again."),
            )
        case EndReason.ENVIRONMENT:
            return (
                _("Its environment could not be built: %(detail)s") % {"detail": job.end_detail},
                _("The environment's log has the tool's own words."),
            )
        case EndReason.LOST:
            return job.end_detail or str(EndReason.LOST.label), _("Resubmit it.")
        case _:
            return job.end_detail or _("It could not be started."), _("Look at the log of what the studio did.")


def _go(run: Run, to: RunStatus, reason: str = "", *, hint: str = "", **changes: Any) -> bool:
    """Move a run where MOVES allows it; say whether it moved. The same status again renews only its reason."""
    if run.status == to:
        if run.reason != reason and Run.objects.filter(pk=run.pk, status=to).update(reason=reason[:500]):
            run.reason = reason[:500]
            with transaction.atomic():
                run.moved()
        return False
    if to not in MOVES[run.state]:
        return False
    before = run.state
    try:
        with transaction.atomic():
            run.move(to, reason=reason, hint=hint, **changes)
            announcing.moved(run, before)
    except NotAllowedNow:
        return False  # another process moved it first; the next look takes it from there
    logger.info("Run %s is %s. %s", run.run_id, to.value, reason)
    return True


def _last_number(run: Run) -> int:
    return run.attempts.order_by("-number").values_list("number", flat=True).first() or 0


def _definition(target: ComputeTarget, config: RunConfiguration) -> dict[str, Any]:
    """Return what the run has around it. Raises StudioError for what its target cannot give it."""
    asked = config.environment
    return environments.definition_for(
        target, asked.kind, asked.interpreter if asked.kind == "interpreter" else asked.text
    )


def _experiment(workspace: Workspace, name: str, by: User) -> Experiment:
    """Return the experiment of that name, made when it is new, with its next run's number taken."""
    try:
        valid_experiment_name(name)
    except ValidationError as exc:
        raise NotAllowedNow(
            _("“%(name)s” cannot be an experiment's name.") % {"name": name[:80]}, " ".join(exc.messages)
        ) from exc
    found = Experiment.objects.filter(workspace=workspace, name__iexact=name).first()
    if found is None:
        try:
            with transaction.atomic():
                found = Experiment.objects.create(workspace=workspace, name=name, created_by=by)
                note(workspace, by, "experiment.create", found, kind="experiment", name=name)
        except IntegrityError:  # another process made it a moment ago
            found = Experiment.objects.get(workspace=workspace, name__iexact=name)
    Experiment.objects.filter(pk=found.pk).update(last_number=F("last_number") + 1, archived_at=None)
    found.refresh_from_db()
    return found


def check_tags(tags: dict[str, str]) -> None:
    """Hold the limits of tags. Raises NotAllowedNow with the one that fails."""
    hint = _("At most %(n)d tags; a key has up to %(k)d characters, a value up to %(v)d.") % {
        "n": MOST_TAGS,
        "k": LONGEST_TAG_KEY,
        "v": LONGEST_TAG_VALUE,
    }
    if len(tags) > MOST_TAGS:
        raise NotAllowedNow(_("%(n)d tags are too many.") % {"n": len(tags)}, hint)
    for key, value in tags.items():
        if not key.strip() or len(key) > LONGEST_TAG_KEY or len(value) > LONGEST_TAG_VALUE:
            raise NotAllowedNow(_("The tag “%(key)s” is not valid.") % {"key": key[:80]}, hint)


@transaction.atomic
def set_tags(run: Run, tags: dict[str, str], *, by: User) -> None:
    """Replace a run's tags. Raises NotAllowedNow when they break a limit."""
    check_tags(tags)
    before, run.tags = run.tags, tags
    run.save(update_fields=["tags"])
    detail = {"before": before, "after": tags}
    note(run.workspace, by, "run.tags", run, kind="run", name=run.display_name, detail=detail)
    run.moved()


@transaction.atomic
def describe_run(run: Run, description: str, *, by: User) -> None:
    """Replace a run's description."""
    if description == run.description:
        return
    run.description = description
    run.save(update_fields=["description"])
    note(run.workspace, by, "run.describe", run, kind="run", name=run.display_name)


@transaction.atomic
def edit_experiment(experiment: Experiment, *, description: str, tags: dict[str, str], by: User) -> bool:
    """Replace an experiment's description and tags; say whether that changed anything. Raises NotAllowedNow."""
    check_tags(tags)
    if (description, tags) == (experiment.description, experiment.tags):
        return False
    experiment.description, experiment.tags = description, tags
    experiment.save(update_fields=["description", "tags"])
    note(experiment.workspace, by, "experiment.edit", experiment, kind="experiment", name=experiment.name)
    return True


@transaction.atomic
def archive_runs(runs: Iterable[Run], *, by: User, archived: bool = True) -> int:
    """Hide runs from the lists, or bring them back; return how many changed. Active ones stay."""
    changed = 0
    for run in runs:
        if archived and not run.has_ended:
            continue
        run.archived_at = timezone.now() if archived else None
        run.save(update_fields=["archived_at"])
        verb = "run.archive" if archived else "run.unarchive"
        note(run.workspace, by, verb, run, kind="run", name=run.display_name)
        run.moved()
        changed += 1
    return changed


@transaction.atomic
def archive_experiment(experiment: Experiment, *, by: User, archived: bool = True) -> None:
    """Hide an experiment from the list, or bring it back. A new run in it brings it back too."""
    experiment.archived_at = timezone.now() if archived else None
    experiment.save(update_fields=["archived_at"])
    verb = "experiment.archive" if archived else "experiment.unarchive"
    note(experiment.workspace, by, verb, experiment, kind="experiment", name=experiment.name)


def cancel_all(runs: Sequence[Run], *, by: User) -> int:
    """Cancel those of `runs` that can be canceled; return how many."""
    canceled = 0
    for run in runs:
        if RunStatus.CANCEL_REQUESTED in MOVES[run.state]:
            cancel_run(run, by=by)
            canceled += 1
    return canceled
