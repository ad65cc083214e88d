"""Attaching as a person does it: the form, a key made here, the checks as they come, a host key that changes."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from compute import host_keys
from compute.models import ComputeTarget, Examination
from studio.people.models import User, Workspace
from tests.compute.tiny import KEY, OTHER_KEY, looked_at, make_attached

pytestmark = pytest.mark.usefixtures("with_tiny")
LIST = "/w/vision-team/compute/?tab=attached"


@pytest.fixture
def browsing(page: Page, ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None]) -> Page:
    sign_in(page, ana)
    return page


def live(page: Page) -> None:
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()


def test_a_machine_is_attached_with_a_key_that_was_made_here(browsing: Page) -> None:
    browsing.goto(LIST)
    browsing.locator(".head summary", has_text="Attach").click()
    browsing.get_by_role("link", name="Tiny machine").click()
    browsing.get_by_label("Name", exact=True).fill("lab")
    browsing.get_by_label("Address").fill("lab.example")
    expect(browsing.locator("#id_password")).to_be_hidden()
    browsing.get_by_role("button", name="Make a key pair here").click()
    expect(browsing.locator("#authorize")).to_contain_text(re.compile("ssh-ed25519 AAAA.* compute-studio-vision-team"))
    expect(browsing.get_by_label("Address")).to_have_value("lab.example")
    assert "PRIVATE KEY" not in browsing.content()
    browsing.get_by_role("button", name="Check the connection").last.click()
    doctor = browsing.locator("#doctor")
    expect(doctor.get_by_text("Looking…")).to_be_visible()
    live(browsing)
    draft = looked_at(Examination.objects.latest("pk"))
    expect(doctor.locator(".fingerprint")).to_have_text(KEY["sha256"])
    expect(doctor.get_by_role("button", name="Attach")).to_be_disabled()
    doctor.get_by_role("button", name="It is the same: trust it").click()
    live(browsing)
    looked_at(draft)
    expect(doctor.locator("li.ok b")).to_have_text(["The name resolves", "Host key", "Signing in"])
    doctor.get_by_role("button", name="Attach").click()
    expect(browsing).to_have_url(re.compile("/targets/lab/$"))
    expect(browsing.get_by_text("lab is attached. Runs can be submitted to it.")).to_be_visible()
    assert ComputeTarget.objects.get(name="lab").secret("private_key").startswith("-----BEGIN OPENSSH PRIVATE KEY")


def test_a_password_is_asked_about_only_when_it_is_chosen(browsing: Page) -> None:
    browsing.goto("/w/vision-team/compute/attach/Tiny/")
    expect(browsing.get_by_text("A password gives up something")).to_be_hidden()
    browsing.get_by_label("Name", exact=True).fill("lab")
    browsing.get_by_label("Address").fill("lab.example")
    browsing.get_by_label("Password", exact=True).first.check()
    expect(browsing.locator("#id_private_key")).to_be_hidden()
    expect(browsing.get_by_text("A password gives up something")).to_be_visible()
    browsing.locator("#id_password").fill("hunter2")
    browsing.keyboard.press("Enter")
    expect(browsing.get_by_text("Say yes to this, or use an SSH key instead.")).to_be_visible()
    browsing.get_by_label("I know what a password gives up").check()
    browsing.get_by_role("button", name="Check the connection").last.click()
    expect(browsing.locator("#doctor")).to_be_visible()


def test_a_key_is_read_from_a_file_into_the_form(browsing: Page) -> None:
    browsing.goto("/w/vision-team/compute/attach/Tiny/")
    with browsing.expect_file_chooser() as chooser:
        browsing.get_by_role("button", name="Read it from a file…").click()
    chooser.value.set_files({"name": "id_ed25519", "mimeType": "text/plain", "buffer": b"a private key"})
    expect(browsing.locator("#id_private_key")).to_have_value("a private key")


def test_a_host_key_that_changes_shows_while_the_page_is_open(browsing: Page, workspace: Workspace, ana: User) -> None:
    target = make_attached(workspace, ana)
    browsing.goto("/w/vision-team/compute/targets/lab/?tab=connection")
    live(browsing)
    host_keys.block(target, OTHER_KEY)
    alert = browsing.get_by_role("alert").filter(has_text="Another host key than the pinned one")
    expect(alert).to_be_visible()
    expect(alert.locator("dd code")).to_have_text([KEY["sha256"], OTHER_KEY["sha256"]])
    alert.get_by_role("button", name="It is right: accept the new key").click()
    expect(browsing.get_by_text("The new host key of lab is pinned")).to_be_visible()
    expect(alert).to_have_count(0)


def test_a_target_is_looked_at_again_and_the_checks_come_one_by_one(
    browsing: Page, workspace: Workspace, ana: User
) -> None:
    target = make_attached(workspace, ana)
    browsing.goto("/w/vision-team/compute/targets/lab/?tab=connection")
    browsing.get_by_role("button", name="Check again").click()
    live(browsing)
    looking = browsing.locator("#target-connection")
    expect(looking.get_by_text("Looking…")).to_be_visible()
    again = target.examinations.latest("pk")
    Examination.objects.filter(pk=again.pk).update(
        checks=[{"key": "name", "title": "The name resolves", "state": "ok", "evidence": "192.0.2.7", "remedy": "",
                 "needed": True, "facts": {}}]
    )  # fmt: skip
    again.moved()
    expect(looking.locator("li.ok b")).to_have_text(["The name resolves"])
    expect(looking.get_by_text("Looking on…")).to_be_visible()
    Examination.objects.filter(pk=again.pk).update(checks=[])
    looked_at(again)
    expect(looking.locator(".checks li")).to_have_count(4)
    expect(looking.locator(".items li")).to_have_count(2)
