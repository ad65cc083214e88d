"""Verbs over compute targets: create, resize, delete, preempt. Each writes down who did it."""

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute import jobs, names, scheduling, sizes
from compute.drivers.base import Provisions, Queues, Resizes
from compute.engines import embedded
from compute.models import ComputeTarget, Job
from compute.quotas import ledger
from compute.quotas.verdict import verdict
from compute.states import EndReason, JobState, NodeState, Priority, ProvisioningState
from studio.errors import NotAllowedNow, NotThere
from studio.people.actions import note
from studio.people.models import Team, User, Workspace
from studio.work import queue

CLUSTER, LOCAL = "AmlCompute", "local"


def create_cluster(
    workspace: Workspace,
    *,
    by: User,
    name: str,
    vm_size: str,
    vm_priority: str,
    min_nodes: int,
    max_nodes: int,
    idle_seconds: int = 120,
    description: str = "",
    tags: dict[str, str] | None = None,
    identity: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    token: UUID | None = None,
) -> ComputeTarget:
    """Create a cluster; the same `token` again returns the cluster it created.

    Raises NotAllowedNow for a name that is taken, CannotEverRun for a size this machine cannot host, QuotaExceeded
    when the cores of its minimum, or of a first node, are not to be had.
    """
    names.validate(name)
    check_identity(identity or {})
    size = sizes.by_name(vm_size)
    priority = Priority(vm_priority)
    target = ComputeTarget(
        workspace=workspace,
        name=name,
        kind=CLUSTER,
        description=description,
        tags=tags or {},
        config=config or {},
        vm_size=size.name,
        vm_priority=priority,
        price_usd_per_hour=size.price(priority),
        min_nodes=min_nodes,
        max_nodes=max_nodes,
        idle_seconds=idle_seconds,
        identity=identity or {},
        created_by=by,
        token=token,
    )
    target.host = embedded.choose(size)
    try:
        with transaction.atomic():
            ledger.lock()  # whoever else creates one, or sets a limit, comes before or after
            if token and (made := ComputeTarget.objects.filter(token=token, workspace=workspace).first()):
                return made
            verdict(workspace, size, priority, min_nodes=min_nodes, max_nodes=max_nodes).enforce()
            target.provisioning_state = target.able(Provisions).create().state
            target.save(force_insert=True)
            facts = {
                "size": size.name,
                "priority": priority,
                "nodes": [min_nodes, max_nodes],
                "idle_seconds": idle_seconds,
            }
            note(workspace, by, "target.create", target, kind="target", name=name, detail={"after": facts})
            target.moved()
            _look_again()
    except IntegrityError as exc:
        made = ComputeTarget.objects.filter(token=token, workspace=workspace).first() if token else None
        if made is not None:
            return made
        raise NotAllowedNow(
            _("This workspace has a compute target named “%(name)s” already.") % {"name": name},
            _("Choose another name; upper and lower case count as the same."),
        ) from exc
    return target


def ensure_local(workspace: Workspace) -> ComputeTarget:
    """Return the workspace's local computer, which every workspace has."""
    try:
        with transaction.atomic():
            target, _made = ComputeTarget.objects.get_or_create(
                workspace=workspace,
                name=LOCAL,
                deleted_at=None,
                defaults={"kind": LOCAL, "provisioning_state": ProvisioningState.SUCCEEDED},
            )
    except IntegrityError:
        target = ComputeTarget.objects.get(workspace=workspace, name=LOCAL, deleted_at=None)
    return target


@transaction.atomic
def resize_target(target: ComputeTarget, *, by: User, min_nodes: int, max_nodes: int, idle_seconds: int) -> None:
    """Change the scale settings.

    Raises NotAllowedNow while it is deleted, CannotEverRun for too many nodes, QuotaExceeded for a higher minimum
    whose cores are not to be had.
    """
    ledger.lock()
    target = _locked(target)
    before = {"nodes": [target.min_nodes, target.max_nodes], "idle_seconds": target.idle_seconds}
    after = {"nodes": [min_nodes, max_nodes], "idle_seconds": idle_seconds}
    if min_nodes > max_nodes:
        raise NotAllowedNow(_("The minimum cannot be above the maximum."), _("Lower the minimum number of nodes."))
    if before == after:
        return
    if min_nodes > target.min_nodes:
        size, priority = sizes.by_name(target.vm_size), target.vm_priority
        asked = verdict(target.workspace, size, priority, min_nodes=min_nodes, max_nodes=max_nodes, target=target)
        asked.enforce()
    target.able(Resizes).resize(range(min_nodes, max_nodes + 1))
    target.min_nodes, target.max_nodes, target.idle_seconds = min_nodes, max_nodes, idle_seconds
    target.save(update_fields=["min_nodes", "max_nodes", "idle_seconds", "modified_at"])
    note(
        target.workspace, by, "target.resize", target,
        kind="target", name=target.name, detail={"before": before, "after": after},
    )  # fmt: skip
    target.moved()
    _look_again()


@transaction.atomic
def set_identity(target: ComputeTarget, *, by: User, identity: dict[str, Any]) -> None:
    """Assign a managed identity, or take it away with {}."""
    target = _locked(target)
    check_identity(identity)
    before, target.identity = target.identity, identity
    if before == identity:
        return
    target.save(update_fields=["identity", "modified_at"])
    note(
        target.workspace, by, "target.identity", target,
        kind="target", name=target.name, detail={"before": before, "after": identity},
    )  # fmt: skip
    target.moved()


def check_identity(identity: dict[str, Any]) -> None:
    """Hold the rule: one system-assigned identity or one or more user-assigned ones, never both.

    Raises NotAllowedNow with the clause that fails. Source: facts I, from the provider's documentation.
    """
    kind, ids = identity.get("type", "None"), identity.get("ids", [])
    if not identity or (kind == "SystemAssigned" and not ids):
        return
    hint = _("Choose the system-assigned identity, or one or more user-assigned ones, never both.")
    if kind == "SystemAssigned":
        raise NotAllowedNow(_("A system-assigned identity cannot stand beside user-assigned ones."), hint)
    if kind != "UserAssigned":
        raise NotAllowedNow(_("“%(kind)s” is not a kind of identity a cluster can have.") % {"kind": kind}, hint)
    if not ids:
        raise NotAllowedNow(_("A user-assigned identity needs its resource id."), hint)
    for resource_id in ids:
        if problem := names.check_identity_id(resource_id):
            raise NotAllowedNow(problem, hint)


@transaction.atomic
def delete_target(target: ComputeTarget, *, by: User) -> None:
    """Delete a cluster: its jobs are ended, its nodes leave, and its name is free again when they are gone."""
    target = _locked(target)
    target.able(Provisions)
    target.provisioning_state = ProvisioningState.DELETING
    target.state_reason = gettext_noop("%(user)s deletes it; its runs end and its nodes leave.") % {"user": by.username}
    target.save(update_fields=["provisioning_state", "state_reason", "modified_at"])
    note(target.workspace, by, "target.delete", target, kind="target", name=target.name)
    for job in target.jobs.active():
        detail = gettext_noop("%(user)s deleted the cluster %(name)s.") % {"user": by.username, "name": target.name}
        if job.state in {JobState.PREPARING, JobState.WAITING}:
            jobs.end_unstarted(job, EndReason.CANCELED, detail)
        else:
            _end_later(job, EndReason.CANCELED, detail)
    target.moved()
    _look_again()


@transaction.atomic
def preempt_node(target: ComputeTarget, node_id: str, *, by: User) -> None:
    """Take a node away by hand, as a provider would, to see how its run takes it."""
    target = _locked(target)
    node = target.nodes.filter(node_id=node_id).first()
    if node is None:
        raise NotThere(
            _("The cluster has no node %(node)s any more.") % {"node": node_id}, _("Look at the list again.")
        )
    if node.state not in {NodeState.IDLE, NodeState.RUNNING}:
        raise NotAllowedNow(
            _("Node %(node)s is %(state)s.") % {"node": node_id, "state": NodeState(node.state).label},
            _("Only an idle or a running node can be preempted."),
        )
    reason = gettext_noop("%(user)s preempted it by hand.") % {"user": by.username}
    scheduling.preempt(node, reason)
    note(target.workspace, by, "node.preempt", target, kind="target", name=target.name, detail={"node": node_id})
    _look_again()


def refresh_target(target: ComputeTarget) -> None:
    """Ask the driver how the target is, and store what changed. A target that is deleted is left alone."""
    if target.provisioning_state == ProvisioningState.DELETING or target.why_held:
        return
    report = target.driver.refresh()
    changed = ComputeTarget.objects.filter(pk=target.pk, provisioning_state=target.provisioning_state).exclude(
        provisioning_state=report.state, state_reason=report.reason
    )
    with transaction.atomic():
        if changed.update(provisioning_state=report.state, state_reason=report.reason):
            target.moved()


def cannot_ever_run(target: ComputeTarget, node_count: int) -> str | None:
    """Return in one sentence why a run of `node_count` nodes can never be placed on `target`, or None."""
    if not target.takes_runs:
        return _("%(name)s takes no runs: it is %(state)s. %(reason)s") % {
            "name": target.name,
            "state": str(ProvisioningState(target.provisioning_state).label).lower(),
            "reason": target.state_reason,
        }
    if not isinstance(target.driver, Queues):
        if node_count > 1:
            return _("%(name)s is one computer; a run on it has one node.") % {"name": target.name}
        return None
    return scheduling.refused(target, node_count)


def check_quota(target: ComputeTarget, node_count: int, *, person: User, team: Team | None) -> None:
    """Raise QuotaExceeded when so many nodes for a run of `person` are more than a whole limit of cores allows."""
    if size := sizes.find(target.vm_size):
        asked = verdict(target.workspace, size, target.vm_priority, node_count=node_count, person=person, team=team)
        asked.enforce()


def _locked(target: ComputeTarget) -> ComputeTarget:
    found = (
        ComputeTarget.objects.select_for_update(of=("self",))
        .select_related("workspace")
        .filter(pk=target.pk, deleted_at=None)
        .first()
    )
    if found is None or found.provisioning_state == ProvisioningState.DELETING:
        raise NotAllowedNow(_("%(name)s is being deleted.") % {"name": target.name}, _("Create another one."))
    return found


def _end_later(job: Job, because: EndReason, detail: str) -> None:
    queue("compute.tasks.end_job", job.pk, because, detail)


def _look_again() -> None:
    """Let the scheduler look once this is committed."""
    queue("compute.tasks.schedule")
