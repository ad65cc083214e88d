"""Dashboards in a real browser: drawn under the page's policy, pushed, arranged without a mouse, and as walls."""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import reverse
from playwright.sync_api import Page, expect

from runs.models import Run
from runs.states import RunStatus
from studio.dashboards import feeds, rendering
from studio.dashboards.actions import make_link, revoke_link
from studio.dashboards.models import Dashboard
from studio.people.models import User
from tests.browser.conftest import Complaints
from tests.pages import furnish

pytestmark = pytest.mark.usefixtures("with_tiny")
INK = "() => document.querySelector('[data-chart] .scatterlayer path.js-fill, [data-chart] .points path').style.fill"


@pytest.fixture
def board(ana: User) -> Dashboard:
    return Dashboard.objects.filter(workspace=furnish(ana)).earliest("pk")


def kinds(board: Dashboard) -> list[str]:
    return list(board.tiles.values_list("kind", flat=True))


def test_charts_are_drawn_in_both_themes_and_tiles_change_without_flicker(
    page: Page, board: Dashboard, ana: User, sign_in: Callable[[Page, User], None]
) -> None:
    sign_in(page, ana)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/w/vision-team/dashboards/{board.pk}/")
    nodes, metric = page.locator(".tile").first, page.locator(".tile", has_text="loss").first
    expect(nodes.locator("svg.main-svg").first).to_be_visible()
    light = page.evaluate(INK)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(was) => ({INK})() !== was", arg=light)
    queue = page.locator(".tile", has_text="runs wait")
    expect(queue.locator("dd").first).to_have_text("1")
    expect(queue.locator("svg.main-svg").first).to_be_visible()
    page.evaluate("window.kept = document.querySelectorAll('.tile')[1].querySelector('svg.main-svg')")
    waiting = Run.objects.get(display_name="shy_mole_2d")
    Run.objects.filter(pk=waiting.pk).update(status=RunStatus.CANCELED)
    waiting.moved()
    expect(queue.locator("dd").first).to_have_text("0")
    assert page.evaluate("window.kept.isConnected"), "the chart was drawn over, and not anew"
    metric.scroll_into_view_if_needed()
    expect(metric.locator("svg.main-svg").first).to_be_visible()
    assert sum("plotly" in url for url in asked) == 1
    with page.expect_download() as table:
        queue.get_by_role("link", name="Queue as CSV").click()
    assert table.value.suggested_filename == "queue.csv"


def test_tiles_are_arranged_by_keyboard_and_by_drag(
    page: Page, board: Dashboard, ana: User, sign_in: Callable[[Page, User], None]
) -> None:
    sign_in(page, ana)
    page.goto(f"/w/vision-team/dashboards/{board.pk}/")
    page.get_by_role("link", name="Arrange").click()
    page.wait_for_load_state()
    handle = page.get_by_role("button", name="Arrange Nodes by state")
    handle.focus()
    said = page.locator("[data-arrange-said]")
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text("Nodes by state: place 2 of 6, 2 columns wide, 1 high")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    expect(said).to_have_text("Nodes by state: place 2 of 6, 3 columns wide, 2 high")
    expect(handle).to_be_focused()
    assert kinds(board)[:2] == ["queue", "nodes"]
    button = page.get_by_role("button", name="Queue: later")
    button.focus()
    page.keyboard.press("Enter")
    expect(said).to_contain_text("Queue: place 2 of 6")
    expect(button).to_be_focused()
    page.set_viewport_size({"width": 1360, "height": 2600})  # nothing scrolls under the mouse
    page.get_by_role("button", name="Arrange Failures").drag_to(page.locator("[data-arranged]").first)
    expect(said).to_contain_text("Failures: place 1 of 6")
    assert kinds(board)[:3] == ["failures", "nodes", "queue"]
    expect(page.locator("svg.main-svg").first).to_be_visible()


class Restartable:
    """A studio of its own on one port, which can be stopped and started again under a page."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.server: uvicorn.Server | None = None

    def start(self) -> None:
        from studio.asgi import application

        everything = ProtocolTypeRouter(
            {
                "http": ASGIStaticFilesHandler(get_asgi_application()),
                "websocket": application.application_mapping["websocket"],
            }
        )
        config = uvicorn.Config(
            everything, lifespan="off", log_level="critical", port=self.port, ws="websockets-sansio"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=asyncio.run, args=[self.server.serve()], daemon=True)
        self.thread.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.should_exit = self.server.force_exit = True
            self.thread.join(10)
            self.server = None


@pytest.fixture
def studio(server: str) -> Iterator[Restartable]:
    one = Restartable()
    one.start()
    yield one
    one.stop()


def test_a_wall_says_when_it_is_old_and_is_fresh_again_by_itself(
    page: Page, board: Dashboard, ana: User, studio: Restartable, complaints: Complaints, monkeypatch: Any
) -> None:
    complaints.expect("WebSocket connection|Failed to load resource|ERR_CONNECTION_REFUSED")
    monkeypatch.setattr(feeds, "BEAT", 0.3)
    monkeypatch.setattr(feeds, "LOOK", 0.1)
    link, token = make_link(board, "lab", days=30, shows=set(), by=ana)
    page.clock.install()
    page.goto(f"http://127.0.0.1:{studio.port}{reverse('dashboard_link', args=[token])}?theme=dark")
    tiles, old = (
        page.locator(".tile"),
        page.locator(".tile [data-stale]", has_text=re.compile(r"^as of \d\d:\d\d, reconn")),
    )
    expect(tiles).to_have_count(6)
    expect(page.locator("svg.main-svg").first).to_be_visible()
    expect(old).to_have_count(0)
    assert page.context.cookies() == []
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.figures dd')).fontSize)") > 28
    studio.stop()
    expect(old).to_have_count(6)
    page.clock.fast_forward("08:00:00")  # a night, in which it tries again and again
    expect(old).to_have_count(6)
    Run.objects.filter(status=RunStatus.QUEUED).update(status=RunStatus.CANCELED)
    studio.start()
    page.clock.fast_forward(30_000)
    expect(old).to_have_count(0, timeout=20_000)
    expect(page.locator(".tile", has_text="runs wait").locator("dd").first).to_have_text("0")
    page.evaluate("window.before = true")
    monkeypatch.setattr(rendering, "build", lambda: "a newer one")
    page.wait_for_function("() => !window.before")
    expect(tiles).to_have_count(6)
    revoke_link(link, by=ana)
    expect(page.get_by_text("not shown here any more")).to_be_visible()
    expect(tiles).to_have_count(0)
