"""Usage of one year by month and team over 1,000,000 runs, on SQLite and on PostgreSQL.

A process of its own fills a database with the rows that so many ended jobs leave (their totals among them, made by
the product's own rebuild), and asks for the report as a page would.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.ledger_granted import postgresql
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench

RUNS, TIMES, AT_ONCE = 1_000_000, 5, 10_000
SIZE = "Standard_D2_v2"
PEOPLE, TEAMS, TARGETS, EXPERIMENTS = 60, 8, 12, 200


def measure(bench: "Bench") -> Samples:
    """Return what each report took on the slower database."""
    found: dict[str, list[float]] = {}
    with postgresql() as address:
        for name, database in (("PostgreSQL", address), ("SQLite", "")):
            with tempfile.TemporaryDirectory(prefix="studio-usage-") as folder:
                environ = {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "STUDIO_URL")}
                environ |= {"STUDIO_DATA": folder, "SECRET_KEY": "only-for-measuring", "LOG_LEVEL": "ERROR"}
                environ |= {"DJANGO_SETTINGS_MODULE": "studio.settings"}
                environ |= {"DATABASE_URL": database} if database else {}
                command = [sys.executable, "-m", "studio.bench.usage_report_s", folder, str(RUNS)]
                subprocess.run(command, env=environ, cwd=CHECKOUT, check=True)  # noqa: S603
                found[name] = json.loads((Path(folder) / "found.json").read_text())
    slower = max(found, key=lambda name: max(found[name]))
    return Samples(found[slower], [f"{max(took):.3f} s at most on {name}" for name, took in found.items()])


def main(folder: Path, runs: int) -> None:
    import django

    django.setup()
    from datetime import date

    from django.core.management import call_command

    from compute.usage.reads import report
    from studio.people.models import Workspace

    call_command("migrate", verbosity=0)
    fill(runs)
    space = Workspace.objects.get(name="measured")
    took = []
    for _n in range(TIMES):
        started = time.perf_counter()
        lines = report(space, date(2025, 1, 1), date(2026, 1, 1), ["month", "team"])
        took.append(time.perf_counter() - started)
    if sum(line.jobs for line in lines) != runs:
        raise RuntimeError("The report does not count every run.")
    (folder / "found.json").write_text(json.dumps(took))


def fill(runs: int) -> None:
    """Make a workspace in which so many jobs ended in the course of 2025."""
    import random
    from datetime import UTC, datetime, timedelta

    from django.db import transaction

    from compute.models import ComputeTarget, Job
    from compute.usage import check
    from compute.usage.models import JobUsage
    from studio.people.actions import create_workspace
    from studio.people.models import User

    chance = random.Random(7)  # noqa: S311  # the same rows each time
    space = create_workspace("measured", User.objects.create_user("measured"))
    targets = [
        ComputeTarget.objects.create(
            workspace=space, name=f"cluster{n:02}", kind="AmlCompute", vm_size="Standard_D2_v2"
        )
        for n in range(TARGETS)
    ]
    first = datetime(2025, 1, 1, tzinfo=UTC)
    for start in range(0, runs, AT_ONCE):
        with transaction.atomic():
            jobs = Job.objects.bulk_create(
                Job(target=targets[n % TARGETS], run_id=f"r{n}", run_name=f"r{n}", state="Ended")
                for n in range(start, min(start + AT_ONCE, runs))
            )
            rows = []
            for job in jobs:
                person, began = chance.randrange(PEOPLE) + 1, first + timedelta(minutes=chance.randrange(364 * 1440))
                lasted = timedelta(seconds=chance.randrange(30, 20_000))
                rows.append(
                    JobUsage(
                        job=job,
                        workspace=space,
                        person=person,
                        team=person % TEAMS,
                        target_id=job.target_id,
                        family="standarddv2family",
                        priority="Dedicated",
                        nodes=1,
                        cores=2,
                        price={},
                        experiment=f"experiment-{chance.randrange(EXPERIMENTS)}",
                        micro_usd_per_hour=146_000,
                        started_at=began,
                        ended_at=began + lasted,
                    )
                )
            JobUsage.objects.bulk_create(rows)
    check.rebuild()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
