"""Many processes ask for cores at once, more than there are: how many get some, and whether the ledger is then right.

Each attempt is what the scheduler does for one node, in a process of its own kind, on PostgreSQL and on SQLite.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.bench.figures import Samples
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench

ATTEMPTS, PROCESSES, LIMIT = 10_000, 8, 1_000


def measure(bench: "Bench") -> Samples:
    """Return how many cores were granted on each database. Raises RuntimeError for a ledger that is wrong after it."""
    granted, notes = [], []
    with postgresql() as address:
        for name, environ in (("PostgreSQL", {"DATABASE_URL": address}), ("SQLite", dict[str, str]())):
            with Asking(environ) as asking:
                asking.prepare(LIMIT)
                for process in [asking.start(ATTEMPTS // PROCESSES) for _n in range(PROCESSES)]:
                    if process.wait():
                        raise RuntimeError(f"A process failed on {name}.")
                held, drift = asking.result()
            if drift:
                raise RuntimeError(f"The ledger is wrong on {name}: {drift} places.")
            granted.append(float(held))
            notes.append(f"{held} of {ATTEMPTS} on {name}, drift {drift}")
    return Samples(granted, notes)


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL of its own and give the address of its database."""
    from tests.integration.team import Team

    with tempfile.TemporaryDirectory(prefix="studio-pg-", dir="/tmp") as database, tempfile.TemporaryDirectory() as own:
        team = Team(Path(own), Path(database))
        try:
            team.start_postgresql()
            yield team.make_database("studio")
        finally:
            team.stop()


class Asking:
    """A studio's database, and the processes that ask it for cores."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="studio-ledger-")
        ours = ("STUDIO_", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "DATABASE_URL")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "STUDIO_DATA": self.folder.name,
            "SECRET_KEY": "only-for-measuring",
            "DJANGO_SETTINGS_MODULE": "studio.settings",
            "LOG_LEVEL": "ERROR",
            **environ,
        }

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.folder.cleanup()

    def prepare(self, limit: int) -> None:
        """Make the database, with a limit of so many cores."""
        subprocess.run(self.command("prepare", limit), env=self.environ, cwd=CHECKOUT, check=True)  # noqa: S603

    def start(self, attempts: int) -> "subprocess.Popen[bytes]":
        """Start a process that asks so many times for one core."""
        return subprocess.Popen(self.command("ask", attempts), env=self.environ, cwd=CHECKOUT)  # noqa: S603

    def result(self) -> tuple[int, int]:
        """Return the cores that are held, and in how many places the ledger is wrong."""
        said = subprocess.check_output(self.command("result", 0), env=self.environ, cwd=CHECKOUT)  # noqa: S603
        held, drift = said.split()
        return int(held), int(drift)

    @staticmethod
    def command(verb: str, number: int) -> list[str]:
        return [sys.executable, "-m", "studio.bench.ledger_granted", verb, str(number)]


# In a process of its own


def main(verb: str, number: int) -> None:
    import django

    django.setup()
    {"prepare": prepare, "ask": ask, "result": result}[verb](number)


def prepare(limit: int) -> None:
    from django.core.management import call_command

    from compute.models import ComputeTarget, Host
    from compute.quotas.models import Limit
    from studio.people.models import Workspace

    call_command("migrate", verbosity=0)
    workspace = Workspace.objects.create(name="crowd")
    Host.objects.create(name="host", cpus=2, memory_bytes=1 << 34)
    facts = {"kind": "AmlCompute", "vm_size": "Standard_D1_v2", "vm_priority": "Dedicated", "max_nodes": limit}
    ComputeTarget.objects.create(workspace=workspace, name="cluster", provisioning_state="Succeeded", **facts)
    Limit.objects.create(family="standarddv2family", cores=limit)


def ask(attempts: int) -> None:
    from django.db import transaction

    from compute.models import ComputeTarget, Host, Node
    from compute.quotas import ledger
    from studio.errors import QuotaExceeded

    facts: dict[str, Any] = {"target": ComputeTarget.objects.select_related("workspace").get()}
    facts |= {"host": Host.objects.get(), "virtual_cpus": 1, "memory_bytes": 1 << 30}
    for _n in range(attempts):
        try:
            with transaction.atomic():
                ledger.reserve(facts["target"], [Node.objects.create(node_id=Node.new_id(), **facts)])
        except QuotaExceeded:
            time.sleep(0.002)  # SQLite serves whoever asks next, and who has one loop alone is always next


def result(_number: int) -> None:
    from django.db.models import Sum

    from compute.quotas import ledger
    from compute.quotas.models import Reservation

    print(Reservation.objects.held().aggregate(sum=Sum("cores"))["sum"] or 0, len(ledger.check()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
