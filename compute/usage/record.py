"""Usage is written with the job's own moves, in their transactions: when it begins to run, and when it ends."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from compute import sizes
from compute.models import Job
from compute.prices.price import Price, Prices, Source
from compute.states import EndReason
from compute.usage.models import AMOUNTS, DayTotal, JobUsage, MonthTotal, Total
from compute.usage.spans import Part, parts

MICRO = 1_000_000


def began(job: Job) -> JobUsage:
    """Note that a job runs, and what its nodes cost now. Once is enough."""
    target, prices = job.target, Prices(job.target.workspace)
    size, price, azure = sizes.find(target.vm_size), prices.of(target), prices.listed(target)
    facts = {
        "workspace": target.workspace,
        "person": job.submitted_by_id or 0,
        "team": job.team_id or 0,
        "target": target,
        "family": size.family_key if size else "",
        "priority": target.vm_priority,
        "experiment": str(job.spec.get("experiment", ""))[:200],
        "nodes": job.node_count,
        "cores": size.vcpus if size else 0,
        "price": _said(price) | ({"azure": _said(azure)} if azure else {}),
        "micro_usd_per_hour": int(price.amount * MICRO),
        "azure_micro_usd_per_hour": int(azure.amount * MICRO) if azure else 0,
        "started_at": job.started_at or timezone.now(),
    }
    row, _made = JobUsage.objects.get_or_create(job=job, defaults=facts)
    return row


@transaction.atomic
def ended(job: Job) -> None:
    """Add what a job used to the totals. One that never ran used nothing; once is enough."""
    row = JobUsage.objects.select_for_update().filter(job=job).first()
    if row is None and job.started_at is not None:
        row = began(job)
    if row is None or row.ended_at is not None:
        return
    row.ended_at = job.ended_at or timezone.now()
    row.was_preempted = job.end_reason == EndReason.PREEMPTED
    row.has_succeeded = job.end_reason == EndReason.EXITED and job.exit_code == 0
    used = list(parts_of(row))
    for name in AMOUNTS:
        setattr(row, name, sum(getattr(part, name) for part in used))
    row.save()
    for number, part in enumerate(used, 1):
        _add(DayTotal, day_key(row, part), part, jobs=number == len(used))
    by_month = {part.month: [p for p in used if p.month == part.month] for part in used}
    for month, some in sorted(by_month.items()):
        whole = Part(month, *(sum(getattr(p, name) for p in some) for name in AMOUNTS))
        _add(MonthTotal, month_key(row, month), whole, jobs=month == used[-1].month)


def parts_of(row: JobUsage, now: datetime | None = None) -> Iterator[Part]:
    """Yield what a job used each day, until `now` while it goes on."""
    return parts(
        row.started_at,
        row.ended_at or now or timezone.now(),
        nodes=row.nodes,
        cores=row.cores,
        micro_usd_per_hour=row.micro_usd_per_hour,
        azure_micro_usd_per_hour=row.azure_micro_usd_per_hour,
    )


def day_key(row: JobUsage, part: Part) -> dict[str, Any]:
    """Return the key of the day's total that a part of a job belongs to."""
    return _whose(row) | {"day": part.day, "experiment": row.experiment}


def month_key(row: JobUsage, month: date) -> dict[str, Any]:
    """Return the key of the month's total that a part of a job belongs to."""
    return _whose(row) | {"month": month}


def _whose(row: JobUsage) -> dict[str, Any]:
    return {
        "workspace_id": row.workspace_id,
        "person": row.person,
        "team": row.team,
        "target_id": row.target_id,
        "family": row.family,
        "priority": row.priority,
    }


def _add(model: type[Total], key: dict[str, Any], part: Part, *, jobs: bool) -> None:
    """Add to a total, made when it is the first; two at once both count."""
    more: dict[str, int] = part.amounts | {"jobs": int(jobs)}
    found = model._default_manager.filter(**key)
    grown: dict[str, Any] = {name: F(name) + value for name, value in more.items()}
    if found.update(**grown):
        return
    try:
        with transaction.atomic():
            model._default_manager.create(**key, **more)
    except IntegrityError:  # another end was faster to make it
        found.update(**grown)


def _said(price: Price) -> dict[str, Any]:
    as_of = price.as_of.isoformat() if price.as_of else ""
    return {"amount": str(price.amount), "region": price.region, "as_of": as_of, "source": price.source}


def price_of(row: JobUsage) -> Price:
    """Return what an hour of a node cost when the job began."""
    return _price(row.price)


def azure_price_of(row: JobUsage) -> Price | None:
    """Return what it would have cost in Azure, where that was known."""
    return _price(row.price["azure"]) if "azure" in row.price else None


def _price(said: dict[str, Any]) -> Price:
    as_of = date.fromisoformat(said["as_of"]) if said["as_of"] else None
    return Price(Decimal(said["amount"]), said["region"], as_of, Source(said["source"]))
