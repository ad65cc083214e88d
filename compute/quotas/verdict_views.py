"""What the forms show of a verdict: the wizard's, the one of scale settings, and the one that submits a run."""

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.http import urlencode

from compute import sizes
from compute.engines.facts import WaitKind
from compute.models import ComputeTarget, Job
from compute.quotas.asking import ask_url
from compute.quotas.verdict import Verdict, verdict
from compute.sizes import VmSize
from compute.states import JobState
from studio.http import StudioRequest
from studio.people.actions import team_of

if TYPE_CHECKING:
    from compute.forms import ScaleForm

LEAST_SLID, MOST_SLID = 10, 100  # nodes at the end of a slider


def most_slid(judged: Verdict | None, size: VmSize | None, now: int) -> int:
    """Return at how many nodes a slider ends: at twice the limit, so that one sees where it lies."""
    whole = judged.limit // size.vcpus if judged and judged.limit is not None and size else 0
    return max(now, min(MOST_SLID, max(LEAST_SLID, 2 * whole)))


def verdict_context(request: StudioRequest, form: "ScaleForm") -> dict[str, Any]:
    """Return what the form of scale settings shows of what becomes of it."""
    target, size = form.target, form.size
    if target is None or size is None:
        return {"judged": None, "ask": "", "most_slid": LEAST_SLID}
    typed = form.cleaned_data if form.is_bound and form.errors is not None else {}
    low, high = (int(typed.get(name) or getattr(target, name)) for name in ("min_nodes", "max_nodes"))
    judged = form.judged or verdict(
        target.workspace, size, target.vm_priority, min_nodes=low, max_nodes=max(1, low, high), target=target
    )
    ask = ask_url(
        request.workspace, back=request.path, size=size.name, priority=target.vm_priority, target=target.name,
        min_nodes=low, max_nodes=high,
    )  # fmt: skip
    return {"judged": judged, "ask": ask, "most_slid": most_slid(judged, size, target.max_nodes)}


def run_verdict_context(request: StudioRequest, target: ComputeTarget | None, node_count: int) -> dict[str, Any]:
    """Return what the form that submits a run shows of what becomes of it on a target."""
    size = sizes.find(target.vm_size) if target and target.vm_size else None
    if target is None or size is None:
        return {"judged": None, "ask": ""}
    person = request.user
    judged = verdict(
        request.workspace, size, target.vm_priority, node_count=node_count, target=target,
        person=person, team=team_of(request.workspace, person),
    )  # fmt: skip
    back = f"{reverse('runs:submit', args=[request.workspace.name])}?{urlencode({'target': target.name})}"
    ask = ask_url(
        request.workspace, back=back, size=size.name, priority=target.vm_priority, target=target.name,
        node_count=node_count,
    )  # fmt: skip
    return {"judged": judged, "ask": ask}


def ask_for_run(job: Job | None) -> str:
    """Return where to ask for more for a run that waits for quota; empty: it waits for something else."""
    if job is None or job.state != JobState.WAITING or job.wait.get("kind") != WaitKind.QUOTA.value:
        return ""
    target, workspace = job.target, job.target.workspace
    back = reverse("runs:detail", args=[workspace.name, job.run_id])
    return ask_url(
        workspace, back=back, size=target.vm_size, priority=target.vm_priority, target=target.name,
        node_count=job.node_count, run=job.run_id,
    )  # fmt: skip
