"""Jobs that end at once on PostgreSQL: every one is counted, once."""

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from studio.paths import CHECKOUT
from tests.integration.team import Team

PROGRAM = """
import sys, django
django.setup()
from threading import Thread
from datetime import UTC, datetime, timedelta
from django.db import connection
from compute.engines import embedded
from compute.models import Job
from compute.states import JobState
from compute.usage import check, record
from compute.usage.models import JobUsage, MonthTotal
from studio.people.actions import create_workspace
from studio.people.models import User
from tests.compute.clusters import make_cluster, make_job

space = create_workspace("vision-team", User.objects.create_user("ana"))
cluster = make_cluster(space, host=embedded.this_host())
noon = datetime(2026, 3, 31, 12, tzinfo=UTC)
jobs = [make_job(cluster, JobState.ENDED, started_at=noon, ended_at=noon + timedelta(hours=36)) for _n in range(60)]

def end(some):
    for job in some:
        record.ended(job)
    connection.close()

threads = [Thread(target=end, args=(jobs if n % 2 else jobs[::-1],)) for n in range(6)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(MonthTotal.objects.values_list("jobs", flat=True)), MonthTotal.objects.count(), len(check.drift()))
check.rebuild()
print(sum(MonthTotal.objects.values_list("core_ms", flat=True)), len(check.drift()))
"""


def test_jobs_that_end_at_once_are_each_counted_once(tmp_path: Path) -> None:
    folder = tempfile.TemporaryDirectory(prefix="studio-pg-", dir="/tmp")
    team = Team(tmp_path, Path(folder.name))
    try:
        team.start_postgresql()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")} | {
            "DATABASE_URL": team.make_database("usage"),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "STUDIO_DATA": str(tmp_path / "data"),
        }
        (tmp_path / "data").mkdir()
        python = [sys.executable]
        subprocess.run([*python, "manage.py", "migrate", "-v0"], env=environ, cwd=CHECKOUT, check=True)
        command = [*python, "-c", textwrap.dedent(PROGRAM)]
        said = subprocess.run(command, env=environ, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    finally:
        team.stop()
        folder.cleanup()
    assert said.split() == ["60", "2", "0", str(60 * 36 * 2 * 3_600_000), "0"]
