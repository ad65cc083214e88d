"""A line written by a run to the line in the page, with 20 pages of the run open."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.product import fill_in, submit

if TYPE_CHECKING:
    from studio.bench import Bench

PAGES, LINES = 20, 60
SCRIPT = f"""
import pathlib, time
while not pathlib.Path("outputs/go").exists():
    time.sleep(0.05)
for n in range({LINES}):
    print("tick", n, time.time_ns() // 1000, flush=True)
    time.sleep(0.25)
"""
# What each page saw: the microseconds from the time a line carries to the moment it stood in the page.
TICKS = """
window.ticks = new Map();
new MutationObserver(() => {
  const now = (performance.timeOrigin + performance.now()) * 1000;
  for (const line of document.querySelectorAll(".log-text")) {
    const found = /^tick (\\d+) (\\d+)/.exec(line.textContent);
    if (found && !window.ticks.has(found[1])) window.ticks.set(found[1], now - Number(found[2]));
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


def measure(bench: "Bench") -> Samples:
    product = bench.product
    from compute.models import Job

    product.set_idle_seconds(3600)
    took: list[float] = []
    with product.signed_in() as context:
        context.add_init_script(TICKS)
        page = context.new_page()
        fill_in(page, SCRIPT)
        submit(page)
        page.wait_for_function("() => document.querySelector('[data-log]')?.log !== undefined")
        pages = [page] + [context.new_page() for _ in range(PAGES - 1)]
        for other in pages[1:]:
            other.goto(page.url)
            other.wait_for_function("() => document.querySelector('[data-log]')?.log !== undefined")
        product.wait_for_nodes(lambda states: "running" in states)
        job = product.ask(lambda: Job.objects.latest("pk"))
        (job.folder / "rank-0" / "outputs").mkdir(exist_ok=True)
        (job.folder / "rank-0" / "outputs" / "go").touch()
        for other in pages:
            other.wait_for_function(f"() => window.ticks.size >= {LINES}", timeout=60_000)
            took += [n / 1_000_000 for n in other.evaluate("() => [...window.ticks.values()]")]
    return Samples(took, [f"{PAGES} pages, {LINES} lines each"])
