"""Machines of clusters whose workers do not answer any more: what waits for them says so, what is deleted is let go."""

from django.conf import settings
from django.db import transaction

from compute import jobs, processes
from compute.engines import embedded
from compute.models import Job, Node
from compute.quotas import ledger
from compute.states import EndReason, JobState, ProvisioningState

MOST_AT_ONCE = 500


def look_after_what_waits() -> None:
    """Have queued jobs say that their machine is gone, and end what was deleted with it."""
    for host in embedded.gone():
        reason = embedded.why_gone(host)
        there = Job.objects.active().filter(target__host=host).select_related("target__workspace")
        for job in there.filter(target__provisioning_state=ProvisioningState.DELETING)[:MOST_AT_ONCE]:
            jobs.give_up(job, reason)
        waiting = there.filter(state__in=[JobState.PREPARING, JobState.WAITING]).exclude(wait_reason=reason)
        for job in waiting[:MOST_AT_ONCE]:
            with transaction.atomic():
                if Job.objects.filter(pk=job.pk, state=job.state).update(wait_reason=reason):
                    jobs.tell(job)
        nodes = Node.objects.filter(host=host, target__provisioning_state=ProvisioningState.DELETING)
        idle = nodes.exclude(job__in=Job.objects.active())
        if idle.exists():
            with transaction.atomic():
                ledger.remove(idle)


def end_what_was_let_go() -> None:
    """End the processes of this machine that were given up while it did not answer. Those that ended are fine."""
    given_up = Job.objects.filter(target__host__name=settings.HOST_NAME, state=JobState.ENDED)
    for job in given_up.exclude(target__deleted_at=None).exclude(handle={}).order_by("-pk")[:MOST_AT_ONCE]:
        for rank in job.handle.get("ranks", []):
            processes.end(rank, EndReason.CANCELED)
