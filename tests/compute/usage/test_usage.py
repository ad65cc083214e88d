from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute import jobs
from compute.drivers.base import JobReport, Phase
from compute.engines import embedded
from compute.models import ComputeTarget, Job
from compute.prices import actions as prices
from compute.prices.models import Unit
from compute.states import EndReason, JobState
from compute.usage import check, record
from compute.usage.models import DayTotal, JobUsage, MonthTotal
from compute.usage.reads import report, spent, typical_seconds
from compute.usage.spans import days, parts
from studio.people.models import Team, User, Workspace
from tests.compute.clusters import make_cluster, make_job

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.fixture
def cluster(workspace: Workspace, ana: User) -> ComputeTarget:
    """Return a cluster of 2-core nodes on a machine that costs 0.05 USD a core and hour."""
    host = embedded.this_host()
    prices.price_machine(workspace, host, Decimal("0.05"), Unit.CORE, by=ana)
    return make_cluster(workspace, host=host)


def ran(target: ComputeTarget, began: datetime, ended: datetime | None, **facts: Any) -> Job:
    """Make a job that ran so, and note it as its life does."""
    state = JobState.ENDED if ended else JobState.RUNNING
    values = {"spec": {"experiment": "digits"}, "end_reason": EndReason.EXITED if ended else "", "exit_code": 0} | facts
    job = make_job(target, state, started_at=began, ended_at=ended, **values)
    record.began(job)
    if ended:
        record.ended(job)
    return job


def test_a_job_over_the_end_of_a_month_is_split_there(workspace: Workspace, cluster: ComputeTarget, ana: User) -> None:
    job = ran(cluster, NOON, NOON + timedelta(hours=36), submitted_by=ana, node_count=2)
    record.ended(job)  # once is enough
    assert spent(workspace, month=date(2026, 3, 31)) == Decimal("0.05") * 2 * 2 * 12
    assert spent(workspace, month=date(2026, 4, 15), person=ana) == Decimal("0.05") * 2 * 2 * 24
    assert spent(workspace, month=date(2026, 5, 1)) == 0
    (march,) = report(workspace, date(2026, 3, 1), date(2026, 4, 1), ["month", "person", "target"])
    assert march.key == {"month": date(2026, 3, 1), "person": ana.pk, "target": cluster.pk}
    assert (march.node_hours, march.core_hours, march.jobs) == (Decimal(24), Decimal(48), 0)
    lines = report(workspace, date(2026, 3, 31), date(2026, 4, 3), ["day", "experiment"])
    assert [(line.key["day"].day, line.core_hours, line.jobs) for line in lines] == [
        (31, Decimal(48), 0),
        (1, Decimal(96), 1),
    ]
    assert lines[0].azure_usd > 0
    assert check.drift() == []


def test_the_price_is_that_of_the_start_and_what_runs_now_counts(
    workspace: Workspace, cluster: ComputeTarget, ana: User, time_is: Callable[[datetime], None]
) -> None:
    team = Team.objects.create(workspace=workspace, name="vision")
    ran(cluster, NOON, None, team=team)
    prices.price_machine(workspace, embedded.this_host(), Decimal(9), Unit.NODE, by=ana)
    time_is(NOON + timedelta(hours=2))
    assert spent(workspace, month=NOON.date(), team=team) == Decimal("0.2")
    assert report(workspace, NOON.date(), date(2026, 4, 1), ["team"])[0].core_hours == 4
    time_is(NOON - timedelta(days=9))  # the clock went backwards
    assert spent(workspace, month=NOON.date()) == 0


def test_a_clock_that_jumps_neither_gives_back_nor_makes_rows_without_end(
    workspace: Workspace, cluster: ComputeTarget
) -> None:
    ran(cluster, NOON, NOON - timedelta(days=3))
    assert spent(workspace, month=NOON.date()) == 0
    ran(cluster, NOON, NOON.replace(year=2290))
    assert DayTotal.objects.count() <= 401
    assert check.drift() == []


def test_a_job_that_lives_is_counted_and_one_that_never_ran_is_not(
    workspace: Workspace, cluster: ComputeTarget
) -> None:
    jobs.end_unstarted(make_job(cluster, JobState.WAITING), EndReason.CANCELED)
    assert not JobUsage.objects.exists()
    job = make_job(cluster, JobState.RUNNING, started_at=NOON)
    record.began(job)
    jobs._end(job, JobReport(Phase.ENDED, reason=EndReason.PREEMPTED))
    assert JobUsage.objects.get().was_preempted
    old = make_job(cluster, JobState.ENDED, started_at=NOON, ended_at=NOON + timedelta(hours=1))
    assert check.take_up() == 1
    assert JobUsage.objects.get(job=old).core_ms == 2 * 3_600_000
    assert check.take_up() == 0
    DayTotal.objects.update(micro_usd=5)
    with pytest.raises(SystemExit):
        call_command("usage")
    call_command("usage", "--rebuild")
    assert check.drift() == []


def test_how_long_an_experiment_takes_is_the_median_of_what_succeeded(
    workspace: Workspace, cluster: ComputeTarget
) -> None:
    assert typical_seconds(workspace, "digits") is None
    for minutes in (1, 5, 90):
        ran(cluster, NOON, NOON + timedelta(minutes=minutes))
    ran(cluster, NOON, NOON + timedelta(days=3), exit_code=1)
    assert typical_seconds(workspace, "digits") == (300, 3)


moments = st.datetimes(datetime(2026, 1, 28), datetime(2026, 3, 4), timezones=st.just(UTC))  # noqa: DTZ001


@given(began=moments, ended=moments, nodes=st.integers(1, 9), rate=st.integers(0, 10**10))
def test_parts_are_never_negative_and_add_up_to_the_whole(
    began: datetime, ended: datetime, nodes: int, rate: int
) -> None:
    cut = list(parts(began, ended, nodes=nodes, cores=3, micro_usd_per_hour=rate, azure_micro_usd_per_hour=0))
    whole = max(timedelta(), ended - began)
    assert abs(sum(part.node_ms for part in cut) - nodes * whole / timedelta(milliseconds=1)) <= nodes
    assert all(value >= 0 for part in cut for value in part.amounts.values())
    assert [part.day for part in cut] == sorted({part.day for part in cut})
    assert abs(sum(part.micro_usd for part in cut) - whole / timedelta(hours=1) * nodes * rate) <= len(cut) + rate / 1e5
    assert cut[0].day == began.date()
    assert sum(1 for _day in days(began, ended)) == len(cut)


@given(data=st.lists(st.tuples(moments, st.integers(0, 200), st.sampled_from("ab"), st.integers(0, 2)), max_size=6))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_totals_are_what_a_rebuild_makes(
    data: list[tuple[datetime, int, str, int]], workspace: Workspace, cluster: ComputeTarget
) -> None:
    for began, hours, experiment, team in data:
        whose, _new = Team.objects.get_or_create(workspace=workspace, name=f"team {team}")
        ran(cluster, began, began + timedelta(hours=hours), spec={"experiment": experiment}, team=whose)
    assert check.drift() == []

    def totals() -> list[Any]:
        by_day = DayTotal.objects.values_list("day", "team", "experiment", "micro_usd", "core_ms", "jobs")
        return [sorted(by_day), sorted(MonthTotal.objects.values_list("month", "team", "micro_usd", "core_ms", "jobs"))]

    before = totals()
    check.rebuild()
    assert totals() == before


@pytest.fixture
def time_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[datetime], None]]:
    """Set the clock that usage is read by."""

    def put(now: datetime) -> None:
        monkeypatch.setattr("compute.usage.reads.timezone.now", lambda: now)

    yield put
    monkeypatch.undo()
