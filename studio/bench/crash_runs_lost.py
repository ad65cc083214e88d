"""kill -9 of the web process, of the worker, of both, again and again while 20 runs are in progress."""

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from studio.bench.figures import Samples

if TYPE_CHECKING:
    from studio.bench import Bench

RUNS, KILLS = 20, 20
SCRIPT = """
import pathlib, sys, time
for n in range({lines}):
    print("line", n, flush=True)
    time.sleep(0.2)
sys.exit({code})
"""


def measure(bench: "Bench") -> Samples:
    """Count the runs that were lost, have a wrong end, started twice, or whose log is not whole."""
    product = bench.product
    from runs.models import Run

    ends = [(150 + 10 * n, (0, 3, 0, 1)[n % 4]) for n in range(RUNS)]  # 30 to 68 s
    runs = [product.run(SCRIPT.format(lines=lines, code=code)) for lines, code in ends]
    product.wait_for_statuses(runs, "Running")
    for n in range(KILLS):
        for name in (("web",), ("worker",), ("web", "worker"))[n % 3]:
            with contextlib.suppress(KeyError, ProcessLookupError):  # one killed a moment ago is not back yet
                os.kill(product.pids()[name], signal.SIGKILL)
        time.sleep(1)
    product.wait_for_statuses(runs, "Completed", "Failed", "Canceled")
    wrong = []
    for run, (lines, code) in zip(runs, ends, strict=True):
        known = product.ask(lambda pk=run.pk: Run.objects.get(pk=pk))  # type: ignore[misc]
        whole = product.log_file(run).read_text() == "".join(f"line {n}\n" for n in range(lines))
        once = product.ask(known.attempts.count) == 1
        as_it_ended = (known.status, known.exit_code) == ("Failed" if code else "Completed", code)
        if not (whole and once and as_it_ended):
            wrong.append(f"{run.run_id}: {known.status} {known.exit_code} for {code}, {known.reason}, {whole=} {once=}")
    return Samples([float(len(wrong))], [f"{RUNS} runs, {KILLS} times kill -9", *wrong])
