"""The states of targets, nodes and jobs, in the provider's words, each with the tone it is shown in.

Source: Azure Machine Learning's REST contract 2020-08-01 (provisioningState, allocationState, nodeState).
"""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Toned(TextChoices):
    """A state that knows its tone: ok, run, warn, bad or idle."""

    @property
    def tone(self) -> str:
        return _TONES.get((type(self).__name__, self.value), "idle")


class ProvisioningState(Toned):
    """How far a target has come into being. A cluster with no node that takes runs is Succeeded."""

    UNKNOWN = "Unknown", _("Unknown")
    CREATING = "Creating", _("Creating")
    UPDATING = "Updating", _("Updating")
    SUCCEEDED = "Succeeded", _("Succeeded")
    FAILED = "Failed", _("Failed")
    CANCELED = "Canceled", _("Canceled")
    DELETING = "Deleting", _("Deleting")


class AllocationState(Toned):
    """Whether a cluster has the nodes it wants."""

    STEADY = "Steady", _("Steady")
    RESIZING = "Resizing", _("Resizing")


class NodeState(Toned):
    """What one node of a cluster does. Idle is a node's state, never a cluster's."""

    PREPARING = "preparing", _("preparing")
    IDLE = "idle", _("idle")
    RUNNING = "running", _("running")
    LEAVING = "leaving", _("leaving")
    PREEMPTED = "preempted", _("preempted")
    UNUSABLE = "unusable", _("unusable")


class Priority(TextChoices):
    """The capacity class of a cluster."""

    DEDICATED = "Dedicated", _("Dedicated")
    LOW_PRIORITY = "LowPriority", _("Low priority")


class JobState(Toned):
    """How far one attempt at a run has come on its target."""

    PREPARING = "Preparing", _("Preparing")  # its files and environment are being made ready
    WAITING = "Waiting", _("Waiting")  # ready, and waits for nodes
    STARTING = "Starting", _("Starting")  # has its nodes; its processes are being started
    QUEUED = "Queued", _("Queued")  # a service has taken it, and has no place for it yet
    RUNNING = "Running", _("Running")
    ENDING = "Ending", _("Ending")  # asked to stop; its processes are being ended
    ENDED = "Ended", _("Ended")


class EndReason(TextChoices):
    """Why a job ended."""

    EXITED = "exited", _("its program ended")
    CANCELED = "canceled", _("it was canceled")
    PREEMPTED = "preempted", _("its node was taken")
    MEMORY = "memory", _("it went over its memory ceiling")
    PROCESSES = "processes", _("it started too many processes")
    DISK = "disk", _("it used more disk than it may")
    DURATION = "duration", _("it reached its maximum duration")
    NOT_STARTED = "not_started", _("it could not be started")
    ENVIRONMENT = "environment", _("its environment could not be built")
    LOST = "lost", _("its processes are gone and left no exit code")


# What a shepherd, or who looks after one, says of an end: in English, wherever it runs, and without a catalogue.
# It is marked here, so that `studio.said` finds its Spanish.
SAID_BY_SHEPHERDS = (
    _("ended by %(signal)s"),
    _("ran for its maximum of %(n)s s"),
    _("started more than %(n)d processes"),
    _("It started more than %(n)d processes."),
    _("used %(used).1f of %(limit).1f GB"),
    _("used %(used).1f of %(limit).1f MB"),
    _("used %(used).1f of %(limit).1f GB of disk"),
    _("used %(used).1f of %(limit).1f MB of disk"),
    _("It was told to end from outside the studio, as when the machine shuts down."),
    _("the kernel ended it: %(words)s"),
    _("Its shepherd is gone: its exit code will not be known."),
    _("Neither its processes nor its exit code are there any more."),
    _("The machine restarted while it ran."),
)

# From → to; a job may end from every state.
JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.PREPARING: frozenset({JobState.WAITING, JobState.STARTING, JobState.ENDED}),
    JobState.WAITING: frozenset({JobState.STARTING, JobState.ENDED}),
    JobState.STARTING: frozenset({JobState.QUEUED, JobState.RUNNING, JobState.ENDING, JobState.ENDED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.ENDING, JobState.ENDED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.ENDING, JobState.ENDED}),  # a service may take its place
    JobState.ENDING: frozenset({JobState.ENDED}),
    JobState.ENDED: frozenset(),
}
FOLLOWED = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.ENDING})  # it has a handle to ask about

_TONES = {
    ("ProvisioningState", "Creating"): "run",
    ("ProvisioningState", "Updating"): "run",
    ("ProvisioningState", "Succeeded"): "ok",
    ("ProvisioningState", "Failed"): "bad",
    ("ProvisioningState", "Deleting"): "warn",
    ("AllocationState", "Steady"): "ok",
    ("AllocationState", "Resizing"): "run",
    ("NodeState", "preparing"): "run",
    ("NodeState", "idle"): "ok",
    ("NodeState", "running"): "run",
    ("NodeState", "leaving"): "warn",
    ("NodeState", "preempted"): "warn",
    ("NodeState", "unusable"): "bad",
    ("JobState", "Running"): "run",
    ("JobState", "Preparing"): "warn",
}
