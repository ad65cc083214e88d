"""A running studio is backed up and restored, and the copy holds what the original held."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from studio.paths import CHECKOUT
from tests.integration.team import Person, until
from tests.integration.test_up import Studio, environ, start

FACTS = """
import hashlib, json
from compute import logs
from runs.models import Run
from runs.snapshots import open_file
print(json.dumps({
    run.run_id: {
        "status": run.status,
        "reason": run.reason,
        "log": hashlib.sha256(logs.read(f"runs/{run.run_id}/1/std_log.txt", 0, 10**7)).hexdigest(),
        "files": {e["path"]: open_file(run.snapshot, e["path"]).read().decode() for e in run.snapshot.manifest},
        "output": (run.attempts.get().job.folder / "rank-0" / "outputs" / "result.txt").read_text(),
    }
    for run in Run.objects.all()
}))
"""


def manage(data: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT, env=environ(STUDIO_DATA=str(data)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(seconds: float) -> str:
    return (
        "import pathlib, time\n"
        "pathlib.Path('outputs').mkdir(exist_ok=True)\n"
        "pathlib.Path('outputs/result.txt').write_text('0.97')\n"
        f"print('begun ✓', flush=True)\ntime.sleep({seconds})\nprint('done')\n"
    )


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return start(tmp_path / "data", tmp_path / "output")


def test_a_running_studio_comes_back_from_its_backup(studio: Studio, tmp_path: Path) -> None:
    copy, file = tmp_path / "copy", tmp_path / "backup.tar.gz"
    try:
        ana = Person(studio.url.rstrip("/"))
        ana.sign_in("/sign-in/" + studio.said().partition("/sign-in/")[2].split()[0])
        first = ana.submit("cpu-cluster", script(0)).strip("/").split("/")[-1]
        until(lambda: "done" in _log(ana, first))
        second = ana.submit("local", script(600)).strip("/").split("/")[-1]
        until(lambda: "begun" in _log(ana, second))

        said = manage(studio.data, "backup", str(file))
        assert "It holds the key" in said
        assert "It does not hold" not in said
        bare = manage(studio.data, "backup", str(tmp_path / "bare.tar.gz"), "--without-secrets")
        assert "It does not hold SECRET_KEY and SEAL_KEYS" in bare
        assert file.stat().st_mode & 0o077 == 0
        said = manage(tmp_path / "elsewhere", "restore", str(file), "--data", str(copy))
        assert "1 of its runs went on while the backup was made" in said

        original = json.loads(manage(studio.data, "shell", "--verbosity=0", "-c", FACTS).splitlines()[-1])
        again = start(copy, tmp_path / "output-of-the-copy")
        try:
            ask = ("shell", "--verbosity=0", "-c", FACTS)
            until(lambda: json.loads(manage(copy, *ask).splitlines()[-1])[second]["status"] == "Failed")
            restored = json.loads(manage(copy, *ask).splitlines()[-1])
            assert restored[first] == original[first]
            assert original[second]["status"] == "Running"  # the original's run was not touched
            assert "backup" in restored[second]["reason"]
            for name in ("log", "files", "output"):
                assert restored[second][name] == original[second][name]
            ben = Person(again.url.rstrip("/"), ana.cookies)  # the session is the same: the key came along
            assert _log(ben, first) == _log(ana, first)
            third = ben.submit("cpu-cluster", script(0)).strip("/").split("/")[-1]
            until(lambda: "done" in _log(ben, third))
        finally:
            again.process.terminate()
            again.process.wait(20)
        ana.post(f"/w/default/runs/{second}/cancel/")
        until(lambda: "done" not in _log(ana, second) and "Canceled" in ana.get(f"/w/default/runs/{second}/header/"))
    finally:
        studio.process.terminate()
        studio.process.wait(20)


def _log(person: Person, run_id: str) -> str:
    time.sleep(0.1)
    return person.get(f"/w/default/runs/{run_id}/logs/1/std_log.txt")


def test_a_backup_is_not_restored_over_something_and_half_of_one_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz"):
        pass
    with tarfile.open(tmp_path / "cut.tar.gz", "w:gz") as archive:
        facts = json.dumps({"version": 1, "made_at": "2026-11-25T09:00:00+00:00", "database": "db.sqlite3"}).encode()
        for name, content in (("backup.json", facts), ("db.sqlite3", os.urandom(100_000))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    os.truncate(tmp_path / "cut.tar.gz", 50_000)
    for file, folder, words in (
        ("b.tar.gz", "data", "is not empty"),
        ("b.tar.gz", "new", "is no backup of a studio"),
        ("cut.tar.gz", "new", "Nothing of it was kept"),
        ("none.tar.gz", "new", "There is no file"),
    ):
        command = [sys.executable, "manage.py", "restore", str(tmp_path / file), "--data", str(tmp_path / folder)]
        done = subprocess.run(command, cwd=CHECKOUT, env=environ(), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert words in done.stderr
    assert not list((tmp_path / "new").iterdir())
