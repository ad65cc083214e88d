"""What Lighthouse makes of the pages, as it judges any site: a telephone, on a slow network, with a cold cache."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.product import FLAGS

if TYPE_CHECKING:
    from studio.bench import Bench
    from studio.bench.product import Product

VERSION = "12.8.2"  # later ones want a Node that few systems have yet
JUDGED = ("performance", "accessibility", "best-practices")
PATIENCE = 180.0  # seconds a page


def measure(bench: "Bench") -> Samples:
    """Return the three scores of each page. Chromium keeps the session's cookie between the pages, and no cache."""
    program, product = lighthouse(), bench.product
    run = product.run("for n in range(500):\n    print('step', n, 'loss', 1 / (n + 1))\n")
    product.wait_for_statuses([run], "Completed")
    space = "/w/default"
    pages = {
        "home": f"{space}/",
        "list": f"{space}/compute/",
        "wizard": f"{space}/compute/create/",
        "run": f"{space}/runs/{run.run_id}/",
    }
    values: list[float] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="studio-lighthouse-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        with product.persistent(Path(folder), [*FLAGS, f"--remote-debugging-port={port}"]):
            for name, path in pages.items():
                scores = judged(program, product, port, path, Path(folder) / f"{name}.json")
                values += scores.values()
                notes.append(f"{name}: " + ", ".join(f"{what} {score:.0f}" for what, score in scores.items()))
    return Samples(values, notes)


def judged(program: str, product: "Product", port: int, path: str, report: Path) -> dict[str, float]:
    """Return Lighthouse's scores of one page, from 0 to 100. Raises RuntimeError when it could not judge."""
    command = [
        program, product.url + path, f"--port={port}", "--quiet", "--disable-storage-reset", "--output=json",
        f"--output-path={report}", f"--only-categories={','.join(JUDGED)}",
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"Lighthouse could not judge {path}: {done.stderr.strip()[-500:]}")
    found = json.loads(report.read_text())["categories"]
    return {name: 100 * float(found[name]["score"]) for name in JUDGED}


def lighthouse() -> str:
    """Return Lighthouse's program, installed by npm where it is not yet. Raises RuntimeError with what is missing."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "compute-studio" / f"lighthouse-{VERSION}"
    program = folder / "node_modules" / ".bin" / "lighthouse"
    if program.exists():
        return str(program)
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("This key needs Node with npm (on Debian: apt-get install npm).")
    print("Installing Lighthouse with npm …", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", f"--prefix={folder}", f"lighthouse@{VERSION}"]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if done.returncode or not program.exists():
        raise RuntimeError(f"npm could not install Lighthouse: {done.stderr.strip()[-500:]}")
    print(f"Lighthouse is there after {time.monotonic() - started:.0f} s.", flush=True)
    return str(program)
