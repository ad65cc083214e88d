"""`manage.py bench`: measures the running product. It asserts nothing, and is no part of the tests.

Each key has a module of its name with `measure(bench) -> Samples`; adding one is that module and its line in KEYS.
"""

import argparse
import json
import signal
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
    more: bool = False  # more is better; and what is said is what 95 of 100 samples reach, not what they stay below


KEYS = {
    "first_line_warm_s": Key(0.25, "s", "Submit pressed to the first line in the page, idle node, p95"),
    "first_line_cold_s": Key(0.5, "s", "the same with the cluster at 0 nodes, p95"),
    "line_to_page_s": Key(0.1, "s", "line written to line in the page, 20 pages open, p95"),
    "list_p95_s": Key(0.15, "s", "lists with 10,000 targets and 100,000 runs, slowest sort and filter, p95"),
    "status_push_p95_s": Key(0.3, "s", "status change to every one of 20 open lists, p95"),
    "wall_fresh_p95_s": Key(1, "s", "change to every one of 200 walls, 50 changes/s, p95"),
    "log_lines_per_s_1": Key(1_000_000, "/s", "lines of 90 bytes delivered to one viewer, none lost", more=True),
    "log_lines_per_s_20": Key(3_000_000, "/s", "the same to twenty viewers in all", more=True),
    "log_memory_growth_mb": Key(50, "MB", "growth of the web process meanwhile, with 5 viewers that stop reading"),
    "log_cut_integrity": Key(1, "true", "1,000 cut sockets during a 50 MB log: what came is the file", more=True),
    "log_open_1gib_s": Key(0.3, "s", "a log of 1 GiB: opened at its end or in its middle by a link, p95"),
    "log_search_1gib_s": Key(3, "s", "a log of 1 GiB: a rare word found, all of it searched"),
    "crash_runs_lost": Key(0, "runs", "kill -9 of web, worker, both, 20 times during 20 runs: lost, wrong, not whole"),
    "cancel_tree_empty_s": Key(2, "s", "grace period over to empty tree; trees that double-fork and ignore TERM, p95"),
    "lighthouse_min": Key(
        95, "of 100", "Lighthouse's scores of home, list, wizard and run page; the lowest", more=True
    ),
    "doctor_s": Key(3, "s", "all checks of the connection doctor on a healthy machine, p95"),
    "ssh_first_line_s": Key(0.5, "s", "Submit pressed to the first line in the page, a machine over SSH, p95"),
    "ssh_line_to_page_s": Key(0.15, "s", "line written there to line in the page, 50 machines at 20 lines/s, p95"),
    "ssh_ingest_lines_per_s": Key(100_000, "/s", "lines of 90 bytes from 50 machines into one worker", more=True),
    "ssh_cut_integrity": Key(1, "true", "1,000 cuts of the connection during a 50 MB log: same SHA-256", more=True),
    "ssh_restart_runs_lost": Key(0, "runs", "everything restarted during 200 runs over SSH: lost, wrong, not whole"),
    "ssh_cancel_tree_empty_s": Key(2, "s", "grace period over to the empty tree of 50 processes, over SSH, p95"),
    "ledger_granted": Key(1_000, "cores", "10,000 attempts of 8 processes at 1,000 cores: granted, on each database"),
    "api_list_p95_s": Key(0.15, "s", "the API's lists with 100,000 runs, slowest sort and filter, p95"),
    "api_fuzz_failures": Key(0, "failures", "schemathesis, every operation, every role: 5xx, undocumented, escaped"),
    "usage_report_s": Key(1, "s", "usage of a year by month and team, 1,000,000 runs, on SQLite and PostgreSQL"),
    "verdict_p95_s": Key(0.05, "s", "the verdict on a request, 10,000 clusters and 100,000 runs, p95"),
    "idle_memory_mb": Key(250, "MB", "all processes of `up`, proportional set size"),
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
    parser.add_argument("--peers", action="store_true", help="the same work on Ray Jobs, Buildbot and MLflow, too")
    options = parser.parse_args(arguments)
    if unknown := [key for key in options.keys if key not in KEYS]:
        parser.error(f"there is no key {', '.join(unknown)}; the keys are {', '.join(KEYS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end what was started
    bench, figures, failed = Bench(), dict[str, dict[str, Any]](), False
    print(f"{'key':<28} {'value':>8} {'goal':>8}  {'n':>4}  spread (smallest, median, largest)")
    try:
        for key in options.keys or ([] if options.peers else KEYS):
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
        if options.peers:
            figures["peers"] = import_module("studio.bench.peers").compare(bench)
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
        "value": round(percentile(ordered, 0.05 if key.more else 0.95), 4),
        "unit": key.unit,
        "goal": key.goal,
        "samples": len(ordered),
        "spread": [round(n, 4) for n in (ordered[0], percentile(ordered, 0.5), ordered[-1])],
    }


def show(key: str, said: dict[str, Any], samples: Samples) -> None:
    unit = said["unit"]
    spread = ", ".join(map(short, said["spread"]))
    value, goal = f"{short(said['value']):>6} {unit}", f"{said['goal']:>6,} {unit}"
    print(f"{key:<28} {value} {goal}  {said['samples']:>4}  {spread}", flush=True)
    for note in samples.notes:
        print(f"{'':<28} {note}", flush=True)


def short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3f}"
