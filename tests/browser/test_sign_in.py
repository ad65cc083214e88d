"""Signing in as people do: with a real OpenID provider, with passkeys of a virtual device, and with codes of an app."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import oidc_provider_mock
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.socialaccount.models import SocialAccount
from django.core.management import call_command
from django.urls import reverse
from oidc_provider_mock import User as Vouched
from playwright.sync_api import Page, expect

from studio.people.models import Activity, Membership, User, Workspace
from studio.people.permissions import Role
from studio.signin import actions
from studio.signin.models import GroupRole, Provider
from tests.browser.conftest import Complaints


@dataclass
class Contoso:
    issuer: str
    port: int

    def says(self, sub: str, **claims: Any) -> None:
        """Have the provider vouch for somebody so from now on."""
        import httpx

        httpx.put(f"{self.issuer}/users/{sub}", json=claims).raise_for_status()


@pytest.fixture
def contoso() -> Iterator[Contoso]:
    with oidc_provider_mock.run_server_in_thread(user_claims=[Vouched(sub="ana-1")]) as server:
        yield Contoso(f"http://localhost:{server.server_port}", server.server_port)


def by_name(page: Page, server: str) -> str:
    """Return the studio's address with a name: browsers keep passkeys for names alone."""
    return server.replace("127.0.0.1", "localhost")


def test_a_group_of_a_real_provider_brings_a_role_and_takes_it_again(
    page: Page, contoso: Contoso, ana: User, workspace: Workspace, complaints: Complaints
) -> None:
    complaints.expect("localhost:")  # the provider's own page
    row = Provider(name="Contoso", issuer=contoso.issuer, client_id="studio", allows_inside=True, makes_accounts=True)
    actions.keep_provider(row, "hush", by=ana)
    rule = GroupRole(provider=row, group="ml", label="ML people", workspace=workspace, role=Role.DATA_SCIENTIST)
    actions.map_group(rule, by=ana)
    contoso.says("ana-1", groups=["ml"], preferred_username="ana.lopez@contoso.example", name="Ana López")

    def sign_in() -> None:
        page.goto("/accounts/login/")
        page.get_by_role("button", name="Sign in with Contoso").click()
        page.get_by_role("button", name="ana-1").click()

    page.route("**/pico.min.css", lambda route: route.fulfill(body="", content_type="text/css"))
    sign_in()
    expect(page).to_have_url(re.compile(r"/w/vision-team/"))
    person = User.objects.get(username="ana.lopez")
    assert Membership.objects.get(user=person).role == Role.DATA_SCIENTIST
    page.goto("/profile/")
    expect(page.locator("#sign-ins")).to_contain_text("Contoso")
    page.goto(reverse("members", args=["vision-team"]))
    expect(page.get_by_text("by the group ML people")).to_be_visible()
    contoso.says("ana-1", groups=[], preferred_username="ana.lopez@contoso.example")
    page.context.clear_cookies()
    sign_in()
    expect(page.get_by_role("heading", name="You belong to no workspace yet")).to_be_visible()
    assert not Membership.objects.filter(user=person).exists()
    assert SocialAccount.objects.get().user == person


def code_of(secret: str) -> str:
    """Return what an authenticator app shows now."""
    return str(format_hotp_value(hotp_value(secret, list(yield_hotp_counters_from_time())[1])))


def sign_in_by_password(page: Page) -> None:
    page.get_by_label("User name or e-mail address").fill("ana")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_code_of_an_app_or_a_recovery_code_is_the_second_step(
    open_page: Callable[..., Page], page: Page, ana: User, workspace: Workspace
) -> None:
    page.goto("/accounts/login/")
    sign_in_by_password(page)
    page.goto("/profile/")
    page.get_by_role("link", name="Add an authenticator app").click()
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_alt_text("QR code")).to_be_visible()
    assert page.evaluate("document.querySelector('img.qr').naturalWidth") > 0
    secret = page.locator("#app-key").inner_text()
    page.get_by_label("Code", exact=True).fill("000000")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("Incorrect code.")).to_be_visible()
    page.get_by_label("Code", exact=True).fill(code_of(secret))
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    codes = page.locator("#recovery-codes").inner_text().split()
    assert len(codes) == 10
    page.reload()
    expect(page.get_by_text("They were shown once.")).to_be_visible()
    kept = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in kept
    assert kept.count("sealed:2:") == 2

    other = open_page()
    other.goto("/accounts/login/?next=/profile/")
    sign_in_by_password(other)
    expect(other.get_by_role("heading", name="One more step")).to_be_visible()
    other.goto("/profile/")
    expect(other.get_by_role("heading", name="One more step")).to_be_visible()  # the password alone opened nothing
    other.get_by_role("button", name="Back to sign-in").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in_by_password(other)
    other.get_by_label("Code", exact=True).fill(codes[0])
    other.get_by_role("button", name="Sign in", exact=True).click()
    expect(
        other.get_by_role("button", name="Sign out everywhere else").or_(other.locator(".avatar")).first
    ).to_be_visible()
    third = open_page()
    third.goto("/accounts/login/")
    sign_in_by_password(third)
    third.get_by_label("Code", exact=True).fill(codes[0])  # used up
    third.get_by_role("button", name="Sign in", exact=True).click()
    expect(third.get_by_text("Incorrect code.")).to_be_visible()
    call_command("account", "ana", "forget-second-step")
    assert Activity.objects.filter(verb="person.second_step", object_name="ana").exists()
    third.goto("/accounts/login/")
    sign_in_by_password(third)
    expect(third.locator(".avatar").first).to_be_visible()


def test_a_passkey_signs_in_is_renamed_and_removed(page: Page, server: str, ana: User, workspace: Workspace) -> None:
    site = by_name(page, server)
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto(f"{site}/accounts/login/")
    sign_in_by_password(page)
    page.goto(f"{site}/profile/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("<b>my laptop</b>")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have kept them").click()
    expect(page.locator("#second-step")).to_contain_text("<b>my laptop</b>")
    page.context.clear_cookies()
    page.goto(f"{site}/accounts/login/?next=/profile/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator(".avatar").first).to_be_visible()
    page.context.clear_cookies()
    page.goto(f"{site}/accounts/login/")
    sign_in_by_password(page)  # it is a second step, too
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator(".avatar").first).to_be_visible()
    page.goto(f"{site}/profile/")
    page.get_by_role("link", name="Rename").click()
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_role("link", name="With a passkey").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_label("Name").fill("work laptop")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#second-step")).to_contain_text("work laptop")
    page.get_by_role("link", name="Remove work laptop").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#second-step")).not_to_contain_text("work laptop")
    assert not Authenticator.objects.exists(), "recovery codes went with the last of them"
