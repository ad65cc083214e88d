"""The main job as a person does it: the real studio of `manage.py up`, a browser, a cluster, a script, its log."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Complaints

SCRIPT = """
import sys, time
for fold in range(1, 6):
    print(f"fold {fold}/5 accuracy 0.97", flush=True)
    time.sleep(0.2)
open("outputs/result.csv", "w").write("fold,accuracy\\n1,0.97\\n")
print("done", *sys.argv[1:])
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Start the studio as a person would; yield its address and the one-time link."""
    data = tmp_path_factory.mktemp("data")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = data / "up.txt"
    clean = {k: v for k, v in os.environ.items() if k not in {"DJANGO_SETTINGS_MODULE", "SECRET_KEY", "STUDIO_DATA"}}
    with log.open("wb") as out:
        up = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--no-sample", "--port", str(port), "--data", str(data / "studio")],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=clean,
            cwd=Path(__file__).parents[2],
        )
    try:
        deadline = time.monotonic() + 60
        while not (link := re.search(r"http\S+/sign-in/\S+", log.read_text())):
            assert up.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", link.group(0)
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(15)


@pytest.fixture
def admin(
    chromium: Browser, studio: tuple[str, str], complaints: Complaints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """Return a tab of the first administrator, signed in by the link, which works once."""
    base, link = studio
    state = tmp_path_factory.getbasetemp() / "signed-in.json"
    known = str(state) if state.exists() else None
    context = chromium.new_context(base_url=base, viewport={"width": 1360, "height": 820}, storage_state=known)
    page = context.new_page()
    complaints.listen(page)
    if known is None:
        page.goto(link)
        page.get_by_role("button", name=re.compile("Sign in")).click()
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        context.storage_state(path=state)
    yield page
    context.close()
    assert not complaints.unexpected, complaints.unexpected


def test_a_cluster_made_in_the_browser_runs_a_script_watched_live(admin: Page) -> None:
    admin.goto("/w/default/compute/")
    admin.get_by_role("link", name="Create").first.click()
    admin.locator("[name=vm_size][value=Standard_D1_v2]").check()
    admin.get_by_role("button", name=re.compile("^Next")).last.click()
    admin.locator("[name=name]").fill("my-cluster")
    admin.locator("[name=max_nodes]").fill("2")
    admin.get_by_role("button", name=re.compile("^Next")).last.click()
    admin.get_by_role("button", name=re.compile("^Next")).last.click()
    admin.get_by_role("button", name="Create", exact=True).dblclick()
    admin.wait_for_url(lambda url: "/create/" not in url)
    admin.goto("/w/default/compute/")
    expect(admin.get_by_role("link", name="my-cluster")).to_have_count(1)

    watching = admin.context.new_page()  # the list, open beside it, changes without being asked
    watching.goto("/w/default/compute/")
    expect(watching.locator("tr", has_text="my-cluster")).to_contain_text("0 / 2")

    admin.goto("/w/default/submit/?target=my-cluster")
    admin.locator("[name=experiment]").fill("first-steps")
    admin.get_by_text("Paste a script").click()
    admin.locator("[name=code]").fill(SCRIPT)
    admin.locator("[name=arguments]").fill("--kernel rbf")
    admin.get_by_role("button", name="Submit", exact=True).click()
    admin.wait_for_url(re.compile(r"/runs/first-steps_"))
    log = admin.locator("[data-log]")
    expect(log).to_contain_text("fold 1/5 accuracy 0.97")
    expect(watching.locator("tr", has_text="my-cluster")).to_contain_text("1 / 2")
    expect(log).to_contain_text("done --kernel rbf")
    expect(admin.locator("main")).to_contain_text("Completed")
    admin.get_by_role("link", name="Outputs").click()
    expect(admin.locator("main")).to_contain_text("result.csv")


def test_a_run_that_is_canceled_in_the_browser_stops(admin: Page) -> None:
    admin.goto("/w/default/submit/?target=local")
    admin.locator("[name=experiment]").fill("long")
    admin.get_by_text("Paste a script").click()
    admin.locator("[name=code]").fill("import time\nprint('begun', flush=True)\ntime.sleep(600)")
    admin.get_by_role("button", name="Submit", exact=True).click()
    expect(admin.locator("[data-log]")).to_contain_text("begun")
    admin.get_by_role("button", name="Cancel").first.click()
    dialog = admin.get_by_role("dialog")
    dialog.get_by_role("button", name=re.compile("Cancel")).last.click()
    expect(admin.locator("main")).to_contain_text("Canceled")
