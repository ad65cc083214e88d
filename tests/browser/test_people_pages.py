"""Activity, API tokens and teams in the browser, by keyboard too."""

import re
from collections.abc import Callable

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from studio.people.actions import note, team_of
from studio.people.models import ApiToken, User, Workspace
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


def test_a_token_is_made_and_revoked_by_keyboard(studio: Page, ana: User) -> None:
    studio.goto("/profile/")
    studio.get_by_role("link", name="API tokens of vision-team").focus()
    studio.keyboard.press("Enter")
    name = studio.get_by_label("Name", exact=True)
    name.focus()
    studio.keyboard.type("build <b>server</b>")
    studio.keyboard.press("Tab")
    studio.keyboard.press("7")  # days
    studio.keyboard.press("Tab")
    rights = studio.get_by_role("group", name="Which rights")
    expect(rights).to_be_hidden()
    studio.keyboard.press("ArrowDown")
    studio.keyboard.press("ArrowDown")
    expect(studio.get_by_label("Chosen one by one")).to_be_checked()
    expect(rights).to_be_visible()
    studio.keyboard.press("Tab")
    studio.keyboard.press("Space")
    expect(studio.get_by_label("Submit runs; tag and archive runs and experiments")).to_be_checked()
    name.focus()
    studio.keyboard.press("Enter")
    word = studio.locator("#word").inner_text()
    example = studio.locator("#example").inner_text()
    assert (
        example == f'curl -H "Authorization: Bearer {word}" {settings.PUBLIC_URL.rstrip("/")}/api/v1/w/vision-team/runs'
    )
    token = ApiToken.objects.latest("pk")
    assert token.rights == ["run.submit", "view"]
    assert ApiToken.person_of(word) == ana
    studio.get_by_role("button", name="Revoke build <b>server</b>").focus()
    studio.keyboard.press("Enter")
    expect(studio.locator("#confirm")).to_contain_text("Revoke the token build <b>server</b>?")
    studio.keyboard.press("Tab")
    studio.keyboard.press("Enter")
    expect(studio.locator(".toast")).to_contain_text("is revoked")
    expect(studio.locator("#word")).to_have_count(0)
    assert ApiToken.person_of(word) is None


def test_a_team_is_made_and_filled_and_a_reader_reads_it(
    studio: Page, open_page: Callable[..., Page], sign_in: Callable[[Page, User], None], workspace: Workspace
) -> None:
    rita = User.objects.get(username="rita")
    studio.goto("/w/vision-team/members/")
    studio.get_by_label("Name of the team", exact=True).fill("Vision & <i>sound</i>")
    studio.keyboard.press("Enter")
    studio.get_by_label("Team of rita").select_option("Vision & <i>sound</i>")
    expect(studio.locator(".toast")).to_contain_text("rita works in Vision & <i>sound</i> now.")
    assert str(team_of(workspace, rita)) == "Vision & <i>sound</i>"
    reader = open_page()
    sign_in(reader, rita)
    reader.goto("/w/vision-team/members/")
    expect(reader.locator("#teams")).to_contain_text("Vision & <i>sound</i>")
    expect(reader.get_by_label("Team of rita")).to_be_disabled()
    expect(reader.get_by_role("button", name="Make a team")).to_be_disabled()
    reader.goto("/w/vision-team/activity/")
    expect(reader.get_by_text("This needs the role Contributor or Owner.")).to_be_visible()
