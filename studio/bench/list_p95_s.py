"""The lists with 10,000 targets and 100,000 runs: the slowest of all sorts, filters and pages, in the server.

A process of its own fills a database and asks through the whole middleware, without a network in between.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import own_queue, up
from studio.bench.figures import Samples, percentile
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench

TARGETS, RUNS, EXPERIMENTS = 10_000, 100_000, 2_000
TIMES, LOOKS = 40, 2  # of the slowest; of every address, to find those
SLOWEST = 6
WORDS = ("amber", "brave", "calm", "dapper", "eager", "fuzzy", "gentle", "hardy", "icy", "jolly")


def measure(bench: "Bench") -> Samples:
    """Return what the slowest address took, each time it was asked for."""
    with tempfile.TemporaryDirectory(prefix="studio-lists-") as folder:
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "STUDIO_URL")}
        environ |= {"STUDIO_DATA": folder, "SECRET_KEY": "only-for-measuring", "ALLOWED_HOSTS": "testserver"}
        environ |= {"DJANGO_SETTINGS_MODULE": "studio.settings", "LOG_LEVEL": "WARNING"}
        command = [sys.executable, "-m", "studio.bench.list_p95_s", folder]
        with queue(Path(folder)):
            subprocess.run(command, env=environ, cwd=CHECKOUT, check=True)  # noqa: S603
        found: list[tuple[str, list[float]]] = json.loads((Path(folder) / "found.json").read_text())
    notes = [f"{percentile(sorted(took), 0.95):.3f} s {address}" for address, took in found[:SLOWEST]]
    return Samples(found[0][1], ["the slowest:", *notes])


@contextmanager
def queue(folder: Path) -> Iterator[None]:
    """Have a queue at hand, as the pages of a studio do."""
    up.make_keys(folder)
    child = own_queue.valkey(folder, folder)
    pid = os.fork()
    if not pid:
        child.run()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main(folder: Path) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    client = fill()
    slow = sorted(addresses(), key=lambda address: sorted(times(client, address, LOOKS))[LOOKS // 2])[-SLOWEST * 2 :]
    found = [(address, times(client, address, TIMES)) for address in slow]
    found.sort(key=lambda pair: -percentile(sorted(pair[1]), 0.95))
    (folder / "found.json").write_text(json.dumps(found))


def times(client: Any, address: str, count: int) -> list[float]:
    took = []
    for _ in range(count):
        started = time.perf_counter()
        response = client.get(address)
        took.append(time.perf_counter() - started)
        if response.status_code != 200:
            raise RuntimeError(f"{address} answered {response.status_code}.")
    return took


def addresses() -> list[str]:
    """Return every sort, forwards and back, of every filter that matters, at the first page and at the last."""
    from compute.listing import SORTS as TARGET_SORTS
    from runs.listing import EXPERIMENT_SORTS, SORTS

    asked = []
    plain = "?"
    filters = [
        plain,
        "?status=Completed&",
        "?status=Running&",
        "?tag=rare&",
        "?tag=kernel=rbf&",
        "?tag=nowhere&",
        "?target=cluster-00042&",
        "?experiment=experiment-00007&",
        "?q=brave&",
        "?q=nowhere&",
        "?mine=1&",
        "?archived=1&",
    ]
    last = RUNS * 19 // 20 // 50
    for narrowed, sort, sign in product(filters, SORTS, ("", "-")):
        asked.append(f"runs/{narrowed}sort={sign}{sort}")
        if narrowed in (plain, "?status=Completed&", "?mine=1&"):
            asked.append(f"runs/{narrowed}sort={sign}{sort}&page={last if narrowed == plain else last // 3}")
    narrowing = [plain, "?q=experiment-001&", "?tag=rare&", "?archived=1&"]
    for narrowed, sort, sign in product(narrowing, EXPERIMENT_SORTS, ("", "-")):
        asked.append(f"experiments/{narrowed}sort={sign}{sort}")
        if narrowed == plain:
            asked.append(f"experiments/?sort={sign}{sort}&page={EXPERIMENTS * 19 // 20 // 50}")
    narrowing = [plain, "?q=cluster-001&", "?q=nowhere&", "?tag=rare&", "?state=running&", "?priority=dedicated&"]
    for narrowed, sort, sign in product(narrowing, TARGET_SORTS, ("", "-")):
        asked.append(f"compute/{narrowed}sort={sign}{sort}")
        if narrowed == plain:
            asked.append(f"compute/?sort={sign}{sort}&page={TARGETS // 50}")
    return [f"/w/crowd/{address}" for address in asked]


def fill() -> Any:
    """Make the rows, spread as they are in life, and return a client of somebody who may see them."""
    from datetime import timedelta

    from django.db import connection, transaction
    from django.test import Client
    from django.utils import timezone

    from compute.models import ComputeTarget, Host, Job, Node
    from runs.models import Experiment, Run
    from studio.people.actions import create_workspace
    from studio.people.models import User

    now = timezone.now()
    people = [User.objects.create_user(f"person{n}", password=None) for n in range(5)]
    workspace = create_workspace("crowd", people[0])

    def stored(model: Any, rows: Any) -> list[Any]:
        kept: list[Any] = []
        while some := list(islice(rows, 5_000)):
            kept += model.objects.bulk_create(some)
        return kept

    def statuses(n: int) -> str:
        return "Running" if n % 500 == 0 else ("Completed", "Completed", "Completed", "Failed", "Canceled")[n % 5]

    with transaction.atomic():
        targets = stored(
            ComputeTarget,
            (
                ComputeTarget(
                    workspace=workspace,
                    name=f"cluster-{n:05}",
                    kind="amlcompute",
                    vm_size="STANDARD_D2_V2",
                    vm_priority="dedicated" if n % 3 else "lowpriority",
                    price_usd_per_hour="0.1460",
                    max_nodes=4,
                    provisioning_state="Succeeded" if n % 50 else "Failed",
                    tags={"team": WORDS[n % 10]} | ({"rare": "1"} if n % 2_000 == 0 else {}),
                    created_at=now - timedelta(minutes=n * 7919 % 100_000),
                )
                for n in range(TARGETS)
            ),
        )
        host = Host.objects.create(name="host", cpus=2, memory_bytes=1 << 34)
        stored(
            Node,
            (
                Node(
                    target=targets[n * 5],
                    host=host,
                    node_id=f"tvm-{n:012x}",
                    state="idle" if n % 2 else "running",
                    virtual_cpus=2,
                    memory_bytes=1 << 33,
                )
                for n in range(2_000)
            ),
        )
        experiments = stored(
            Experiment,
            (
                Experiment(
                    workspace=workspace,
                    name=f"experiment-{n * 7919 % EXPERIMENTS:05}",
                    created_by=people[n % 5],
                    last_number=RUNS // EXPERIMENTS,
                    tags={"rare": "1"} if n % 500 == 0 else {},
                    archived_at=now if n % 20 == 0 else None,
                    created_at=now - timedelta(minutes=n),
                )
                for n in range(EXPERIMENTS)
            ),
        )
        runs = stored(
            Run,
            (
                Run(
                    workspace=workspace,
                    experiment=experiments[n % EXPERIMENTS],
                    number=n // EXPERIMENTS + 1,
                    run_id=f"experiment_{n}",
                    display_name=f"{WORDS[n % 10]}_{WORDS[n // 10 % 10]}_{n * 7919 % RUNS:x}",
                    description="A run among many." if n % 3 == 0 else "",
                    status=statuses(n),
                    target=targets[n * 31 % TARGETS],
                    target_name=targets[n * 31 % TARGETS].name,
                    config={"script": "train.py", "arguments": ["--kernel", "rbf"], "variables": {"A": "b" * 200}},
                    tags={"kernel": ("rbf", "linear", "poly")[n % 3]} | ({"rare": "1"} if n % 20_000 == 7 else {}),
                    properties={"azureml.git.commit": f"{n:040x}"},
                    submitted_by=people[n % 5],
                    created_at=(began := now - timedelta(minutes=RUNS - n)),
                    started_at=began,
                    ended_at=None if n % 500 == 0 else began + timedelta(seconds=n * 7919 % 9_973),
                    archived_at=now if n % 20 == 3 else None,
                )
                for n in range(RUNS)
            ),
        )
        stored(
            Job,
            (
                Job(target=run.target, run_id=run.run_id, run_name=run.display_name, state="Running")
                for run in runs
                if run.status == "Running"
            ),
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    client = Client()
    client.force_login(people[0])
    return client


if __name__ == "__main__":
    main(Path(sys.argv[1]))
