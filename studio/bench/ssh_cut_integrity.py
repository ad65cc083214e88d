"""1,000 cuts of the connections to ten machines that write 50 MB each: is what came what was written?

Each machine has a wire, a log and a connection of its own, so that the pauses between cuts pass at the same time. What
counts is true when all ten logs are whole, each of 50 MB, and their wires were cut 1,000 times together; a log of 50 MB
sees a tenth of the cuts at the least.
"""

import hashlib
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.machines import attach

if TYPE_CHECKING:
    from studio.bench import Bench

CUTS, MACHINES, SIZE, LINE = 1000, 10, 50_000_000, 100  # SIZE: bytes of one log
CUT_AFTER = 400_000  # bytes that a connection brings, of which some 224,000 are whole pieces of the log
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
    """Hold each log against what its machine says it wrote; a wire that was cut too seldom does not count."""
    import tempfile
    from pathlib import Path

    from tests.sshd import Sshd, key_pair, scratch_user
    from tests.wires import Wire

    product = bench.product
    with tempfile.TemporaryDirectory() as folder, scratch_user() as name:
        Path(folder).chmod(0o755)
        private, public = key_pair(Path(folder))
        servers = [Sshd(Path(folder) / f"sshd-{n}", name) for n in range(MACHINES)]
        wires: list[Wire] = []
        try:
            for server in servers:
                server.let_in(public)
                server.start()
                wires.append(Wire(server.port, cut_after=CUT_AFTER))
            targets = [
                attach(product, server, private, f"machine-cut-{n}", wire.port)
                for n, (server, wire) in enumerate(zip(servers, wires, strict=True))
            ]
            runs = [product.run(SCRIPT, target) for target in targets]
            product.wait_for_statuses(runs, "Completed", "Failed", patience=3600)
            logs = [product.log_file(run).read_bytes() for run in runs]
            outputs = [product.data / "jobs" / run.run_id / "1" / "rank-0" / "outputs" / "sha256" for run in runs]
            there = [file.read_text() for file in outputs]
        finally:
            for wire in wires:
                wire.close()
            for server in servers:
                server.close()
    cuts = sum(wire.cuts for wire in wires)
    same = [hashlib.sha256(log).hexdigest() == said and len(log) == SIZE for log, said in zip(logs, there, strict=True)]
    whole = all(same) and min(wire.cuts for wire in wires) >= CUTS // MACHINES
    return Samples([float(whole)], [f"{cuts} cuts, {sum(same)} of {MACHINES} logs of {SIZE:,} bytes the same"])
