"""What is told of runs: their ends, and that one starts over."""

from django.utils import translation
from django.utils.translation import gettext_noop

from runs.models import Run
from runs.states import RunStatus
from studio.notifications.actions import announce
from studio.notifications.events import About, Event
from studio.templatetags.studio import duration

ENDS = {
    RunStatus.COMPLETED: (Event.RUN_COMPLETED, gettext_noop("Run %(name)s completed")),
    RunStatus.FAILED: (Event.RUN_FAILED, gettext_noop("Run %(name)s failed")),
    RunStatus.CANCELED: (Event.RUN_CANCELED, gettext_noop("Run %(name)s was canceled")),
}
PREEMPTED = gettext_noop("Run %(name)s was preempted")


def moved(run: Run, before: RunStatus) -> None:
    """Tell of a run's last move where it is an end, or back into the queue. In the transaction that moved it."""
    if run.state in ENDS:
        event, words = ENDS[run.state]
    elif run.state == RunStatus.QUEUED and before in {RunStatus.RUNNING, RunStatus.NOT_RESPONDING}:
        event, words = Event.RUN_PREEMPTED, PREEMPTED
    else:
        return
    by = run.submitted_by
    with translation.override("en"):  # what is stored is English
        facts = {
            gettext_noop("Experiment"): run.experiment.name,
            gettext_noop("Target"): run.target_name,
            gettext_noop("Took"): duration(run.duration),
            gettext_noop("Submitted by"): by.username if by else "",
        }
    data = {
        "run_id": run.run_id,
        "name": run.display_name,
        "status": run.status,
        "experiment": run.experiment.name,
        "target": run.target_name,
        "seconds": round(run.duration.total_seconds(), 1),
        "exit_code": run.exit_code,
        "submitted_by": by.username if by else None,
    }
    path = f"/w/{run.workspace.name}/runs/{run.run_id}/"
    about = About(words % {"name": run.display_name}, run.reason, run.hint, path, facts, data)
    announce(run.workspace, event, about=about, to=[by] if by else [])
