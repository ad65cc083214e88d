"""What a plan's facts are in one sentence for people: why a job waits, why it never can, why nodes come and go."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute import sizes
from compute.engines.facts import Cause, Refusal, RefusalKind, Wait, WaitKind
from compute.models import ComputeTarget, Job
from compute.quotas.bounds import Bound
from compute.sizes import GB


def why_it_waits(
    wait: Wait, job: Job, *, jobs: dict[int, Job], targets: dict[int, ComputeTarget], bounds: dict[int, Bound]
) -> str:
    """Return why `job` waits. `jobs`, `targets` and `bounds` hold those that the facts of `wait` name."""
    if wait.ceiling in bounds:
        return _why_quota(wait, job, bounds[wait.ceiling], targets)
    name = job.target.name
    nodes = ngettext("%(n)d node of %(name)s", "%(n)d nodes of %(name)s", wait.nodes) % {"n": wait.nodes, "name": name}
    held_by = _names(_ours([(targets[pk], targets[pk].name) for pk in wait.clusters if pk in targets], job.target))
    held_by_runs = [jobs[pk] for pk in wait.jobs if pk in jobs]
    running = _ours([(targets.get(run.target_id), run.run_name) for run in held_by_runs], job.target)
    match wait.kind:
        case WaitKind.NODES_BUSY:
            text = _("Waits for %(nodes)s: %(busy)d of %(max)d busy, next free when %(runs)s ends.") % {
                "nodes": nodes,
                "busy": wait.busy,
                "max": wait.maximum,
                "runs": _names(running, _(" or ")) or _("a run"),
            }
        case WaitKind.NODES_STARTING:
            text = _("Waits for %(nodes)s to start.") % {"nodes": nodes}
        case WaitKind.HOST_FULL:
            text = _("Waits for %(nodes)s: this machine has no %(what)s left; %(who)s.") % {
                "nodes": nodes,
                "what": _names([_resource(r) for r in wait.missing], _(" and ")) or _("room"),
                "who": _("it is held by %(names)s") % {"names": held_by} if held_by else _("others wait for it too"),
            }
        case WaitKind.BEHIND:
            ahead = jobs.get(wait.behind or 0)
            first = name_for(ahead.run_name, targets.get(ahead.target_id), job.target) if ahead else _("another run")
            text = _("Waits for %(nodes)s, behind %(run)s, which goes first.") % {
                "nodes": nodes,
                "run": first,
            }
        case WaitKind.ROOM_BEING_MADE:
            text = _("Waits for %(nodes)s: room is being made, other nodes are leaving.") % {"nodes": nodes}
        case WaitKind.KEPT:
            text = _(
                "Waits for %(nodes)s: the minimum of %(names)s keeps the %(what)s it needs. "
                "Lower that minimum, or ask for fewer nodes."
            ) % {
                "nodes": nodes,
                "names": held_by,
                "what": _names([_resource(r) for r in wait.missing], _(" and ")) or _("room"),
            }
        case WaitKind.ENVIRONMENT:
            text = _("Waits for its environment.")
        case WaitKind.CLUSTER_CLOSED:
            text = _("Waits: %(name)s takes no runs now. %(why)s") % {"name": name, "why": job.target.state_reason}
        case WaitKind.QUOTA | WaitKind.NEVER:
            text = why_never(wait.refusal, job.target) if wait.refusal else _("It can no longer be placed.")
    return text


def _why_quota(wait: Wait, job: Job, bound: Bound, targets: dict[int, ComputeTarget]) -> str:
    name, cores = job.target.name, sizes.by_name(job.target.vm_size).vcpus
    if wait.kind is WaitKind.NEVER:
        return _(
            "It needs %(asked)d %(cores)s at once, and the limit is %(limit)d. Ask for more, or for fewer nodes."
        ) % {
            "asked": wait.nodes * cores,
            "cores": bound.cores,
            "limit": bound.limit,
        }
    held_by = _names(_ours([(targets[pk], targets[pk].name) for pk in wait.clusters if pk in targets], job.target))
    nodes = ngettext("%(n)d node of %(name)s", "%(n)d nodes of %(name)s", wait.nodes) % {"n": wait.nodes, "name": name}
    return _("Waits for %(nodes)s: %(left)d of %(limit)d %(cores)s left, and it needs %(asked)d; %(who)s.") % {
        "nodes": nodes,
        "left": bound.left,
        "limit": bound.limit,
        "cores": bound.cores,
        "asked": wait.lacking * cores,
        "who": _("it is held by %(names)s") % {"names": held_by} if held_by else _("the rest is in use"),
    }


def facts_of(wait: Wait) -> dict[str, Any]:
    """Return what a page needs to say who holds what a job waits for, as JSON."""
    return {
        "kind": wait.kind.value,
        "lacking": wait.lacking,
        "jobs": list(wait.jobs),
        "clusters": list(wait.clusters),
        "behind": wait.behind,
    }


def name_for(name: str, of: ComputeTarget | None, reader: ComputeTarget) -> str:
    """Return the name of something of the target `of` as people of `reader`'s workspace may read it."""
    return name if of is not None and of.workspace_id == reader.workspace_id else _("another workspace")


def _ours(named: list[tuple[ComputeTarget | None, str]], reader: ComputeTarget) -> list[str]:
    """Return names in their order, each once: machines are shared, and other workspaces' names are not told."""
    return list(dict.fromkeys(name_for(name, target, reader) for target, name in named))


def why_never(refusal: Refusal, target: ComputeTarget) -> str:
    """Return why so many nodes of `target` can never stand on this machine together."""
    name, amount = target.name, _amount
    if refusal.kind == RefusalKind.TOO_MANY_NODES:
        return ngettext(
            "It asks for %(asked)d nodes, and %(name)s has at most %(max)d node.",
            "It asks for %(asked)d nodes, and %(name)s has at most %(max)d nodes.",
            refusal.available,
        ) % {"asked": refusal.asked, "name": name, "max": refusal.available}
    facts = {
        "n": refusal.nodes,
        "name": name,
        "asked": amount(refusal.resource, refusal.asked),
        "available": amount(refusal.resource, refusal.available),
    }
    if refusal.kind == RefusalKind.NODE_TOO_BIG:
        return _("A node of %(name)s needs %(asked)s, and this machine has %(available)s.") % facts
    return _("%(n)d nodes of %(name)s need %(asked)s together, and this machine has %(available)s.") % facts


def why_nodes_changed(cause: Cause, target: ComputeTarget, *, run: str = "", cluster: str = "") -> str:
    """Return why a cluster's number of nodes changed, as the end of "0 → 2 …". `run`, `cluster`: whom it is for."""
    match cause:
        case Cause.JOB:
            return _("for run %(run)s") % {"run": run}
        case Cause.MINIMUM:
            return _("for its minimum of %(n)d") % {"n": target.min_nodes}
        case Cause.IDLE:
            return _("idle for %(n)d s") % {"n": target.idle_seconds}
        case Cause.ROOM:
            return _("idle, and made room for %(who)s") % {"who": run or cluster}
        case Cause.MAXIMUM:
            return _("above its maximum of %(n)d") % {"n": target.max_nodes}
        case Cause.CLOSED:
            return _("the cluster is being deleted")
        case Cause.UNUSABLE:
            return _("unusable")


def _amount(resource: str, count: int) -> str:
    if resource == "memory_bytes":
        return _("%(n).1f GB of memory") % {"n": count / GB}
    if resource == "gpus":
        return ngettext("%(n)d GPU", "%(n)d GPUs", count) % {"n": count} if count else _("no GPU")
    return ngettext("%(n)d vCPU", "%(n)d vCPUs", count) % {"n": count}


def _resource(name: str) -> str:
    return {"cpus": _("vCPUs"), "memory_bytes": _("memory"), "gpus": _("GPUs")}.get(name, name)


def _names(names: list[str], last: str = "") -> str:
    """Join names as a sentence does; beyond three, the rest are counted."""
    if len(names) > 3:
        names = [*names[:2], _("%(n)d others") % {"n": len(names) - 2}]
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + (last or _(" and ")) + names[-1]
