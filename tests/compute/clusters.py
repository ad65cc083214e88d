"""Rows for the tests of compute pages, made without an engine."""

from decimal import Decimal
from typing import Any

from compute.engines import embedded
from compute.models import ComputeTarget, Job, Node
from compute.states import JobState, NodeState, ProvisioningState
from studio.people.models import Workspace


def make_cluster(workspace: Workspace, name: str = "cpu-cluster", **columns: Any) -> ComputeTarget:
    """Make a cluster that takes runs."""
    facts: dict[str, Any] = {
        "kind": "AmlCompute",
        "vm_size": "Standard_D2_v2",
        "vm_priority": "Dedicated",
        "price_usd_per_hour": Decimal("0.114"),
        "max_nodes": 4,
        "provisioning_state": ProvisioningState.SUCCEEDED,
    }
    return ComputeTarget.objects.create(workspace=workspace, name=name, **facts | columns)


def make_job(target: ComputeTarget, state: JobState = JobState.RUNNING, **columns: Any) -> Job:
    """Make a job of a run of its own."""
    number = Job.objects.count()
    return Job.objects.create(
        target=target, run_id=f"digits_{number}", run_name=f"brave_lemur_{number}", state=state, **columns
    )


def make_node(target: ComputeTarget, state: NodeState = NodeState.IDLE, **columns: Any) -> Node:
    """Make a node of a cluster."""
    return Node.objects.create(
        target=target,
        host=embedded.this_host(),
        node_id=Node.new_id(),
        state=state,
        virtual_cpus=2,
        memory_bytes=7_000_000_000,
        **columns,
    )
