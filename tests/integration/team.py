"""The studio as a team runs it: PostgreSQL, Redis, and its processes started one by one, as the README says."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.sync.client import ClientConnection, connect

from studio.checks import find_postgresql
from studio.own_queue import valkey_binary
from studio.paths import CHECKOUT

PATIENCE = 60.0  # seconds, on a busy machine
BIN = Path(sys.prefix) / "bin"
UVICORN = ["--loop", "uvloop", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]  # as README.md says
UVICORN += ["--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", "1"]


def until(true: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait until `true` says so, and return what it says."""
    deadline = time.monotonic() + patience
    while not (said := true()):
        assert time.monotonic() < deadline, "It took too long."
        time.sleep(0.05)
    return said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Team:
    """Services and processes of one studio; what is started here is ended here, by its id."""

    folder: Path
    database_folder: Path
    postgresql_port: int = field(default_factory=free_port)
    redis_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        ours = ("STUDIO_", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "STUDIO_DATA": str(self.folder / "data"),
            "SECRET_KEY": "one for all processes of this team, long enough to be worth its name",
            "SEAL_KEYS": "one for the credentials of all, and long enough too",
            "DATABASE_URL": f"postgres://studio@127.0.0.1:{self.postgresql_port}/studio",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "STUDIO_GRACE_SECONDS": "1",
            "PATH": f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{find_postgresql()}",  # pg_dump
            **more,
        }

    def start(self, name: str, command: list[str], **environ: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=CHECKOUT, env=self.environ(**environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def manage(self, *arguments: str, check: bool = True, **environ: str) -> str:
        """Return what a command says; without `check` it must fail."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT, env=self.environ(**environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert bool(done.returncode) != check, done.stdout + done.stderr
        return done.stdout

    def ask(self, expression: str) -> Any:
        """Return what a Python expression says in the studio's own Django, as JSON."""
        code = f"import json; from compute.models import *; from runs.models import *; print(json.dumps({expression}))"
        return json.loads(self.manage("shell", "--verbosity=0", "-c", code).splitlines()[-1])

    # Services

    def start_postgresql(self) -> None:
        home = find_postgresql()
        if home is None:
            pytest.fail("No PostgreSQL: `manage.py test` says how to get one.")
        data = self.database_folder / "data"
        account: dict[str, Any] = {"env": {"PATH": os.defpath, "LANG": "C.UTF-8"}, "cwd": "/"}
        if os.geteuid() == 0:  # PostgreSQL refuses to be root
            account |= {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self.database_folder, "postgres")
        if not data.exists():
            init = [f"{home}/initdb", "-D", str(data), "-U", "studio", "--auth=trust", "--no-sync", "-E", "UTF8"]
            subprocess.run(init, **account, check=True, stdout=subprocess.DEVNULL)
        options = ["-p", str(self.postgresql_port), "-k", str(self.database_folder), "-c", "listen_addresses=127.0.0.1"]
        with (self.folder / "postgresql.log").open("ab") as log:
            self.processes["postgresql"] = subprocess.Popen(
                [f"{home}/postgres", "-D", str(data), *options],
                **account, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        ready = [f"{home}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.postgresql_port)]
        until(lambda: subprocess.run(ready, check=False).returncode == 0)
        self.make_database("studio")

    def make_database(self, name: str) -> str:
        """Make an empty database, unless it is there, and return its address."""
        where = ["-h", "127.0.0.1", "-p", str(self.postgresql_port), "-U", "studio"]
        subprocess.run([f"{find_postgresql()}/createdb", *where, name], check=False, stderr=subprocess.DEVNULL)
        return f"postgres://studio@127.0.0.1:{self.postgresql_port}/{name}"

    def start_redis(self) -> None:
        folder = self.folder / "redis"
        folder.mkdir(exist_ok=True)
        server = shutil.which("redis-server") or valkey_binary()
        self.start(
            "redis",
            [server, "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes",
             "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"],
        )  # fmt: skip
        until(lambda: answers(self.redis_port))

    # The studio's processes

    def start_web(self, name: str, **environ: str) -> "Person":
        port = free_port()
        command = [str(BIN / "uvicorn"), "studio.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
        self.start(name, [*command, *UVICORN], **environ)
        until(lambda: answers(port))
        return Person(f"http://127.0.0.1:{port}")

    def start_worker(self, name: str, **environ: str) -> None:
        command = [str(BIN / "celery"), "-A", "studio.celery", "worker", "-P", "threads", "-c", "4"]
        self.start(name, [*command, "--without-gossip", "--without-mingle", "-n", f"{name}@%h"], **environ)

    def start_beat(self) -> None:
        self.start("beat", [str(BIN / "celery"), "-A", "studio.celery", "beat"])

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        """End all, the services last."""
        for name in sorted(self.processes, key=lambda name: name in {"postgresql", "redis"}):
            process = self.processes[name]
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(1.5)
                except subprocess.TimeoutExpired:
                    self.kill(name)


@contextmanager
def team_in(folder: Path, kind: "type[Team]" = Team) -> Iterator[Team]:
    """Give a team with its services up and its database prepared, and end whatever runs in the end."""
    with tempfile.TemporaryDirectory(prefix="studio-pg-", dir="/tmp") as database_folder:
        team = kind(folder, Path(database_folder))
        try:
            team.start_postgresql()
            team.start_redis()
            yield team
        finally:
            team.stop()


class Person:
    """Somebody with a browser without scripts: pages, forms and a socket, on one web process."""

    def __init__(self, base: str, cookies: CookieJar | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.base, self.cookies, self.tls = base, cookies if cookies is not None else CookieJar(), tls
        kept = urllib.request.HTTPCookieProcessor(self.cookies)
        self.browser = urllib.request.build_opener(kept, urllib.request.HTTPSHandler(context=tls))
        self.browser.addheaders += [("Referer", f"{base}/")]  # Django wants one where the page came over TLS

    def get(self, path: str) -> str:
        with self.browser.open(self.base + path, timeout=20) as answer:
            return str(answer.read().decode())

    def post(self, path: str, /, **form: str) -> str:
        """Send a form and return the address it led to."""
        token = next(cookie.value for cookie in self.cookies if cookie.name == "csrftoken")
        body = urlencode({"csrfmiddlewaretoken": token, **form}).encode()
        with self.browser.open(self.base + path, body, timeout=20) as answer:
            return str(answer.url).removeprefix(self.base)

    def sign_in(self, link: str) -> None:
        self.get(link)
        self.post(link)

    def at(self, other: "Person") -> "Person":
        """Return the same person, with the same session, at another's web process."""
        return Person(other.base, self.cookies)

    def listen(self) -> ClientConnection:
        """Open the socket that pages keep open."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        address = self.base.replace("http", "ws") + "/ws/w/default/live/"
        return connect(address, additional_headers={"Cookie": cookies, "Origin": self.base}, ssl=self.tls)

    def create_cluster(self, name: str, max_nodes: int = 2, idle_seconds: int = 120) -> None:
        self.get("/w/default/compute/")  # and with it a token for forms
        page = self.get("/w/default/compute/create/")
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token, page
        where = self.post(
            "/w/default/compute/create/", token=token[1], name=name, vm_size="Standard_D1_v2", priority="Dedicated",
            min_nodes="0", max_nodes=str(max_nodes), idle_seconds=str(idle_seconds),
        )  # fmt: skip
        assert where.endswith(f"/compute/targets/{name}/"), where

    def submit(self, target: str, code: str, restarts: int = 0) -> str:
        """Submit a pasted script and return its run's address."""
        page = self.get(f"/w/default/submit/?target={target}")
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token, page
        where = self.post(
            "/w/default/submit/", token=token[1], target=target, experiment="team", source="paste", code=code,
            code_name="train.py", environment="interpreter", node_count="1", max_duration="1 h", restarts=str(restarts),
        )  # fmt: skip
        assert "/runs/team_" in where, where
        return where
