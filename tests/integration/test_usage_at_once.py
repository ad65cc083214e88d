"""What happens at once on PostgreSQL: every end is counted once, and two who order their runs do not fail."""

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
import studio.celery
from threading import Thread
from datetime import UTC, datetime, timedelta
from django.db import connection
from compute.engines import embedded
from compute.models import Job
from compute.states import JobState
from compute.usage import check, record
from compute.usage.models import JobUsage, MonthTotal
from runs import queueing
from runs.models import Experiment, Run
from studio.errors import NotAllowedNow
from studio.people.actions import create_workspace, set_role
from studio.people.models import User
from studio.people.permissions import Role
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

people = [User.objects.get(), User.objects.create_user("ben")]
set_role(space, people[1], Role.DATA_SCIENTIST, by=people[0])
home = Experiment.objects.create(workspace=space, name="digits")
runs = []
for n in range(8):
    run = Run.objects.create(workspace=space, experiment=home, number=n, run_id=f"r{n}", display_name=f"r{n}")
    Job.objects.create(
        target=cluster, run_id=run.run_id, run_name=f"r{n}", submitted_by=people[n % 2], state=JobState.WAITING,
        enqueued_at=noon + timedelta(microseconds=n // 3),
    )
    runs.append(run)
waiting = Job.objects.filter(target=cluster, state=JobState.WAITING)

failed = []

def shuffle(person, up):
    for n in range(40):
        try:
            queueing.move(runs[(n * 3) % 8], up=up, by=person)
        except NotAllowedNow:
            pass
        except Exception as exc:
            failed.append(exc)
            print(repr(exc), file=sys.stderr)
    connection.close()

threads = [Thread(target=shuffle, args=(person, up)) for person in people for up in (True, False)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(failed), waiting.count(), len(set(waiting.values_list("enqueued_at", "pk"))))
"""


def test_ends_are_each_counted_once_and_people_order_their_runs_at_once(tmp_path: Path) -> None:
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
        said = subprocess.run(command, env=environ, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        team.stop()
        folder.cleanup()
    assert said.split() == ["60", "2", "0", str(60 * 36 * 2 * 3_600_000), "0", "0", "8", "8"]
