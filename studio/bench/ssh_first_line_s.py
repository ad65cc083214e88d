"""Submit pressed to the script's first line in the open page: a machine over SSH, its connection made."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples, percentile
from studio.bench.machines import machines
from studio.bench.product import first_line

if TYPE_CHECKING:
    from studio.bench import Bench

TIMES = 30


def measure(bench: "Bench") -> Samples:
    product = bench.product
    with machines(product, 1) as (target,), product.signed_in() as context:
        page = context.new_page()
        first_line(page, target.name)  # makes the connection
        took = [first_line(page, target.name) for _ in range(TIMES)]
    return Samples(took, [f"p50 {percentile(sorted(took), 0.5):.3f} s (goal 0.3 s)"])
