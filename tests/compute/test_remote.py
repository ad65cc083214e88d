"""What a machine says of its files is checked before it is believed."""

from pathlib import Path
from typing import Any, cast

import pytest

from compute import remote


class Liar:
    """A link to a machine that says what it likes."""

    def __init__(self, outputs: Any, content: bytes = b"x" * 100) -> None:
        self.outputs, self.content, self.read = outputs, content, 0

    def ask(self, verb: str, **facts: Any) -> Any:
        if verb == "outputs":
            return self.outputs
        self.read += 1
        return self.content[facts["at"] : facts["at"] + facts["most"]]


def fetch(link: Liar, into: Path) -> int:
    return remote.fetch(cast(remote.Link, link), "run/1", into)


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        "outputs/a",
        {"outputs/a": 1},
        [["outputs/a"]],
        [["outputs/a", "100", 0]],
        [["outputs/a", -1, 0]],
        [["outputs/a", 100, float("nan")]],
        [["outputs/a", 100, float("inf")]],
        [["outputs/a", 100, -1]],
        [["../a", 100, 0]],
        [["outputs/../../a", 100, 0]],
        [["/etc/passwd", 100, 0]],
        [["outputs", 100, 0]],
        [["train.py", 100, 0]],
        [["outputs/a\0b", 100, 0]],
        [["outputs//a", 100, 0]],
        [[f"outputs/{'a' * 300}", 100, 0]],
    ],
)
def test_what_makes_no_sense_or_leads_elsewhere_is_left_there(tmp_path: Path, outputs: Any) -> None:
    into = tmp_path / "rank-0"
    (into / "outputs").mkdir(parents=True)
    assert fetch(Liar(outputs), into) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_in_the_way_is_not_gone_through(tmp_path: Path) -> None:
    into, elsewhere = tmp_path / "rank-0", tmp_path / "elsewhere"
    into.mkdir()
    elsewhere.mkdir()
    (into / "outputs").symlink_to(elsewhere)
    fetch(Liar([["outputs/a", 100, 0]]), into)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(("said", "came"), [(100, 100), (40, 40), (10**12, 0)])
def test_a_size_that_is_a_lie_costs_no_more_than_it_says_and_a_run_may_have(
    tmp_path: Path, settings: Any, said: int, came: int
) -> None:
    settings.RUN_DISK_BYTES = 1000
    assert fetch(Liar([["outputs/a", said, 5]]), tmp_path) == came


def test_a_file_that_ends_before_its_size_ends(tmp_path: Path) -> None:
    link = Liar([["outputs/a", 5000, 5]])
    assert fetch(link, tmp_path) == 100
    assert link.read == 2


def test_what_goes_beyond_a_runs_disk_stays_there(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DISK_BYTES = 250
    fetch(Liar([[f"outputs/{n}", 100, 5] for n in range(5)]), tmp_path)
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["0", "1"]
