"""A run's change of status to its row in each of 20 open lists."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples

if TYPE_CHECKING:
    from studio.bench import Bench

PAGES, CHANGES = 20, 5
SCRIPT = """
import pathlib, time
while not pathlib.Path("go").exists():
    time.sleep(0.05)
"""
# What each page saw: when a run's row first said that it has completed, in seconds since 1970.
SEEN = """
window.completed = {};
new MutationObserver(() => {
  for (const row of document.querySelectorAll("tr[id^=run-]")) {
    if (!window.completed[row.id] && row.textContent.includes("Completed")) {
      window.completed[row.id] = (performance.timeOrigin + performance.now()) / 1000;
    }
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


def measure(bench: "Bench") -> Samples:
    """Measure from the moment that is stored with the change."""
    product = bench.product
    from runs.models import RunEvent

    runs = [product.run(SCRIPT) for _ in range(CHANGES)]
    product.wait_for_statuses(runs, "Running")
    took: list[float] = []
    with product.signed_in() as context:
        context.add_init_script(SEEN)
        pages = [context.new_page() for _ in range(PAGES)]
        for page in pages:
            page.goto("/w/default/runs/", wait_until="commit")
        for page in pages:
            page.wait_for_load_state("networkidle")
        for run in runs:
            product.let_go(run)
            for page in pages:
                page.wait_for_function("(row) => window.completed[row]", arg=f"run-{run.pk}", timeout=60_000)
            events = RunEvent.objects.filter(run=run, new="Completed")
            moment = product.ask(events.get).at.timestamp()
            took += [page.evaluate("(row) => window.completed[row]", f"run-{run.pk}") - moment for page in pages]
    return Samples(took, [f"{PAGES} pages, {CHANGES} changes"])
