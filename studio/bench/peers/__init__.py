"""The same work on other systems, each in an environment of its own, interleaved with ours in one run.

Each module beside this one is a program for that environment. It starts its system, says {"ready": true}, and then
answers a line with a line: "first" → the seconds from submitting a script to its first line at the client; "many 20" →
the seconds until so many short scripts that were submitted at once have all ended.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.bench.figures import percentile

if TYPE_CHECKING:
    from studio.bench import Bench

ROUNDS, AT_ONCE = 10, 10
PEERS = {  # what pip installs for it
    "ray_jobs": ["ray[default]==2.60.0"],
    "buildbot": ["buildbot[bundle]==4.3.0", "buildbot-worker==4.3.0", "setuptools<81"],
    "mlflow": ["mlflow==3.17.2"],
}
FIGURES = {"first": "submit to the first line at the client, s", "many": f"{AT_ONCE} short runs at once, s"}


class Peer:
    """A system that runs beside ours. Raises RuntimeError when it cannot be installed or started."""

    def __init__(self, name: str, requirements: list[str]) -> None:
        python = environment(name, requirements)
        program = Path(__file__).with_name(f"{name}.py")
        environ = {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": os.environ.get("HOME", "/"),
        }
        self.process = subprocess.Popen(
            [str(python), "-P", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environ,
        )
        self._hear()

    def ask(self, question: str) -> float | None:
        """Return the seconds that something took; None for what the system has no counterpart of."""
        assert self.process.stdin is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        seconds = self._hear()["seconds"]
        return None if seconds is None else float(seconds)

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"it ended with code {self.process.wait()}")

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def compare(bench: "Bench") -> dict[str, dict[str, dict[str, Any]]]:
    """Measure ours and every peer that can be had, in turns; print and return the figures, by figure and system."""
    from studio.bench.peers.ours import Ours

    systems: dict[str, Callable[[str], float | None]] = {"studio": Ours(bench.product).ask}
    peers = []
    try:
        for name, requirements in PEERS.items():
            try:
                peers.append(Peer(name, requirements))
            except (OSError, RuntimeError) as problem:
                print(f"{name} cannot be measured here: {problem}", flush=True)
            else:
                systems[name] = peers[-1].ask
        took: dict[str, dict[str, list[float]]] = {figure: {name: [] for name in systems} for figure in FIGURES}
        for turn in range(ROUNDS + 1):
            for name, ask in systems.items():
                seconds = ask("first")
                if turn and seconds is not None:  # the first warms it up
                    took["first"][name].append(seconds)
        for _turn in range(2):
            for name, ask in systems.items():
                if (seconds := ask(f"many {AT_ONCE}")) is not None:
                    took["many"][name].append(seconds)
    finally:
        for peer in peers:
            peer.close()
    return {figure: {name: told(figure, name, values) for name, values in by.items()} for figure, by in took.items()}


def told(figure: str, name: str, values: list[float]) -> dict[str, Any]:
    """Print what a system needed, and return it."""
    if not values:
        print(f"{name:<12} {FIGURES[figure]:<48} has no counterpart", flush=True)
        return {"samples": 0}
    ordered = sorted(values)
    median = percentile(ordered, 0.5)
    print(f"{name:<12} {FIGURES[figure]:<48} median {median:.3f}  ({ordered[0]:.3f} to {ordered[-1]:.3f})", flush=True)
    return {
        "median": round(median, 4),
        "samples": len(ordered),
        "spread": [round(n, 4) for n in (ordered[0], ordered[-1])],
    }


def environment(name: str, requirements: list[str]) -> Path:
    """Return the Python of a peer's environment, made where there is none. Raises RuntimeError with what pip says."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compute-studio" / "peers"
    folder = base / f"{name}-{requirements[0].partition('==')[2]}"
    python, done = folder / "bin" / "python", folder / "complete"
    if done.exists():
        return python
    print(f"Installing {requirements[0]} …", flush=True)
    started = time.monotonic()
    make = [sys.executable, "-m", "venv", "--clear", str(folder)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    for command in (make, install):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(result.stderr.strip()[-300:])
    done.touch()
    print(f"It is there after {time.monotonic() - started:.0f} s.", flush=True)
    return python
