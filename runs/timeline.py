"""The phases a run went through, with their durations: its events, made ready to be drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from runs.states import FINAL, RunStatus

WIDTH = 1000  # of the drawn bar, in its own units
ROOM_AHEAD = 0.2  # of the bar, while the run goes on
LEAST_WIDTH = 4.0  # so that a short phase can be seen


class Move(Protocol):
    """What the timeline reads of a RunEvent."""

    new: str
    at: datetime


@dataclass(frozen=True)
class Span:
    """One phase: the status the run was in, how long, and where the bar shows it."""

    status: RunStatus
    since: datetime
    seconds: float
    is_open: bool  # the run is in it now
    x: float = 0.0
    width: float = 0.0

    @property
    def tone(self) -> str:
        return self.status.tone


# The first three pass within milliseconds, and a reader need not tell them apart.
_BEGINNING = {RunStatus.NOT_STARTED, RunStatus.STARTING}


def spans(moves: Iterable[Move], *, created_at: datetime, now: datetime) -> list[Span]:
    """Return a run's phases in order, from its creation to its end, or to `now` while it goes on.

    `moves` are its events, oldest first. Phases in a row that are called the same are one; a beginning that
    took no time that could be seen is left out when others follow.
    """
    raw: list[tuple[RunStatus, datetime, float, bool]] = []
    status, since = RunStatus.STARTING, created_at
    for move in moves:
        to = RunStatus(move.new)
        shown = RunStatus.STARTING if to in _BEGINNING else to
        if shown == status:
            continue
        raw.append((status, since, max(0.0, (move.at - since).total_seconds()), False))
        status, since = shown, move.at
    if status not in FINAL:
        raw.append((status, since, max(0.0, (now - since).total_seconds()), True))
    if len(raw) > 1 and raw[0][0] == RunStatus.STARTING and raw[0][2] < 0.05:
        raw = raw[1:]
    return _placed([Span(*one) for one in raw])


def _placed(phases: list[Span]) -> list[Span]:
    """Give each phase its place in the bar, in proportion to its time, none too thin to be seen."""
    if not phases:
        return []
    room = WIDTH * (1 - ROOM_AHEAD) if phases[-1].is_open else WIDTH
    total = sum(phase.seconds for phase in phases)
    if total <= 0:
        widths = [room / len(phases)] * len(phases)
    else:
        widths = [max(LEAST_WIDTH, room * phase.seconds / total) for phase in phases]
        scale = room / sum(widths)
        widths = [width * scale for width in widths]
    placed, x = [], 0.0
    for phase, width in zip(phases, widths, strict=True):
        placed.append(Span(phase.status, phase.since, phase.seconds, phase.is_open, round(x, 2), round(width, 2)))
        x += width
    return placed
