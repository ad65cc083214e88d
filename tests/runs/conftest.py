"""Runs as they stand in the table, with the folder of an attempt."""

from collections.abc import Callable
from typing import Any

import pytest

from compute.actions import ensure_local
from compute.models import Job
from compute.states import JobState
from runs.models import Attempt, Experiment, Run
from studio.people.models import User, Workspace


@pytest.fixture
def make_run(workspace: Workspace, ana: User) -> Callable[..., Run]:
    """Make a run as it stands in the table: make_run("name", status=…, experiment="digits")."""
    local = ensure_local(workspace)
    made = 0

    def make(name: str = "", *, experiment: str = "digits", **facts: Any) -> Run:
        nonlocal made
        made += 1
        home, _new = Experiment.objects.get_or_create(
            workspace=workspace, name=experiment, defaults={"created_by": ana}
        )
        home.last_number += 1
        home.save()
        values = {
            "target": local,
            "target_name": "local",
            "submitted_by": ana,
            "config": {"script": "train.py"},
        } | facts
        return Run.objects.create(
            workspace=workspace,
            experiment=home,
            number=home.last_number,
            run_id=f"{experiment}_{made}",
            display_name=name or f"run_{made}",
            **values,
        )

    return make


@pytest.fixture
def attempt_of() -> Callable[..., Job]:
    """Give a run its next attempt, with the folder its first rank works in."""

    def make(run: Run, state: JobState = JobState.ENDED, **facts: Any) -> Job:
        number = run.attempts.count() + 1
        assert run.target is not None
        job = Job.objects.create(
            target=run.target, run_id=run.run_id, run_name=run.display_name, attempt=number, state=state, **facts
        )
        Attempt.objects.create(run=run, number=number, job=job)
        for name in ("outputs", "logs"):
            (job.folder / "rank-0" / name).mkdir(parents=True)
        return job

    return make
