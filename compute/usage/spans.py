"""Time as it is charged: a job's time is cut at the ends of days (UTC), and each part priced. Pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

HOUR_MS = 3_600_000
MOST_DAYS = 400  # of a longer job, the rest counts as its last day's: a clock that jumps must not make a million rows


@dataclass(frozen=True)
class Part:
    """What one job used on one day."""

    day: date
    node_ms: int
    core_ms: int
    micro_usd: int
    azure_micro_usd: int

    @property
    def month(self) -> date:
        return self.day.replace(day=1)

    @property
    def amounts(self) -> dict[str, int]:
        return {
            "node_ms": self.node_ms,
            "core_ms": self.core_ms,
            "micro_usd": self.micro_usd,
            "azure_micro_usd": self.azure_micro_usd,
        }


def parts(
    began: datetime, ended: datetime, *, nodes: int, cores: int, micro_usd_per_hour: int, azure_micro_usd_per_hour: int
) -> Iterator[Part]:
    """Yield what a job used each day, oldest first: at least one part, of nothing when the clock went backwards."""
    for day, ms in days(began, ended):
        node_ms = ms * nodes
        yield Part(
            day, node_ms, node_ms * cores, _cost(node_ms, micro_usd_per_hour), _cost(node_ms, azure_micro_usd_per_hour)
        )


def days(began: datetime, ended: datetime) -> Iterator[tuple[date, int]]:
    """Yield each day that a span touches with its milliseconds in it; one of 0 when it ends before it begins."""
    at, end = began.astimezone(UTC), max(began, ended).astimezone(UTC)
    for number in range(1, MOST_DAYS + 1):
        midnight = datetime.combine(at.date() + timedelta(days=1), datetime.min.time(), UTC)
        until = end if number == MOST_DAYS else min(end, midnight)
        yield at.date(), _ms(until) - _ms(at)
        if until >= end:
            return
        at = until


def _ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _cost(node_ms: int, micro_usd_per_hour: int) -> int:
    """Return millionths of a dollar, rounded half up."""
    return (node_ms * micro_usd_per_hour + HOUR_MS // 2) // HOUR_MS
