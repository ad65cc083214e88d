"""`manage.py bench`: measures the running product. It asserts nothing, and is no part of the tests.

Each key has a module of its name with `measure(bench) -> Samples`; adding one is that module and its line in KEYS.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.bench.figures import Samples, percentile
from studio.checks import CannotTest, chromium

if TYPE_CHECKING:
    from studio.bench.product import Product


@dataclass(frozen=True)
class Key:
    goal: float
    unit: str
    what: str


KEYS = {
    "first_line_warm_s": Key(0.25, "s", "Submit pressed to the first line in the page, idle node, p95"),
    "first_line_cold_s": Key(0.5, "s", "the same with the cluster at 0 nodes, p95"),
    "line_to_page_s": Key(0.1, "s", "line written to line in the page, 20 pages open, p95"),
    "list_p95_s": Key(0.15, "s", "lists with 10,000 targets and 100,000 runs, slowest sort and filter, p95"),
    "fresh_clone_to_completed_s": Key(90, "s", "fresh clone, nothing cached, to the completed sample run"),
}


class Bench:
    """What the keys share: one product, started when the first of them asks for it."""

    def __init__(self) -> None:
        self._product: Product | None = None

    @property
    def product(self) -> "Product":
        if self._product is None:
            from studio.bench.product import Product

            self._product = Product(chromium())
        return self._product

    def close(self) -> None:
        if self._product is not None:
            self._product.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="manage.py bench", description="Measure the running product.")
    parser.add_argument("keys", nargs="*", metavar="KEY", help="all of them: " + ", ".join(KEYS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as one JSON object, too")
    options = parser.parse_args(arguments)
    if unknown := [key for key in options.keys if key not in KEYS]:
        parser.error(f"there is no key {', '.join(unknown)}; the keys are {', '.join(KEYS)}")
    bench, figures, failed = Bench(), dict[str, dict[str, Any]](), False
    print(f"{'key':<28} {'value':>8} {'goal':>8}  {'n':>4}  spread (smallest, median, largest)")
    try:
        for key in options.keys or KEYS:
            try:
                samples: Samples = import_module(f"studio.bench.{key}").measure(bench)
            except CannotTest:
                raise
            except Exception as problem:  # the others are still worth their time
                failed = True
                print(f"{key:<28} could not be measured: {problem}", flush=True)
                continue
            figures[key] = figure(KEYS[key], samples)
            show(key, figures[key], samples)
    except CannotTest as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        bench.close()
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(failed)


def figure(key: Key, samples: Samples) -> dict[str, Any]:
    """Return what `--json` says of a key."""
    ordered = sorted(samples.values)
    return {
        "value": round(percentile(ordered, 0.95), 4),
        "unit": key.unit,
        "goal": key.goal,
        "samples": len(ordered),
        "spread": [round(n, 4) for n in (ordered[0], percentile(ordered, 0.5), ordered[-1])],
    }


def show(key: str, said: dict[str, Any], samples: Samples) -> None:
    unit = said["unit"]
    spread = ", ".join(f"{n:.3f}" for n in said["spread"])
    print(
        f"{key:<28} {said['value']:>6.3f} {unit} {said['goal']:>6} {unit}  {said['samples']:>4}  {spread}", flush=True
    )
    for note in samples.notes:
        print(f"{'':<28} {note}", flush=True)
