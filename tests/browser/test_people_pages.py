"""Activity, API tokens and teams in the browser, by keyboard too."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.people.actions import note
from studio.people.models import User, Workspace
from tests.pages import furnish

pytestmark = pytest.mark.usefixtures("with_tiny")


@pytest.fixture
def workspace(ana: User) -> Workspace:
    return furnish(ana)


@pytest.fixture
def studio(page: Page, ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None]) -> Page:
    sign_in(page, ana)
    return page


def test_the_activity_is_filtered_by_keyboard_and_says_what_is_new(
    studio: Page, ana: User, workspace: Workspace
) -> None:
    name = "<script>alert(1)</script>"
    note(workspace, ana, "run.tags", ana, kind="run", name=name, detail={"before": {"a": "1"}, "after": {"a": name}})
    studio.goto("/w/vision-team/")
    studio.keyboard.press("g")
    studio.keyboard.press("a")
    expect(studio.get_by_role("heading", name="Activity")).to_be_visible()
    expect(studio.locator("#activity-chain")).to_contain_text(re.compile(r"Chain whole: \d+ entries"))
    rows = studio.locator("#activity-table tbody tr")
    expect(rows.first).to_contain_text("changed its tags")
    expect(rows.first).to_contain_text(name)
    studio.get_by_label("Filter by name, address, value").focus()
    studio.keyboard.type("cpu-cluster")
    expect(rows).to_have_count(1)
    assert "q=cpu-cluster" in studio.url
    studio.keyboard.press("Tab")
    studio.keyboard.type("nobody")
    studio.keyboard.press("Enter")
    expect(studio.get_by_text("No entry fits the filter.")).to_be_visible()
    studio.get_by_role("link", name="Show everything").focus()
    studio.keyboard.press("Enter")
    expect(rows.first).to_contain_text(name)
    studio.get_by_label("What", exact=True).focus()
    studio.keyboard.press("M")  # of Members
    expect(studio.locator("#activity-table")).not_to_contain_text(name)
    assert "family=member" in studio.url
    with studio.expect_download() as download:
        studio.get_by_role("link", name="CSV").click()
    assert "member.role" in download.value.path().read_text()
    before = rows.count()
    note(workspace, ana, "member.on", ana, kind="member", name="dora")
    note(workspace, ana, "run.cancel", ana, kind="run", name="not of members")
    pill = studio.get_by_role("link", name="1 new entry")
    expect(pill).to_be_visible()
    expect(rows).to_have_count(before)  # nothing moves under the reader
    pill.focus()
    studio.keyboard.press("Enter")
    expect(rows.first).to_contain_text("dora")
    expect(pill).to_be_hidden()
