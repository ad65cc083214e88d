"""The measuring command; the measurements themselves are no tests."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from studio import bench
from studio.bench.figures import Samples, percentile


def test_each_key_has_a_module_that_measures_it():
    for key in bench.KEYS:
        assert callable(import_module(f"studio.bench.{key}").measure)


def test_a_figure_says_value_unit_goal_samples_and_spread():
    said = bench.figure(bench.Key(0.25, "s", "something"), Samples([0.3, 0.1, 0.2]))
    assert said == {"value": 0.3, "unit": "s", "goal": 0.25, "samples": 3, "spread": [0.1, 0.2, 0.3]}


def test_of_a_figure_that_should_be_high_the_low_samples_count():
    assert bench.figure(bench.Key(10, "/s", "something", more=True), Samples([12.0, 9.0, 11.0]))["value"] == 9.0


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 10), (0.95, 19), (1.0, 20)])
def test_a_percentile_is_one_of_the_values(share: float, value: int):
    assert percentile(range(1, 21), share) == value


def test_an_unknown_key_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        bench.main(["speed"])
    assert "there is no key speed; the keys are first_line_warm_s" in capsys.readouterr().err


def test_the_figures_are_written_as_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("studio.bench.first_line_warm_s.measure", lambda bench: Samples([0.2], ["bare: 0.03 s"]))
    file = tmp_path / "figures.json"
    assert bench.main(["first_line_warm_s", "--json", str(file)]) == 0
    assert json.loads(file.read_text())["first_line_warm_s"]["value"] == 0.2


def test_a_key_that_fails_leaves_the_others_their_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(bench: object) -> Samples:
        raise RuntimeError("no cluster")

    monkeypatch.setattr("studio.bench.first_line_warm_s.measure", fail)
    monkeypatch.setattr("studio.bench.first_line_cold_s.measure", lambda bench: Samples([0.2]))
    assert bench.main(["first_line_warm_s", "first_line_cold_s"]) == 1
    said = capsys.readouterr().out
    assert "could not be measured: no cluster" in said
    assert "first_line_cold_s             0.200 s" in said
