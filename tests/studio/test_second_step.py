"""The second step of signing in: what it withstands, and how its secrets are kept."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from studio.people.models import Activity, SignInLink, User
from studio.people.second_step import PLACE
from studio.seal import CannotUnseal, unseal


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
