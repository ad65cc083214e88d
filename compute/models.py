"""Compute targets, the nodes of clusters, the jobs that wait and run on them, and the environments jobs need."""

import secrets
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from compute.drivers import driver_class
from compute.states import (
    JOB_MOVES,
    AllocationState,
    EndReason,
    JobState,
    NodeState,
    Priority,
    ProvisioningState,
)
from studio.errors import NotAllowedNow, NotSupported
from studio.live import nudge
from studio.people.models import Team, User, Workspace
from studio.seal import unseal

if TYPE_CHECKING:
    from compute.drivers.base import Driver

A = TypeVar("A")


class Host(models.Model):
    """A machine whose embedded engine gives nodes to clusters."""

    name = models.CharField(max_length=255, unique=True)
    boot_id = models.CharField(max_length=36, blank=True)
    cpus = models.PositiveIntegerField()  # logical CPUs, before the overcommit
    memory_bytes = models.BigIntegerField()
    gpus = models.JSONField(default=list)  # [{"uuid", "name", "memory_bytes"}], in NVML's order
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class TargetQuerySet(models.QuerySet["ComputeTarget"]):
    def for_user(self, user: Any) -> "TargetQuerySet":
        """Return the targets of the workspaces `user` belongs to."""
        return self.existing().filter(workspace__in=Workspace.objects.for_user(user))

    def existing(self) -> "TargetQuerySet":
        """Return all but the deleted ones, which are kept for the history of their runs."""
        return self.filter(deleted_at=None)

    def of_kinds(self, *kinds: str) -> "TargetQuerySet":
        return self.filter(kind__in=kinds)


class ComputeTarget(models.Model):
    """A place to run: a cluster created here, this computer, or a machine or service attached from elsewhere."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="targets")
    name = models.CharField(max_length=24)
    kind = models.CharField(max_length=20)  # a key of DRIVERS, the provider's computeType
    description = models.CharField(max_length=500, blank=True)
    tags = models.JSONField(default=dict, blank=True)  # {"key": "value"}
    config = models.JSONField(default=dict, blank=True)  # what the kind's form declares and no column holds
    host = models.ForeignKey(  # the one machine that has its nodes; None: the first whose worker meets it
        Host, on_delete=models.PROTECT, null=True, related_name="targets"
    )
    sealed = models.JSONField(default=dict, blank=True)  # {"field": sealed text}; never shown
    vm_size = models.CharField(max_length=40, blank=True)
    vm_priority = models.CharField(max_length=12, choices=Priority, blank=True)
    price_usd_per_hour = models.DecimalField(max_digits=9, decimal_places=4, null=True)  # of one node
    min_nodes = models.PositiveIntegerField(default=0)
    max_nodes = models.PositiveIntegerField(default=0)
    idle_seconds = models.PositiveIntegerField(default=120)  # an idle node is released after this
    # {"type": "SystemAssigned"} | {"type": "UserAssigned", "ids": [...]}
    identity = models.JSONField(default=dict, blank=True)
    provisioning_state = models.CharField(max_length=12, choices=ProvisioningState, default=ProvisioningState.CREATING)
    allocation_state = models.CharField(max_length=10, choices=AllocationState, default=AllocationState.STEADY)
    allocation_changed_at = models.DateTimeField(default=timezone.now)
    state_reason = models.CharField(max_length=500, blank=True)  # one sentence; why it is as it is
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    modified_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True)
    token = models.UUIDField(null=True, unique=True)  # of the form that created it: the same form twice is one target

    objects = TargetQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "workspace", Lower("name"), condition=Q(deleted_at=None), name="one_target_of_a_name"
            ),
            models.CheckConstraint(condition=Q(min_nodes__lte=models.F("max_nodes")), name="min_nodes_up_to_max"),
        ]
        indexes = [models.Index(fields=["workspace", "kind", "deleted_at"], name="targets_of_a_workspace")]

    def __str__(self) -> str:
        return self.name

    @property
    def driver(self) -> "Driver":
        """Return the driver of this target's kind, bound to it."""
        return driver_class(self.kind)(self)

    def able(self, ability: type[A]) -> A:
        """Return the driver as `ability`. Raises NotSupported when this kind lacks it."""
        driver = self.driver
        if not isinstance(driver, ability):
            raise NotSupported(_("%(name)s cannot do that.") % {"name": self.name})
        return driver

    @property
    def group(self) -> str:
        """Return the channel group of this target's own page."""
        return f"target.{self.pk}"

    def secret(self, name: str) -> str:
        """Return one of its credentials, unsealed; empty when it has none of that name. For drivers alone."""
        given: dict[str, str] = self.__dict__.get("given", {})  # of one that is examined before it is attached
        if name in given:
            return given[name]
        return unseal(self.sealed[name], where=self.place_of(name)) if self.sealed.get(name) else ""

    def place_of(self, name: str) -> str:
        """Return the place that the credential `name` is sealed for."""
        return f"compute.target/{self.pk}/{name}"

    @property
    def takes_runs(self) -> bool:
        return self.deleted_at is None and self.provisioning_state in {
            ProvisioningState.SUCCEEDED,
            ProvisioningState.UPDATING,
        }

    @property
    def why_held(self) -> str:
        """Return in one sentence why none of its runs may start now; empty: they may."""
        if "changed_host_key" not in self.config:
            return ""
        why = gettext_noop(
            "The host key of %(name)s changed. Nothing runs there until somebody who may has looked at it."
        )
        return why % {"name": self.name}

    @property
    def is_low_priority(self) -> bool:
        return self.vm_priority == Priority.LOW_PRIORITY

    @property
    def price_all_busy(self) -> Decimal | None:
        """Return the US dollars an hour with all nodes up, or None for a kind without a price."""
        return None if self.price_usd_per_hour is None else self.price_usd_per_hour * self.max_nodes

    def moved(self) -> None:
        """Nudge the lists and pages that show this target."""
        nudge(self.workspace.group, "target:moved", id=self.pk)


class Node(models.Model):
    """One node of a cluster: a slice of its host, or later a machine of a cloud."""

    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, related_name="nodes")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="nodes")
    node_id = models.CharField(max_length=40, unique=True)  # "tvm-…", as the provider writes it
    state = models.CharField(max_length=10, choices=NodeState, default=NodeState.PREPARING)
    state_changed_at = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    cpus = models.JSONField(default=list)  # CPU numbers it is pinned to; empty: any
    gpus = models.JSONField(default=list)  # UUIDs of its GPUs
    virtual_cpus = models.PositiveIntegerField()
    memory_bytes = models.BigIntegerField()
    job = models.ForeignKey("Job", on_delete=models.SET_NULL, null=True, related_name="nodes")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.node_id

    @staticmethod
    def new_id() -> str:
        return f"tvm-{secrets.token_hex(6)}"

    def move(self, to: NodeState, *, reason: str = "") -> bool:
        """Go to `to` if nobody else moved the node first; say whether it went."""
        won = Node.objects.filter(pk=self.pk, state=self.state).update(
            state=to, state_changed_at=timezone.now(), reason=reason
        )
        if won:
            self.state, self.reason = to, reason
        return bool(won)


class EnvironmentState(models.TextChoices):
    BUILDING = "Building", gettext_lazy("Building")
    READY = "Ready", gettext_lazy("Ready")
    FAILED = "Failed", gettext_lazy("Failed")
    EVICTED = "Evicted", gettext_lazy("Evicted")


class Environment(models.Model):
    """What a script needs around it, built once on this machine and shared by every run that asks for the same."""

    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the definition and the interpreter
    definition = models.JSONField()  # {"kind": "pip"|"conda", "text": …, "python": …}
    state = models.CharField(max_length=10, choices=EnvironmentState, default=EnvironmentState.BUILDING)
    reason = models.CharField(max_length=2000, blank=True)  # of a failure: the tool's own words and a hint
    handle = models.JSONField(default=dict)  # of the process that builds it
    attempt = models.PositiveIntegerField(default=1)  # a failed or evicted one is built again under the next number
    started_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(default=timezone.now)
    size_bytes = models.BigIntegerField(null=True)

    def __str__(self) -> str:
        return self.digest[:12]

    @property
    def folder(self) -> Path:
        """Return where it is built: a virtual environment, with `bin/python` in it when ready."""
        return Path(settings.ENVIRONMENT_DIR) / f"{self.digest[:16]}-{self.attempt}"

    @property
    def log_key(self) -> str:
        """Return the log store's key of its build log."""
        return f"environments/{self.digest[:16]}-{self.attempt}/environment.txt"


class JobQuerySet(models.QuerySet["Job"]):
    def active(self) -> "JobQuerySet":
        return self.exclude(state=JobState.ENDED)

    def in_order(self) -> "JobQuerySet":
        """Return them as the queue serves them: higher priority first, then first come first served."""
        return self.order_by("-priority", "enqueued_at", "pk")


class Job(models.Model):
    """One attempt at a run on a target: what to start, where it waits or runs, and how it ended.

    A run submits jobs; a job knows its run only by `run_id`, for people and for the nudge upwards.
    """

    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, related_name="jobs")
    run_id = models.CharField(max_length=255, db_index=True)
    run_name = models.CharField(max_length=255)  # as people read it: "brave_lemur_7k2"
    submitted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, related_name="+")  # of theirs, at submission
    attempt = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=JobState, default=JobState.PREPARING)
    wait_reason = models.CharField(max_length=500, blank=True)  # one sentence, while it waits
    wait = models.JSONField(default=dict)  # behind it: {"kind", "lacking", "jobs": [ids], "clusters": [ids]}
    priority = models.IntegerField(default=0)
    enqueued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    node_count = models.PositiveIntegerField(default=1)
    spec = models.JSONField(default=dict)  # see compute.drivers.base.JobSpec
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, null=True, related_name="jobs")
    max_seconds = models.PositiveIntegerField(null=True)
    placed_on = models.JSONField(default=list)  # node ids, by rank; kept when the nodes are gone
    handle = models.JSONField(default=dict)  # the driver's; enough to find the processes after a restart
    end_reason = models.CharField(max_length=12, choices=EndReason, blank=True)
    end_detail = models.CharField(max_length=2000, blank=True)  # a sentence for people: "used 7.1 of 7 GB"
    exit_code = models.IntegerField(null=True)
    receipt = models.JSONField(default=dict)  # what ending it did: see compute.processes
    ask_at = models.DateTimeField(null=True)  # when a service that can only be polled is asked again
    facts = models.JSONField(default=dict)  # what a service says of it: {"page": URL, "application": id}

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run_id", "attempt"], name="one_job_an_attempt")]
        indexes = [models.Index(fields=["state", "target"], name="jobs_by_state")]

    def __str__(self) -> str:
        return f"{self.run_name}#{self.attempt}"

    @property
    def folder(self) -> Path:
        """Return the job's own folder on this machine: `rank-N` (working directories) and `control-N` below it."""
        return Path(settings.JOB_DIR) / self.run_id / str(self.attempt)

    def move(self, to: JobState, **changes: Any) -> bool:
        """Go to `to`, storing `changes` with it; say whether this process was the one that moved it.

        Raises NotAllowedNow when JOB_MOVES forbids it from the state the caller knows.
        """
        old = JobState(self.state)
        if to not in JOB_MOVES[old]:
            raise NotAllowedNow(f"Job {self} is {old.value} and cannot become {to.value}.")
        won = Job.objects.filter(pk=self.pk, state=old).update(state=to, **changes)
        if won:
            self.state = to
            for name, value in changes.items():
                setattr(self, name, value)
        return bool(won)


class ScalingEvent(models.Model):
    """One attempt to change how many nodes a cluster has: cause, result, how long it took."""

    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, related_name="scaling")
    at = models.DateTimeField(default=timezone.now)
    before = models.PositiveIntegerField()
    after = models.PositiveIntegerField()
    cause = models.CharField(max_length=255)  # "for run brave_lemur_7k2", "idle for 120 s", "minimum of 2"
    took = models.DurationField(default=timedelta)
    error = models.CharField(max_length=500, blank=True)  # empty: it worked

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["target", "-at"], name="scaling_of_a_target")]

    def __str__(self) -> str:
        return f"{self.target}: {self.before} → {self.after} {self.cause}"


class Examination(models.Model):
    """One look of the connection doctor: at a target, or at one that may become one, whose draft this is.

    A draft holds what was typed and the credentials until it is attached or saved; then it is a line of history.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=20)
    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, null=True, related_name="examinations")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    is_draft = models.BooleanField(default=True)
    typed = models.JSONField(default=dict)  # the form's fields as they were typed, credentials left out
    config = models.JSONField(default=dict)  # the same, understood; empty until the form is valid
    sealed = models.JSONField(default=dict)  # {"field": sealed text}; never shown
    public_key = models.CharField(max_length=500, blank=True)  # of a pair made here: the line for authorized_keys
    checks = models.JSONField(default=list)  # of compute.drivers.base.Check, in their order
    round = models.PositiveIntegerField(default=0)  # how often it was asked for; a look of an earlier round is stale
    created_at = models.DateTimeField(default=timezone.now)
    asked_at = models.DateTimeField(null=True)  # None: nobody has asked for a look yet
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    token = models.UUIDField(null=True, unique=True)  # of the form it was made with

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["target", "-id"], name="examinations_of_a_target")]

    def __str__(self) -> str:
        return f"examination {self.pk} of {self.target or self.kind}"

    def place_of(self, name: str) -> str:
        """Return the place that the credential `name` is sealed for."""
        return f"compute.examination/{self.pk}/{name}"

    def moved(self) -> None:
        """Nudge the page that shows it."""
        nudge(self.workspace.group, "examination:moved", id=self.pk)


class AzureSignIn(models.Model):
    """How a workspace signs in to Azure, for every target of Azure's that has no credential of its own."""

    class Way(models.TextChoices):
        SERVICE_PRINCIPAL = "service-principal", gettext_lazy("A service principal")
        MANAGED_IDENTITY = "managed-identity", gettext_lazy("The managed identity of the studio’s machine")
        DEFAULT = "default", gettext_lazy("Whatever the studio’s machine is signed in with")

    workspace = models.OneToOneField(Workspace, on_delete=models.CASCADE, related_name="azure_sign_in")
    way = models.CharField(max_length=20, choices=Way, default=Way.SERVICE_PRINCIPAL)
    tenant_id = models.CharField(max_length=36, blank=True)
    client_id = models.CharField(max_length=36, blank=True)
    subscription_id = models.CharField(max_length=36)
    sealed = models.JSONField(default=dict, blank=True)  # {"client_secret": sealed text}; never shown
    # Where another Azure than the public one answers; empty: the public one. For a service principal alone.
    authority = models.CharField(max_length=255, blank=True)
    resource_manager = models.CharField(max_length=255, blank=True)
    data_lake_analytics = models.CharField(max_length=255, blank=True)  # "{account}" stands for the account's name

    def __str__(self) -> str:
        return f"Azure sign-in of {self.workspace}"

    def place_of(self, name: str) -> str:
        """Return the place that the credential `name` is sealed for."""
        return f"compute.azure/{self.workspace_id}/{name}"

    def secret(self, name: str) -> str:
        """Return a credential in clear text, or nothing when there is none. Raises CannotUnseal."""
        sealed = self.sealed.get(name)
        return unseal(sealed, where=self.place_of(name)) if sealed else ""
