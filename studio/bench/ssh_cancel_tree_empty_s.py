"""From the end of the grace period to an empty tree of 50 processes over SSH, some forked away, some deaf to TERM."""

from typing import TYPE_CHECKING

from studio.bench.cancel_tree_empty_s import cancel_all
from studio.bench.figures import Samples
from studio.bench.machines import machines

if TYPE_CHECKING:
    from studio.bench import Bench

RUNS, PROCESSES = 5, 50
SCRIPT = f"""
import os, signal, time
for n in range({PROCESSES} - 1):
    if os.fork() == 0:
        if n % 3 == 0:  # nobody's child, in a session of its own
            os.setsid()
            if os.fork():
                os._exit(0)
        if n % 2 == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(0, 3)
        time.sleep(600)
        os._exit(0)
print("the tree stands", flush=True)
time.sleep(600)
"""


def measure(bench: "Bench") -> Samples:
    product = bench.product
    with machines(product, 1) as (target,):
        took, killed = cancel_all(product, [product.run(SCRIPT, target) for _ in range(RUNS)])
    return Samples(took, [f"{RUNS} trees of {PROCESSES}; KILL to {killed} processes, none left"])
