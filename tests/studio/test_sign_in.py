"""Signing in with an OpenID provider: the real flow over HTTP, and every answer of a provider that means no good."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from studio.people.actions import remove_member, set_role
from studio.people.models import Activity, BrowserSession, Membership, Team, User, Workspace
from studio.people.permissions import Role
from studio.signin import actions
from studio.signin.models import GroupRole, Provider

CLIENT, SECRET = "studio-at-contoso", "contoso-hush-hush"
KEY, OTHER_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))


class Contoso:
    """A provider on loopback that answers as a test wants it to: the claims, the header and the key of its token."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}  # over those that are right
        self.userinfo: dict[str, Any] = {}
        self.key: Any = KEY
        self.algorithm, self.kid = "RS256", "first"
        self.discovery: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.nonce = self.challenge = ""
        self.answer: bytes | None = None  # in place of any
        self.drips = False  # byte by byte, without end
        contoso = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                contoso.say(self, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                contoso.say(self, {name: value[0] for name, value in parse_qs(body).items()})

            def log_message(self, *_args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def say(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        self.asked.append((handler.path, form))
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        said: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/keys",
                **self.discovery,
            },
            "/token": {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self.token()},
            "/userinfo": {"sub": "ana-at-contoso", **self.userinfo},
            "/keys": {"keys": [public | {"kid": "first", "use": "sig"}]},
        }.get(handler.path, {})
        body = json.dumps(said).encode() if self.answer is None else self.answer
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        while self.drips:
            try:
                handler.wfile.write(b" ")
                time.sleep(0.02)
            except OSError:
                return
        handler.wfile.write(body)

    def token(self) -> str:
        now = int(time.time())
        right = {"iss": self.issuer, "sub": "ana-at-contoso", "aud": CLIENT, "nonce": self.nonce}
        claims = right | {"iat": now, "exp": now + 300, "preferred_username": "Ana@Contoso.example"} | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": self.kid})


@pytest.fixture
def contoso() -> Iterator[Contoso]:
    provider = Contoso()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.org", "correct horse")


@pytest.fixture
def provider(contoso: Contoso, root: User) -> Provider:
    row = Provider(name="Contoso", issuer=contoso.issuer, client_id=CLIENT, allows_inside=True)
    return actions.keep_provider(row, SECRET, by=root)


@pytest.fixture
def linked(provider: Provider, ana: User) -> SocialAccount:
    return SocialAccount.objects.create(user=ana, provider=provider.slug, uid="ana-at-contoso")


def set_out(client: Client, contoso: Contoso, provider: Provider, **sent: str) -> dict[str, str]:
    """Press the button; return what the provider is sent."""
    page = client.post(reverse("openid_connect_login", args=[provider.slug]), sent)
    assert page.status_code == 200, page.content.decode()
    address = urlsplit(page.context["address"])
    assert address.netloc == urlsplit(contoso.issuer).netloc
    asked = {name: value[0] for name, value in parse_qs(address.query).items()}
    contoso.nonce, contoso.challenge = asked["nonce"], asked["code_challenge"]
    return asked


def come_back(client: Client, provider: Provider, **said: str) -> Any:
    return client.get(reverse("openid_connect_callback", args=[provider.slug]), {"code": "a-code", **said})


def sign_in(client: Client, contoso: Contoso, provider: Provider, **sent: str) -> Any:
    return come_back(client, provider, state=set_out(client, contoso, provider, **sent)["state"])


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_somebody_linked_signs_in_and_everything_that_guards_it_is_sent(
    contoso: Contoso, provider: Provider, linked: SocialAccount, ana: User
) -> None:
    client = Client()
    client.get(reverse("account_login"))
    asked = set_out(client, contoso, provider, next="/profile/")
    before = client.session.session_key
    answer = come_back(client, provider, state=asked["state"])
    assert (answer.status_code, answer["Location"]) == (302, "/profile/")
    assert client.session["_auth_user_id"] == str(ana.pk)
    assert client.session.session_key != before, "a session from before the sign-in went on"
    client.get("/profile/")
    assert BrowserSession.objects.filter(user=ana).exists()
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"].split()[0] in {"openid", "profile", "email"}
    form = next(form for path, form in contoso.asked if path == "/token")
    digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
    assert digest.decode() == contoso.challenge
    assert form["client_secret"] == SECRET
    told = json.dumps([list(Provider.objects.values()), list(Activity.objects.values("detail"))], default=str)
    assert SECRET not in told
    # The same answer again: its state is used up.
    again = come_back(Client(), provider, state=asked["state"])
    assert again.status_code == 403
    assert come_back(client, provider, state=asked["state"]).status_code == 403


NOW = int(time.time())
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"claims": {"iss": "https://evil.example"}}, "somebody else issued"),
    "another audience": ({"claims": {"aud": "another-app"}}, "for another application"),
    "several audiences": ({"claims": {"aud": [CLIENT, "another-app"]}}, "for another application"),
    "another party": ({"claims": {"azp": "another-app"}}, "for another application"),
    "expired": ({"claims": {"exp": NOW - 90}}, "too old"),
    "made long ago": ({"claims": {"iat": NOW - 3600, "exp": NOW + 3600}}, "too old"),
    "a clock ahead": ({"claims": {"iat": NOW + 3600, "exp": NOW + 7200}}, "from the future"),
    "not yet": ({"claims": {"nbf": NOW + 3600}}, "from the future"),
    "another nonce": ({"claims": {"nonce": "guessed"}}, "another sign-in"),
    "no nonce": ({"claims": {"nonce": None}}, "another sign-in"),
    "no expiry": ({"claims": {"exp": None}}, "lacks"),
    "nobody": ({"claims": {"sub": ""}}, "lacks"),
    "a foreign key": ({"key": OTHER_KEY}, "not signed with the provider"),
    "an unknown key": ({"kid": "second"}, "not signed with the provider"),
    "no signature": ({"algorithm": "none", "key": None}, "not signed as it should"),
    "a shared secret": ({"algorithm": "HS256", "key": SECRET * 2}, "not signed as it should"),
    "two people": ({"userinfo": {"sub": "ben-at-contoso"}}, "two people"),
    "another issuer's description": ({"discovery": {"issuer": "https://evil.example"}}, "another issuer"),
    "a script for a page": ({"discovery": {"authorization_endpoint": "javascript:alert(1)"}}, "does not say where"),
    "no JSON": ({"answer": b"<html>"}, "does not answer as it should"),
    "without end": ({"answer": b"[" * 600_000}, "does not answer as it should"),
    "lists in lists": ({"answer": b"[" * 100_000}, "does not answer as it should"),
    "a list": ({"answer": b"[1]"}, "where it should say"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_answer_that_is_not_right_signs_nobody_in(
    contoso: Contoso, provider: Provider, linked: SocialAccount, wrong: str
) -> None:
    client, (how, said) = Client(), WRONG[wrong]
    state = set_out(client, contoso, provider)["state"]
    for name, value in how.items():
        setattr(contoso, name, value)
    answer = come_back(client, provider, state=state)
    assert answer.status_code in {403, 502}
    assert said in answer.content.decode()
    assert not is_in(client)


def test_a_state_that_is_not_ours_and_a_refusal_sign_nobody_in(
    contoso: Contoso, provider: Provider, linked: SocialAccount, root: User
) -> None:
    client, other = Client(), Client()
    state = set_out(client, contoso, provider)["state"]
    for who, said in ((client, {}), (client, {"state": "guessed"}), (other, {"state": state})):
        answer = come_back(who, provider, **said)
        assert answer.status_code == 403
        assert "not begun here" in answer.content.decode()
    second = actions.keep_provider(
        Provider(name="Fabrikam", issuer=contoso.issuer, client_id=CLIENT, allows_inside=True), SECRET, by=root
    )
    assert come_back(client, second, state=state).status_code == 403, "another provider's answer"
    assert come_back(client, provider, state=state, iss="https://evil.example").status_code == 403
    for error, status in (("access_denied", 302), ("server_error", 403)):
        state = set_out(client, contoso, provider)["state"]
        url = reverse("openid_connect_callback", args=[provider.slug])
        assert client.get(url, {"error": error, "state": state}).status_code == status
    assert not is_in(client)
    assert not is_in(other)
    answer = sign_in(client, contoso, provider, next="https://evil.example/")
    assert answer["Location"] == "/", "an open redirect"
    ana = linked.user
    ana.is_active = False
    ana.save()
    late = Client()
    sign_in(late, contoso, provider)
    assert not is_in(late)
    Provider.objects.filter(pk=provider.pk).update(is_enabled=False)
    assert client.post(reverse("openid_connect_login", args=[provider.slug])).status_code == 404


def test_who_answers_byte_by_byte_holds_nobody_up(
    contoso: Contoso, provider: Provider, linked: SocialAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    state = set_out(client, contoso, provider)["state"]
    monkeypatch.setattr("studio.signin.pinned.WHOLE", 0.3)
    contoso.answer, contoso.drips = b"x" * 100_000, True
    answer = come_back(client, provider, state=state)
    assert answer.status_code == 502
    assert not is_in(client)


def test_nobody_is_taken_for_somebody_else_by_an_address(contoso: Contoso, provider: Provider, ana: User) -> None:
    contoso.claims = {"email": ana.email, "email_verified": True, "sub": "mallory"}
    contoso.userinfo = {"sub": "mallory"}
    client = Client()
    answer = sign_in(client, contoso, provider)
    assert answer.status_code == 403
    assert "Nobody here is linked" in answer.content.decode()
    assert not is_in(client)
    assert not SocialAccount.objects.exists()
    assert User.objects.count() == 2


@pytest.fixture
def mapped(provider: Provider, workspace: Workspace, root: User) -> Callable[[str, Role], GroupRole]:
    def make(group: str, role: Role, **more: Any) -> GroupRole:
        rule = GroupRole(provider=provider, group=group, label=f"the {group}", workspace=workspace, role=role, **more)
        actions.map_group(rule, by=root)
        return rule

    return make


def roles(person: User) -> dict[str, str]:
    return dict(Membership.objects.filter(user=person).values_list("workspace__name", "role"))


def test_groups_bring_roles_and_take_what_they_brought(
    contoso: Contoso, provider: Provider, cleo: User, workspace: Workspace, mapped: Any, root: User
) -> None:
    vision = Team.objects.create(workspace=workspace, name="vision")
    mapped("readers", Role.READER)
    mapped("scientists", Role.DATA_SCIENTIST, team=vision)
    SocialAccount.objects.create(user=cleo, provider=provider.slug, uid="ana-at-contoso")
    client = Client()

    def with_groups(*groups: str) -> dict[str, str]:
        contoso.claims = {"groups": list(groups)}
        assert sign_in(client, contoso, provider).status_code == 302
        return roles(cleo)

    assert with_groups("readers", "scientists", "strangers") == {"vision-team": "DataScientist"}
    member = Membership.objects.get(user=cleo)
    assert (member.by_group, member.team) == ("the scientists", vision)
    written = Activity.objects.filter(verb="member.role", object_name="cleo").latest("pk")
    assert written.detail == {"before": None, "after": "DataScientist", "group": "the scientists"}
    page = Client()
    page.force_login(workspace.memberships.get(role=Role.OWNER).user)
    assert "by the group the scientists" in page.get(reverse("members", args=["vision-team"])).content.decode()
    assert with_groups("readers") == {"vision-team": "Reader"}
    assert with_groups() == {}
    assert Activity.objects.filter(verb="member.remove", object_name="cleo").latest("pk").detail["group"]
    # What an Owner gave by hand stays as it is.
    set_role(workspace, cleo, Role.CONTRIBUTOR, by=root)
    assert with_groups("readers") == {"vision-team": "Contributor"}
    assert with_groups() == {"vision-team": "Contributor"}
    # Too many groups for one token are not none.
    remove_member(workspace, cleo, by=root)
    assert with_groups("readers") == {"vision-team": "Reader"}
    contoso.claims = {"_claim_names": {"groups": "src1"}}
    answer = sign_in(client, contoso, provider)
    assert answer.status_code == 403
    assert "too many" in answer.content.decode()
    assert roles(cleo) == {"vision-team": "Reader"}
    # The last Owner stays one.
    mapped("owners", Role.OWNER)
    with_groups("owners")
    remove_member(workspace, workspace.memberships.exclude(user=cleo).get().user, by=root)
    assert with_groups() == {"vision-team": "Owner"}
    assert Activity.objects.filter(verb="member.kept", object_name="cleo").exists()


def test_an_account_is_made_only_where_a_group_maps(
    contoso: Contoso, provider: Provider, ana: User, mapped: Any
) -> None:
    mapped("readers", Role.READER)
    contoso.userinfo = {"sub": "new", "email": ana.email, "name": "<script>alert(1)</script>"}
    contoso.claims = {"sub": "new", "groups": ["readers"], "preferred_username": "ana@contoso.example"}
    client = Client()
    assert sign_in(client, contoso, provider).status_code == 403
    Provider.objects.update(makes_accounts=True)
    contoso.claims["groups"] = ["strangers"]
    assert sign_in(client, contoso, provider).status_code == 403
    assert User.objects.count() == 2
    contoso.claims["groups"] = ["readers"]
    assert sign_in(client, contoso, provider).status_code == 302
    made = User.objects.get(pk=client.session["_auth_user_id"])
    assert (made.username, made.email, roles(made)) == ("ana2", "", {"vision-team": "Reader"})
    assert not made.has_usable_password()
    assert Activity.objects.filter(verb="person.create").exists()
    assert "<script>alert" not in client.get("/profile/").content.decode()
    sign_in(Client(), contoso, provider)
    assert User.objects.count() == 3


def test_a_person_links_and_unlinks_their_account(
    contoso: Contoso, provider: Provider, ana: User, cleo: User, mapped: Any, root: User
) -> None:
    client = Client()
    client.login(username="ana", password="correct horse")
    url = reverse("link_sign_in", args=[provider.slug])
    answer = client.post(url)
    assert answer["Location"].startswith("/accounts/reauthenticate/"), "the password is asked for again"
    page = client.post(answer["Location"], {"password": "correct horse"})
    asked = parse_qs(urlsplit(page.context["address"]).query)
    contoso.nonce = asked["nonce"][0]
    come_back(client, provider, state=asked["state"][0])
    account = SocialAccount.objects.get(user=ana)
    assert account.uid == "ana-at-contoso"
    other = Client()
    other.login(username="cleo", password="correct horse")
    page = other.post(other.post(url)["Location"], {"password": "correct horse"})
    asked = parse_qs(urlsplit(page.context["address"]).query)
    contoso.nonce = asked["nonce"][0]
    come_back(other, provider, state=asked["state"][0])
    assert SocialAccount.objects.get().user == ana, "an account of somebody else is not taken over"
    assert "Somebody else here" in other.get("/profile/").content.decode()
    assert other.post(reverse("unlink_sign_in", args=[account.pk])).status_code == 404
    # Without passwords, the link is the only way in.
    actions.allow_passwords(False, by=ana)
    refused = client.post(reverse("unlink_sign_in", args=[account.pk]))
    assert refused.status_code == 409
    late = Client()
    said = late.post(reverse("account_login"), {"login": "ana", "password": "correct horse"})
    assert said.status_code == 403
    assert "Passwords do not open" in said.content.decode()
    assert 'name="password"' not in late.get(reverse("account_login")).content.decode()
    actions.allow_passwords(True, by=ana)
    assert client.post(reverse("unlink_sign_in", args=[account.pk])).status_code == 302
    assert not SocialAccount.objects.exists()


def test_an_administrator_sets_a_provider_up_tests_it_and_takes_it_away(
    contoso: Contoso, root: User, cleo: User, workspace: Workspace, settings: Any
) -> None:
    client = Client()
    client.force_login(root)
    add = reverse("add_sign_in_provider")
    typed = {"name": "Contoso & <b>", "issuer": contoso.issuer, "client_id": CLIENT, "secret": SECRET}
    typed |= {"scopes": "profile", "groups_claim": "groups", "is_enabled": "on"}
    assert "Plain HTTP" in client.post(add, typed).content.decode()
    for issuer in ("ftp://x", "https://", "https://a@b/", "http://[", "https://x/?a", "https://x:0/"):
        assert client.post(add, typed | {"issuer": issuer, "allows_inside": "on"}).status_code == 422, issuer
    page = client.post(add, typed | {"allows_inside": "on"}, follow=True)
    row = Provider.objects.get()
    assert (row.slug, row.scopes, row.secret) == ("contoso-b", "openid profile", SECRET)
    assert SECRET not in page.content.decode()
    assert "/accounts/oidc/contoso-b/login/callback/" in page.content.decode()
    change = reverse("sign_in_provider", args=[row.slug])
    client.post(change, typed | {"secret": "", "issuer": "https://evil.example", "allows_inside": "on"})
    row.refresh_from_db()
    assert (row.issuer, row.secret) == (contoso.issuer, SECRET), "its people would be taken for others"
    test = reverse("test_sign_in_provider", args=[row.slug])
    said = client.post(test).content.decode()
    assert "speaks for the issuer" in said
    assert "It signs with 1 key." in said
    contoso.discovery = {"issuer": "https://evil.example"}
    assert "another issuer" in client.post(test).content.decode()
    row.allows_inside = False
    row.save()
    contoso.asked.clear()
    assert "own machine" in client.post(test).content.decode()
    assert not contoso.asked, "a loopback address was asked"
    for issuer in (
        "https://169.254.169.254/latest",
        "https://localhost",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
    ):
        Provider.objects.filter(pk=row.pk).update(issuer=issuer)
        said = client.post(test).content.decode()
        assert "own machine" in said, issuer
        assert "An administrator of the studio can allow" in said, issuer
    groups = reverse("sign_in_groups", args=[row.slug])
    rule = {"group": "readers", "workspace": str(workspace.pk), "role": "Reader"}
    assert client.post(groups, rule | {"team": "nowhere"}).status_code == 422
    assert client.post(groups, rule | {"role": "Emperor"}).status_code == 422
    assert client.post(groups, rule).status_code == 302
    assert Activity.objects.filter(workspace=workspace, verb="group.map").exists()
    SocialAccount.objects.create(user=cleo, provider=row.slug, uid="cleo")
    actions.apply_groups(cleo, row, frozenset({"readers"}))
    settings.SEAL_KEYS = ["new", *settings.SEAL_KEYS]
    call_command("rotate_keys")
    row.refresh_from_db()
    settings.SEAL_KEYS = ["new"]
    assert row.secret == SECRET
    assert "could not come in yourself" in client.post(reverse("sign_in_providers"), {}).content.decode()
    assert client.post(groups, {"forget": "x"}).status_code == 404
    assert client.post(groups, {"forget": str(row.groups.get().pk)}).status_code == 302
    client.post(reverse("remove_sign_in_provider", args=[row.slug]))
    assert not Provider.objects.exists()
    assert not SocialAccount.objects.exists()
    assert roles(cleo) == {}
