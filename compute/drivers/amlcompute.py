"""Clusters that are created and resized here: the cluster's words; its nodes come from an engine."""

from collections.abc import Sequence
from typing import ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import forms, launch, sizes
from compute.drivers.base import Driver, Handle, Provisions, Queues, Resizes, TargetReport
from compute.drivers.local import OnThisMachine
from compute.engines import embedded
from compute.models import Job, Node
from compute.scheduling import refused
from compute.states import ProvisioningState
from studio.errors import CannotEverRun


class AmlComputeDriver(Driver, Provisions, Resizes, Queues, OnThisMachine):
    label = gettext_lazy("Compute cluster")
    form: ClassVar = forms.ClusterForm

    def refresh(self) -> TargetReport:
        """Say whether its machine can still host the cluster's nodes: GPUs and memory come and go with a restart."""
        machines = [self.target.host] if self.target.host else []  # none yet: any that can
        verdict = embedded.host_verdict(sizes.by_name(self.target.vm_size), *machines)
        if verdict:
            return TargetReport(ProvisioningState.FAILED, verdict)
        host = self.target.host
        return TargetReport(ProvisioningState.SUCCEEDED, embedded.why_gone(host) if host else "")

    def create(self) -> TargetReport:
        report = self.refresh()
        if report.state == ProvisioningState.FAILED:
            raise CannotEverRun(
                _("This machine cannot host %(size)s: %(why)s") % {"size": self.target.vm_size, "why": report.reason},
                _("Choose a smaller size."),
            )
        self.resize(range(self.target.min_nodes, self.target.max_nodes + 1))
        return report

    def resize(self, nodes: range) -> None:
        """Check that the minimum fits on this machine; the scheduler does the rest, as work comes and goes."""
        if nodes.start and (reason := refused(self.target, nodes.start, maximum=nodes.stop - 1)):
            raise CannotEverRun(reason, _("Lower the minimum number of nodes, or choose a smaller size."))

    def delete(self) -> TargetReport:
        return TargetReport(ProvisioningState.DELETING)

    def node_count_limit(self) -> int:
        """Return how many nodes one job can have: the maximum, or what fits on this machine at once."""
        return min(
            self.target.max_nodes, embedded.how_many(embedded.host_of(self.target), sizes.by_name(self.target.vm_size))
        )

    def submit(self, job: Job) -> Handle:
        nodes: Sequence[Node] = sorted(job.nodes.all(), key=lambda node: job.placed_on.index(node.node_id))
        return launch.launch(job, list(nodes))
