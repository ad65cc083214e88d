"""Runs on what is attached: submitted, followed and looked at without the studio's own processes."""

import io
import time
from collections.abc import Callable
from typing import Any

from compute import launch, logs, tasks
from compute.models import ComputeTarget, Job
from compute.states import JobState
from runs import snapshots
from runs.actions import submit_run
from runs.configuration import RunConfiguration
from runs.models import Run
from runs.tasks import advance_run, record_job
from studio.people.models import User


def submitted(target: ComputeTarget, by: User, files: dict[str, str], *arguments: str, **changes: Any) -> Run:
    """Submit files, the first of which is the script. `changes`: of its configuration."""
    pieces = ((name, io.BytesIO(text.encode())) for name, text in files.items())
    snapshot, _facts = snapshots.from_files(target.workspace, pieces)
    config = RunConfiguration(next(iter(files)), list(arguments), **changes)
    run = submit_run(target.workspace, by=by, experiment="far", target=target, snapshot=snapshot, config=config)
    advance_run(run.pk)
    return again(run)


def again(run: Run) -> Run:
    """Return the run as its job now makes it."""
    record_job(job_of(run).pk)
    run.refresh_from_db()
    return run


def job_of(run: Run) -> Job:
    return Job.objects.select_related("target__workspace").filter(run_id=run.run_id).latest("attempt")


def log_of(run: Run) -> str:
    key = launch.log_key(job_of(run))
    return logs.read(key, 0, logs.size(key)).decode()


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def ended(run: Run, seconds: float = 30) -> Run:
    """Follow the run until it has ended."""

    def has_ended() -> bool:
        tasks.follow_job(job_of(run).pk)
        return job_of(run).state == JobState.ENDED

    until(has_ended, seconds)
    return again(run)
