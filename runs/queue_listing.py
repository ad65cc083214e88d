"""What the page of the queue shows: who waits, why, who holds what they wait for, and when they may start."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import ComputeTarget, Job
from compute.quotas import guarantees
from compute.quotas.verdict_views import ask_for_run
from compute.states import JobState, NodeState
from compute.usage.reads import typical_seconds
from runs.forecast import NEVER_KNOWN, Basis, End, Lasts, Waiting, starts
from runs.models import Attempt, Run
from runs.queueing import WAITS
from studio.people.models import User, Workspace
from studio.said import said

MOST = 1000  # that are shown; with more, filter
LEAST_KNOWN = 3  # runs of an experiment that succeeded, before they say how long others take
AT_ONCE = ("nodes_starting", "room_being_made")  # kinds of waits that are nearly over
IN_TURN = ("nodes_busy", "host_full", "behind")  # kinds that end when others end
NAMED = {100: gettext_lazy("High"), 0: gettext_lazy("Normal"), -100: gettext_lazy("Low")}


@dataclass(frozen=True)
class QueueFilter:
    """What the URL asks of the queue."""

    target: str = ""
    person: str = ""

    @classmethod
    def from_query(cls, query: QueryDict) -> "QueueFilter":
        return cls(query.get("target", "").strip()[:24], query.get("person", "").strip()[:150])

    @property
    def query(self) -> str:
        return "?" + urlencode({k: v for k, v in (("target", self.target), ("person", self.person)) if v})

    @property
    def narrows(self) -> bool:
        return bool(self.target or self.person)

    def lets_through(self, job: Job) -> bool:
        who = job.submitted_by.username if job.submitted_by else ""
        return self.target.lower() in ("", job.target.name.lower()) and self.person in ("", who)


@dataclass
class Entry:
    """One run that waits."""

    place: int  # in the workspace's queue
    job: Job
    run: Run
    start: End = NEVER_KNOWN
    held_by: list[Run] = field(default_factory=list)
    clusters: list[ComputeTarget] = field(default_factory=list)
    others: bool = False  # another workspace holds some of it
    can_go_up: bool = False
    can_go_down: bool = False

    @property
    def priority(self) -> str:
        return str(NAMED.get(self.job.priority, self.job.priority))

    @property
    def reason(self) -> str:
        """Return in one sentence why it waits."""
        if self.job.wait_reason:
            return said(self.job.wait_reason)
        if self.run.reason:
            return said(self.run.reason)
        if self.job.state == JobState.PREPARING:
            return _("Its files and its environment are being made ready.")
        return _("The scheduler has not looked at it yet.")

    @property
    def ask(self) -> str:
        """Return where to ask for more, when it waits for quota."""
        return ask_for_run(self.job)

    @property
    def rests_on(self) -> str:
        """Return on what the time of its start rests."""
        basis = self.start.basis
        if self.start.at is None:
            return ""
        if basis == {Basis.TYPICAL}:
            return _("if runs last as long as those of their experiments did")
        if Basis.LIMIT in basis:
            return _("at the latest: some may run to their maximum duration")
        return _("its nodes are on their way")


class Queue:
    """Everything that waits in a workspace, in the order of the queue, as one of its people sees it."""

    def __init__(self, workspace: Workspace, user: User) -> None:
        self.workspace, self.user, self.now = workspace, user, timezone.now()

    @cached_property
    def jobs(self) -> list[Job]:
        waiting = Job.objects.filter(target__workspace=self.workspace, state__in=WAITS)
        found = list(waiting.in_order().select_related("target__workspace", "submitted_by")[:MOST])
        ready = [job for job in found if job.state == JobState.WAITING and job.target.vm_size]
        first = guarantees.standing(ready).guaranteed  # who is guaranteed the cores goes before who borrows
        return sorted(found, key=lambda job: job.pk not in first)

    @cached_property
    def targets(self) -> list[str]:
        return sorted({job.target.name for job in self.jobs})

    @cached_property
    def people(self) -> list[str]:
        return sorted({job.submitted_by.username for job in self.jobs if job.submitted_by})

    def entries(self, asked: QueueFilter) -> list[Entry]:
        """Return the runs that the filter lets through."""
        attempts = Attempt.objects.filter(job__in=[job.pk for job in self.jobs])
        runs = {a.job_id: a.run for a in attempts.select_related("run__experiment", "run__workspace")}
        held_by, clusters = self._holders()
        found = []
        for place, job in enumerate(self.jobs, 1):
            if job.pk not in runs or not asked.lets_through(job):
                continue
            entry = Entry(place, job, runs[job.pk], self._starts.get(job.pk, NEVER_KNOWN))
            wanted = job.wait.get("jobs", [])
            entry.held_by = [held_by[pk] for pk in wanted if pk in held_by]
            entry.clusters = [clusters[pk] for pk in job.wait.get("clusters", []) if pk in clusters]
            unseen = {*wanted} - held_by.keys() | {*job.wait.get("clusters", [])} - clusters.keys()
            entry.others = bool(unseen)
            entry.can_go_up, entry.can_go_down = self._neighbours(job)
            found.append(entry)
        return found

    def _holders(self) -> tuple[dict[int, Run], dict[int, ComputeTarget]]:
        """Return the runs and clusters that hold what is waited for, of the workspaces that the reader belongs to."""
        ids = {pk for job in self.jobs for pk in job.wait.get("jobs", [])}
        attempts = Attempt.objects.filter(job__in=ids, run__in=Run.objects.for_user(self.user))
        runs = {a.job_id: a.run for a in attempts.select_related("run__workspace")}
        wanted = {pk for job in self.jobs for pk in job.wait.get("clusters", [])}
        seen = ComputeTarget.objects.for_user(self.user).filter(pk__in=wanted).select_related("workspace")
        return runs, {target.pk: target for target in seen}

    def _neighbours(self, job: Job) -> tuple[bool, bool]:
        """Say whether an own run can change places with an own one before it, and with one behind it."""
        if job.submitted_by_id != self.user.pk:
            return False, False
        alike = self._own[job.target_id, job.priority]
        return alike[0] != job.pk, alike[-1] != job.pk

    @cached_property
    def _own(self) -> dict[tuple[int, int], list[int]]:
        own: dict[tuple[int, int], list[int]] = {}
        for job in self.jobs:
            if job.submitted_by_id == self.user.pk:
                own.setdefault((job.target_id, job.priority), []).append(job.pk)
        return own

    # When each may start

    @cached_property
    def _starts(self) -> dict[int, End]:
        found: dict[int, End] = {}
        by_target: dict[int, list[Job]] = {}
        for job in self.jobs:
            if job.wait.get("kind") in AT_ONCE:
                found[job.pk] = End(self.now)
            elif job.wait.get("kind") in IN_TURN:
                by_target.setdefault(job.target_id, []).append(job)
        for queue in by_target.values():
            waiting = [Waiting(job.pk, job.node_count, self._lasts(job)) for job in queue]
            found |= starts(self._free(queue), list(self._busy(queue)), waiting, self.now)
        return found

    def _free(self, queue: list[Job]) -> int:
        """Return how many nodes of the cluster stand idle, kept for the first who waits."""
        return queue[0].target.nodes.filter(state=NodeState.IDLE).count()

    def _busy(self, queue: list[Job]) -> Iterator[tuple[End, int]]:
        """Yield when how many nodes become free of what holds them now."""
        ids = {pk for job in queue for pk in job.wait.get("jobs", [])}
        for job in Job.objects.filter(pk__in=ids).select_related("target"):
            yield self._lasts(job).end(job.started_at or self.now, self.now), job.node_count

    def _lasts(self, job: Job) -> Lasts:
        limit = timedelta(seconds=job.max_seconds) if job.max_seconds else None
        typical = self._typical(job.target.workspace_id, str(job.spec.get("experiment", "")))
        return Lasts(timedelta(seconds=typical) if typical is not None else None, limit)

    def _typical(self, workspace_id: int, experiment: str) -> float | None:
        """Return how long runs of an experiment usually take; of other workspaces nothing is known here."""
        if workspace_id != self.workspace.pk:
            return None
        if experiment not in self._known:
            found = typical_seconds(self.workspace, experiment)
            self._known[experiment] = found[0] if found and found[1] >= LEAST_KNOWN else None
        return self._known[experiment]

    @cached_property
    def _known(self) -> dict[str, float | None]:
        return {}


def waiting_count(workspace: Workspace) -> Any:
    """Return the jobs that wait in a workspace, to be counted."""
    return Job.objects.filter(target__workspace=workspace, state__in=WAITS)
