"""A viewer whose socket is cut 1,000 times while a log of 50 MB is written, and goes on where it was."""

import hashlib
import random
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.viewers import Viewer

if TYPE_CHECKING:
    from studio.bench import Bench

CUTS, BYTES = 1000, 50_000_000
SCRIPT = f"""
import os, random, time
for _ in range(1000):
    os.write(1, random.randbytes({BYTES} // 1000))
    time.sleep(0.02)
"""


def measure(bench: "Bench") -> Samples:
    """Say 1 when the SHA-256 of what arrived is the file's, else 0."""
    product = bench.product
    run = product.run(SCRIPT)
    product.wait_for_statuses([run], "Running", "Completed")
    cookie, chance = product.cookie(), random.Random(7)  # noqa: S311 - the same cuts each time
    digest, got, cuts = hashlib.sha256(), 0, 0
    while got < BYTES:
        viewer = Viewer(product.url, cookie, run.run_id, after=got)
        # On average as far as that the cuts fall all over the log; the last socket stays.
        until = BYTES if cuts == CUTS else min(BYTES - 1, got + chance.randrange(2 * BYTES // CUTS))
        while got < until:
            data = viewer.read()[: BYTES - got]
            if cuts < CUTS:  # what came with it was on its way when the cut came
                data = data[: max(0, until - got)]
            digest.update(data)
            got += len(data)
        viewer.cut()
        cuts = min(CUTS, cuts + 1)
    product.wait_for_statuses([run], "Completed")
    file = product.log_file(run)
    same = digest.hexdigest() == hashlib.sha256(file.read_bytes()).hexdigest()
    return Samples([float(same)], [f"{cuts} cuts, {got:,} bytes"])
