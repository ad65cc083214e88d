"""Verbs over the queue: change places with a run of one's own, and as an Owner say what goes first."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from compute.models import Job
from compute.states import JobState
from runs.models import Run
from studio.errors import NotAllowedNow
from studio.live import nudge
from studio.people.actions import note
from studio.people.models import User, Workspace
from studio.people.permissions import Right, require
from studio.work import queue

Place = tuple[datetime, int]
WAITS = (JobState.PREPARING, JobState.WAITING)
PRIORITIES = range(-1000, 1001)
A_MOMENT = timedelta(microseconds=1)  # the least by which two places differ


@transaction.atomic
def move(run: Run, *, up: bool, by: User) -> None:
    """Let a run of one's own change places with the next own one before (`up`) or behind it in its target's queue.

    They swap the moments since which they wait, so nobody else's run is overtaken. Raises NotAllowedNow where there
    is none to change places with, of the same priority.
    """
    require(by, Right.SUBMIT_RUN, run.workspace)
    own = list(
        Job.objects.select_for_update(of=("self",))
        .filter(target__workspace=run.workspace, submitted_by=by, state__in=WAITS)
        .order_by("pk")
    )
    job = next((job for job in own if job.run_id == run.run_id), None)
    if job is None:
        raise NotAllowedNow(
            _("%(run)s does not wait, or is not yours.") % {"run": run.display_name},
            _("Own runs that wait can be moved among themselves; an Owner may set priorities."),
        )
    alike = [each for each in own if (each.target_id, each.priority) == (job.target_id, job.priority)]
    alike.sort(key=lambda each: (each.enqueued_at, each.pk))
    at = alike.index(job)
    to = at - 1 if up else at + 1
    if not 0 <= to < len(alike):
        raise NotAllowedNow(
            _("%(run)s has no run of yours of the same target and priority to change places with.")
            % {"run": run.display_name},
            _("Look at the queue again: it may have moved meanwhile."),
        )
    wanted = list(alike)
    wanted[at], wanted[to] = alike[to], alike[at]
    for each, place in zip(wanted, places([job.pk for job in wanted], [place_of(job) for job in alike]), strict=True):
        Job.objects.filter(pk=each.pk).exclude(enqueued_at=place).update(enqueued_at=place)
    facts = {"before": at + 1, "after": to + 1}
    note(run.workspace, by, "queue.move", run, kind="run", name=run.display_name, detail=facts)
    _moved(run.workspace)


def place_of(job: Job) -> Place:
    """Return what tells a job's place from those of its priority: the earlier moment first, then the smaller id."""
    return job.enqueued_at, job.pk


def places(ids: list[int], old: list[Place]) -> Iterator[datetime]:
    """Yield the moments that put `ids` in this order into the places `old`, which are in order, overtaking nobody else.

    Each comes exactly into its place or a moment behind it: of two in one moment, the ids decide.
    """
    last: Place | None = None
    for pk, (moment, before) in zip(ids, old, strict=True):
        at = moment if pk >= before else moment + A_MOMENT
        if last is not None and (at, pk) <= last:
            at = last[0] if pk > last[1] else last[0] + A_MOMENT
        last = (at, pk)
        yield at


@transaction.atomic
def set_priority(workspace: Workspace, run_ids: Iterable[str], priority: int, *, by: User) -> int:
    """Give waiting runs a priority: the higher goes first. Return how many have another one than before.

    Raises NotAllowedNow for a priority that is none.
    """
    require(by, Right.ORDER_QUEUE, workspace)
    if priority not in PRIORITIES:
        raise NotAllowedNow(
            _("A priority is a whole number from %(least)d to %(most)d.")
            % {"least": PRIORITIES[0], "most": PRIORITIES[-1]},
            _("The higher goes first; 0 is what every run begins with."),
        )
    waiting = Job.objects.select_for_update(of=("self",)).filter(target__workspace=workspace, state__in=WAITS)
    jobs = {job.run_id: job for job in waiting.filter(run_id__in=list(run_ids)).order_by("pk")}
    changed = 0
    for run in Run.objects.filter(workspace=workspace, run_id__in=jobs).select_related("workspace"):
        job = jobs[run.run_id]
        if job.priority == priority:
            continue
        Job.objects.filter(pk=job.pk).update(priority=priority)
        facts = {"before": job.priority, "after": priority}
        note(workspace, by, "queue.priority", run, kind="run", name=run.display_name, detail=facts)
        changed += 1
    if changed:
        _moved(workspace)
    return changed


def _moved(workspace: Workspace) -> None:
    """Nudge the pages that show the queue, and let the scheduler look."""
    nudge(workspace.group, "queue:moved")
    queue("compute.tasks.schedule")
