"""What is written to the log."""

import io
import logging
import logging.config
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from studio.dashboards.actions import make_dashboard, make_link
from studio.people.models import User, Workspace

LOGGING: Any = settings.LOGGING


@pytest.fixture
def written() -> Any:
    """Collect what the settings' own handler writes of everything that happens."""
    stream, known = io.StringIO(), logging.getLogger().handlers[:]
    handler = logging.StreamHandler(stream)
    formatters = LOGGING["formatters"]
    made = logging.config.DictConfigurator({"version": 1, "formatters": formatters})
    handler.setFormatter(made.configure_formatter(formatters["line"]))
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().handlers[:] = known


def test_no_address_that_opens_something_is_written_down(workspace: Workspace, ana: User, written: io.StringIO) -> None:
    _link, token = make_link(make_dashboard(workspace, "One", by=ana), "lab", days=30, shows=set(), by=ana)
    browser, strict = Client(), Client(enforce_csrf_checks=True)
    browser.post(f"/d/{token}/")
    browser.get(f"/d/{token}/nowhere")
    for door in ("join", "sign-in", "badges", "unsubscribe", "accounts/password/reset/key"):
        browser.put(f"/{door}/{token}/")
        strict.post(f"/{door}/{token}/", headers={"Origin": "https://evil.example"})
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "::1", f"/ws/d/{token}/?language=en")
    logging.getLogger("anybody").warning("asked http://studio.example/d/%s/ for /x/?code=%s", token, token)
    try:
        raise ValueError(f"/ws/d/{token}/")
    except ValueError:
        logging.getLogger("anybody").exception("It broke")
    said = written.getvalue()
    assert token not in said
    assert said.count("/d/…") >= 5
    assert "Method Not Allowed (PUT): /join/…" in said


@pytest.mark.parametrize("path", ["/w/vision-team/runs/d/x/", "/w/join/abc/", "studio/d/x.py", "badges/x.svg"])
def test_other_addresses_are_written_as_they_are(path: str, written: io.StringIO) -> None:
    logging.getLogger("anybody").warning("Not Found: %s", path)
    assert path in written.getvalue()


def test_what_serves_sockets_writes_as_the_studio_does_and_no_headers() -> None:
    assert LOGGING["loggers"]["uvicorn"] == {"level": "INFO", "propagate": True}
