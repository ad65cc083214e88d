"""Marked credentials go into a studio of many processes, and are then looked for everywhere outside of memory."""

import base64
import re
import secrets
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.checks import find_postgresql
from tests.integration.team import Person, Team, team_in, until

ATTACH = "/w/default/compute/attach/Tiny/"
LINK = re.compile(r'(?:href|hx-get|action)="(/w/default/[^"#]*)')
MOST_PAGES = 150
SECRETS = {"private_key", "passphrase", "password"}


class TeamWithTiny(Team):
    def environ(self, **more: str) -> dict[str, str]:
        return super().environ(
            **{"DJANGO_SETTINGS_MODULE": "tests.integration.tiny_settings", "LOG_LEVEL": "DEBUG"} | more
        )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team_in(tmp_path_factory.mktemp("team"), TeamWithTiny) as team:
        yield team


@pytest.fixture(scope="module")
def person(team: Team) -> Person:
    link = re.search(r'"link": "([^"]+)"', team.manage("prepare"))
    team.start_worker("worker")
    person = team.start_web("web")
    assert link
    person.sign_in(link[1])
    return person


@pytest.fixture
def command_lines() -> Iterator[set[bytes]]:
    """Collect the command lines of all processes while the test goes on."""
    seen: set[bytes] = set()
    over = threading.Event()

    def collect() -> None:
        while not over.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    yield seen
    over.set()
    thread.join(5)


def forms_of(marker: str) -> list[bytes]:
    """Return what a marker looks like in clear and inside of base64, at each of the three places it may begin."""
    found = [marker.encode()]
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + marker.encode())
        found.append(text[4 if shift else 0 : len(marker) // 3 * 4 - 4])
    return found


def attach(person: Person, name: str, **credentials: str) -> str:
    """Type a form, look, trust the host key and attach; return the address of the target."""
    person.get(ATTACH)
    form = {"token": secrets.token_hex(16), "name": name, "address": f"{name}.example", "authentication": "key"}
    form |= credentials
    where = person.post(ATTACH, action="check", **form)
    draft = where.partition("draft=")[2].partition("#")[0]
    shown = until(lambda: re.search(r'name="sha256" value="([^"]+)"', person.get(where)))
    person.post(ATTACH, action="trust", draft=draft, sha256=shown[1])
    until(lambda: 'form="attach" name="action" value="attach"' in person.get(where))
    form = {key: value for key, value in form.items() if key not in SECRETS}
    return person.post(ATTACH, action="attach", draft=draft, **form)


def every_page(person: Person) -> Iterator[tuple[str, str]]:
    """Follow links from the list of compute as far as they stay in the workspace."""
    seen, ahead = set[str](), ["/w/default/compute/?tab=attached", "/w/default/", "/w/default/settings/"]
    while ahead and len(seen) < MOST_PAGES:
        path = ahead.pop(0)
        if path in seen:
            continue
        seen.add(path)
        try:
            page = person.get(path)
        except OSError:  # what takes no GET
            continue
        yield path, page
        ahead += [link.replace("&amp;", "&") for link in LINK.findall(page)]


def test_no_credential_is_found_anywhere(team: Any, person: Person, command_lines: set[bytes]) -> None:
    markers = {
        name: f"marker-{name}-{secrets.token_hex(12)}" for name in ("key", "phrase", "word", "typo", "breaks", "new")
    }
    attach(person, "with-key", private_key=markers["key"], passphrase=markers["phrase"])
    password = {"authentication": "password", "password": markers["word"], "understood": "on"}
    page = attach(person, "with-word", **password)
    assert page.endswith("/targets/with-word/")
    wrong = {"token": secrets.token_hex(16), "name": "9-wrong-", "private_key": markers["typo"]}
    with pytest.raises(OSError, match="422"):
        person.post(ATTACH, action="check", address="x", authentication="key", **wrong)
    broken = {"token": secrets.token_hex(16), "name": "it-breaks", "private_key": markers["breaks"]}
    where = person.post(ATTACH, action="check", address="breaks", authentication="key", **broken)
    draft = where.partition("draft=")[2].partition("#")[0]
    shown = until(lambda: re.search(r'name="sha256" value="([^"]+)"', person.get(where)))
    person.post(ATTACH, action="trust", draft=draft, sha256=shown[1])
    until(lambda: "The studio failed here" in person.get(where))
    edit = "/w/default/compute/targets/with-key/connection/"
    form = {"token": secrets.token_hex(16), "address": "with-key.example", "authentication": "key"}
    where = person.post(edit, action="check", private_key=markers["new"], **form)
    until(lambda: 'value="attach"' in person.get(where))
    person.post("/w/default/compute/targets/with-word/look/")

    pages = dict(every_page(person))
    assert len(pages) > 20
    assert any("connection" in path for path in pages)
    dump = subprocess.run(
        [f"{find_postgresql()}/pg_dump", "-h", "127.0.0.1", "-p", str(team.postgresql_port), "-U", "studio", "studio"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"sealed:2:" in dump
    places = {f"page {path}": page.encode() for path, page in pages.items()} | {"database": dump}
    places |= {f"file {f}": f.read_bytes() for f in team.folder.rglob("*") if f.is_file()}
    assert any("appendonly" in place for place in places)  # all that went through the broker
    assert b"compute.examining.examine" in b"".join(text for place, text in places.items() if "appendonly" in place)
    places["command lines"] = b"\n".join(command_lines)
    assert b"celery" in places["command lines"]
    found = [
        f"{name} in {place}"
        for name, marker in markers.items()
        for place, text in places.items()
        if any(form in text for form in forms_of(marker))
    ]
    assert not found


def test_the_search_finds_what_is_there() -> None:
    for shift in range(3):
        assert any(
            form in base64.b64encode(b"a" * shift + b"marker-key-0123456789")
            for form in forms_of("marker-key-0123456789")
        )
