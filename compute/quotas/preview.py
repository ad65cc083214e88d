"""Who is affected by a limit before it is set."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute import sizes
from compute.models import ComputeTarget
from compute.quotas.actions import Outcome, Status, Wanted, preview_limits
from compute.quotas.bounds import cores_said, with_use
from compute.quotas.models import ALL, Limit, QuotaRequest, Scope
from compute.states import ProvisioningState
from studio.people.models import User, Workspace

MOST_NAMED = 5


@dataclass(frozen=True)
class Preview:
    """What would become of an edit: refused and why, or whom it affects, a sentence each."""

    outcome: Outcome
    sentences: list[str]

    @property
    def is_refused(self) -> bool:
        return self.outcome.status != Status.SUCCESS


def preview(wanted: Wanted, *, by: User) -> Preview:
    """Return what would become of it. Raises NeedsRight."""
    (outcome,) = preview_limits([wanted], by=by)
    if outcome.status != Status.SUCCESS:
        return Preview(outcome, [outcome.message])
    sentences = list(_sentences(wanted, outcome.limit, by)) if wanted.cores is not None else []
    return Preview(outcome, sentences or [_("Nobody is affected now.")])


def _sentences(wanted: Wanted, limit: Limit | None, by: User) -> Iterator[str]:
    cores = wanted.cores or 0
    used = _used(wanted, limit)
    if used > cores:
        said = _("%(used)d cores are in use: nothing is stopped, and nothing more starts until fewer than %(n)d are.")
        yield said % {"used": used, "n": cores + 1}
    if wanted.scope in {Scope.STUDIO, Scope.WORKSPACE}:
        yield from _clusters(wanted, cores, by)
        yield from _smaller_ones(wanted, cores, by)
    opened = QuotaRequest.objects.open().filter(
        scope=wanted.scope, family=sizes.family_key(wanted.family), priority=wanted.priority,
        team=wanted.team, person=wanted.person,
    )  # fmt: skip
    if wanted.workspace is not None:
        opened = opened.filter(workspace=wanted.workspace)
    if n := opened.count():
        said = ngettext("%(n)d request waits for more of it.", "%(n)d requests wait for more of it.", n)
        yield said % {"n": n}


def _used(wanted: Wanted, limit: Limit | None) -> int:
    if limit is not None and limit.pk and limit.cores is not None:
        return next((bound.used for bound in with_use(Limit.objects.filter(pk=limit.pk))), 0)
    return 0


def _clusters(wanted: Wanted, cores: int, by: User) -> Iterator[str]:
    """Name the clusters that could grow to their maximum before, and no longer can."""
    key = sizes.family_key(wanted.family)
    rows = ComputeTarget.objects.existing().filter(vm_priority=wanted.priority)
    rows = rows.exclude(provisioning_state=ProvisioningState.DELETING).select_related("workspace").order_by("name")
    if wanted.workspace is not None:
        rows = rows.filter(workspace=wanted.workspace)
    of_family = [size for size in sizes.all_sizes() if key in {ALL, size.family_key}]
    vcpus = {size.name: size.vcpus for size in of_family}
    mine = set(Workspace.objects.for_user(by).values_list("pk", flat=True))
    found, hidden = [], 0
    for target in rows.filter(vm_size__in=vcpus):
        fits = cores // vcpus[target.vm_size]
        if target.max_nodes <= fits:
            continue
        if target.workspace_id in mine:
            found.append(_("%(name)s (%(fits)d of %(max)d nodes)") % {
                "name": target.name, "fits": fits, "max": target.max_nodes,
            })  # fmt: skip
        else:
            hidden += 1
    if found or hidden:
        yield _("Grow less far: %(names)s.") % {"names": _named(found, hidden)}


def _smaller_ones(wanted: Wanted, cores: int, by: User) -> Iterator[str]:
    """Name the limits inside of it that would be above it."""
    inside = Limit.objects.filter(family=sizes.family_key(wanted.family), priority=wanted.priority, cores__gt=cores)
    if wanted.workspace is None:
        inside = inside.exclude(workspace=None).filter(team=None, person=None)
    else:
        inside = inside.filter(workspace=wanted.workspace).exclude(team=None, person=None)
    mine = set(Workspace.objects.for_user(by).values_list("pk", flat=True))
    rows = list(inside.select_related("workspace", "team", "person"))
    named = [f"{row.person or row.team or row.workspace} ({row.cores})" for row in rows if row.workspace_id in mine]
    if rows:
        said = _("Their own limits of %(cores)s are above it, and count no further: %(names)s.")
        facts = {"cores": cores_said(sizes.family_key(wanted.family), wanted.priority)}
        yield said % (facts | {"names": _named(named, len(rows) - len(named))})


def _named(names: list[str], hidden: int) -> str:
    rest = len(names[MOST_NAMED:]) + hidden
    return ", ".join(names[:MOST_NAMED] + ([_("%(n)d others") % {"n": rest}] if rest else []))
