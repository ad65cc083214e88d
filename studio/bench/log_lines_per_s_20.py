"""Lines of 90 bytes from a run that writes as fast as it can to twenty open pages, each of them compared."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.log_lines_per_s_1 import deliver

if TYPE_CHECKING:
    from studio.bench import Bench

VIEWERS, LINES, TIMES = 20, 1_000_000, 3


def measure(bench: "Bench") -> Samples:
    return Samples([deliver(bench.product, VIEWERS, LINES) for _ in range(TIMES)], [f"{VIEWERS} viewers"])
