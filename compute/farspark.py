"""Stands in front of spark-submit on a Spark cluster's head node: packs the files, hands on what is printed, and minds
the application that YARN makes of it.

`compute.drivers.hdinsight` sends it with each job, and it runs there under the job's shepherd, so it needs nobody who
is connected. Standard library only. Beside it lie order.json, {"mode", "options", "settings", "variables"}, and after a
while facts.json, what YARN says; started again by Spark as the driver in the cluster, it becomes the script.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

APPLICATION = re.compile(rb"\bapplication_\d+_\d+\b")
TRACKING = re.compile(rb"tracking URL: (https?://[^\s\"'<>]{1,500})")
STATE = re.compile(rb"\(state: ([A-Z_]{1,30})\)")
FINAL = re.compile(r"Final-State : ([A-Z]{1,30})")
LONGEST_LINE = 8192  # bytes that are looked through
PATIENCE = 60  # seconds for an answer of YARN
LOGS = 3  # times its log is asked for: it is gathered a while after the end


class Application:
    """What is known of the application, kept in facts.json as it changes."""

    def __init__(self, top: Path, on_yarn: bool) -> None:
        self.top, self.on_yarn = top, on_yarn
        self.facts: dict[str, str] = {}
        self.rest = b""
        self.told_to_end = False
        self.killing: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.facts.get("application", "")

    def hear(self, output: bytes) -> None:
        """Look through what spark-submit prints."""
        if not self.on_yarn:
            return
        lines = (self.rest + output).split(b"\n")
        self.rest = lines.pop()[-LONGEST_LINE:]
        found: dict[str, str] = {}
        for line in lines:
            if not self.name and "application" not in found and (name := APPLICATION.search(line)):
                found["application"] = name.group().decode()
            for key, pattern in (("page", TRACKING), ("state", STATE)):
                if said := pattern.search(line):
                    found[key] = said.group(1).decode(errors="replace")
        self.note(found)

    def note(self, found: dict[str, str]) -> None:
        """Keep what is new."""
        if found.items() <= self.facts.items():
            return
        self.facts.update(found)
        scratch = self.top / "facts.new"
        scratch.write_text(json.dumps(self.facts))
        scratch.replace(self.top / "facts.json")
        if self.told_to_end:
            self.kill()

    def kill(self) -> None:
        """Have YARN end it: in the cluster it goes on without whoever submitted it."""
        if self.name and self.killing is None:
            say("studio: yarn application -kill " + self.name)
            try:
                self.killing = subprocess.Popen(["yarn", "application", "-kill", self.name], stdin=subprocess.DEVNULL)
            except OSError as exc:
                say(f"studio: yarn cannot be started: {exc}")

    def end(self, code: int, in_cluster: bool) -> None:
        """Ask YARN how it ended, and for the log of what ran in the cluster."""
        if self.killing is not None:
            self.killing.wait()
        if not self.name:
            return
        answer = yarn("application", "-status", self.name)
        if final := FINAL.search(answer):
            self.note({"state": final.group(1)})
        if (in_cluster or code) and not self.told_to_end:
            for pause in range(LOGS):
                if hand_on(["yarn", "logs", "-applicationId", self.name], f"studio: the log of {self.name}, from YARN"):
                    return
                time.sleep(pause)
            say(f"studio: YARN has no log of {self.name}")


def yarn(*arguments: str) -> str:
    """Return what yarn answers; nothing when it fails, which is said."""
    try:
        told = subprocess.run(
            ["yarn", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        say(f"studio: yarn does not answer: {exc}")
        return ""
    if told.returncode:
        say(f"studio: yarn {arguments[0]}: {told.stderr.decode(errors='replace')[-2000:]}")
        return ""
    return told.stdout.decode(errors="replace")


def hand_on(command: list[str], title: str) -> bool:
    """Write what a command prints into the job's log, under a title, as it comes; say whether there was anything."""
    try:
        child, output = start(command, errors=False)
    except OSError:
        return False
    came = False
    while piece := os.read(output, 65536):
        if not came:
            say(title)
        came = True
        write(piece)
    os.close(output)
    child.wait()
    return came


def start(command: list[str], *, errors: bool = True) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program; return it, and where what it prints can be read. Raises OSError when it cannot be started."""
    ours, theirs = os.pipe()
    try:
        aside = theirs if errors else subprocess.DEVNULL
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=aside)
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return child, ours


def say(line: str) -> None:
    """Write a line into the job's log."""
    write((line.rstrip("\n") + "\n").encode(errors="replace"))


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def pack(folder: Path, archive: Path) -> None:
    """Pack the job's files, so that they are there wherever the cluster runs a part of it. Links are left out."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                packed.write(path, path.relative_to(folder))


def command(order: dict[str, Any], top: Path) -> list[str]:
    """Return what is started. In the cluster, this file becomes the script, with its files and variables around it."""
    start, archive = ["spark-submit", *order["options"]], top / "snapshot.zip"
    if order["settings"]:  # they may hold keys of storage, and anybody there can read a command line
        start += ["--properties-file", str(write_settings(order["settings"], top / "spark.conf"))]
    if order["mode"] != "cluster":
        return [*start, "--py-files", str(archive), f"./{sys.argv[1]}", *sys.argv[2:]]
    variables = top / "variables.json"
    variables.write_text(json.dumps(order["variables"]))
    return [*start, "--archives", f"{archive}#snapshot", "--files", str(variables), __file__, *sys.argv[1:]]


def write_settings(settings: dict[str, str], file: Path) -> Path:
    """Write a properties file for the user's eyes alone: Spark's defaults, which it takes the place of, then these."""
    lines = [f"{name}={value}".replace("\\", "\\\\") for name, value in settings.items()]
    defaults = spark_defaults()
    if defaults:
        say(f"studio: the run's settings go over those of {defaults}")
        lines = [*defaults.read_text(errors="replace").splitlines(), "", *lines]
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write("\n".join(lines) + "\n")
    return file


def spark_defaults() -> Path | None:
    """Return the file of Spark's own defaults, where spark-submit looks for it. None: there is none."""
    submit = Path(os.path.realpath(shutil.which("spark-submit") or ""))
    named = [
        os.environ.get("SPARK_CONF_DIR", ""),
        os.environ.get("SPARK_HOME", "") and os.environ["SPARK_HOME"] + "/conf",
    ]
    folders = [*(Path(name) for name in named if name), submit.parent.parent / "conf"]
    folders += [Path("/etc/spark3/conf"), Path("/etc/spark2/conf"), Path("/etc/spark/conf")]  # of HDInsight
    for folder in folders:
        if os.access(folder / "spark-defaults.conf", os.R_OK):
            return folder / "spark-defaults.conf"
    return None


def become_the_script() -> None:
    """Be the driver in the cluster: with the job's variables, in a folder of its files."""
    os.environ.update(json.loads(Path("variables.json").read_text()))
    work = Path("work")
    shutil.copytree("snapshot", work)  # YARN's own copy may not be written to
    for folder in (work, *work.rglob("*/")):
        folder.chmod(0o700)
    os.chdir(work)
    for name in ("outputs", "logs"):
        Path(name).mkdir(exist_ok=True)
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


def main(top: Path) -> int:
    """Run spark-submit to its end; return its exit code."""
    order = json.loads((top / "order.json").read_text())
    application = Application(top, order["mode"] != "local")

    def told(_number: int, _frame: FrameType | None) -> None:
        application.told_to_end = True
        application.kill()

    signal.signal(signal.SIGTERM, told)
    if order["mode"] == "cluster":
        application.note({"state": "NEW"})  # nothing of the script runs before YARN says so
    pack(Path.cwd(), top / "snapshot.zip")
    try:
        child, output = start(command(order, top))
    except OSError as exc:
        say(f"studio: spark-submit cannot be started: {exc}")
        return 127
    while piece := os.read(output, 65536):
        write(piece)
        application.hear(piece)
    code = child.wait()
    application.end(code, order["mode"] == "cluster")
    if application.told_to_end:
        return 128 + signal.SIGTERM
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    if (here / "order.json").exists():
        sys.exit(main(here))
    become_the_script()
