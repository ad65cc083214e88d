"""This computer: a job is a detached process on it."""

from collections.abc import Iterator

from django.utils.translation import gettext_lazy, gettext_noop

from compute import forms, launch, processes, procfs
from compute.drivers.base import Driver, Executes, Handle, JobReport, Phase, TargetReport
from compute.models import Job, Node
from compute.states import EndReason, ProvisioningState


class OnThisMachine(Executes):
    """Jobs that are detached processes of this machine, one a rank."""

    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        """Yield one report on all ranks together; their output is in the studio's log files already."""
        reports = [processes.look(rank) for rank in handle["ranks"]]
        ended = [r for r in reports if r.phase == Phase.ENDED]
        # The first to fail speaks for the job: the others were ended because of it.
        failed = sorted(
            (r for r in ended if r.exit_code != 0 or r.reason != EndReason.EXITED),
            key=lambda r: r.ended_at.timestamp() if r.ended_at else float("inf"),
        )
        if len(ended) < len(reports):
            code = (failed[0].exit_code or 1) if failed else None
            yield JobReport(Phase.RUNNING, exit_code=code)
            return
        speaks = failed[0] if failed else reports[0]
        reason, detail = speaks.reason, speaks.detail
        if reason == EndReason.LOST and any(rank["boot_id"] != procfs.boot_id() for rank in handle["ranks"]):
            # Told to end by a machine that goes down, or gone with it: its place was taken, and no fault of its own.
            reason, detail = EndReason.PREEMPTED, gettext_noop("The machine restarted while it ran.")
        elif processes.may_be_going_down(speaks):  # who is right, the next boot will know
            yield JobReport(Phase.RUNNING)
            return
        yield JobReport(
            Phase.ENDED,
            exit_code=speaks.exit_code,
            reason=reason,
            detail=detail,
            receipt={"ranks": [r.receipt for r in reports]},
        )

    def cancel(self, handle: Handle, because: EndReason) -> None:
        for rank in handle["ranks"]:
            processes.end(rank, because)


class LocalDriver(Driver, OnThisMachine):
    label = gettext_lazy("Local computer")
    form = forms.TargetForm

    def refresh(self) -> TargetReport:
        return TargetReport(ProvisioningState.SUCCEEDED)

    def submit(self, job: Job) -> Handle:
        nowhere: list[Node | None] = [None] * job.node_count
        return launch.launch(job, nowhere)
