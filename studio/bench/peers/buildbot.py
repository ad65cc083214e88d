"""Buildbot: a master and a worker of this machine, builds forced through its REST API, which also has the log."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

MASTER = """
from buildbot.plugins import *
c = BuildmasterConfig = {{}}
c["workers"] = [worker.Worker("here", "secret", max_builds=4)]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["train"],
    properties=[util.StringParameter(name="script", default="")])]
steps = [steps.ShellCommand(name="run", command=[{python!r}, "-u", "-c", util.Property("script")])]
c["builders"] = [util.BuilderConfig(name="train", workernames=["here"], factory=util.BuildFactory(steps))]
c["www"] = {{"port": "tcp:{www}:interface=127.0.0.1"}}
c["db"] = {{"db_url": "sqlite:///state.sqlite"}}
c["buildbotNetUsageData"] = None
c["buildbotURL"] = "http://127.0.0.1:{www}/"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Master:
    def __init__(self, www: int) -> None:
        self.base = f"http://127.0.0.1:{www}/api/v2/"

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.base + path, timeout=30) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found

    def force(self, script: str) -> int:
        """Submit a script, and return the number of its request."""
        call = {"jsonrpc": "2.0", "method": "force", "id": 1, "params": {"builderNames": ["train"], "script": script}}
        request = urllib.request.Request(  # noqa: S310
            self.base + "forceschedulers/force",
            data=json.dumps(call).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            _set, requests = json.load(answer)["result"]
        return int(next(iter(requests.values())))

    def wait_for(self, path: str, name: str) -> dict[str, Any]:
        until = time.monotonic() + 60
        while not (found := self.get(path)[name]):
            if time.monotonic() > until:
                sys.exit(f"Buildbot has no {name} at {path}.")
            time.sleep(0.01)
        entry: dict[str, Any] = found[0]
        return entry

    def first(self) -> float:
        started = time.monotonic()
        number = self.force("print('the first line')")
        build = self.wait_for(f"builds?buildrequestid={number}", "builds")["buildid"]
        step = self.wait_for(f"builds/{build}/steps?name=run", "steps")["stepid"]
        log = self.wait_for(f"steps/{step}/logs", "logs")["logid"]
        while "the first line" not in str(self.get(f"logs/{log}/contents")):
            time.sleep(0.01)
        return time.monotonic() - started

    def many(self, count: int) -> float:
        started = time.monotonic()
        waiting = {self.force("print('done')") for _n in range(count)}
        while waiting:
            waiting = {n for n in waiting if not self.get(f"buildrequests/{n}")["buildrequests"][0]["complete"]}
            time.sleep(0.02)
        return time.monotonic() - started


def main() -> None:
    www, pb = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        master, worker = Path(folder, "master"), Path(folder, "worker")
        subprocess.run(["buildbot", "create-master", "-q", str(master)], check=True, stdout=subprocess.DEVNULL)
        (master / "master.cfg").write_text(MASTER.format(www=www, pb=pb, python=sys.executable))
        create = ["buildbot-worker", "create-worker", "-q", str(worker), f"127.0.0.1:{pb}", "here", "secret"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL)
        started = [
            subprocess.Popen(
                [program, "start", "--nodaemon", str(place)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for program, place in (("buildbot", master), ("buildbot-worker", worker))
        ]
        try:
            system, until = Master(www), time.monotonic() + 60
            while True:
                try:
                    if system.get("workers")["workers"][0]["connected_to"]:
                        break
                except (OSError, IndexError):
                    pass
                if time.monotonic() > until:
                    sys.exit("Buildbot does not come up.")
                time.sleep(0.1)
            print(json.dumps({"ready": True}), flush=True)
            for line in sys.stdin:
                name, _space, count = line.strip().partition(" ")
                seconds = system.first() if name == "first" else system.many(int(count))
                print(json.dumps({"seconds": seconds}), flush=True)
        finally:
            for process in started:
                process.terminate()
                process.wait(20)


main()
