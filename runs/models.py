"""Experiments, runs, their attempts and events, and the snapshots of what was run."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from compute.models import ComputeTarget, Job
from runs.states import ACTIVE, MOVES, WAITING, RunStatus
from studio.errors import NotAllowedNow
from studio.live import nudge
from studio.people.models import User, Workspace

# Source: azureml-core 1.0.74 allows 36 characters, 1.61 allows 255; what leaves room for a run id is taken.
valid_experiment_name = RegexValidator(
    r"\A[a-zA-Z0-9][a-zA-Z0-9_-]{0,199}\Z",  # its name is part of folder names, which end at 255 bytes
    _("Letters, digits, “-” or “_”, the first a letter or a digit, 200 at most."),
)


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def for_user(self, user: Any) -> "ExperimentQuerySet":
        return self.filter(workspace__in=Workspace.objects.for_user(user))


class Experiment(models.Model):
    """A name under which runs that belong together are kept and compared."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="experiments")
    name = models.CharField(max_length=200, validators=[valid_experiment_name])
    description = models.CharField(max_length=5000, blank=True)
    tags = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    archived_at = models.DateTimeField(null=True, blank=True)
    last_number = models.PositiveIntegerField(default=0)  # of its newest run

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("workspace", Lower("name"), name="one_experiment_of_a_name")]

    def __str__(self) -> str:
        return self.name


class Snapshot(models.Model):
    """The files of a run as they were at submission: a manifest of hashed files, each stored once."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="snapshots")
    digest = models.CharField(max_length=64)  # SHA-256 of the manifest
    manifest = models.JSONField()  # [{"path", "sha256", "size", "executable"}], sorted by path
    file_count = models.PositiveIntegerField()
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "digest"], name="one_snapshot_of_a_digest")]

    def __str__(self) -> str:
        return self.digest[:7]


class KnownFile(models.Model):
    """A content that snapshots of a workspace hold: its people need not send it again."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="known_files")
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "sha256"], name="one_known_file_of_a_hash")]

    def __str__(self) -> str:
        return self.sha256[:7]


_NOT_ARCHIVED = models.Q(archived_at=None)


class Took(models.Func):
    """How long a run took, in the database's own unit; nothing while it goes on."""

    output_field = models.FloatField()

    def __init__(self) -> None:
        super().__init__(models.F("ended_at"), models.F("created_at"))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(JULIANDAY(%(expressions)s))", arg_joiner=") - JULIANDAY(")

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s)", arg_joiner=" - ")


class RunQuerySet(models.QuerySet["Run"]):
    def for_user(self, user: Any) -> "RunQuerySet":
        """Return the runs of the workspaces `user` belongs to."""
        return self.filter(workspace__in=Workspace.objects.for_user(user))

    def active(self) -> "RunQuerySet":
        return self.filter(status__in=ACTIVE)

    def waiting(self) -> "RunQuerySet":
        return self.filter(status__in=WAITING)


class Run(models.Model):
    """What a person asked to be run, and what became of it."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="runs")
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="runs")
    number = models.PositiveIntegerField()  # counts within the experiment
    run_id = models.CharField(max_length=255, unique=True)  # "digits-svm_1763846400_1f0c9a3b"
    display_name = models.CharField(max_length=255)  # "brave_lemur_7k2"
    description = models.CharField(max_length=5000, blank=True)
    status = models.CharField(max_length=16, choices=RunStatus, default=RunStatus.NOT_STARTED)
    status_changed_at = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=500, blank=True)  # one sentence: why it waits, or why it ended so
    hint = models.CharField(max_length=500, blank=True)  # what to do about it
    target = models.ForeignKey(ComputeTarget, on_delete=models.SET_NULL, null=True, related_name="runs")
    target_name = models.CharField(max_length=24)  # survives the target
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, null=True, related_name="runs")
    config = models.JSONField(default=dict)  # the run configuration: see runs.configuration.RunConfiguration
    tags = models.JSONField(default=dict, blank=True)
    properties = models.JSONField(default=dict, blank=True)  # written once: git facts, snapshot id
    submitted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)  # its first process, of its last attempt
    ended_at = models.DateTimeField(null=True)
    exit_code = models.IntegerField(null=True)
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children")
    archived_at = models.DateTimeField(null=True, blank=True)
    token = models.UUIDField(null=True, unique=True)  # of the form that submitted it: the same form twice is one run

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["experiment", "number"], name="one_run_of_a_number")]
        indexes = [
            models.Index(fields=["workspace", "-created_at"], name="runs_newest_first"),
            models.Index(fields=["workspace", "status"], name="runs_by_status"),
            models.Index(fields=["workspace", "ended_at", "status"], name="runs_by_end"),
            models.Index(fields=["target", "-created_at"], name="runs_of_a_target"),
            # One for each way to sort the list, read alone: the 1,900th page is as quick as the first. They hold what
            # is filtered by, too; and only what is not archived: PostgreSQL sorts by no index that follows an IS NULL.
            *(
                models.Index(
                    fields=["workspace", *order, "archived_at"], name=f"runs_list_{name}", condition=_NOT_ARCHIVED
                )
                for name, order in {
                    "time": ("-created_at", "-id", "status"),
                    "name": ("display_name", "id", "status"),
                    "status": ("status", "-id"),
                    "status_down": ("-status", "-id"),
                    "target": ("target_name", "-id", "status"),
                    "target_down": ("-target_name", "-id", "status"),
                    "experiment": ("experiment", "status"),
                }.items()
            ),
            models.Index(
                fields=["workspace", "created_at", "id", "archived_at", "ended_at"],
                name="runs_list_going",
                condition=_NOT_ARCHIVED & models.Q(ended_at=None),
            ),
            models.Index(
                "workspace",
                Took(),
                "id",
                "status",
                "archived_at",
                "ended_at",
                name="runs_list_duration",
                condition=_NOT_ARCHIVED & models.Q(ended_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.display_name

    @staticmethod
    def new_id(experiment: str, at: datetime) -> str:
        """Return a run id in the provider's shape: experiment, seconds, eight hex digits."""
        return f"{experiment}_{int(at.timestamp())}_{secrets.token_hex(4)}"

    @property
    def group(self) -> str:
        """Return the channel group of this run's own page."""
        return f"run.{self.pk}"

    @property
    def has_ended(self) -> bool:
        return RunStatus(self.status).is_final

    @property
    def state(self) -> RunStatus:
        return RunStatus(self.status)

    @property
    def duration(self) -> timedelta:
        """Return the time from submission to the end, or until now."""
        return (self.ended_at or timezone.now()) - self.created_at

    @transaction.atomic
    def move(
        self, to: RunStatus, *, reason: str = "", hint: str = "", at: datetime | None = None, **changes: Any
    ) -> None:
        """Go to `to`, store `changes` with it, note when (`at`; unsaid: now) and why, and nudge open pages.

        Raises NotAllowedNow when MOVES forbids it, or when another process moved the run first.
        """
        old, now = RunStatus(self.status), timezone.now()
        changes |= {"status": to, "status_changed_at": now, "reason": reason[:500], "hint": hint[:500]}
        if to in MOVES and not MOVES[to]:
            changes.setdefault("ended_at", at or now)
        if to not in MOVES[old] or not Run.objects.filter(pk=self.pk, status=old).update(**changes):
            raise NotAllowedNow(f"Run {self.run_id} is {old.value} and cannot become {to.value}.")
        for name, value in changes.items():
            setattr(self, name, value)
        self.events.create(old=old, new=to, reason=reason[:500], at=at or now)
        self.moved()

    def moved(self) -> None:
        """Nudge the lists and pages that show this run."""
        nudge(self.workspace.group, "run:moved", id=self.pk, target=self.target_id)


class RunEvent(models.Model):
    """One move of a run: from, to, when, why."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    old = models.CharField(max_length=16, choices=RunStatus)
    new = models.CharField(max_length=16, choices=RunStatus)
    reason = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"


class Attempt(models.Model):
    """One attempt at a run: its job. A preempted run is restarted as its next attempt."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="run_attempt")

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="one_attempt_of_a_number")]

    def __str__(self) -> str:
        return f"{self.run} attempt {self.number}"
