"""What the web process grows by while twenty viewers get a log as fast as it is written, and five stop reading."""

import threading
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.idle_memory_mb import proportional_mb
from studio.bench.log_lines_per_s_1 import deliver

if TYPE_CHECKING:
    from studio.bench import Bench

VIEWERS, STOPPED, LINES = 20, 5, 1_000_000
EVERY = 0.05  # seconds between two looks


def measure(bench: "Bench") -> Samples:
    product = bench.product
    deliver(product, 1, 10_000)  # what is imported and opened once is no growth
    web = product.pids()["web"]
    before = most = proportional_mb(web)
    over = threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(EVERY):
            most = max(most, proportional_mb(web))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        deliver(product, VIEWERS, LINES, stopped=STOPPED)
    finally:
        over.set()
        looking.join()
    return Samples([most - before], [f"from {before:.0f} MB to {most:.0f} MB at most"])
