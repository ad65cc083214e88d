"""Verbs over limits and budgets: each item is checked by itself, and says how it went, as the provider's do."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from django.db import models, transaction
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from compute import sizes
from compute.models import ComputeTarget
from compute.quotas import ledger
from compute.quotas.bounds import promised
from compute.quotas.models import ALL, MOST_CORES, Budget, Limit, Scope
from compute.states import Priority
from studio.errors import NeedsRight, NotAllowedNow
from studio.live import nudge
from studio.people.actions import note
from studio.people.models import Team, User, Workspace
from studio.people.permissions import Right, require

MOST_USD = Decimal(1_000_000_000)


class Status(models.TextChoices):
    """How one item of an edit went. Source: the provider's contract 2020-08-01, updateQuotas."""

    SUCCESS = "Success", gettext_lazy("Changed")
    FAILURE = "Failure", gettext_lazy("Not changed")
    BELOW_MINIMUM = "InvalidQuotaBelowClusterMinimum", gettext_lazy("Below what clusters keep at their minimum")
    ABOVE_STUDIO = "InvalidQuotaExceedsSubscriptionLimit", gettext_lazy("Above the limit of the whole studio")
    NO_FAMILY = "InvalidVMFamilyName", gettext_lazy("No such VM family")
    NOT_FOR_IT = "OperationNotSupportedForSku", gettext_lazy("Cannot be limited by itself")


@dataclass(frozen=True)
class Wanted:
    """A limit as somebody wants it. No workspace: the whole studio's."""

    family: str  # as anybody spells it, or ALL
    cores: int | None  # None: no limit
    priority: str = Priority.DEDICATED
    guaranteed: int | None = None
    workspace: Workspace | None = None
    team: Team | None = None
    person: User | None = None
    version: int | None = None  # the one that was shown, 0: there was none; None: whatever it is now

    @property
    def scope(self) -> Scope:
        if self.person is not None:
            return Scope.PERSON
        if self.team is not None:
            return Scope.TEAM
        return Scope.STUDIO if self.workspace is None else Scope.WORKSPACE


@dataclass(frozen=True)
class Outcome:
    """How an item went: `limit` is the row as it is now, also when another person was faster."""

    wanted: Wanted
    status: Status
    message: str = ""
    limit: Limit | None = None


def set_limits(wanted: list[Wanted], *, by: User) -> list[Outcome]:
    """Store those limits that hold the rules, and say of each how it went. Raises NeedsRight."""
    for item in wanted:
        may_edit(item.workspace, by)
    return [_set_limit(item, by) for item in wanted]


def preview_limits(wanted: list[Wanted], *, by: User) -> list[Outcome]:
    """Say of each limit how it would go, and change nothing. Raises NeedsRight."""
    for item in wanted:
        may_edit(item.workspace, by)
    found = []
    for item in wanted:
        key = sizes.family_key(item.family)
        limit = _found(item, key)
        found.append(Outcome(item, *_judge(item, key, limit), limit))
    return found


def may_edit(workspace: Workspace | None, by: User) -> None:
    """Raise NeedsRight unless `by` may set limits there. None: the whole studio's, which its administrators set."""
    if workspace is not None:
        require(by, Right.EDIT_QUOTA, workspace)
    elif not (by.is_superuser and by.is_active and by.scope is None):
        raise NeedsRight(
            _("Limits of the whole studio are set by its administrators."),
            _("Ask for more: the request reaches them."),
        )


@transaction.atomic
def _set_limit(wanted: Wanted, by: User) -> Outcome:
    ledger.lock()  # nodes, clusters and other limits stand still
    key = sizes.family_key(wanted.family)
    limit = _found(wanted, key)
    status, message = _judge(wanted, key, limit)
    if status != Status.SUCCESS:
        return Outcome(wanted, status, message, limit)
    if limit is None:
        limit = Limit(
            workspace=wanted.workspace, team=wanted.team, person=wanted.person, family=key, priority=wanted.priority,
            version=0,
        )  # fmt: skip
    before = {"cores": limit.cores, "guaranteed": limit.guaranteed}
    after = {"cores": wanted.cores, "guaranteed": wanted.guaranteed}
    if before == after:
        return Outcome(wanted, status, "", limit if limit.pk else None)
    limit.cores, limit.guaranteed = wanted.cores, wanted.guaranteed
    limit.version, limit.updated_at, limit.updated_by = limit.version + 1, timezone.now(), by
    limit.save()
    whose = str(wanted.person or wanted.team or wanted.workspace or "")
    facts = {"before": before, "after": after, "family": key, "priority": wanted.priority, "scope": limit.scope.value}
    name = " ".join(filter(None, [whose, sizes.family_name(key)]))
    note(wanted.workspace, by, "limit.set", limit, kind="limit", name=name, detail=facts | {"whose": whose})
    _tell(wanted.workspace)
    return Outcome(wanted, status, "", limit)


def _tell(workspace: Workspace | None) -> None:
    """Tell open pages that a limit or a budget moved."""
    for space in [workspace] if workspace else Workspace.objects.all():
        nudge(space.group, "quota:moved")


def _found(wanted: Wanted, key: str) -> Limit | None:
    found = Limit.objects.of(wanted.workspace, team=wanted.team, person=wanted.person)
    return found.select_related("updated_by").filter(family=key, priority=wanted.priority).first()


def _judge(wanted: Wanted, key: str, limit: Limit | None) -> tuple[Status, str]:
    """Say whether a limit may be set so, and why not."""
    if key != ALL and key not in sizes.families():
        return Status.NO_FAMILY, _("There is no VM family “%(name)s”.") % {"name": wanted.family[:60]}
    if wanted.priority not in Priority.values:
        return Status.FAILURE, _("“%(name)s” is no priority.") % {"name": str(wanted.priority)[:20]}
    for number in (wanted.cores, wanted.guaranteed):
        if number is not None and not _is_count(number):
            said = _("A limit is a whole number of cores from 0 to %(most)d, or none.")
            return Status.FAILURE, said % {"most": MOST_CORES}
    if (problem := _wrong_scope(wanted, key)) is not None:
        return problem
    if wanted.version is not None and wanted.version != (limit.version if limit else 0):
        return Status.FAILURE, _who_was_faster(limit)
    return _against_others(wanted, key)


def _wrong_scope(wanted: Wanted, key: str) -> tuple[Status, str] | None:
    whole = wanted.scope in {Scope.STUDIO, Scope.WORKSPACE}
    if whole and wanted.guaranteed is not None:
        return Status.FAILURE, _("Cores are guaranteed to teams and people alone.")
    if whole and key != ALL and wanted.priority == Priority.LOW_PRIORITY:
        return Status.NOT_FOR_IT, _("Low priority is one pool for all families: limit that.")
    if wanted.workspace is None and not whole:
        return Status.FAILURE, _("Teams and people have limits in a workspace.")
    if wanted.team is not None and (wanted.person is not None or wanted.team.workspace_id != wanted.workspace.pk):  # type: ignore[union-attr]
        return Status.FAILURE, _("That team is not of this workspace.")
    if wanted.cores is not None and wanted.guaranteed is not None and wanted.guaranteed > wanted.cores:
        return Status.FAILURE, _("More cannot be guaranteed than is allowed.")
    return None


def _against_others(wanted: Wanted, key: str) -> tuple[Status, str]:
    """Hold a limit against the studio's, and against what the minimums of clusters need."""
    if wanted.cores is None or wanted.scope in {Scope.TEAM, Scope.PERSON}:
        return Status.SUCCESS, ""
    if wanted.scope == Scope.WORKSPACE:
        studio = Limit.objects.of(None).filter(family__in=[key, ALL], priority=wanted.priority).exclude(cores=None)
        most = min((row.cores for row in studio if row.cores is not None), default=None)
        if most is not None and wanted.cores > most:
            said = _("%(asked)d cores are more than the %(limit)d of the whole studio.")
            return Status.ABOVE_STUDIO, said % {"asked": wanted.cores, "limit": most}
    kept = promised(wanted.workspace, key, wanted.priority)
    if (needed := sum(kept.values())) > wanted.cores:
        said = ngettext(
            "%(names)s needs %(needed)d cores at its minimum: cannot go below.",
            "%(names)s need %(needed)d cores at their minimums: cannot go below.",
            len(kept),
        )
        return Status.BELOW_MINIMUM, said % {"names": _names(kept), "needed": needed}
    return Status.SUCCESS, ""


def _names(kept: dict[ComputeTarget, int]) -> str:
    names = [target.name for target in kept]
    return ", ".join(names[:3]) + (_(" and %(n)d others") % {"n": len(names) - 3} if len(names) > 3 else "")


def _who_was_faster(limit: Limit | None) -> str:
    if limit is None:
        return _("It is not there any more. Look at it again, and decide.")
    said = _("%(who)s set it to %(cores)s meanwhile. Look at it again, and decide.")
    who = limit.updated_by.username if limit.updated_by else _("Somebody")
    return said % {"who": who, "cores": _("no limit") if limit.cores is None else limit.cores}


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MOST_CORES


@transaction.atomic
def set_budget(
    workspace: Workspace,
    usd_per_month: Decimal | None,
    *,
    by: User,
    team: Team | None = None,
    person: User | None = None,
    version: int | None = None,
) -> Budget | None:
    """Set what may be spent a month; None takes the budget away.

    `version`: the one that was shown, 0 for none. Raises NeedsRight; NotAllowedNow for an amount that is none, or
    when somebody was faster.
    """
    require(by, Right.EDIT_QUOTA, workspace)
    ledger.lock()
    amount = _amount(usd_per_month)
    budget = Budget.objects.filter(workspace=workspace, team=team, person=person).first()
    if version is not None and version != (budget.version if budget else 0):
        now = _("%(usd)s USD") % {"usd": budget.usd_per_month} if budget else _("none")
        raise NotAllowedNow(
            _("Somebody changed this budget meanwhile: it is %(now)s.") % {"now": now},
            _("Look at it again, and decide."),
        )
    before = str(budget.usd_per_month) if budget else None
    if budget is None and amount is None:
        return None
    budget = budget or Budget(workspace=workspace, team=team, person=person, version=0)
    whose = str(person or team or workspace)
    if amount is None:
        note(workspace, by, "budget.remove", budget, kind="budget", name=whose, detail={"before": before})
        budget.delete()
        _tell(workspace)
        return None
    budget.usd_per_month, budget.version = amount, budget.version + 1
    budget.updated_at, budget.updated_by = timezone.now(), by
    budget.warned_for = budget.reached_for = None  # the new amount may be told of again
    budget.save()
    facts = {"before": before, "after": str(amount)}
    note(workspace, by, "budget.set", budget, kind="budget", name=whose, detail=facts)
    _tell(workspace)
    return budget


def _amount(usd: Decimal | None) -> Decimal | None:
    if usd is None:
        return None
    try:
        amount = Decimal(usd).quantize(Decimal("0.01"))
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal(-1)
    if not (amount.is_finite() and 0 <= amount <= MOST_USD):
        raise NotAllowedNow(
            _("A budget is an amount of US dollars from 0 to %(most)s.")
            % {"most": number_format(MOST_USD, decimal_pos=0, force_grouping=True)},
            _("Type a number, or leave it empty for no budget."),
        )
    return amount
