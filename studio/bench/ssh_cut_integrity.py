"""1,000 cuts of the connection to a machine while it writes a log of 50 MB: is what came what was written?"""

import hashlib
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.machines import attach

if TYPE_CHECKING:
    from studio.bench import Bench

CUTS, SIZE, LINE = 1000, 50_000_000, 100
SCRIPT = f"""
import hashlib, os
seen = hashlib.sha256()
for n in range(0, {SIZE // LINE}, 1000):
    block = b"".join(b"%-99d\\n" % m for m in range(n, n + 1000))
    seen.update(block)
    while block:
        block = block[os.write(1, block):]
open("outputs/sha256", "w").write(seen.hexdigest())
"""


def measure(bench: "Bench") -> Samples:
    import tempfile
    from pathlib import Path

    from tests.sshd import Sshd, key_pair, scratch_user
    from tests.wires import Wire

    product = bench.product
    with tempfile.TemporaryDirectory() as folder, scratch_user() as name:
        Path(folder).chmod(0o755)
        private, public = key_pair(Path(folder))
        server = Sshd(Path(folder) / "sshd", name)
        server.let_in(public)
        server.start()
        wire = Wire(server.port, cut_after=SIZE // CUTS)
        try:
            target = attach(product, server, private, "machine-cut", wire.port)
            run = product.run(SCRIPT, target)
            product.wait_for_statuses([run], "Completed", "Failed", patience=3600)
            log = product.log_file(run).read_bytes()
            there = (product.data / "jobs" / run.run_id / "1" / "rank-0" / "outputs" / "sha256").read_text()
        finally:
            wire.close()
            server.close()
    same = hashlib.sha256(log).hexdigest() == there and len(log) == SIZE
    return Samples([float(same)], [f"{wire.cuts} cuts, {len(log):,} bytes"])
