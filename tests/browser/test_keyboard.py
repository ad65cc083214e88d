"""The studio without a mouse: everything is reached, seen where it is reached, and left again."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.people.models import User
from tests.pages import furnish

pytestmark = pytest.mark.usefixtures("with_tiny")
HERE = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const rings = [at, at.closest("label, .btn, .target, .search, .seg") ?? at].some((one) => {
        const { outlineWidth, outlineStyle } = getComputedStyle(one);
        return parseFloat(outlineWidth) > 0 && outlineStyle !== "none";
    });
    const words = (at.getAttribute("aria-label") || at.textContent || at.name || at.id).trim().slice(0, 60);
    return {words, rings, seen: at.getBoundingClientRect().width > 0};
}"""
MOST = 200  # stops on a page


@pytest.fixture
def studio(page: Page, ana: User, sign_in: Callable[[Page, User], None]) -> Page:
    furnish(ana)
    sign_in(page, ana)
    return page


@pytest.mark.parametrize(
    "path",
    [
        "",
        "compute/",
        "compute/create/",
        "compute/attach/Tiny/",
        "compute/targets/annex/",
        "runs/",
        "queue/",
        "compute/prices/",
        "runs/digits-svm_1/",
        "submit/",
        "activity/",
        "tokens/",
        "members/",
    ],
)
def test_every_stop_of_a_page_is_seen_and_the_way_ends(studio: Page, path: str) -> None:
    studio.goto(f"/w/vision-team/{path}")
    unseen, stops = [], 0
    while stops < MOST:
        studio.keyboard.press("Tab")
        at = studio.evaluate(HERE)
        if at is None:
            break
        stops += 1
        if not (at["rings"] and at["seen"]):
            unseen.append(at)
    assert 10 < stops < MOST
    assert not unseen


def test_the_first_stop_skips_to_the_content(studio: Page) -> None:
    studio.goto("/w/vision-team/")
    studio.keyboard.press("Tab")
    studio.keyboard.press("Enter")
    expect(studio.locator("#main")).to_be_focused()


def test_the_list_of_keys_holds_the_focus_and_gives_it_back(studio: Page) -> None:
    studio.goto("/w/vision-team/runs/")
    studio.keyboard.press("j")
    first = studio.locator("tbody a.name").first
    expect(first).to_be_focused()
    studio.keyboard.press("?")
    keys = studio.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    for _n in range(4):
        studio.keyboard.press("Tab")
        assert studio.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#keys')")
    for key in ("f", "n", "N", "e", "l", "w"):
        expect(keys.locator("kbd", has_text=key).first).to_be_visible()
    studio.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    expect(first).to_be_focused()


def test_a_run_is_canceled_by_keyboard_alone(studio: Page) -> None:
    studio.goto("/w/vision-team/runs/digits-svm_4/")
    button = studio.get_by_role("button", name="Cancel", exact=False).first
    button.focus()
    studio.keyboard.press("Enter")
    question = studio.locator("#confirm")
    expect(question).to_be_visible()
    studio.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(button).to_be_focused()
    studio.keyboard.press("Enter")
    studio.keyboard.press("Tab")
    studio.keyboard.press("Enter")
    expect(studio.locator("#run-header")).to_contain_text("Cancel")
