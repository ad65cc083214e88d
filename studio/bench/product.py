"""The product as the measurements see it: `manage.py up` on a folder of its own, Chromium, and the database."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, sync_playwright

from compute import procfs
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from compute.models import ComputeTarget
    from runs.models import Run

T = TypeVar("T")
CLUSTER = "cpu-cluster"
READY_WITHIN = 120.0  # seconds
FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
OF_A_STUDIO = ("STUDIO_DATA", "STUDIO_URL", "SECRET_KEY", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS", "CI")

SEEN = "studio: seen"  # what a page says once the line is painted

# Kept in the tab across its pages: when Submit was pressed, when a line of the log that was waited for was painted.
WATCH = """
const now = () => performance.timeOrigin + performance.now();
const keep = (name) => {
  sessionStorage[name] ??= now();
  console.debug(`studio: ${name}`);
};
addEventListener("click", (event) => {
  if (!event.target.closest("[data-submit-button]")) return;
  sessionStorage.clear();
  keep("pressed");
}, true);
const painted = (what) => requestAnimationFrame(() => requestAnimationFrame(what));
new MutationObserver(() => {
  if (sessionStorage.seen || !sessionStorage.pressed) return;
  const lines = [...document.querySelectorAll(".log-text")];
  if (lines.some((line) => line.textContent.includes("the first line"))) painted(() => keep("seen"));
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


class Studio:
    """A studio that was started for measuring, on a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="studio-bench-"))
        self.data = self.folder / "data"
        self.output = self.folder / "up.txt"
        self.closing = contextlib.ExitStack()
        self.closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.closing.callback(end_runs, self.data / "jobs")
        self.closing.callback(lambda: stop(self.process))
        try:
            self.begin()
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Start it, also again after all of its processes have ended: on the same data, at another port."""
        environ = {name: value for name, value in os.environ.items() if name not in OF_A_STUDIO}
        command = [sys.executable, str(CHECKOUT / "manage.py"), "up", "--no-sample", "--port", "0"]
        self.process = start([*command, "--data", str(self.data)], self.output, environ)
        self.url = wait_for(self.output, self.process, r"is ready after .*?(http://\S+)/$", READY_WITHIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closing.close()

    def pids(self) -> dict[str, int]:
        """Return the processes of the studio by name."""
        found: dict[str, int] = json.loads((self.data / "processes" / "pids.json").read_text())
        return found


class Product(Studio):
    """The studio that the keys share. Its database is at hand through the ORM, in this process."""

    def __init__(self, chromium: str) -> None:
        super().__init__()
        self.chromium = chromium
        self.thread = ThreadPoolExecutor(1)
        self.closing.callback(self.thread.shutdown)
        self._reach_the_database()

    @cached_property
    def browser_type(self) -> BrowserType:
        return self.closing.enter_context(sync_playwright()).chromium

    @cached_property
    def browser(self) -> Browser:
        flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = self.browser_type.launch(executable_path=self.chromium, args=flags)
        self.closing.callback(browser.close)
        return browser

    def _reach_the_database(self) -> None:
        os.environ["STUDIO_DATA"] = str(self.data)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
        import django

        django.setup()
        import studio.celery  # noqa: F401

    def ask(self, question: Callable[[], T]) -> T:
        """Ask the database in a thread of its own: in this one, beside Playwright's loop, the ORM refuses to work."""
        return self.thread.submit(question).result()

    @staticmethod
    def cluster() -> "ComputeTarget":
        from compute.models import ComputeTarget

        return ComputeTarget.objects.get(workspace__name="default", name=CLUSTER, deleted_at=None)

    def cookie(self) -> tuple[str, str]:
        """Return name and value of the cookie of a new session of the first administrator."""
        from django.conf import settings
        from django.test import Client

        from studio.people.models import User

        client = Client()
        self.ask(lambda: client.force_login(User.objects.get(username="admin")))
        name = settings.SESSION_COOKIE_NAME
        return name, client.cookies[name].value

    def run(self, script: str, on: "ComputeTarget | None" = None) -> "Run":
        """Submit a script to a target, else to the local computer, and return its run."""
        from compute.actions import ensure_local
        from runs import snapshots
        from runs.actions import submit_run
        from runs.configuration import EnvironmentSpec, RunConfiguration
        from studio.people.models import User, Workspace

        def submitted() -> "Run":
            workspace, by = Workspace.objects.get(name="default"), User.objects.get(username="admin")
            snapshot, _facts = snapshots.from_text(workspace, "train.py", script)
            python = "" if on else sys.executable
            config = RunConfiguration("train.py", environment=EnvironmentSpec("interpreter", python))
            target = on or ensure_local(workspace)
            return submit_run(workspace, by=by, experiment="bench", target=target, snapshot=snapshot, config=config)

        return self.ask(submitted)

    def wait_for_statuses(self, runs: "Sequence[Run]", *wanted: str, patience: float = 120.0) -> None:
        """Wait until each of `runs` has one of the statuses."""
        from runs.models import Run

        def others() -> list[str]:
            rows = Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(status__in=wanted)
            return list(rows.values_list("status", flat=True))

        deadline = time.monotonic() + patience
        while found := self.ask(others):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} runs are {set(found)}, not {wanted}, after {patience:.0f} s.")
            time.sleep(0.1)

    def log_file(self, run: "Run") -> Path:
        return self.data / "logs" / "runs" / run.run_id / "1" / "std_log.txt"

    def let_go(self, run: "Run") -> None:
        """Let a script go on that waits for the file "go"."""
        (self.data / "jobs" / run.run_id / "1" / "rank-0" / "go").touch()

    @staticmethod
    def wait_until(true: Callable[[], object], patience: float = 60.0) -> None:
        deadline = time.monotonic() + patience
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"It did not happen in {patience:.0f} s.")
            time.sleep(0.05)

    @contextlib.contextmanager
    def signed_in(self) -> Iterator[BrowserContext]:
        """Yield a browser session of the first administrator; its pages keep the times that WATCH looks for."""
        name, value = self.cookie()
        context = self.browser.new_context(base_url=self.url, viewport={"width": 1360, "height": 820})
        context.add_cookies([{"name": name, "value": value, "url": self.url}])
        context.add_init_script(WATCH)
        try:
            yield context
        finally:
            context.close()

    @contextlib.contextmanager
    def persistent(self, folder: Path, flags: Sequence[str]) -> Iterator[None]:
        """Keep a Chromium of its own open that is signed in, for a program that looks at pages by itself."""
        name, value = self.cookie()
        no_sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        context = self.browser_type.launch_persistent_context(
            str(folder / "profile"), executable_path=self.chromium, args=[*flags, *no_sandbox]
        )
        try:
            context.add_cookies([{"name": name, "value": value, "url": self.url}])
            yield
        finally:
            context.close()

    def set_idle_seconds(self, seconds: int) -> None:
        """Choose after which time an idle node leaves the cluster."""
        from compute.actions import resize_target
        from studio.people.models import User

        def resize() -> None:
            target, by = self.cluster(), User.objects.get(username="admin")
            resize_target(target, by=by, min_nodes=0, max_nodes=target.max_nodes, idle_seconds=seconds)

        self.ask(resize)

    def wait_for_nodes(self, true: Callable[[list[str]], bool], patience: float = 60.0) -> None:
        """Wait until the states of the cluster's nodes are as wanted."""
        deadline = time.monotonic() + patience
        while not true(states := self.ask(lambda: list(self.cluster().nodes.values_list("state", flat=True)))):
            if time.monotonic() > deadline:
                raise TimeoutError(f"The cluster's nodes are {states or 'none'} after {patience:.0f} s.")
            time.sleep(0.1)


def fill_in(page: Page, script: str, target: str = CLUSTER) -> None:
    """Open the submit page and fill it in as a person does, up to the press of the button."""
    page.goto(f"/w/default/submit/?target={target}")
    page.locator("[name=experiment]").fill("bench")
    page.locator("label", has=page.locator("[name=source][value=paste]")).click()
    page.locator("[name=code]").fill(script)
    page.wait_for_load_state("networkidle")


def submit(page: Page) -> None:
    page.locator("[data-submit-button]").click()
    page.wait_for_url(re.compile(r"/runs/bench_"))


def first_line(page: Page, target: str = CLUSTER) -> float:
    """Submit a script that writes a line, and return the seconds from the press to the painted line."""
    fill_in(page, "print('the first line', flush=True)\n", target)
    with page.expect_console_message(lambda said: said.text == SEEN, timeout=60_000):  # the page is not asked meanwhile
        page.locator("[data-submit-button]").click()
    kept: Any = page.evaluate("() => [Number(sessionStorage.pressed), Number(sessionStorage.seen)]")
    return float(kept[1] - kept[0]) / 1000


def bare_first_line(count: int) -> list[float]:
    """Return the seconds from starting a bare `python train.py` to its first line, sorted; with the Python of runs."""
    from compute.isolation import host_python

    took = []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text("print('the first line', flush=True)\n")
        for _ in range(count):
            started = time.perf_counter()
            with subprocess.Popen([host_python(), script], stdout=subprocess.PIPE) as process:  # noqa: S603
                assert process.stdout is not None  # noqa: S101
                process.stdout.readline()
                took.append(time.perf_counter() - started)
    return sorted(took)


def start(command: list[str], output: Path, environ: dict[str, str], cwd: Path = CHECKOUT) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        return subprocess.Popen(  # noqa: S603
            command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def end_runs(jobs: Path, patience: float = 20.0) -> None:
    """End what runs of a studio that is gone left in progress, each through its shepherd."""
    deadline = time.monotonic() + patience
    for known in jobs.glob("*/*/control-*/pid.json"):
        told, end = json.loads(known.read_text()), known.with_name("exit.json")
        process = procfs.look_at(told["pid"])
        if not end.exists() and process and process.start_time == told["start_time"]:
            os.kill(told["pid"], signal.SIGTERM)
            while not end.exists() and time.monotonic() < deadline:
                time.sleep(0.05)


def wait_for(output: Path, process: "subprocess.Popen[bytes]", pattern: str, patience: float) -> str:
    """Wait until what a process said matches, and return the match's group. Raises RuntimeError with what it said."""
    deadline = time.monotonic() + patience
    while True:
        said = output.read_text(errors="replace")
        if found := re.search(pattern, said, re.MULTILINE):
            return found[1]
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The studio did not get so far:\n{said}")
        time.sleep(0.05)
