"""What all processes of `manage.py up` hold in memory when nobody works: each shared page counted once."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.product import Studio

if TYPE_CHECKING:
    from studio.bench import Bench

SETTLED_AFTER, LOOKS = 30.0, 5  # seconds; one a second after that


def measure(bench: "Bench") -> Samples:
    """Measure a studio of its own, which nobody has looked at."""
    with Studio() as studio:
        time.sleep(SETTLED_AFTER)
        looks = []
        for _ in range(LOOKS):
            looks.append({name: proportional_mb(pid) for name, pid in studio.pids().items()})
            time.sleep(1)
    told = ", ".join(f"{name} {mb:.0f}" for name, mb in looks[-1].items())
    return Samples([sum(look.values()) for look in looks], [told])


def proportional_mb(pid: int) -> float:
    """Return a process's proportional set size in MB."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = next(line.split()[1] for line in told.splitlines() if line.startswith("Pss:"))
    return int(kilobytes) * 1024 / 1e6
