"""The studio's own page: for every member, with live facts, and with nothing that a Reader must not see."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from compute import disk
from compute.engines import embedded
from studio.people.models import Activity, Allowance, User
from studio.people.permissions import Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(member: Callable[[str, Role], User], client: Client) -> Callable[[], str]:
    """Return the page as a Reader sees it."""
    client.force_login(member("rita", Role.READER))

    def look() -> str:
        answer = client.get(reverse("settings", args=["vision-team"]))
        assert answer.status_code == 200
        return answer.content.decode()

    return look


def test_a_reader_sees_parts_machine_limits_and_what_holds(page: Callable[[], str]) -> None:
    host = embedded.this_host()
    cache.set("studio.tick", time.time())
    text = page()
    for words in ("Database", "Worker", f"Machine {host.name}", "read each other", "Version 0."):
        assert words in text
    assert re.search(r"was heard \d+ s ago", text)
    assert "20.0 GB" in text or "20 GB" in text


def test_it_names_no_path_and_no_secret(page: Callable[[], str], settings: Any) -> None:
    text = page()
    for hidden in (settings.DATA_DIR, settings.JOB_DIR, Path(settings.BASE_DIR), settings.SECRET_KEY):
        assert str(hidden) not in text


def test_a_stranger_gets_nothing(workspace: object, client: Client) -> None:
    client.force_login(User.objects.create_user("cleo"))
    assert client.get(reverse("settings", args=["vision-team"])).status_code == 404


def test_a_clock_that_went_silent_and_a_broker_that_is_gone_are_said(
    page: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.delete("studio.tick")
    assert "was not heard yet" in page()

    def gone(*_: object) -> None:
        raise redis.ConnectionError("gone")

    monkeypatch.setattr("studio.settings_page.cache.get", gone)
    assert "cannot be reached" in page()


def test_a_full_disk_is_said_in_amber_on_home_and_here(page: Callable[[], str], client: Client, settings: Any) -> None:
    settings.DISK_FLOOR_BYTES = 0
    assert "less than the floor" not in page()
    settings.DISK_FLOOR_BYTES = disk.free_bytes() * 2
    assert "less than the floor" in page()
    assert "less than the floor" in client.get(reverse("home", args=["vision-team"])).content.decode()


def test_an_owner_allows_what_is_refused_otherwise_and_it_is_written_down(workspace, ana, as_user):
    browser = as_user(ana)
    assert "Machines that do not run Ubuntu" in browser.get(reverse("settings", args=["vision-team"])).content.decode()
    browser.post(reverse("set_allowances", args=["vision-team"]), {"allow": ["other-linux", "nonsense"]})
    workspace.refresh_from_db()
    assert workspace.allows(Allowance.OTHER_LINUX)
    assert not workspace.allows(Allowance.THIS_MACHINE)
    noted = Activity.objects.get(verb="workspace.allow")
    assert noted.detail == {"before": {"allowances": []}, "after": {"allowances": ["other-linux"]}}
