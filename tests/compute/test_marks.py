"""A run's shepherd notes when the log had grown to what."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from compute import log_index, logs
from compute.drivers.base import Phase
from compute.processes import ProcessSpec, look, start

KEY = "runs/digits-svm_1763846400_1f0c9a3b/1/std_log.txt"
PROGRAM = """
import time
print("first", flush=True)
time.sleep(2.2)
print("second", flush=True)
"""


def test_lines_of_a_process_have_the_second_in_which_they_were_written(tmp_path: Path):
    began = time.time()
    handle = start(
        ProcessSpec(
            argv=[sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin"},
            log=logs.path(KEY),
            marks=log_index.marks_path(KEY),
            folder=tmp_path / "control-0",
            tag="digits-svm.1",
        )
    )
    until = datetime.now(UTC) + timedelta(seconds=20)
    while look(handle).phase != Phase.ENDED:
        assert datetime.now(UTC) < until
        time.sleep(0.05)
    (first, at_first), (second, at_second) = log_index.marks(KEY)
    assert (at_first, at_second) == (6, 13)
    assert began < first < second < time.time()
    assert 1.0 <= second - first <= 4.5
    assert log_index.offset_at(KEY, (first + second) / 2) == 6
