"""Uploads from a real browser: hashed first, only what is new sent, going on after a cut."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from compute.actions import ensure_local
from runs.models import Run
from studio.people.models import User, Workspace
from tests.browser.conftest import Complaints

PIECES = re.compile(r"/uploads/[0-9a-f]{32}/\?offset=")
PIECE = 4 * 1024 * 1024


@pytest.fixture
def signed_in(page: Page, sign_in: Callable[[Page, User], None], ana: User, workspace: Workspace) -> Page:
    ensure_local(workspace)
    sign_in(page, ana)
    return page


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of 60 files, 9 MB in all."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "train.py").write_text("print(1)\n")
    for n in range(59):
        (folder / "data" / f"{n}.bin").write_bytes(os.urandom(150_000))
    return folder


def submit(page: Page, workspace: Workspace, project: Path) -> None:
    page.goto(f"/w/{workspace.name}/submit/")
    page.locator("[data-folder]").set_input_files(project)
    expect(page.get_by_label("Script to run")).to_have_value("train.py")
    page.get_by_role("button", name="Submit", exact=True).click()


def pieces(page: Page) -> list[int]:
    """Return the sizes of the pieces that the page sends from now on, as they go."""
    sent: list[int] = []

    def note(request: Request) -> None:
        if request.method == "PUT" and PIECES.search(request.url):
            sent.append(int(request.all_headers()["content-length"]))

    page.on("requestfinished", note)
    return sent


def test_a_second_submit_with_one_changed_file_sends_one_file(
    signed_in: Page, workspace: Workspace, project: Path
) -> None:
    page = signed_in
    sent = pieces(page)
    submit(page, workspace, project)
    expect(page).to_have_url(re.compile("/runs/default_"), timeout=30_000)
    assert len(sent) == 3
    assert sum(sent) == sum(f.stat().st_size for f in project.rglob("*") if f.is_file())
    sent.clear()
    (project / "train.py").write_text("print('changed')\n")
    submit(page, workspace, project)
    expect(page).to_have_url(re.compile("/runs/default_"), timeout=30_000)
    assert sent == [len("print('changed')\n")]
    assert Run.objects.count() == 2
    first, second = Run.objects.order_by("pk")
    assert first.snapshot is not None
    assert second.snapshot is not None
    changed = {e["path"] for e, f in zip(first.snapshot.manifest, second.snapshot.manifest, strict=True) if e != f}
    assert changed == {"train.py"}
    sent.clear()
    submit(page, workspace, project)
    expect(page).to_have_url(re.compile("/runs/default_"), timeout=30_000)
    assert sent == []


def test_an_upload_goes_on_after_a_cut(
    signed_in: Page, workspace: Workspace, project: Path, complaints: Complaints
) -> None:
    page = signed_in
    complaints.expect("ERR_CONNECTION_RESET")
    offsets: list[int] = []

    def cut(route: Route) -> None:
        offsets.append(int(route.request.url.rpartition("=")[2]))
        if len(offsets) in {2, 3}:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(PIECES, cut)
    submit(page, workspace, project)
    expect(page.locator("[data-progress-said]")).to_have_text("The connection is cut. Trying again …", timeout=20_000)
    expect(page).to_have_url(re.compile("/runs/default_"), timeout=30_000)
    assert offsets == [0, PIECE, PIECE, PIECE, 2 * PIECE]
    assert Run.objects.get().snapshot is not None


def test_a_stopped_upload_is_taken_up_again_also_from_a_new_page(
    signed_in: Page, workspace: Workspace, project: Path
) -> None:
    page = signed_in
    held: list[Route] = []
    offsets: list[int] = []

    def hold(route: Route) -> None:
        offsets.append(int(route.request.url.rpartition("=")[2]))
        if len(offsets) == 2:
            held.append(route)
        else:
            route.continue_()

    page.route(PIECES, hold)
    with page.expect_request(lambda request: request.url.endswith(f"={PIECE}"), timeout=20_000):
        submit(page, workspace, project)  # its second piece is on its way now, and held
    expect(page.locator("[data-progress-said]")).to_contain_text("4.2 MB of 8.9 MB")
    page.get_by_role("button", name="Stop the upload").click()
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_enabled()
    expect(page.locator("[data-progress]")).to_be_hidden()
    assert not Run.objects.exists()
    submit(page, workspace, project)
    expect(page).to_have_url(re.compile("/runs/default_"), timeout=30_000)
    assert offsets == [0, PIECE, PIECE, 2 * PIECE]


def test_what_the_studio_refuses_stands_by_the_files_before_a_byte_is_sent(
    signed_in: Page, workspace: Workspace, project: Path
) -> None:
    page = signed_in
    sent = pieces(page)
    (project / ".gitignore").write_text("a*b*c*d*e*f*g*\n")
    submit(page, workspace, project)
    expect(page.locator("[data-field=files] [data-errors]")).to_contain_text("too many stars")
    assert sent == []


def test_without_a_secure_context_everything_is_sent_with_the_form(
    signed_in: Page, workspace: Workspace, project: Path
) -> None:
    page = signed_in
    page.add_init_script("Object.defineProperty(globalThis, 'isSecureContext', { value: false })")
    sent = pieces(page)
    submit(page, workspace, project)
    expect(page).to_have_url(re.compile("/runs/default_"), timeout=30_000)
    assert sent == []
    snapshot = Run.objects.get().snapshot
    assert snapshot is not None
    assert snapshot.file_count == 60
