"""A log of 1 GiB: from the page's address to its lines in the page, at its end and in its middle.

It is opened as by a link, from the list of runs and in its tab. What a new tab takes, for which the browser starts a
process first, is told beside it.
"""

import time
from typing import TYPE_CHECKING

from studio.bench.figures import Samples, percentile

if TYPE_CHECKING:
    from runs.models import Run
    from studio.bench import Bench
    from studio.bench.product import Product

SIZE, LINE, TIMES = 2**30, 128, 15
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
END, MIDDLE = LINES - 1, LINES // 2
# A page says by itself which of the lines it shows as soon as it does: it is not asked meanwhile.
SAYS = f"""
const wanted = new Set(["{END}", "{MIDDLE}"]);
new MutationObserver(() => {{
  for (const line of document.querySelectorAll(".log-text")) {{
    const text = line.textContent.trim();
    if (wanted.delete(text)) console.debug(`studio: shows ${{text}}`);
  }}
}}).observe(document, {{ childList: true, subtree: true, characterData: true }});
"""


def measure(bench: "Bench") -> Samples:
    product = bench.product
    run = large_log(product)
    end, middle, new_tab = list[float](), list[float](), list[float]()
    with product.signed_in() as context:
        page = context.new_page()
        page.add_init_script(SAYS)
        for times in range(TIMES + 1):
            for took, line, mark, before in (
                (end, END, "", "/w/default/runs/"),
                (middle, MIDDLE, f":L{MIDDLE + 1}", "/w/default/runs/"),
                (new_tab, END, "", "about:blank"),
                (new_tab, MIDDLE, f":L{MIDDLE + 1}", "about:blank"),
            ):
                page.goto(before)
                page.wait_for_load_state("networkidle")
                started = time.monotonic()
                wanted = f"studio: shows {line}"
                with page.expect_console_message(lambda said, wanted=wanted: said.text == wanted, timeout=60_000):  # type: ignore[misc]
                    page.goto(f"/w/default/runs/{run.run_id}/#1/std_log.txt{mark}", wait_until="commit")
                if times:  # the first counts the lines, and fills the browser's cache
                    took.append(time.monotonic() - started)
    return Samples(
        end + middle,
        [
            f"{name}: median {percentile(sorted(took), 0.5):.3f} s, p95 {percentile(sorted(took), 0.95):.3f} s"
            for name, took in (("at the end", end), ("in the middle", middle), ("in a new tab", new_tab))
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
