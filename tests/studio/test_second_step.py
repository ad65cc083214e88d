"""The second step of signing in: what it withstands, and how its secrets are kept."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from studio.errors import NotAllowedNow
from studio.people.models import Activity, SignInLink, User, Workspace
from studio.people.second_step import PLACE
from studio.seal import CannotUnseal, unseal
from studio.signin import actions
from tests.sockets import Socket


@pytest.fixture
def secret(ana: User) -> str:
    """Give Ana an authenticator app and recovery codes."""
    made = generate_totp_secret()
    TOTP.activate(ana, made)
    RecoveryCodes.activate(ana)
    return str(made)


def code(secret: str, steps: int = 0) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps)))


def half_way() -> Client:
    client = Client()
    answer = client.post(reverse("account_login"), {"login": "ana", "password": "correct horse", "next": "/profile/"})
    assert answer["Location"] == reverse("mfa_authenticate")
    return client


def test_a_code_opens_once_and_within_half_a_minute(secret: str) -> None:
    first, second = half_way(), half_way()
    url, now = reverse("mfa_authenticate"), code(secret)
    for wrong in ("", "0", "000000 ", code(secret, -5), code(secret, 5), "9" * 500, "\x00"):
        assert first.post(url, {"code": wrong}).status_code == 200
        assert "_auth_user_id" not in first.session
        assert first.get("/profile/")["Location"].startswith("/accounts/login/")
        first = half_way()
        clear_counts()
    before = first.session.session_key
    assert first.post(url, {"code": now})["Location"] == "/profile/"
    assert first.session.session_key != before
    assert second.post(url, {"code": now}).status_code == 200, "the same code again"
    assert "_auth_user_id" not in second.session


def clear_counts() -> None:
    from django.core.cache import cache

    cache.clear()


def test_guessing_codes_ends_soon(secret: str) -> None:
    client, url = half_way(), reverse("mfa_authenticate")
    for _ in range(6):
        client.post(url, {"code": "123456"})
    said = client.post(url, {"code": code(secret)})
    assert "_auth_user_id" not in client.session, "the right code after too many wrong ones"
    assert said.status_code in {200, 429}


def test_a_link_that_signs_in_asks_for_the_second_step_too(secret: str, ana: User) -> None:
    client = Client()
    answer = client.post(reverse("sign_in_by_link", args=[SignInLink.issue(ana)]))
    assert answer["Location"] == reverse("mfa_authenticate")
    assert "_auth_user_id" not in client.session


def test_taking_it_away_needs_to_show_who_one_is(secret: str, ana: User, as_user: Callable[[User], Client]) -> None:
    client = as_user(ana)
    for name in ("mfa_deactivate_totp", "mfa_generate_recovery_codes", "mfa_add_webauthn"):
        assert "reauthenticate" in client.post(reverse(name))["Location"], name
    assert Authenticator.objects.count() == 2
    url = client.post(reverse("mfa_deactivate_totp"))["Location"]
    assert client.post(url, {"password": "wrong"}).status_code == 200
    client.post(url, {"password": "correct horse"})  # what was asked for goes on by itself
    assert not Authenticator.objects.exists()


def test_its_secrets_are_sealed_and_sealed_anew(secret: str, ana: User, settings: Any) -> None:
    rows = {row.type: row.data for row in Authenticator.objects.all()}
    assert secret not in str(rows)
    assert unseal(rows["totp"]["secret"], where=PLACE) == secret
    settings.SEAL_KEYS = ["new", *settings.SEAL_KEYS]
    call_command("rotate_keys")
    settings.SEAL_KEYS = ["new"]
    assert half_way().post(reverse("mfa_authenticate"), {"code": code(secret)}).status_code == 302
    settings.SEAL_KEYS = ["newest"]
    with pytest.raises(CannotUnseal):
        unseal(Authenticator.objects.get(type="totp").data["secret"], where=PLACE)
    with pytest.raises(CommandError, match="second steps"):
        call_command("rotate_keys")


def test_without_a_key_to_seal_with_no_secret_is_kept(ana: User, settings: Any) -> None:
    settings.SEAL_KEYS = []
    client = Client()
    client.post(reverse("account_login"), {"login": "ana", "password": "correct horse"})
    url = client.get(reverse("mfa_activate_totp"))["Location"]
    client.post(url, {"password": "correct horse"})
    page = client.get(reverse("mfa_activate_totp"))
    said = client.post(reverse("mfa_activate_totp"), {"code": code(page.context["form"].secret)})
    assert said.status_code == 409
    assert not Authenticator.objects.exists()


@pytest.mark.parametrize(
    "credential",
    ["", "1", "[]", "{}", "null", '"x"', '{"response": []}', '{"response": {"userHandle": 5}}', "{" * 500,
     '{"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "AA", "authenticatorData": "AA",'
     ' "signature": "AA", "userHandle": "MQ"}}'],
)  # fmt: skip
def test_what_is_no_passkey_signs_nobody_in(ana: User, credential: str) -> None:
    client, url = Client(), reverse("mfa_login_webauthn")
    for _ in range(2):
        assert client.post(url, {"credential": credential}).status_code == 302
        assert "_auth_user_id" not in client.session
        client.get(url, headers={"X-Requested-With": "XMLHttpRequest"})  # once more, with a challenge


def test_who_is_locked_out_is_helped_and_it_is_written_down(secret: str, ana: User) -> None:
    client = half_way()
    call_command("account", "ana", "forget-second-step")
    call_command("account", "ana", "forget-second-step")  # there is none any more
    assert Activity.objects.get(verb="person.second_step").detail == {"kinds": ["recovery_codes", "totp"]}
    assert client.get(reverse("account_login"), follow=True).status_code == 200, "round in circles"
    client.post(reverse("account_login"), {"login": "ana", "password": "correct horse"})
    assert client.session["_auth_user_id"] == str(ana.pk)


@pytest.mark.django_db(transaction=True)
def test_where_everybody_needs_one_who_has_none_adds_it_first(
    secret: str, ana: User, ben: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    with pytest.raises(NotAllowedNow, match="no second step yourself"):
        actions.require_second_step(True, by=ben)
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    anas, bens = as_user(ana), Client()
    who = {"login": "ben", "password": "correct horse"}
    assert bens.post(reverse("account_login"), who).status_code == 302
    home = reverse("home", args=[workspace.name])
    assert bens.get(home).status_code == 200
    page, rule = reverse("sign_in_providers"), {"rule": "second-step", "required": "on"}
    said = anas.post(page, rule, follow=True).content.decode()
    assert "1 session ended: its person adds a second step." in said
    assert Activity.objects.filter(workspace=None, verb="signin.second_step", actor=ana).exists()
    assert anas.get(home).status_code == 200, "who has one goes on"
    assert bens.get(home)["Location"].startswith(reverse("account_login"))

    bens = Client()
    bens.post(reverse("account_login"), who)
    first = reverse("mfa_owed")
    for path in (home, reverse("profile"), "/", reverse("tokens", args=[workspace.name]), reverse("api_page")):
        assert bens.get(path)["Location"] == first, path
        assert bens.get(path, headers={"HX-Request": "true"})["HX-Redirect"] == first
    assert bens.post(reverse("profile"), {"first_name": "Ben"})["Location"] == first
    assert bens.get("/api/v1/me").status_code == 403
    assert bens.get(reverse("healthz")).status_code == 200
    assert "Add an authenticator app" in bens.get(first).content.decode()
    assert not async_to_sync(opens)(bens)
    assert bens.get(reverse("mfa_activate_totp")).status_code == 200
    key = bens.session["mfa.totp.secret"]
    assert bens.post(reverse("mfa_activate_totp"), {"code": "0"}).status_code == 200
    assert bens.get(home)["Location"] == first
    assert bens.post(reverse("mfa_activate_totp"), {"code": code(key)}).status_code == 302
    assert bens.get(home).status_code == 200
    assert async_to_sync(opens)(bens)

    app = Authenticator.objects.get(user=ben, type=Authenticator.Type.TOTP)
    assert bens.post(reverse("mfa_deactivate_totp")).status_code == 200, "the last one stays"
    Authenticator.objects.filter(pk=app.pk).update(type=Authenticator.Type.WEBAUTHN)
    assert bens.post(reverse("mfa_remove_webauthn", args=[app.pk])).status_code == 409
    assert Authenticator.objects.filter(pk=app.pk).exists()
    assert anas.post(page, {"rule": "second-step"}).status_code == 302
    assert get_adapter().can_delete_authenticator(app)


async def opens(client: Client) -> bool:
    """Say whether the live socket of a workspace opens for a client's session."""
    socket = Socket("/ws/w/vision-team/live/", client.cookies["sessionid"].value)
    opened = await socket.opens()
    await socket.leaves()
    return opened
