"""Verbs over prices: set one, and take it back. Each is written down."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from compute.models import ComputeTarget, Host
from compute.prices.models import GivenPrice, Unit
from studio.live import nudge
from studio.people.actions import note
from studio.people.models import User, Workspace


@transaction.atomic
def price_size(
    workspace: Workspace, vm_size: str, priority: str, usd: Decimal | None, *, region: str, as_of: date, by: User
) -> None:
    """Say what a node of a size costs in Azure, in place of its list price; None: the list price again."""
    key = {"vm_size": vm_size, "priority": priority}
    _set(workspace, key, usd, {"region": region, "as_of": as_of}, by=by, name=f"{vm_size} {priority}")


@transaction.atomic
def price_machine(workspace: Workspace, host: Host, usd: Decimal | None, unit: Unit, *, by: User) -> None:
    """Say what nodes on a machine cost this workspace; None: nothing."""
    facts = {"unit": unit, "as_of": timezone.localdate()}
    _set(workspace, {"host": host}, usd, facts, by=by, name=host.name)


@transaction.atomic
def price_target(target: ComputeTarget, usd: Decimal | None, *, by: User) -> None:
    """Say what an hour of an attached target costs; None: it has no price."""
    _set(target.workspace, {"target": target}, usd, {"as_of": timezone.localdate()}, by=by, name=target.name)


def _set(
    workspace: Workspace, key: dict[str, Any], usd: Decimal | None, facts: dict[str, Any], *, by: User, name: str
) -> None:
    Workspace.objects.select_for_update().get(pk=workspace.pk)  # two people, one price: the later one wins, whole
    before = GivenPrice.objects.filter(workspace=workspace, **key).first()
    if usd is None and before is None:
        return
    detail = {"before": _said(before)}
    if usd is None and before is not None:
        row = before
        GivenPrice.objects.filter(pk=before.pk).delete()
        detail["after"] = _said(None)
    else:
        made = {"usd_per_hour": usd, "set_by": by, "set_at": timezone.now(), **facts}
        row, _new = GivenPrice.objects.update_or_create(workspace=workspace, **key, defaults=made)
        detail["after"] = _said(row)
    note(workspace, by, "price.set", row, kind="price", name=name, detail=detail)
    nudge(workspace.group, "prices:moved")


def _said(row: GivenPrice | None) -> dict[str, str] | None:
    if row is None:
        return None
    said = {"usd_per_hour": str(row.usd_per_hour), "unit": row.unit, "as_of": row.as_of.isoformat()}
    return said | ({"region": row.region} if row.region else {})
