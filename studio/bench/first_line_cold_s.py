"""Submit pressed to the script's first line in the open page, with the cluster at 0 nodes."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.product import first_line

if TYPE_CHECKING:
    from studio.bench import Bench

TIMES = 15
IDLE_SECONDS = 1


def measure(bench: "Bench") -> Samples:
    product = bench.product
    product.set_idle_seconds(IDLE_SECONDS)
    took = []
    with product.signed_in() as context:
        page = context.new_page()
        for times in range(TIMES + 1):
            product.wait_for_nodes(lambda states: not states)
            seconds = first_line(page)
            if times:  # the first fills the browser's cache
                took.append(seconds)
    return Samples(took)
