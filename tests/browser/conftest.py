"""A real server in a thread, a real Chromium, and a test that fails when the page complains.

`server` is the address of the studio, served by uvicorn from the test's own database; `page` is a fresh
tab of 1360 × 820; `sign_in(page, user)` gives it a session. Rows are made through the ORM, before or while
the page is open: the database is a file, and a browser test commits what it writes.
"""

import asyncio
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter
from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

import studio.live
from studio.people.models import User

PATIENCE_MS = 10_000
# What a page is answered on purpose; Chromium writes each into its console as an error.
ANSWERS = re.compile(r"Failed to load resource: .* status of (403|409|413|422|502)\b")


class Served(uvicorn.Server):
    """The server, with its event loop within reach of the test's thread."""

    loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)


@pytest.fixture(scope="package")
def _unsafe() -> Iterator[None]:
    """Let the ORM work beside Playwright, whose loop runs in the test's thread."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="package")
def _served(django_db_setup: None, _unsafe: None) -> Iterator[tuple[Served, str]]:
    """Serve pages, static files and websockets until the last browser test is over."""
    from studio.asgi import application

    everything = ProtocolTypeRouter(
        {
            "http": ASGIStaticFilesHandler(get_asgi_application()),  # static files need no collecting first
            "websocket": application.application_mapping["websocket"],
        }
    )
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        everything, lifespan="off", log_level="warning", ws="websockets-sansio", ws_per_message_deflate=False
    )
    server = Served(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True, name="studio")
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive(), "The server did not start."
        assert time.monotonic() < deadline, "The server took more than 10 s to start."
        time.sleep(0.01)
    yield server, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(10)


@pytest.fixture
def server(_served: tuple[Served, str], transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the studio's address. Nudges from the test's thread travel on the server's loop, as its own do."""
    running, url = _served

    def on_the_servers_loop(send: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        def start(*args: Any) -> None:
            asyncio.run_coroutine_threadsafe(send(*args), running.loop)

        return start

    monkeypatch.setattr(studio.live, "async_to_sync", on_the_servers_loop)
    return url


@pytest.fixture(scope="package")
def _playwright(_unsafe: None) -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def chromium(_playwright: Playwright) -> Iterator[Browser]:
    """Start Chromium: STUDIO_CHROMIUM, else the system's, else Playwright's own."""
    found = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    args = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if os.geteuid() == 0:
        args.append("--no-sandbox")
    browser = _playwright.chromium.launch(executable_path=found, args=[*args, "--no-first-run"])
    yield browser
    browser.close()


@dataclass
class Complaints:
    """What pages complained about: console errors, exceptions, and violations of the Content-Security-Policy."""

    heard: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)  # regular expressions

    def expect(self, pattern: str) -> None:
        """Let pages complain about what `pattern` matches: a cut socket, a page that is not there."""
        self.expected.append(pattern)

    def listen(self, page: Page) -> None:
        """Hear what `page` complains about from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.heard.append(f"exception: {error}"))
        page.expose_function("complainOfPolicy", lambda what: self.heard.append(f"policy: {what}"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e =>"
            " complainOfPolicy(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`))"
        )

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not ANSWERS.search(message.text):
            self.heard.append(f"console: {message.text} ({message.location.get('url', '')})")

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.heard if not any(re.search(pattern, text) for pattern in self.expected)]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def open_page(chromium: Browser, server: str, complaints: Complaints) -> Iterator[Callable[..., Page]]:
    """Open further pages, each with cookies of its own: `open_page(color_scheme="dark")`. Options as Playwright's."""
    contexts = []

    def open_one(**options: Any) -> Page:
        context = chromium.new_context(
            **{"base_url": server, "viewport": {"width": 1360, "height": 820}, "locale": "en-GB"} | options
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        complaints.listen(page)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: Callable[..., Page], complaints: Complaints, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Return a tab of 1360 × 820. The test fails when a page complains of anything it did not expect."""
    tab = open_page()
    yield tab
    if keep := os.environ.get("STUDIO_SCREENSHOTS"):
        Path(keep).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=f"{keep}/{request.node.name}.png")
    assert not complaints.unexpected, "The page complained:\n" + "\n".join(complaints.unexpected)


@pytest.fixture
def sign_in(server: str) -> Callable[[Page, User], None]:
    """Give `page` a session of `user`, without the form."""

    def give(page: Page, user: User) -> None:
        client = Client()
        client.force_login(user)
        name = django_settings.SESSION_COOKIE_NAME
        page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": server}])

    return give
