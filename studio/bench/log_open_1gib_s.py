"""A log of 1 GiB: from the page's address to its lines in the page, at its end and in its middle."""

import time
from typing import TYPE_CHECKING

from studio.bench.figures import Samples, percentile

if TYPE_CHECKING:
    from runs.models import Run
    from studio.bench import Bench
    from studio.bench.product import Product

SIZE, LINE, TIMES = 2**30, 128, 10
LINES = SIZE // LINE
RARE, AT = "needle in a haystack", LINES - 1000  # the line that holds it
SCRIPT = f"""
import os
for n in range(0, {LINES}, 8192):
    lines = [b"%-127d\\n" % m for m in range(n, n + 8192)]
    if n <= {AT} < n + 8192:
        lines[{AT} - n] = b"%-127s\\n" % b"{RARE}"
    block = b"".join(lines)
    while block:
        block = block[os.write(1, block):]
"""
SHOWN = """
(wanted) => [...document.querySelectorAll(".log-text")].some((line) => line.textContent.trim() === wanted)
"""


def measure(bench: "Bench") -> Samples:
    product = bench.product
    run = large_log(product)
    end: list[float] = []
    middle: list[float] = []
    with product.signed_in() as context:
        page = context.new_page()
        for times in range(TIMES + 1):
            for took, line, mark in ((end, LINES - 1, ""), (middle, LINES // 2, f":L{LINES // 2 + 1}")):
                page.goto("about:blank")
                started = time.monotonic()
                page.goto(f"/w/default/runs/{run.run_id}/#1/std_log.txt{mark}", wait_until="commit")
                page.wait_for_function(SHOWN, arg=str(line), timeout=60_000)
                if times:  # the first counts the lines, and fills the browser's cache
                    took.append(time.monotonic() - started)
    return Samples(
        end + middle,
        [
            f"{name}: median {percentile(sorted(took), 0.5):.3f} s"
            for name, took in (("at the end", end), ("in the middle", middle))
        ],
    )


def large_log(product: "Product") -> "Run":
    """Return a run that has written a log of 1 GiB; each studio has one."""
    from runs.models import Run

    made = product.ask(lambda: Run.objects.filter(properties__has_key="studio.bench.1gib").first())
    if made is None:
        made = product.run(SCRIPT)
        product.wait_for_statuses([made], "Completed")
        made.properties["studio.bench.1gib"] = "true"
        product.ask(lambda: made.save(update_fields=["properties"]))
    return made
