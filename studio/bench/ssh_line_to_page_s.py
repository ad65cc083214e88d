"""A line written on a machine over SSH to the line in the page, while 50 machines write 20 lines a second each."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.line_to_page_s import TICKS
from studio.bench.machines import machines

if TYPE_CHECKING:
    from studio.bench import Bench

MACHINES, PAGES, LINES, EVERY = 50, 4, 300, 0.05  # seconds between two lines
SCRIPT = f"""
import pathlib, time
while not pathlib.Path("/tmp/studio-bench-go").exists():
    time.sleep(0.05)
begun = time.monotonic()
for n in range({LINES}):
    print("tick", n, time.time_ns() // 1000, flush=True)
    time.sleep(max(0, begun + (n + 1) * {EVERY} - time.monotonic()))
"""


def measure(bench: "Bench") -> Samples:
    """Watch some of the logs in pages; hold that all of them are whole."""
    from pathlib import Path

    product = bench.product
    go = Path("/tmp/studio-bench-go")  # noqa: S108 - a name that the machines know
    go.unlink(missing_ok=True)
    took: list[float] = []
    with machines(product, MACHINES) as targets, product.signed_in() as context:
        try:
            context.add_init_script(TICKS)
            runs = [product.run(SCRIPT, target) for target in targets]
            product.wait_for_statuses(runs, "Running")
            pages = [context.new_page() for _ in range(PAGES)]
            for page, run in zip(pages, runs, strict=False):
                page.goto(f"/w/default/runs/{run.run_id}/")
                page.wait_for_function("() => document.querySelector('[data-log]')?.log !== undefined")
            go.touch()
            for page in pages:
                page.wait_for_function(f"() => window.ticks.size >= {LINES}", timeout=120_000)
                took += [n / 1_000_000 for n in page.evaluate("() => [...window.ticks.values()]")]
            product.wait_for_statuses(runs, "Completed")
        finally:
            go.unlink(missing_ok=True)
        lost = sum(LINES - product.log_file(run).read_text().count("tick ") for run in runs)
    return Samples(took, [f"{MACHINES} machines, {PAGES} pages, {lost} of {MACHINES * LINES:,} lines lost"])
