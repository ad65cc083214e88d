"""`manage.py follow_sample`: submits the sample run, once, and tells in the terminal what becomes of it."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand
from django.urls import reverse

import studio.celery  # noqa: F401  tasks are queued there, not at the queue's own default
from compute import logs
from compute.models import ComputeTarget, Environment, EnvironmentState
from runs import snapshots
from runs.actions import submit_run
from runs.configuration import EnvironmentSpec, RunConfiguration
from runs.models import Run
from runs.states import RunStatus
from studio.errors import StudioError
from studio.management.commands.prepare import sample_target
from studio.templatetags.studio import duration

SAMPLE = settings.BASE_DIR / "runs" / "sample"
LOOK_EVERY = 0.2  # seconds
LONGEST = 1800.0  # seconds; then the page alone tells the rest


class Command(BaseCommand):
    help = "Submit the sample run, unless it was submitted before, and tell what becomes of it."

    def handle(self, *args: Any, **options: Any) -> None:
        target = sample_target()
        if target is None:
            return
        try:
            run = submit(target)
        except StudioError as problem:
            self.tell(f"The sample run could not be submitted: {problem.message} {problem.hint}")
            return
        address = settings.PUBLIC_URL.rstrip("/") + reverse("runs:detail", args=[run.workspace.name, run.run_id])
        self.tell(f"{run.display_name} is submitted to {target.name}; its page: {address}")
        for line in Follow(run, target).lines():
            self.tell(line)

    def tell(self, line: str) -> None:
        self.stdout.write(f"  sample | {line}")
        self.stdout.flush()


def submit(target: ComputeTarget) -> Run:
    """Submit the sample run as the workspace's first Owner; the same workspace gets it once."""
    workspace = target.workspace
    snapshot, facts = snapshots.from_folder(workspace, SAMPLE)
    return submit_run(
        workspace,
        by=workspace.members.filter(memberships__role="Owner").order_by("pk")[0],
        experiment="digits-svm",
        target=target,
        snapshot=snapshot,
        config=RunConfiguration(
            script="train.py",
            environment=EnvironmentSpec(kind="pip", text=(SAMPLE / "requirements.txt").read_text()),
        ),
        tags={"sample": "yes"},
        description="The sample that comes with the studio: a support vector classifier of handwritten digits.",
        properties=facts,
        token=uuid.uuid5(workspace.guid, "sample"),
    )


class Follow:
    """Looks at rows and logs again and again, and yields each thing that happened as a line."""

    def __init__(self, run: Run, target: ComputeTarget) -> None:
        self.run, self.target = run, target
        self.events = self.scalings = 0  # primary keys seen
        self.offsets: dict[str, int] = {}
        self.built: set[tuple[int, str]] = set()

    def lines(self) -> Iterator[str]:
        """Yield what happens until the cluster has no node any more."""
        deadline = time.monotonic() + LONGEST
        ended = False
        while time.monotonic() < deadline:
            self.run.refresh_from_db()
            final = self.run.has_ended  # looked at first: what is read after it is complete
            yield from self.scaling()
            yield from self.environments()
            yield from self.output()
            yield from self.moves()
            if final and not ended:
                ended = True
                yield from self.end()
            if ended and not self.target.nodes.exists():
                yield from self.scaling()
                return
            time.sleep(LOOK_EVERY if not ended else 1.0)
        yield f"Still {self.run.get_status_display().lower()} after {duration(LONGEST)}; its page tells the rest."

    def scaling(self) -> Iterator[str]:
        for event in self.target.scaling.filter(pk__gt=self.scalings).order_by("pk"):
            self.scalings = event.pk
            took = f", took {duration(event.took)}" if event.took.total_seconds() >= 0.05 else ""
            yield f"{self.target.name}: {event.before} → {event.after} nodes {event.cause}{took} {event.error}".rstrip()

    def environments(self) -> Iterator[str]:
        for environment in Environment.objects.filter(jobs__run_id=self.run.run_id).distinct():
            seen = (environment.pk, environment.state)
            if seen in self.built:
                continue
            self.built.add(seen)
            if environment.state == EnvironmentState.BUILDING:
                wanted = " ".join(environment.definition.get("text", "").split())
                yield f"environment {environment} is being built: {wanted}"
            elif environment.state == EnvironmentState.READY and environment.ready_at:
                took = environment.ready_at - environment.started_at
                yield f"environment {environment} is ready after {duration(took)}"
            elif environment.state == EnvironmentState.FAILED:
                yield f"environment {environment} could not be built: {environment.reason}"

    def output(self) -> Iterator[str]:
        """Yield the complete lines that the run's processes wrote since the last look."""
        for stream in logs.streams(f"runs/{self.run.run_id}"):
            if "/std_log" not in f"/{stream.key}":
                continue
            start = self.offsets.get(stream.key, 0)
            data = logs.read(stream.key, start, 64 * 1024)
            whole = len(data) if self.run.has_ended else data.rfind(b"\n") + 1
            self.offsets[stream.key] = start + whole
            yield from data[:whole].decode(errors="replace").splitlines()

    def moves(self) -> Iterator[str]:
        for event in self.run.events.filter(pk__gt=self.events).order_by("pk"):
            self.events = event.pk
            reason = f": {event.reason}" if event.reason else ""
            yield f"{RunStatus(event.new).label.lower()}{reason}"

    def end(self) -> Iterator[str]:
        took, how = duration(self.run.duration), self.run.get_status_display().lower()
        yield f"{self.run.display_name} is {how} after {took}. {self.run.hint}".rstrip()
        if self.target.nodes.exists():
            yield f"{self.target.name} shrinks back when its nodes were idle for {self.target.idle_seconds} s"
