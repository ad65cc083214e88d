"""What runs used and cost: of one run, of a parent with its children; and what a workspace spent."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import chain

from django.utils import timezone

from compute.prices.price import Price
from compute.usage.models import JobUsage
from compute.usage.reads import Line, report, spent, typical_seconds
from compute.usage.record import MICRO, azure_price_of, parts_of, price_of
from compute.usage.spans import HOUR_MS
from runs.models import Run

__all__ = ["Line", "RunUsage", "of_run", "report", "spent", "typical_seconds"]


@dataclass
class Lost:
    """What was lost with an attempt whose node was taken."""

    attempt: int
    time: timedelta
    usd: Decimal


@dataclass
class RunUsage:
    """What a run used so far, with all its attempts, or with all its children."""

    node_hours: Decimal = Decimal(0)
    core_hours: Decimal = Decimal(0)
    usd: Decimal = Decimal(0)
    azure_usd: Decimal = Decimal(0)
    prices: list[Price] = field(default_factory=list)  # each on which the figure rests, once
    azure_prices: list[Price] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    jobs: int = 0  # that ran, or run

    @property
    def rests_on(self) -> str:
        """Return on what the figure rests: "USD, list price, eastus, 2024"."""
        return "; ".join(dict.fromkeys(price.said for price in self.prices))

    @property
    def azure_rests_on(self) -> str:
        """Return on what the figure for Azure rests."""
        return "; ".join(dict.fromkeys(price.said for price in self.azure_prices))


def of_run(run: Run, *, with_children: bool = False) -> RunUsage:
    """Return what a run used until now; `with_children`: with its children's and their children's."""
    ways = ["run", "run__parent", "run__parent__parent"] if with_children and run.children.exists() else ["run"]
    found = (JobUsage.objects.filter(**{f"job__run_attempt__{way}": run}).select_related("job") for way in ways)
    return summed(chain.from_iterable(rows.order_by("pk") for rows in found))


def summed(rows: Iterable[JobUsage]) -> RunUsage:
    """Add up what jobs used until now."""
    total, now = RunUsage(), timezone.now()
    for row in rows:
        used = list(parts_of(row, now))
        usd = Decimal(sum(part.micro_usd for part in used)) / MICRO
        total.node_hours += Decimal(sum(part.node_ms for part in used)) / HOUR_MS
        total.core_hours += Decimal(sum(part.core_ms for part in used)) / HOUR_MS
        total.usd += usd
        total.azure_usd += Decimal(sum(part.azure_micro_usd for part in used)) / MICRO
        total.jobs += 1
        for price, known in ((price_of(row), total.prices), (azure_price_of(row), total.azure_prices)):
            if price is not None and price not in known:
                known.append(price)
        if row.was_preempted and row.ended_at:
            time = max(timedelta(), row.ended_at - row.started_at)
            total.lost.append(Lost(row.job.attempt, time, usd))
    return total
