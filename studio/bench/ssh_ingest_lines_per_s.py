"""Lines of 90 bytes that 50 machines write as fast as they can, from the first to the last one here, none lost."""

import time
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.machines import machines

if TYPE_CHECKING:
    from studio.bench import Bench

MACHINES, LINES = 50, 20_000
SCRIPT = f"""
import os, pathlib, time
while not pathlib.Path("/tmp/studio-bench-go").exists():
    time.sleep(0.02)
for n in range(0, {LINES}, 500):
    block = b"".join(b"%-89d\\n" % m for m in range(n, n + 500))
    while block:
        block = block[os.write(1, block):]
"""


def measure(bench: "Bench") -> Samples:
    """Measure on the logs' files: what stands there is what pages are sent."""
    from pathlib import Path

    product = bench.product
    go = Path("/tmp/studio-bench-go")  # noqa: S108 - a name that the machines know
    go.unlink(missing_ok=True)
    with machines(product, MACHINES) as targets:
        try:
            runs = [product.run(SCRIPT, target) for target in targets]
            product.wait_for_statuses(runs, "Running")
            time.sleep(3)  # for the connections to be made, and the logs to be followed
            files = [product.log_file(run) for run in runs]
            whole = LINES * 90
            started = time.monotonic()
            go.touch()

            def is_here(file: Path) -> bool:
                return file.exists() and file.stat().st_size >= whole

            product.wait_until(lambda: all(map(is_here, files)), 120)
            took = time.monotonic() - started
            product.wait_for_statuses(runs, "Completed")
        finally:
            go.unlink(missing_ok=True)
        lost = sum(LINES - file.read_bytes().count(b"\n") for file in files)
    return Samples([MACHINES * LINES / took], [f"{MACHINES} machines, {LINES:,} lines each, {lost} lost, {took:.1f} s"])
