"""A webhook as an Owner makes it: by keyboard, tested, and its log live while runs end."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from studio.notifications import outbox
from studio.notifications.actions import announce
from studio.notifications.events import About, Event
from studio.notifications.models import Webhook
from studio.people.models import Allowance, User, Workspace
from tests.receivers import Receiver, receiver

PAGE = "/w/vision-team/notifications/"


@pytest.fixture
def received() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def test_a_webhook_is_made_tested_and_followed(page: Page, ana: User, workspace: Workspace, sign_in, received) -> None:
    allowed = [Allowance.THIS_MACHINE.value, Allowance.INTERNAL_WEBHOOKS.value]
    Workspace.objects.filter(pk=workspace.pk).update(allowances=allowed)
    sign_in(page, ana)
    page.goto(PAGE)
    page.get_by_role("link", name="Add a webhook").first.click()
    page.get_by_label("Name", exact=True).fill("ops")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".errors")).to_have_text("A webhook needs an address.")
    page.get_by_label("Address").fill(received.url)
    page.keyboard.press("Enter")
    expect(page.locator("#secret")).to_have_text(re.compile("^whsec_"))
    secret = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Send a test now").press("Enter")
    expect(page.locator("#answer")).to_contain_text("It arrived: 200")
    expect(page.locator("#log")).to_contain_text("A test of ops")
    assert received.posts[0].is_signed_with(secret)
    page.goto(f"{PAGE}{Webhook.objects.get().pk}/")
    expect(page.locator("#secret")).to_have_count(0)
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()
    announce(workspace, Event.RUN_FAILED, about=About("Run <b>lemur</b> failed"))
    expect(page.locator("#log tbody tr").first).to_contain_text("Waiting")
    outbox.drain(5)
    row = page.locator("#log tbody tr").first
    expect(row).to_contain_text("Run <b>lemur</b> failed")
    expect(row).to_contain_text("Delivered")
    row.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("It is sent again.")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No webhook yet")).to_be_visible()
    assert not Webhook.objects.exists()


def test_what_is_mailed_is_chosen_on_the_profile(page: Page, ana: User, workspace: Workspace, sign_in) -> None:
    sign_in(page, ana)
    page.goto("/profile/")
    card = page.locator("#notifications")
    card.get_by_label("A run completed").check()
    card.get_by_label("Of runs, only those that took").select_option("1 hour or more")
    card.get_by_role("button", name="Save").click()
    expect(page.get_by_text("What is mailed to you is saved.")).to_be_visible()
    expect(card.get_by_label("A run completed")).to_be_checked()
    expect(card.get_by_label("Of runs, only those that took")).to_have_value("60")
