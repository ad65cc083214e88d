"""README's texts for a team, run as they stand: nginx in front of two web processes, and the units' file."""

import configparser
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.paths import CHECKOUT
from tests.azure import certificate
from tests.integration.team import UVICORN, Person, Team, answers, free_port, team_in, until

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
README = (CHECKOUT / "README.md").read_text()


def block(language: str, first: str) -> str:
    """Return the text of README that begins so."""
    found = re.search(rf"```{language}\n({re.escape(first)}.*?)```", README, re.DOTALL)
    assert found, f"README.md has no {language} that begins {first}"
    return found[1]


class Proxy:
    """nginx with README's text, in front of web processes of this machine."""

    def __init__(self, folder: Path, ports: list[int], port: int, pem: Path) -> None:
        self.folder, self.port = folder, port
        text = block("nginx", "# /etc/nginx/conf.d/studio.conf")
        changes = {
            "server 127.0.0.1:8000;": "".join(f"server 127.0.0.1:{one};" for one in ports),
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/studio.pem": str(pem),
            "/etc/ssl/studio.key": str(pem),
        }
        for there, here in changes.items():
            assert there in text, there
            text = text.replace(there, here)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        self.config = folder / "nginx.conf"
        self.config.write_text(
            f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{text}}}\n"
        )
        self.command = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(self.config)]

    def test(self) -> str:
        """Return what nginx says of the text."""
        done = subprocess.run([*self.command, "-t"], capture_output=True, text=True, check=False)
        return done.stderr


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team_in(tmp_path_factory.mktemp("proxied")) as team:
        team.manage("prepare")
        yield team


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pem))


@pytest.fixture(scope="module")
def proxy(team: Team, pem: Path) -> Proxy:
    port = free_port()
    front: Any = {"STUDIO_URL": f"https://127.0.0.1:{port}", "STUDIO_PROXIES": "1"}
    ports = [int(team.start_web(name, **front).base.rpartition(":")[2]) for name in ("web-1", "web-2")]
    team.start_worker("worker-1", **front)
    team.start_beat()
    (team.folder / "nginx").mkdir()
    proxy = Proxy(team.folder / "nginx", ports, port, pem)
    team.start("nginx", proxy.command)
    until(lambda: answers(port))
    return proxy


@pytest.fixture(scope="module")
def admin(team: Team, proxy: Proxy, tls: ssl.SSLContext) -> Person:
    base = f"https://127.0.0.1:{proxy.port}"
    link = re.search(r"https?://\S+(/sign-in/\S+)", team.manage("signinlink", "admin", STUDIO_URL=base))
    assert link
    person = Person(base, tls=tls)
    person.sign_in(link[1])
    return person


def test_nginx_takes_the_text(proxy: Proxy) -> None:
    said = proxy.test()
    assert "test is successful" in said
    assert "warn" not in said


def test_pages_sockets_and_a_run_go_through_it(admin: Person) -> None:
    assert "cpu-cluster" in admin.get("/w/default/compute/") or "local" in admin.get("/w/default/compute/")
    assert all(cookie.secure for cookie in admin.cookies)
    with admin.listen() as socket:
        run = admin.submit("local", "print('through the proxy')")
        heard = {json.loads(socket.recv(timeout=20))["event"] for _ in range(3)}
        assert "run:moved" in heard
    stream = f"{run}log/1/std_log.txt/"
    found = re.search(r'data-download="([^"]+)"', admin.get(run))
    assert found, stream
    until(lambda: "through the proxy" in admin.get(found[1].replace("STREAM", "1/std_log.txt")))


def test_the_clients_address_is_not_what_a_stranger_says_it_is(
    team: Team, proxy: Proxy, admin: Person, tls: ssl.SSLContext
) -> None:
    link = re.search(r"https?://\S+(/sign-in/\S+)", team.manage("signinlink", "admin", STUDIO_URL=admin.base))
    assert link
    stranger = Person(admin.base, tls=tls)
    stranger.browser.addheaders += [("X-Forwarded-For", "6.6.6.6")]
    stranger.sign_in(link[1])
    stranger.get("/")
    rows = "__import__('studio.people.models', fromlist=['x']).BrowserSession.objects.values_list('address', flat=True)"
    seen = set(team.ask(f"list({rows})"))
    assert seen == {"127.0.0.1"}


def test_a_large_upload_passes_and_one_that_is_too_large_is_refused_at_once(proxy: Proxy, tls: ssl.SSLContext) -> None:
    def answer_to(size: int, *, sends: int) -> int:
        wire = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=tls, timeout=20)
        wire.putrequest("POST", "/accounts/login/")
        wire.putheader("Content-Length", str(size))
        wire.putheader("Content-Type", "application/octet-stream")
        wire.endheaders()
        wire.send(b"x" * sends)
        status = wire.getresponse().status
        wire.close()
        return status

    assert answer_to(12_000_000, sends=12_000_000) in {400, 403, 413}  # the studio's own word: no token came along
    assert answer_to(340_000_000, sends=0) == 413  # nginx's, before anything was sent


def test_it_goes_on_when_one_web_process_dies(team: Team, admin: Person) -> None:
    team.kill("web-1")
    for _try in range(6):
        assert "local" in admin.get("/w/default/compute/")


# ----- units


def test_the_units_file_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = block("ini", "# /etc/systemd/system/studio@.service")
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert unit["Service"]["KillMode"] == "process"  # runs outlive the worker
    assert unit["Service"]["Restart"] == "always"
    if analyze := shutil.which("systemd-analyze"):
        start = tmp_path / "deploy-web"
        start.write_text("#!/bin/sh\n")
        start.chmod(0o755)
        environ = tmp_path / "studio.env"
        environ.touch()
        changed = text.replace("/opt/studio/deploy-%i", str(start)).replace("/etc/studio.env", str(environ))
        (tmp_path / "studio@.service").write_text(changed.replace("/opt/studio", str(tmp_path)))
        done = subprocess.run(
            [analyze, "verify", "--man=no", tmp_path / "studio@.service"], capture_output=True, text=True, check=False
        )
        ours = [line for line in done.stderr.splitlines() if "studio@" in line]
        assert not ours, done.stderr


def test_the_commands_are_those_that_are_tested() -> None:
    lines = block("sh", "exec .venv/bin/uvicorn").splitlines()
    ours = UVICORN[: UVICORN.index("--timeout-graceful-shutdown")]
    assert lines[0].endswith(" ".join(ours))
    for line in lines:
        program = line.removeprefix("exec .venv/bin/").split()[0]
        assert (CHECKOUT / ".venv/bin" / program).exists()
