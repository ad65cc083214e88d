"""What a machine keeps of runs goes after a while, and what it keeps of the studio can be imported there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compute import farstore, remote, shepherd

DAY = 86_400


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(farstore, "ROOT", str(tmp_path / "far"))
    farstore.make_ready(time.time())
    return tmp_path / "far"


def _aged(path: Path, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def test_runs_that_came_to_the_studio_go_after_a_week_and_no_others(root: Path) -> None:
    for name, brought in (("old", 8), ("young", 5)):
        _aged(root / f"runs/{name}/1/brought", brought)
        _aged(root / f"runs/{name}/1/rank-0/outputs/a", brought)
    _aged(root / "runs/never/1/control-0/exit.json", 400)  # nobody has fetched it yet
    farstore.sweep(time.time() + DAY + 1)
    assert sorted(path.name for path in (root / "runs").iterdir()) == ["never", "young"]


def test_files_that_no_run_asks_for_go_and_those_that_one_asks_for_stay(root: Path) -> None:
    kept, old = "a" * 64, "b" * 64
    for sha in (kept, old):
        _aged(Path(farstore.stored(sha)), 40)
    assert farstore.missing([kept, "c" * 64]) == ["c" * 64]
    farstore.sweep(time.time() + DAY + 1)
    assert farstore.missing([kept, old]) == [old]


def test_it_is_looked_for_once_a_day(root: Path) -> None:
    _aged(root / "runs/old/1/brought", 8)
    farstore.make_ready(time.time())
    assert (root / "runs/old").exists()
    _aged(root / "swept", 1.1)
    farstore.make_ready(time.time())
    assert not (root / "runs/old").exists()


def test_a_run_is_noted_as_brought_in_its_own_folder_alone(root: Path) -> None:
    (root / "runs/run/1").mkdir(parents=True)
    farstore.brought("run/1")
    assert (root / "runs/run/1/brought").exists()
    with pytest.raises(ValueError, match="outside"):
        farstore.brought("../../evil")


def test_a_shepherd_is_carried_with_all_that_it_loads(root: Path) -> None:
    carried = farstore.keep_modules("shepherd", remote.texts(shepherd.PARTS))
    assert carried == farstore.keep_modules("shepherd", remote.texts(shepherd.PARTS))
    load = "import sys; sys.path[:0] = [sys.argv[1]]; from compute import shepherd; print(*shepherd.tools())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", load, carried],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd="/",
    )
    assert "compute.watching.Watch" in done.stdout
    parts = {path.stem for path in Path(carried, "compute").glob("*.py")}
    imported = {path.stem.partition(".")[0] for path in Path(carried, "compute").glob("__pycache__/*.pyc")}
    assert imported == parts  # no more is sent than is of use
