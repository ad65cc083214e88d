"""The life of a run: its statuses, which may follow which, and the tone each is shown in. Read this first.

Source: `RunStatus` of azureml-core 1.61, whose spellings these are.
"""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class RunStatus(TextChoices):
    NOT_STARTED = "NotStarted", _("Not started")
    STARTING = "Starting", _("Starting")
    PROVISIONING = "Provisioning", _("Provisioning")
    PREPARING = "Preparing", _("Preparing")
    QUEUED = "Queued", _("Queued")
    RUNNING = "Running", _("Running")
    NOT_RESPONDING = "NotResponding", _("Not responding")
    FINALIZING = "Finalizing", _("Finalizing")
    CANCEL_REQUESTED = "CancelRequested", _("Cancel requested")
    COMPLETED = "Completed", _("Completed")
    FAILED = "Failed", _("Failed")
    CANCELED = "Canceled", _("Canceled")

    @property
    def tone(self) -> str:
        return TONES.get(self, "idle")

    @property
    def is_final(self) -> bool:
        return not MOVES[self]


S = RunStatus
_ENDS = {S.FAILED, S.CANCELED, S.CANCEL_REQUESTED}
# A graph, not an order: an environment may be made ready before or after the queue, a short job may be seen
# only after its end, and a preempted one goes back to the queue.
MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    S.NOT_STARTED: frozenset({S.STARTING, *_ENDS}),
    S.STARTING: frozenset({S.PROVISIONING, S.PREPARING, S.QUEUED, S.RUNNING, S.FINALIZING, S.COMPLETED, *_ENDS}),
    S.PROVISIONING: frozenset({S.PREPARING, S.QUEUED, S.RUNNING, S.FINALIZING, S.COMPLETED, *_ENDS}),
    S.PREPARING: frozenset({S.QUEUED, S.RUNNING, S.FINALIZING, S.COMPLETED, *_ENDS}),
    S.QUEUED: frozenset({S.PREPARING, S.RUNNING, S.FINALIZING, S.COMPLETED, *_ENDS}),
    S.RUNNING: frozenset({S.QUEUED, S.PREPARING, S.NOT_RESPONDING, S.FINALIZING, S.COMPLETED, *_ENDS}),
    S.NOT_RESPONDING: frozenset({S.QUEUED, S.PREPARING, S.RUNNING, S.FINALIZING, S.COMPLETED, *_ENDS}),
    S.FINALIZING: frozenset({S.COMPLETED, *_ENDS}),
    S.CANCEL_REQUESTED: frozenset({S.CANCELED, S.COMPLETED, S.FAILED}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
}
FINAL = frozenset(status for status, following in MOVES.items() if not following)
ACTIVE = frozenset(MOVES) - FINAL
WAITING = frozenset({S.NOT_STARTED, S.STARTING, S.PROVISIONING, S.PREPARING, S.QUEUED})

TONES = {
    S.PREPARING: "warn",
    S.PROVISIONING: "warn",
    S.RUNNING: "run",
    S.FINALIZING: "run",
    S.NOT_RESPONDING: "warn",
    S.CANCEL_REQUESTED: "warn",
    S.COMPLETED: "ok",
    S.FAILED: "bad",
}
