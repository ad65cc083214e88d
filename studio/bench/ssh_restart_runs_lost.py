"""Everything of the studio is ended and started again while 200 runs go on on machines over SSH."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.machines import machines

if TYPE_CHECKING:
    from studio.bench import Bench

RUNS, MACHINES = 200, 10
SCRIPT = """
import sys, time
for n in range({lines}):
    print("line", n, flush=True)
    time.sleep(0.5)
sys.exit({code})
"""


def measure(bench: "Bench") -> Samples:
    """Count the runs that were lost, have a wrong end, or whose log is not whole."""
    product = bench.product
    from runs.models import Run

    ends = [(240 + n, (0, 3, 0, 1)[n % 4]) for n in range(RUNS)]  # 2 to 4 min
    with machines(product, MACHINES) as targets:
        runs = [
            product.run(SCRIPT.format(lines=lines, code=code), targets[n % MACHINES])
            for n, (lines, code) in enumerate(ends)
        ]
        product.wait_for_statuses(runs, "Running", patience=300)
        for pid in (product.process.pid, *product.pids().values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        product.process.wait()
        product.begin()
        started = time.monotonic()
        before = {run.pk: _size(product.log_file(run)) for run in runs}
        product.wait_until(lambda: all(_size(product.log_file(run)) > before[run.pk] for run in runs), 120)
        followed = time.monotonic() - started
        product.wait_for_statuses(runs, "Completed", "Failed", "Canceled", patience=600)
        wrong = []
        for run, (lines, code) in zip(runs, ends, strict=True):
            known = product.ask(lambda pk=run.pk: Run.objects.get(pk=pk))  # type: ignore[misc]
            whole = product.log_file(run).read_text() == "".join(f"line {n}\n" for n in range(lines))
            once = product.ask(known.attempts.count) == 1
            as_it_ended = (known.status, known.exit_code) == ("Failed" if code else "Completed", code)
            if not (whole and once and as_it_ended):
                wrong.append(f"{run.run_id}: {known.status} {known.exit_code} for {code}, {whole=} {once=}")
    return Samples([float(len(wrong))], [f"{RUNS} runs; all followed again after {followed:.1f} s (goal 30 s)", *wrong])


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
