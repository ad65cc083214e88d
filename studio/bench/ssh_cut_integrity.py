"""1,000 cuts of the connections to machines that write 50 MB: is what came what was written?

Ten machines share the work, so that the pauses between cuts pass at the same time: each has a wire, a log and a
connection of its own, and a tenth of the bytes.
"""

import hashlib
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.machines import attach

if TYPE_CHECKING:
    from studio.bench import Bench

CUTS, MACHINES, WHOLE, LINE = 1000, 10, 50_000_000, 100
SIZE = WHOLE // MACHINES  # bytes of one log
CUT_AFTER = 100_000  # bytes that a connection brings, those that begin it among them: enough for over CUTS cuts
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
    whole = all(same) and cuts >= CUTS
    return Samples([float(whole)], [f"{cuts} cuts, {sum(same)} of {MACHINES} logs of {SIZE:,} bytes the same"])
