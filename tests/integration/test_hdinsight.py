"""Runs on a Spark cluster: a real Spark behind a real sshd. YARN, which needs a Hadoop, is played by two programs."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest

from compute import remote, tasks
from compute.drivers.base import CheckState
from compute.models import ComputeTarget
from compute.states import EndReason, ProvisioningState
from runs.actions import cancel_run
from runs.models import Run
from runs.states import RunStatus
from studio.people.models import User, Workspace
from studio.seal import seal
from tests import elsewhere
from tests.elsewhere import ended, job_of, log_of, until
from tests.sshd import Sshd, key_pair, scratch_user

pytestmark = pytest.mark.django_db
COUNT = """
import os, pathlib, subprocess, sys
from operator import add
from pyspark.sql import SparkSession
import words

spark = SparkSession.builder.getOrCreate()
print("partitions", spark.conf.get("spark.sql.shuffle.partitions"))
conf = dict(spark.sparkContext.getConf().getAll())
print("setting", conf.get("spark.hadoop.example.key"), "default", conf.get("spark.example.default"))
listed = subprocess.run(["ps", "axww", "-o", "args"], stdout=subprocess.PIPE).stdout
seen = [line for line in listed.splitlines() if b"tow" + bytes([92]) + b"ered" in line]
print("seen", seen, oct(pathlib.Path("../spark.conf").stat().st_mode & 0o777))
lines = spark.sparkContext.textFile("file://" + os.path.abspath("text.txt"))
counts = dict(lines.flatMap(words.split).map(lambda word: (word, 1)).reduceByKey(add).collect())
print("counted", sum(counts.values()), "of", len(counts), sys.argv[1])
pathlib.Path("outputs/counts.txt").write_text("\\n".join(f"{word} {n}" for word, n in sorted(counts.items())))
"""
# Plays spark-submit on YARN: tells of an application as Spark does, and in cluster mode runs the driver elsewhere.
SUBMIT = r"""#!/usr/bin/python3
import json, os, pathlib, shutil, subprocess, sys, tempfile, time
here = pathlib.Path(__file__).parent
if sys.argv[1:] == ["--version"]:
    sys.exit("Welcome to Spark, version 3.3.1")
(here / "submitted.json").write_text(json.dumps(sys.argv[1:]))
print("INFO Client: Submitted application application_1700000000000_0042", flush=True)
if "waits" in sys.argv:
    print("INFO Client: Application report for application_1700000000000_0042 (state: ACCEPTED)", flush=True)
    while not (here / "has-room").exists():
        time.sleep(0.01)
print("INFO Client: Application report for application_1700000000000_0042 (state: RUNNING)")
print("\t tracking URL: http://head:8088/proxy/application_1700000000000_0042/", flush=True)
while "waits" in sys.argv and not (here / "may-end").exists():
    time.sleep(0.01)
value = lambda name: sys.argv[sys.argv.index(name) + 1]
if "cluster" in sys.argv:
    container = pathlib.Path(tempfile.mkdtemp())
    archive, _hash, name = value("--archives").partition("#")
    shutil.unpack_archive(archive, container / name)
    (container / name).chmod(0o500)
    shutil.copy(value("--files"), container)
    at = sys.argv.index("--files") + 2
    program = shutil.copy(sys.argv[at], container)
    clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    driver = [sys.executable, program, *sys.argv[at + 1 :]]
    with (here / "container.log").open("wb") as log:
        told = subprocess.run(driver, cwd=container, env=clean, stdout=log, stderr=log)
    sys.exit(told.returncode)
time.sleep(600)
"""
YARN = r"""#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/asked"
case "$1 $2" in
"application -status") printf "\tFinal-State : SUCCEEDED\n";;
"application -kill") echo "Killed application $3";;
logs*) cat "$here/container.log";;
esac
"""


@pytest.fixture(scope="module")
def username() -> Iterator[str]:
    with scratch_user() as name:
        yield name


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Spark that the user of the machine, too, gets to."""
    home = Path(pyspark.__file__).parent
    if all(folder.stat().st_mode & 0o001 for folder in home.parents):
        return home
    copy = Path(f"/tmp/{tmp_path_factory.mktemp('spark').parent.name}-spark")
    shutil.copytree(home, copy)
    return copy


def sshd_with(folder: Path, username: str, programs: Path, **variables: object) -> Sshd:
    path = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    said = " ".join(f"{name}={value}" for name, value in {"PATH": path, **variables}.items())
    return Sshd(folder, username, SetEnv=said).start()


@pytest.fixture
def server(username: str, spark: Path, tmp_path: Path) -> Iterator[Sshd]:
    java = Path(os.path.realpath(shutil.which("java") or "")).parent.parent
    server = sshd_with(tmp_path / "sshd", username, spark / "bin", JAVA_HOME=java, SPARK_LOCAL_IP="127.0.0.1")
    yield server
    remote.close_all()
    server.close()


@pytest.fixture
def defaults(username: str) -> Iterator[Path]:
    """Return a folder with defaults of Spark, which the user of the machine, too, can read."""
    folder = Path(f"/tmp/{username}-conf")
    folder.mkdir()
    (folder / "spark-defaults.conf").write_text("spark.example.default kept\nspark.sql.shuffle.partitions 77\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def programs(username: str) -> Iterator[Path]:
    """Return a folder with programs that play YARN."""
    folder = Path(f"/tmp/{username}-yarn")
    folder.mkdir()
    for name, text in {"spark-submit": SUBMIT, "yarn": YARN}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, username)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def on_yarn(username: str, programs: Path, tmp_path: Path) -> Iterator[Sshd]:
    server = sshd_with(tmp_path / "sshd", username, programs)
    yield server
    remote.close_all()
    server.close()


Attach = Callable[[Sshd], ComputeTarget]


@pytest.fixture
def attached(workspace: Workspace, tmp_path: Path) -> Attach:
    def attach(server: Sshd) -> ComputeTarget:
        private, public = key_pair(tmp_path)
        server.let_in(public)
        workspace.allowances = ["this-machine"]
        workspace.save()
        where = {"address": "127.0.0.1", "ssh_port": server.port, "username": server.username}
        target = ComputeTarget.objects.create(
            workspace=workspace,
            name="spark",
            kind="HDInsight",
            provisioning_state=ProvisioningState.SUCCEEDED,
            config={**where, "authentication": "key", "host_key": server.host_key},
        )
        target.sealed = {"private_key": seal(private, where=target.place_of("private_key"))}
        target.save()
        return target

    return attach


def submitted(target: ComputeTarget, by: User, files: dict[str, str], *arguments: str, **changes: Any) -> Run:
    options = {"mode": "local"} | changes.pop("options", {})
    return elsewhere.submitted(target, by, files, *arguments, options=options, **changes)


def test_a_real_spark_counts_the_words_of_a_few_megabytes(
    server: Sshd, attached: Attach, ana: User, defaults: Path
) -> None:
    rng = random.Random(7)  # noqa: S311
    vocabulary = [f"word{n}" for n in range(1000)]
    text = "\n".join(" ".join(rng.choices(vocabulary, k=20)) for _ in range(20_000))
    files = {"count.py": COUNT, "words.py": "def split(line):\n    return line.split()\n", "text.txt": text}
    settings = "spark.sql.shuffle.partitions=3\nspark.ui.enabled=false\nspark.hadoop.example.key=tow\\ered=1"
    options = {"settings": settings, "driver_memory": "512m"}
    variables = {"SPARK_CONF_DIR": str(defaults)}
    run = submitted(attached(server), ana, files, "a 'quoted' $HOME", options=options, variables=variables)
    run = ended(run, 120)
    assert run.status == RunStatus.COMPLETED, (run.reason, log_of(run))
    assert "partitions 3\n" in log_of(run)
    assert "setting tow\\ered=1 default kept\n" in log_of(run)
    assert "seen [] 0o600\n" in log_of(run)  # not even the owner's own look at every command line finds it
    assert "counted 400000 of 1000 a 'quoted' $HOME\n" in log_of(run)
    first = (job_of(run).folder / "rank-0/outputs/counts.txt").read_text().splitlines()[0]
    assert first == f"word0 {text.split().count('word0')}"


def test_a_script_that_fails_ends_the_run_with_its_own_words(server: Sshd, attached: Attach, ana: User) -> None:
    run = ended(submitted(attached(server), ana, {"train.py": "raise ValueError('no such column')\n"}), 60)
    assert run.status == RunStatus.FAILED
    assert "exit code 1" in run.reason
    assert "ValueError: no such column" in log_of(run)


def test_its_doctor_finds_the_version_of_spark(server: Sshd, attached: Attach) -> None:
    target = attached(server)
    found = {check.key: check for check in target.driver.checks()}  # type: ignore[attr-defined]
    assert found["spark"].state == CheckState.OK
    assert found["spark"].evidence == f"Spark {pyspark.__version__}"
    assert found["yarn"].state == CheckState.WARN
    assert not {"conda", "docker", "gpu", "system"} & found.keys()


def test_where_there_is_no_yarn_the_run_says_so(server: Sshd, attached: Attach, ana: User) -> None:
    run = submitted(attached(server), ana, {"train.py": "print(1)"}, options={"mode": "cluster"})
    assert run.status == RunStatus.FAILED
    assert run.reason.startswith("spark has no YARN.")


def test_in_the_cluster_the_script_has_its_files_arguments_and_variables(
    on_yarn: Sshd, attached: Attach, ana: User, programs: Path
) -> None:
    script = (
        "import os, sys, helper\n"
        "print(helper.WORD, sys.argv[1:], os.environ['TOKEN'], 'TMPDIR' in os.environ, os.listdir('outputs'))\n"
    )
    files = {"src/train.py": script, "src/helper.py": "WORD = 'help'\n", "README": ""}
    arguments, variables = ["a b", "$(touch /tmp/owned)"], {"TOKEN": "t; x"}
    options = {"mode": "cluster", "executors": 4, "packages": "org.example:thing:1.0"}
    run = submitted(attached(on_yarn), ana, files, *arguments, options=options, variables=variables)
    run = ended(run, 60)
    assert run.status == RunStatus.COMPLETED, (run.reason, log_of(run))
    assert "help ['a b', '$(touch /tmp/owned)'] t; x False []\n" in log_of(run)  # from YARN's own log
    assert job_of(run).facts == {
        "application": "application_1700000000000_0042",
        "page": "http://head:8088/proxy/application_1700000000000_0042/",
        "state": "SUCCEEDED",
    }
    told = (programs / "submitted.json").read_text()
    assert '"--master", "yarn", "--deploy-mode", "cluster"' in told
    assert '"--num-executors", "4"' in told
    assert '"--packages", "org.example:thing:1.0"' in told
    assert "t; x" not in told  # what a variable holds is on no command line


def test_it_is_queued_until_yarn_has_room(on_yarn: Sshd, attached: Attach, ana: User, programs: Path) -> None:
    run = submitted(attached(on_yarn), ana, {"train.py": "print(1)"}, "waits", options={"mode": "cluster"})
    assert run.status == RunStatus.QUEUED
    until(lambda: "ACCEPTED" in log_of(run))

    def reason() -> str:
        tasks.follow_job(job_of(run).pk)
        return str(elsewhere.again(run).reason)

    until(lambda: reason() == "Waits for YARN to find a place for it: ACCEPTED.")
    assert run.status == RunStatus.QUEUED
    (programs / "has-room").touch()
    until(lambda: reason() == "" and elsewhere.again(run).status == RunStatus.RUNNING)
    (programs / "may-end").touch()
    assert ended(run).status == RunStatus.COMPLETED


def test_a_cancel_ends_the_application_too(on_yarn: Sshd, attached: Attach, ana: User, programs: Path) -> None:
    run = submitted(attached(on_yarn), ana, {"train.py": "print(1)"}, options={"mode": "client"})
    until(lambda: "tracking URL" in log_of(run))
    tasks.follow_job(job_of(run).pk)
    assert job_of(run).facts["state"] == "RUNNING"
    cancel_run(run, by=ana)
    tasks.end_job(job_of(run).pk, EndReason.CANCELED, "ana canceled it.")
    run = ended(run)
    assert run.status == RunStatus.CANCELED
    assert "application -kill application_1700000000000_0042" in (programs / "asked").read_text()
    assert "Killed application application_1700000000000_0042" in log_of(run)
    assert job_of(run).receipt["ranks"][0]["left"] == []
