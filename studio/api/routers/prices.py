"""What an hour of each size, machine and attached target costs, and who says so."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.http import HttpResponse
from ninja import Field, Query, Router, Schema

from compute import sizes
from compute.engines import embedded
from compute.prices.models import GivenPrice, Unit
from compute.prices.price import Price, Prices, Source
from compute.prices.views import MOST_TARGETS, attached_to
from compute.states import Priority
from studio.api.kit import Listed, Paging, listed, place_in
from studio.http import StudioRequest

router = Router()


class Of(StrEnum):
    """What a price is of, in the order of the list."""

    MACHINE = "machine"
    SIZE = "size"
    TARGET = "target"


class PriceFacts(Schema):
    of: Of = Field(description="A machine of the studio, a VM size in Azure, or an attached target.")
    name: str
    priority: str = Field(description="Of a size; else empty.")
    unit: Unit = Field(description="What an hour of which it is; “azure”: as much as the size costs there.")
    usd_per_hour: Decimal = Field(description="Of the unit.")
    currency: str
    region: str
    as_of: date | None = Field(description="The day it is of; null: nobody has set it, and it counts as nothing.")
    source: Source
    list_usd_per_hour: Decimal | None = Field(description="Of a size: its list price, also where an Owner set another.")
    set_by: str
    set_at: datetime | None = Field(description="null: nobody has set it.")


class PricesAsked(Paging):
    of: Of | None = None


@router.get("", response=Listed[PriceFacts])
def list_prices(request: StudioRequest, response: HttpResponse, asked: Query[PricesAsked]) -> dict[str, Any]:
    """What everything costs here, with who says so, of which day and for which region.

    What Owners set stands in the place of the list prices, for this workspace.
    """
    rows = sorted((row for row in _rows(request) if asked.of in {None, row["of"]}), key=_key)
    if (after := place_in(asked.cursor, str, str, str)) is not None:
        rows = [row for row in rows if _key(row) > tuple(after)]
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, rows, *(_key(rows[-1]) if more else ()))


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["of"], row["name"], row["priority"]


def _rows(request: StudioRequest) -> Iterator[dict[str, Any]]:
    prices = Prices(request.workspace)
    given = {(row.vm_size, row.priority): row for row in prices.given if row.vm_size}
    by_host = {row.host_id: row for row in prices.given if row.host_id}
    by_target = {row.target_id: row for row in prices.given if row.target_id}
    for size in sizes.all_sizes():
        for priority in Priority if size.low_priority_capable else [Priority.DEDICATED]:
            price = prices.in_azure(size.name, priority)
            if price is not None:
                row = given.get((size.name, priority))
                yield _row(Of.SIZE, size.name, price, row, priority=priority, listed=size.price(priority))
    for host in embedded.hosts():
        if host.pk:
            row = by_host.get(host.pk)
            yield _row(Of.MACHINE, host.name, _set(row, Source.MACHINE, host.name), row)
    for target in attached_to(request.workspace).order_by("name")[:MOST_TARGETS]:
        row = by_target.get(target.pk)
        yield _row(Of.TARGET, target.name, _set(row, Source.TARGET, ""), row)


def _set(row: GivenPrice | None, source: Source, region: str) -> Price:
    if row is None:
        return Price(Decimal(0), "", None, Source.UNSET)
    return Price(row.usd_per_hour, row.region or region, row.as_of, source)


def _row(
    of: Of, name: str, price: Price, row: GivenPrice | None, *, priority: str = "", listed: Decimal | None = None
) -> dict[str, Any]:
    return {
        "of": of,
        "name": name,
        "priority": str(priority),
        "unit": row.unit if row else Unit.NODE,
        "usd_per_hour": price.amount,
        "currency": price.currency,
        "region": price.region,
        "as_of": price.as_of,
        "source": price.source,
        "list_usd_per_hour": listed,
        "set_by": row.set_by.username if row and row.set_by else "",
        "set_at": row.set_at if row else None,
    }
