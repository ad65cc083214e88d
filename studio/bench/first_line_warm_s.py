"""Submit pressed to the script's first line in the open page: warm environment, idle node."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples, percentile
from studio.bench.product import bare_first_line, first_line

if TYPE_CHECKING:
    from studio.bench import Bench

TIMES = 30


def measure(bench: "Bench") -> Samples:
    product = bench.product
    product.set_idle_seconds(3600)
    took = []
    with product.signed_in() as context:
        page = context.new_page()
        first_line(page)  # brings the node, and the browser's cache
        for _ in range(TIMES):
            product.wait_for_nodes(lambda states: "idle" in states)
            took.append(first_line(page))
    bare = bare_first_line(TIMES)
    return Samples(took, [f"a bare `python train.py`: p95 {percentile(bare, 0.95):.3f} s"])
