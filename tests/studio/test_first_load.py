"""What a browser fetches when it opens a page for the first time is little."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from studio.people.models import User
from tests.pages import furnish, places

MOST = 150_000  # bytes on the wire, compressed as they are served
LINKS = re.compile(r'(?:src|href)="/static/([^"]+\.(?:js|css|svg|png))"')
IMPORTS = re.compile(r'(?:from|import)\s*\(?"(\.{1,2}/[^"]+)"')


@pytest.fixture
def collected(settings: Any, tmp_path: Path) -> Path:
    """Return the folder of static files as they are served: hashed, and compressed where that helps."""
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "studio.static.HashedStatic"}}
    call_command("collectstatic", verbosity=0, interactive=False)
    return tmp_path / "static"


def needed(root: Path, page: str) -> set[Path]:
    """Return the files that a page needs, and those that these import."""
    found: set[Path] = set()
    ahead = [root / name for name in LINKS.findall(page)]
    while ahead:
        one = ahead.pop().resolve()
        if one in found:
            continue
        found.add(one)
        if one.suffix == ".js":
            ahead += [one.parent / name for name in IMPORTS.findall(one.read_text(encoding="utf-8"))]
    return found


def on_the_wire(file: Path) -> int:
    smaller = file.with_name(f"{file.name}.gz")
    return (smaller if smaller.is_file() else file).stat().st_size


@pytest.mark.usefixtures("with_tiny")
def test_the_first_load_of_any_page_is_small(collected: Path, ana: User, as_user):
    workspace = furnish(ana)
    clients = {user.username: as_user(user) for user in User.objects.all()} | {"": Client()}
    weights = {}
    for place in places(ana, workspace):
        page = clients[place.who].get(place.path, headers={"accept-encoding": "gzip"}, follow=True)
        body = page.content
        text = gzip.decompress(body).decode() if page.headers.get("Content-Encoding") == "gzip" else page.text
        weights[place.name] = len(body) + sum(on_the_wire(file) for file in needed(collected, text))
    heavy = {name: weight for name, weight in weights.items() if weight > MOST}
    assert min(weights.values()) > 5_000  # it was measured at all
    assert not heavy, f"the heaviest: {max(weights.values())}"
