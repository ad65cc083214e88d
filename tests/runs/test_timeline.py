"""The phases of a run and where the bar shows them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.states import FINAL, RunStatus
from runs.timeline import WIDTH, spans

BEGIN = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Move:
    new: str
    at: datetime


def moves(*steps: tuple[float, RunStatus]) -> list[Move]:
    return [Move(status.value, BEGIN + timedelta(seconds=seconds)) for seconds, status in steps]


def told(made, *, after: float = 100.0) -> list[tuple[str, float]]:
    phases = spans(made, created_at=BEGIN, now=BEGIN + timedelta(seconds=after))
    return [(phase.status.value, phase.seconds) for phase in phases]


S = RunStatus


def test_phases_follow_the_events_and_a_beginning_nobody_sees_is_left_out():
    made = moves((0.01, S.STARTING), (0.02, S.QUEUED), (14, S.PREPARING), (25, S.RUNNING), (72, S.COMPLETED))
    assert told(made) == [("Queued", 13.98), ("Preparing", 11), ("Running", 47)]


def test_a_run_that_goes_on_has_an_open_phase_until_now():
    phases = spans(moves((1, S.QUEUED)), created_at=BEGIN, now=BEGIN + timedelta(seconds=11))
    assert [(p.status, p.seconds, p.is_open) for p in phases] == [(S.STARTING, 1, False), (S.QUEUED, 10, True)]
    assert phases[-1].x + phases[-1].width == pytest.approx(WIDTH * 0.8)


def test_a_preempted_run_shows_each_of_its_stays():
    made = moves((0, S.QUEUED), (5, S.RUNNING), (20, S.QUEUED), (30, S.RUNNING), (40, S.FAILED))
    assert told(made) == [("Queued", 5), ("Running", 15), ("Queued", 10), ("Running", 10)]


def test_a_run_without_events_has_one_phase():
    assert told([], after=3) == [("Starting", 3)]


def test_the_final_status_is_no_phase_and_time_after_it_is_not_counted():
    assert told(moves((2, S.CANCEL_REQUESTED), (3, S.CANCELED)), after=1000) == [
        ("Starting", 2),
        ("CancelRequested", 1),
    ]


def test_a_clock_that_went_back_gives_no_negative_time():
    assert told(moves((5, S.QUEUED), (3, S.RUNNING), (3, S.COMPLETED))) == [
        ("Starting", 5),
        ("Queued", 0),
        ("Running", 0),
    ]


@given(st.lists(st.tuples(st.floats(0, 1e7), st.sampled_from(sorted(set(S) - FINAL))), max_size=30), st.booleans())
def test_the_bar_is_filled_without_gaps_and_never_beyond_its_end(steps, ended):
    steps = sorted(steps, key=lambda step: step[0])
    last = steps[-1][0] if steps else 0
    made = moves(*steps, *([(last, S.COMPLETED)] if ended else []))
    phases = spans(made, created_at=BEGIN, now=BEGIN + timedelta(seconds=last + 1))
    x = 0.0
    for phase in phases:
        assert phase.x == pytest.approx(x, abs=0.05)
        assert phase.width > 0
        x = phase.x + phase.width
    assert x <= WIDTH + 0.5
