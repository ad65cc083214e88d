"""Marked credentials go into a studio of many processes, and are then looked for everywhere outside of memory."""

import base64
import contextlib
import re
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from websockets.sync.client import connect

from studio.checks import find_postgresql
from tests.integration.team import Person, Team, team_in, until
from tests.receivers import Receiver, answers, receiver
from tests.sshd import Sshd, scratch_user

ATTACH = "/w/default/compute/attach/"
ALLOW = "Workspace.objects.update(allowances=['other-linux', 'this-machine', 'internal-webhooks'])"
LINK = re.compile(r'(?:href|hx-get|action)="(/w/default/[^"#]*)')
MOST_PAGES, MOST_WAYS = 150, 4
KINDS = ("key", "phrase", "word", "typo", "breaks", "new", "azure", "token", "behind", "gate-phrase")
WITH_DOORS = (
    "/w/default/tokens/?of=all",
    "/w/default/dashboards/1/share/",
    "/w/default/activity/",
    "/w/default/activity/export/?format=jsonl",
    "/api/v1/w/default/activity",
    "/accounts/providers/of/contoso/",
    "/profile/",
)
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
            for folder in Path("/proc").iterdir():
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    seen.update([(folder / "cmdline").read_bytes()] if folder.name.isdecimal() else [])

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


def looked_at(person: Person, page: str, **form: str) -> str:
    """Type a form, look, trust the host key and look on; return the address of the draft."""
    person.get(page)
    where = person.post(page, action="check", token=secrets.token_hex(16), **form)
    shown = until(lambda: re.search(r'name="sha256" value="([^"]+)"', person.get(where)))
    person.post(page, action="trust", draft=draft_in(where), sha256=shown[1])
    until(lambda: "spinner" not in person.get(where))
    return where


def checked(person: Person, kind: str, **form: str) -> None:
    """Type a form and have it looked at, whatever that finds."""
    page = f"{ATTACH}{kind}/"
    person.get(page)
    where = person.post(page, action="check", token=secrets.token_hex(16), **form)
    assert draft_in(where), where
    until(lambda: "spinner" not in person.get(where))


def webhook_told(team: Team, person: Person, told: Receiver, word: str) -> dict[str, str]:
    """Have a webhook told of a run and of a test, by a receiver that repeats where it was told; return its secrets."""
    address = told.url.replace("localhost", "127.0.0.1").replace("very-secret-token", word)
    echo = f"Cannot POST {address} /hook/{word}".encode()
    told.next, told.always = [answers(200, echo)], answers(500, echo)
    page = "/w/default/notifications/"
    person.get(f"{page}new/")
    typed = {"name": "ops", "format": "json", "language": "en", "is_on": "on", "events": "run.completed"}
    person.post(f"{page}new/", address=address, **typed)
    row = "__import__('studio.notifications.models', fromlist=['Webhook']).Webhook.objects.get()"
    pk, signing = team.ask(f"[(hook := {row}).pk, hook.secret('signing')]")
    person.post(f"{page}{pk}/test/")
    person.submit("local", "print('done')\n")
    until(lambda: len(told.posts) == 2)
    assert all(post.is_signed_with(signing) for post in told.posts)
    until(lambda: person.get(f"{page}{pk}/").count("Cannot POST … …") == 2)
    person.post(f"{page}{pk}/secret/")
    return {"hook": word, "signing": signing.removeprefix("whsec_").rstrip("=")}


def doors_opened(team: Team, person: Person, run: str, word: str) -> dict[str, str]:
    """Make whatever opens something without signing in, open it rightly and wrongly, and return what opens it."""
    for page in ("tokens", "dashboards"):
        person.get(f"/w/default/{page}/")  # and with it a token for forms
    made = shown_once(person, "/w/default/tokens/", name="nightly", preset="read", days="30")
    token = found(r"studio_[\w-]{43}", made)
    board = found(r"/dashboards/(\d+)/", person.post("/w/default/dashboards/", name="Wall", overview="1"))
    wall = found(
        r"/d/([\w-]{43})/",
        shown_once(person, f"/w/default/dashboards/{board}/links/", name="lab", days="3", shows="csv"),
    )
    person.post("/w/default/badges/", kind="run", name=run.split("/")[-2], days="30")
    badge = found(r"/badges/([^\"]+)\.svg", person.get(f"{run}?tab=details"))
    bearer = {"Authorization": f"Bearer {token}"}
    program = HTTPConnection(person.base.removeprefix("http://"), timeout=20)
    program.request("GET", "/api/v1/me", headers=bearer)
    assert b'"by_token": true' in program.getresponse().read()
    program.close()
    web = person.base.replace("http", "ws")
    with connect(f"{web}/ws{run}log/?stream=1/std_log.txt", additional_headers=bearer) as socket:
        assert socket.recv(20)
    with connect(f"{web}/ws/d/{wall}/", additional_headers={"Origin": person.base}) as socket:
        assert "html" in str(socket.recv(20))
    for path in (f"/d/{wall}/", f"/badges/{badge}.svg", f"/ws/d/{wall}/", f"/join/{word}/", f"/sign-in/{word}/"):
        with contextlib.suppress(OSError):
            person.get(path)
        with pytest.raises(OSError, match=r"40|41"):
            person.post(path)
    person.get("/accounts/providers/add/")
    about = {"name": "Contoso", "issuer": "https://127.0.0.1:9", "client_id": "studio", "scopes": "openid"}
    person.post("/accounts/providers/add/", groups_claim="groups", secret=f"{word}-of-client", **about)
    person.post("/accounts/providers/of/contoso/test/")  # nobody answers there
    app, codes = (
        f"__import__('allauth.mfa.{one}.internal.auth', fromlist=['*'])" for one in ("totp", "recovery_codes")
    )
    dora = "User.objects.get_or_create(username='dora')[0]"
    unsealed = "__import__('allauth.mfa.utils', fromlist=['*']).decrypt"
    secret, seed = team.ask(
        f"[{unsealed}({app}.TOTP.activate({dora}, {app}.generate_totp_secret()).instance.data['secret']),"
        f" {unsealed}({codes}.RecoveryCodes.activate({dora}).instance.data['seed'])]"
    )
    opens = {"token": token, "wall": wall, "badge": badge.partition("~")[2], "word": word}
    return opens | {"totp": secret, "recovery": seed}


def shown_once(person: Person, path: str, **form: str) -> str:
    """Send a form and return the page that answers it."""
    csrf = next(cookie.value for cookie in person.cookies if cookie.name == "csrftoken")
    body = urlencode({"csrfmiddlewaretoken": csrf, **form}).encode()
    with person.browser.open(person.base + path, body, timeout=20) as answer:
        return str(answer.read().decode())


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[match.lastindex or 0]


def draft_in(where: str) -> str:
    return where.partition("draft=")[2].partition("#")[0]


def attach(person: Person, kind: str, **form: str) -> str:
    """Attach something whose checks pass; return the address of the target."""
    where = looked_at(person, f"{ATTACH}{kind}/", **form)
    assert 'form="attach" name="action" value="attach"' in person.get(where), person.get(where)
    form = {key: value for key, value in form.items() if key not in SECRETS}
    return person.post(f"{ATTACH}{kind}/", action="attach", draft=draft_in(where), **form)


def every_page(person: Person) -> Iterator[tuple[str, str]]:
    """Follow links from the list of compute as far as they stay in the workspace."""
    seen, ahead = (
        set[str](),
        [
            "/w/default/compute/?tab=attached",
            "/w/default/notifications/",
            "/w/default/",
            "/w/default/settings/",
        ],
    )
    ways = Counter[str]()  # to show one page
    while ahead and len(seen) < MOST_PAGES:
        path = ahead.pop(0)
        page_itself = path.partition("?")[0]
        if path in seen or ways[page_itself] == MOST_WAYS:
            continue
        seen.add(path)
        ways[page_itself] += 1
        try:
            page = person.get(path)
        except OSError:  # what takes no GET
            continue
        yield path, page
        ahead += [link.replace("&amp;", "&") for link in LINK.findall(page)]


@pytest.fixture
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sshd, str]]:
    """Give a machine behind a real sshd, and the marked password of its user."""
    folder, word = tmp_path_factory.mktemp("sshd"), marker("far-word")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)  # sshd reads what it authorizes as the user who signs in
    with scratch_user(password=word) as name:
        server = Sshd(folder, name, PasswordAuthentication="yes").start()
        yield server, word
        server.stop()


def marker(name: str) -> str:
    return f"marker-{name}-{secrets.token_hex(12)}"


def sealed_key(phrase: str) -> tuple[str, str]:
    """Return a private key that `phrase` opens, and one of its lines, by which it would be known."""
    form, kind = PrivateFormat.OpenSSH, BestAvailableEncryption(phrase.encode())
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, form, kind).decode()
    return pem, pem.splitlines()[3]


def test_no_credential_is_found_anywhere(
    team: Team, person: Person, far: tuple[Sshd, str], command_lines: set[bytes]
) -> None:
    markers = {name: marker(name) for name in KINDS}
    key = {"authentication": "key", "private_key": markers["key"], "passphrase": markers["phrase"]}
    attach(person, "Tiny", name="with-key", address="key.example", **key)
    password = {"authentication": "password", "understood": "on"}
    attach(person, "Tiny", name="with-word", address="word.example", password=markers["word"], **password)
    with pytest.raises(OSError, match="422"):
        looked_at(person, f"{ATTACH}Tiny/", **key | {"name": "9-", "address": "x", "private_key": markers["typo"]})
    broken = key | {"name": "it-breaks", "address": "breaks", "private_key": markers["breaks"]}
    assert "The studio failed here" in person.get(looked_at(person, f"{ATTACH}Tiny/", **broken))
    edit = {"token": secrets.token_hex(16), "address": "key.example", "authentication": "key"}
    edited = person.post("/w/default/compute/targets/with-key/connection/", private_key=markers["new"], **edit)
    until(lambda: 'value="attach"' in person.get(edited))
    person.post("/w/default/compute/targets/with-word/look/")

    sshd, markers["far-word"] = far
    team.ask(ALLOW)
    machine = {"address": "127.0.0.1", "ssh_port": str(sshd.port), "username": sshd.username, "environment": "system"}
    machine |= {"name": "far", "python": "python3", "password": markers["far-word"]}
    attach(person, "VirtualMachine", **machine, **password)
    run = person.submit("far", "import os\nprint(sorted(os.environ))\n")
    until(lambda: "Completed" in person.get(f"{run}header/"))

    ids = dict.fromkeys(("subscription_id", "tenant_id", "client_id"), "11111111-1111-4111-8111-111111111111")
    azure = ids | {"way": "service-principal", "client_secret": markers["azure"], "authority": "https://127.0.0.1:9"}
    assert person.post("/w/default/compute/azure/", **azure).endswith("/azure/")
    person.post("/w/default/compute/azure/test/")  # nobody answers there, and that is said
    bricks = {"name": "bricks", "authentication": "token", "access_token": markers["token"]}
    checked(person, "Databricks", **bricks, url="http://127.0.0.1:9")
    gate = {"jump_address": "127.0.0.1", "jump_port": str(sshd.port), "jump_username": sshd.username}
    behind = machine | {"name": "behind", "ssh_port": "9", "password": markers["behind"]}
    checked(person, "VirtualMachine", **behind, **password, **gate, jump_password=markers["far-word"])
    gate_key, markers["gate-key"] = sealed_key(markers["gate-phrase"])
    gate |= {"jump_private_key": gate_key, "jump_passphrase": markers["gate-phrase"]}
    checked(person, "VirtualMachine", **behind | {"name": "by-key"}, **password, **gate)

    markers |= doors_opened(team, person, run, marker("opens"))
    with receiver() as told:
        markers |= webhook_told(team, person, told, marker("hook"))

    pages = dict(every_page(person)) | {path: person.get(path) for path in WITH_DOORS}
    assert any(re.fullmatch(r"/w/default/notifications/\d+/", path) for path in pages)
    assert "/w/default/compute/azure/" in pages
    assert len(pages) > 20
    assert any("connection" in path for path in pages)
    dump = subprocess.run(
        [f"{find_postgresql()}/pg_dump", "-h", "127.0.0.1", "-p", str(team.postgresql_port), "-U", "studio", "studio"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"sealed:2:" in dump
    places = {f"page {path}": page.encode() for path, page in pages.items()} | {"database": dump}
    home = Path(f"~{sshd.username}").expanduser()
    files = [f for folder in (team.folder, home, sshd.folder) for f in folder.rglob("*") if f.is_file()]
    assert any(f.is_relative_to(home) for f in files)
    places |= {f"file {f}": f.read_bytes() for f in files}
    assert any("appendonly" in place for place in places)  # all that went through the broker
    assert b"compute.examining.examine" in b"".join(text for place, text in places.items() if "appendonly" in place)
    assert "/ws/d/…" in team.said("web")  # it was written down, and what opens it was not
    places["command lines"] = b"\n".join(command_lines)
    assert b"celery" in places["command lines"]
    leaks = [
        f"{name} in {place}"
        for name, marker in markers.items()
        for place, text in places.items()
        if not (name == "badge" and place.startswith("page "))  # members see where it is
        and any(form in text for form in forms_of(marker))
    ]
    assert not leaks


def test_keys_are_rotated_while_the_studio_runs(team: Team, person: Person) -> None:
    old = team.environ()["SEAL_KEYS"]
    attach(person, "Tiny", name="sealed", address="sealed.example", authentication="key", private_key="one of many")
    said = team.manage("rotate_keys", SEAL_KEYS=f"a new one that is long enough,{old}")
    assert re.search(r"compute targets: (\d+) of \1 rows", said)
    assert "no older one is needed any more" in said
    opens = "ComputeTarget.objects.get(name='sealed').secret('private_key') == 'one of many'"
    code = f"from compute.models import *; print({opens})"
    assert "True" in team.manage("shell", "--verbosity=0", "-c", code, SEAL_KEYS="a new one that is long enough")
    team.manage("rotate_keys", check=False, SEAL_KEYS="a third one, which opens nothing")


def test_the_search_finds_what_is_there() -> None:
    for shift in range(3):
        assert any(
            form in base64.b64encode(b"a" * shift + b"marker-key-0123456789")
            for form in forms_of("marker-key-0123456789")
        )
