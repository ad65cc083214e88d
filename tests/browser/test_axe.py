"""Every page, in light and dark and on a telephone, without a violation that axe-core can find."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Page

from studio.people.models import User
from tests.browser.conftest import Complaints
from tests.pages import furnish, places

pytestmark = pytest.mark.usefixtures("with_tiny")
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
ASK = """async () => {
    const {violations} = await axe.run(document, %s);
    return violations.flatMap(v => v.nodes.slice(0, 3).map(n => `${v.id}: ${n.target} ${n.html.slice(0, 160)}`));
}"""
COLORS: dict[str, Any] = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
ALL_BUT_COLORS: dict[str, Any] = {"rules": {"color-contrast": {"enabled": False}}, "resultTypes": ["violations"]}


@pytest.fixture
def visitor(open_page: Callable[..., Page], sign_in: Callable[[Page, User], None]) -> Callable[[str], Page]:
    """Return the page of somebody, by name, or of a visitor."""
    opened: dict[str, Page] = {}

    def page_of(name: str) -> Page:
        if name not in opened:
            opened[name] = open_page(reduced_motion="reduce", bypass_csp=True)
            opened[name].add_init_script(AXE)
            if name:
                sign_in(opened[name], User.objects.get(username=name))
        return opened[name]

    return page_of


def test_no_page_has_a_violation(visitor: Callable[[str], Page], ana: User, complaints: Complaints) -> None:
    workspace = furnish(ana)
    found = []
    for place in places(ana, workspace):
        page = visitor(place.who)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1360, "height": 820})
        page.goto(place.path)
        light = page.evaluate(ASK % json.dumps({"resultTypes": ["violations"]}))
        page.emulate_media(color_scheme="dark")
        dark = page.evaluate(ASK % json.dumps(COLORS))
        page.set_viewport_size({"width": 390, "height": 844})
        narrow = page.evaluate(ASK % json.dumps(ALL_BUT_COLORS))
        if wider := page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"):
            narrow.append(f"{wider} px wider than a telephone")
        for look, violations in {"light": light, "dark": dark, "narrow": narrow}.items():
            found += [f"{place.name}, {look}: {said}" for said in violations]
    assert not found, "\n" + "\n".join(found)
