"""Metrics of runs: what scripts write is read as far as it is one, in bounded memory, and nothing else happens."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.models import Job
from runs import metrics
from runs.metrics import MOST_POINTS, MOST_SERIES, Point, Reading, parsed
from tests.compute.clusters import make_cluster, make_job


@pytest.fixture
def job(workspace) -> Job:
    return make_job(make_cluster(workspace))


@pytest.fixture
def file(job: Job) -> Path:
    outputs = job.folder / "rank-0" / "outputs"
    outputs.mkdir(parents=True)
    return outputs / "metrics.jsonl"


def line(**said) -> str:
    return json.dumps(said) + "\n"


def test_a_name_that_comes_again_is_a_series_and_a_growing_file_is_read_on(job: Job, file: Path):
    file.write_text(
        line(name="loss", value=2, step=1, time=5.5) + line(name="loss", value=1.5, step=2) + '{"name": "lo'
    )
    [loss] = metrics.of_job(job).curves
    assert loss.points == [Point(1, 2), Point(2, 1.5)]
    with file.open("a") as more:
        more.write('ss", "value": 1, "step": 3}\n' + line(name="accuracy", value=0.9))
    loss, accuracy = metrics.of_job(job).curves
    assert (loss.last, loss.count, accuracy.points) == (1, 3, [Point(1, 0.9)])
    assert metrics.last_value(job, "loss") == 1
    file.write_text(line(name="other", value=1))  # written anew, and shorter
    assert [curve.name for curve in metrics.of_job(job).curves] == ["other"]


def test_what_is_no_metric_is_skipped_and_counted(job: Job, file: Path):
    wrong = [
        b'{"name": "a", "value": NaN}',
        b'{"name": "a", "value": -Infinity}',
        b'{"name": "a", "value": 1e999}',
        b'{"name": "a", "value": ' + b"9" * 900 + b"}",
        b'{"name": "a", "value": true}',
        b'{"name": "a", "value": "1"}',
        b'{"name": "a", "value": [1]}',
        b'{"name": "", "value": 1}',
        b'{"name": "a\\u0000", "value": 1}',
        b'{"name": "' + b"n" * 200 + b'", "value": 1}',
        b'{"name": "a", "value": 1, "step": 1e300}',
        b'{"name": "a", "value": 1, "step": null, "x": "' + b"y" * 5000 + b'"}',
        b'\xff\xfe{"name": "a", "value": 1}',
        b"[" * 900,
        b"null",
        b"1 2 3",
    ]
    file.write_bytes(b"\n".join([b'{"name": "a", "value": 1}', *wrong, b'{"name": "a", "value": 2}', b"", b"   ", b""]))
    found = metrics.of_job(job)
    assert [point.value for point in found.curves[0].points] == [1, 2]
    assert found.skipped == len(wrong)
    with file.open("a") as more:
        more.write(line(name="a", value=3, step=3))  # the series has no steps
    assert metrics.of_job(job).skipped == len(wrong) + 1


def test_links_pipes_and_folders_are_no_metrics(job: Job, file: Path, tmp_path: Path):
    elsewhere = tmp_path / "secret.jsonl"
    elsewhere.write_text(line(name="secret", value=1))
    file.symlink_to(elsewhere)
    assert metrics.of_job(job).curves == []
    file.unlink()
    os.mkfifo(file)
    assert metrics.of_job(job).curves == []
    file.unlink()
    file.mkdir()
    assert metrics.of_job(job).curves == []
    assert metrics.of_job(make_job(job.target)).curves == []


def test_of_many_values_the_extremes_and_the_last_one_are_kept():
    reading = Reading()
    for start in range(0, 300_000, 1000):
        reading.take(
            b"".join(
                b'{"name": "loss", "value": %d, "step": %d}\n' % (-7777 if n == 123_456 else n % 97, n)
                for n in range(start, start + 1000)
            )
        )
    series = reading.series["loss"]
    points = series.points()
    assert len(points) <= MOST_POINTS + 1
    assert reading.held <= 2 * MOST_POINTS + 2
    assert Point(123_456, -7777) in points
    assert (points[-1].step, series.count) == (299_999, 300_000)
    assert [p.step for p in points] == sorted(p.step for p in points)
    for number in range(500):
        reading.take(b'{"name": "n%d", "value": 1}\n' % number)
    assert len(reading.series) == MOST_SERIES
    reading.take(b"x" * 5_000_000)
    assert len(reading.rest) == 0


@given(st.lists(st.one_of(st.binary(max_size=60), st.builds(
    lambda name, value, step: json.dumps({"name": name, "value": value, "step": step}).encode(),
    st.text(max_size=5), st.one_of(st.floats(), st.integers(), st.text(), st.none()), st.one_of(st.floats(), st.none()),
)), max_size=30), st.integers(1, 50))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
def test_whatever_a_file_holds_what_comes_out_is_finite_and_as_if_read_at_once(lines: list[bytes], size: int):
    whole, pieces, data = Reading(), Reading(), b"\n".join(lines) + b"\n"
    whole.take(data)
    for at in range(0, len(data), size):
        pieces.take(data[at : at + size])
    assert {n: s.points() for n, s in whole.series.items()} == {n: s.points() for n, s in pieces.series.items()}
    assert whole.skipped == pieces.skipped
    for series in whole.series.values():
        assert all(math.isfinite(p.step) and math.isfinite(p.value) for p in series.points())


def test_a_number_that_no_float_holds_is_none():
    assert parsed(b'{"name": "a", "value": 1' + b"0" * 400 + b"}") is None
