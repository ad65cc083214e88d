"""The main job on PostgreSQL and Redis, with two web processes, two workers and one clock."""

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.integration.team import Person, Team, team_in, until

LINES = "import time\nfor n in range({n}):\n    print('line', n, flush=True)\n    time.sleep({pause})\nprint('done')\n"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team_in(tmp_path_factory.mktemp("team")) as team:
        yield team


@pytest.fixture(scope="module")
def link(team: Team) -> str:
    """Prepare the database and return the administrator's sign-in link."""
    return str(json.loads(team.manage("prepare").splitlines()[-1])["link"])


@pytest.fixture(scope="module")
def people(team: Team, link: str) -> tuple[Person, Person]:
    """Start the studio; return one person at each of its two web processes."""
    team.start_worker("worker-1")
    team.start_worker("worker-2")
    team.start_beat()
    a, b = team.start_web("web-a"), team.start_web("web-b")
    a.sign_in(link)
    return a, a.at(b)


def log_of(person: Person, run: str) -> str:
    return person.get(f"{run}logs/1/std_log.txt")


def status_of(team: Team, run: str) -> str:
    run_id = run.strip("/").split("/")[-1]
    return str(team.ask(f"Run.objects.get(run_id={run_id!r}).status"))


def until_final(person: Person, run: str) -> str:
    """Wait until the page of a run says how it ended."""
    header = f"{run}header/"
    found = until(lambda: re.search(r"\b(Completed|Failed|Canceled)\b", person.get(header)))
    return str(found[1])


def test_the_main_job_goes_through_both_web_processes(team: Team, people: tuple[Person, Person]) -> None:
    a, b = people
    with a.listen() as socket:
        b.create_cluster("team-cluster")
        heard = json.loads(socket.recv(timeout=10))
        assert heard["event"] == "target:moved"  # told through the one, heard through the other
        run = b.submit("team-cluster", LINES.format(n=50, pause=0.01))
        assert until_final(a, run) == "Completed"
        events = set()
        while "run:moved" not in events:
            events.add(json.loads(socket.recv(timeout=10))["event"])
    assert log_of(a, run) == log_of(b, run) == "".join(f"line {n}\n" for n in range(50)) + "done\n"
    assert "team-cluster" in a.get("/w/default/compute/")


def test_the_doctor_finds_nothing_broken(team: Team, people: tuple[Person, Person]) -> None:
    tick = "__import__('django.core.cache', fromlist=['cache']).cache.get('studio.tick')"
    until(lambda: team.ask(tick))  # the clock is heard 10 s after its start for the first time
    said = team.manage("doctor", STUDIO_URL=people[0].base)
    assert "bad " not in said
    for part in (
        "PostgreSQL at 127.0.0.1, up to date",
        "broker answers",
        "Nudges to open pages arrive",
        "A worker answers",
    ):
        assert part in said, said
    assert "ok    There is a key to seal credentials with" in said


def test_the_doctor_says_what_is_broken_and_ends_with_1(team: Team) -> None:
    gone: Any = {"DATABASE_URL": "postgres://studio@127.0.0.1:9/studio", "REDIS_URL": "redis://127.0.0.1:9"}
    said = team.manage("doctor", check=False, STUDIO_URL="http://127.0.0.1:9", **gone)
    for part in ("The database", "The broker", "The web process"):
        assert f"bad   {part} does not answer" in said, said
    assert "Traceback" not in said
    assert re.search(r"^[3-9] broken, ", said, re.MULTILINE)


def test_djangos_own_checks_of_a_deployment_find_nothing(team: Team) -> None:
    said = team.manage("check", "--deploy", "--fail-level", "WARNING", STUDIO_URL="https://studio.example.org")
    assert "no issues" in said


def test_a_script_starts_once_however_many_workers_take_its_steps(team: Team, people: tuple[Person, Person]) -> None:
    a, b = people
    code = "import time\nprint('begun', flush=True)\ntime.sleep(3)\nprint('done')\n"
    team.start_worker("worker-3")  # its steps below are taken by all three, at the same time
    runs = [person.submit("team-cluster", code) for person in (a, b, a)]
    ids = [run.strip("/").split("/")[-1] for run in runs]
    send = (
        "from studio.celery import app\n"
        "from runs.models import Run\n"
        "from compute.models import Job\n"
        f"for _ in range(10):\n    for run in Run.objects.filter(run_id__in={ids!r}):\n"
        "        app.send_task('runs.tasks.advance_run', [run.pk])\n"
        "        app.send_task('compute.tasks.reconcile')\n"
        "        app.send_task('runs.tasks.reconcile')\n"
        "        for job in Job.objects.filter(run_id=run.run_id):\n"
        "            app.send_task('compute.tasks.follow_job', [job.pk])\n"
        "            app.send_task('runs.tasks.record_job', [job.pk])\n"
    )
    team.manage("shell", "--verbosity=0", "-c", send)
    assert [until_final(b, run) for run in runs] == ["Completed"] * 3
    assert [log_of(a, run) for run in runs] == ["begun\ndone\n"] * 3
    assert team.ask(f"[r.attempts.count() for r in Run.objects.filter(run_id__in={ids!r})]") == [1, 1, 1]
    told = team.ask(f"[[e.new for e in r.events.order_by('pk')] for r in Run.objects.filter(run_id__in={ids!r})]")
    assert told == [["Starting", "Queued", "Running", "Completed"]] * 3
    until(lambda: team.ask("Node.objects.exclude(state='idle').count()") == 0)
    assert team.ask("Node.objects.count()") == 2  # the maximum was kept


def test_a_run_lives_through_the_end_of_database_broker_and_workers(team: Team, people: tuple[Person, Person]) -> None:
    a, b = people
    run = a.submit("team-cluster", LINES.format(n=40, pause=0.1))
    until(lambda: "line 0" in log_of(b, run))
    for name in ("worker-1", "worker-2", "redis"):
        team.kill(name)
    meanwhile = b.submit("local", "print('meanwhile')")  # the queue is away, and the row is the truth
    assert "Running" in a.get(f"{run}header/")
    team.kill("postgresql")
    with pytest.raises(HTTPError) as answer:
        a.get(run)
    assert answer.value.code == 503
    assert "cannot reach its database" in answer.value.read().decode()
    team.start_postgresql()
    team.start_redis()
    team.start_worker("worker-1")
    team.start_worker("worker-2")
    assert until_final(b, run) == "Completed"
    assert log_of(a, run) == "".join(f"line {n}\n" for n in range(40)) + "done\n"
    assert until_final(a, meanwhile) == "Completed"
    again = b.submit("local", "print('on')")
    assert until_final(a, again) == "Completed"


def test_a_backup_of_a_team_is_restored_into_another_database(
    team: Team, people: tuple[Person, Person], tmp_path: Path
) -> None:
    a, _b = people
    run = a.submit("local", "print('kept')")
    assert until_final(a, run) == "Completed"
    team.manage("backup", str(tmp_path / "backup.tar.gz"))
    copy = tmp_path / "copy"
    other: Any = {"DATABASE_URL": team.make_database("other"), "STUDIO_DATA": str(copy)}
    said = team.manage("restore", str(tmp_path / "backup.tar.gz"), "--data", str(copy), **other)
    assert "Restored the studio" in said
    code = "from runs.models import Run; print(list(Run.objects.order_by('pk').values('run_id', 'status')))"
    rows = ("shell", "--verbosity=0", "-c", code)
    assert team.manage(*rows, **other) == team.manage(*rows)
    run_id = run.strip("/").split("/")[-1]
    assert (copy / "logs" / "runs" / run_id / "1" / "std_log.txt").read_text() == "kept\n"
    said = team.manage(
        "restore", str(tmp_path / "backup.tar.gz"), "--data", str(tmp_path / "new"), check=False, **other
    )
    assert "Restored" not in said  # neither the database nor the directory is empty now


def test_a_cluster_of_another_machine_runs_there_and_nowhere_else(
    team: Team, people: tuple[Person, Person], tmp_path: Path
) -> None:
    a, b = people
    its_own = {"STUDIO_HOST_NAME": "far", "STUDIO_JOBS": str(tmp_path / "jobs")}
    team.start_worker("worker-far", **its_own)
    until(lambda: team.ask("Host.objects.filter(name='far').count()"))
    b.create_cluster("far-cluster", max_nodes=1)  # the machine with fewer clusters gets it
    assert team.ask("ComputeTarget.objects.get(name='far-cluster').host.name") == "far"
    done, long = a.submit("far-cluster", "print('far')"), b.submit("far-cluster", LINES.format(n=6000, pause=0.1))
    assert until_final(a, done) == "Completed"
    assert log_of(b, done) == "far\n"
    until(lambda: "line 0" in log_of(a, long))
    ids = [run.strip("/").split("/")[-1] for run in (done, long)]
    assert all((tmp_path / "jobs" / run_id).is_dir() for run_id in ids)
    assert not any((team.folder / "data" / "jobs" / run_id).exists() for run_id in ids)
    assert team.ask("Node.objects.get(target__name='far-cluster').host.name") == "far"

    team.kill("worker-far")
    a.post(f"{long}cancel/")
    time.sleep(6)  # a reconcile goes by, and nobody else touches what is not theirs
    assert status_of(team, long) == "CancelRequested"
    team.start_worker("worker-far", **its_own)
    assert until_final(b, long) == "Canceled"


WRITES = """
from threading import Thread
from django.db import connection, transaction
from studio.people.actions import note
from studio.people.models import User, Workspace
space, ana = Workspace.objects.get(name="default"), User.objects.get(username="admin")
def write():
    for n in range(25):
        with transaction.atomic():
            Workspace.objects.select_for_update().get(pk=space.pk) if n % 2 else None
            note(space, ana, "run.submit", space, kind="run", name="one of many", detail={"x": 1.50, "n": n})
            note(None, None, "studio.start", space, kind="studio", name="one of many")
    connection.close()
threads = [Thread(target=write) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
LOOKS = """
import json
from django.db import connection
from studio.people.chain import verify_all
from studio.people.models import Activity
def refuses(statement):
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except Exception as exc:
        return "only ever added to" in str(exc)
print(json.dumps({
    "chains": [[name, verdict.is_whole, verdict.waiting] for name, verdict in verify_all()],
    "written": Activity.objects.filter(object_name="one of many").count(),
    "refused": [refuses(f"{what} WHERE seq = 3") for what in (
        "UPDATE people_activity SET verb = 'x'", "UPDATE people_activity SET seq = NULL", "DELETE FROM people_activity"
    )],
}))
"""


def test_many_processes_write_one_gapless_chain(team: Team, link: str) -> None:
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", WRITES]
    for n in range(3):
        team.start(f"writer-{n}", command)
    for n in range(3):
        assert team.processes.pop(f"writer-{n}").wait(60) == 0, team.said(f"writer-{n}")
    found = json.loads(team.manage("shell", "--verbosity=0", "-c", LOOKS).splitlines()[-1])
    assert found == {
        "chains": [["default", True, 0], ["studio", True, 0]],
        "written": 450,
        "refused": [True, True, True],
    }
