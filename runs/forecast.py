"""When what waits may start: a guess from how long things usually take, or at most may. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Basis(StrEnum):
    """On what a guess rests."""

    TYPICAL = "typical"  # how long runs of the experiment took
    LIMIT = "limit"  # their maximum duration


@dataclass(frozen=True)
class Lasts:
    """How long a run takes, as far as it can be said."""

    typical: timedelta | None = None
    limit: timedelta | None = None

    def end(self, began: datetime, now: datetime) -> "End":
        """Return when one that began then ends; one that lasts longer than usual has only its limit left."""
        if self.typical is not None and began + self.typical > now:
            return End(began + self.typical, frozenset({Basis.TYPICAL}))
        if self.limit is not None:
            return End(max(began + self.limit, now), frozenset({Basis.LIMIT}))
        return NEVER_KNOWN


@dataclass(frozen=True)
class End:
    """When a node is free, or something starts. `at` is None where nobody knows."""

    at: datetime | None
    basis: frozenset[Basis] = frozenset()


NEVER_KNOWN = End(None)


@dataclass(frozen=True)
class Waiting:
    """Something that waits in a cluster's queue, in the queue's order."""

    id: int
    nodes: int
    lasts: Lasts


def starts(free: int, busy: list[tuple[End, int]], queue: list[Waiting], now: datetime) -> dict[int, End]:
    """Return when each of `queue` may start: each gets all its nodes at once, and none passes another.

    `free` nodes are there for it now, or can be made; `busy` says when how many others become free.
    """
    slots = [End(now)] * free + [end for end, count in busy for _n in range(count)]
    found: dict[int, End] = {}
    last = End(now)
    for waiting in queue:
        slots.sort(key=lambda end: (end.at is None, end.at or now))
        mine, slots = slots[: waiting.nodes], slots[waiting.nodes :]
        if len(mine) < waiting.nodes or last.at is None or any(end.at is None for end in mine):
            start = NEVER_KNOWN
        else:
            at = max([last.at, *(end.at for end in mine if end.at is not None)])
            start = End(at, last.basis.union(*(end.basis for end in mine)))
        found[waiting.id] = last = start
        end = NEVER_KNOWN if start.at is None else waiting.lasts.end(start.at, start.at)
        slots += [End(end.at, start.basis | end.basis)] * waiting.nodes
    return found
