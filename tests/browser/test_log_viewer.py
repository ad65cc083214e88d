"""A run's log as a person sees it, while it is written."""

import hashlib
import random
import re
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

from compute import log_index, logs
from compute.models import ComputeTarget, Job
from compute.states import JobState
from runs.models import Attempt, Experiment, Run
from runs.states import RunStatus
from studio.people.models import User, Workspace

ALL_OF_IT = """async () => {
  const { lines } = document.querySelector('[data-log]').log;
  const digest = await crypto.subtle.digest('SHA-256', lines.read(lines.from, lines.end));
  return [...new Uint8Array(digest)].map(b => b.toString(16).padStart(2, '0')).join('');
}"""
LOAD_ALL = """async (count) => {
  const { log } = document.querySelector('[data-log]');
  while (log.lines.blocks.size < count) for (let block = 0; block < count; block++) await log.blocks.load(block);
}"""
TEXTS = "() => [...document.querySelectorAll('.log-row')].map(row => row.querySelector('.log-text').textContent)"
AT_END = (
    "() => { const p = document.querySelector('[data-log-port]');"
    " return document.querySelector('.log-row') && p.scrollHeight - p.clientHeight - p.scrollTop < 2 }"
)


class OpenRun:
    """A run with one attempt, whose log the test writes."""

    def __init__(self, workspace: Workspace, user: User, ranks: int = 1) -> None:
        self.workspace = workspace
        self.target = ComputeTarget.objects.create(workspace=workspace, name="local", kind="local")
        experiment = Experiment.objects.create(workspace=workspace, name="digits-svm")
        self.run = Run.objects.create(
            workspace=workspace,
            experiment=experiment,
            number=1,
            run_id="digits-svm_1763846400_1f0c9a3b",
            display_name="brave_lemur_7k2",
            status=RunStatus.RUNNING,
            target=self.target,
            target_name="local",
            submitted_by=user,
        )
        self.attempt(1, ranks)

    def attempt(self, number: int, ranks: int = 1) -> None:
        self.job = Job.objects.create(
            target=self.target,
            run_id=self.run.run_id,
            run_name=str(self.run),
            attempt=number,
            state=JobState.RUNNING,
            node_count=ranks,
        )
        Attempt.objects.create(run=self.run, number=number, job=self.job)
        self.key = f"runs/{self.run.run_id}/{number}/std_log.txt"

    @property
    def url(self) -> str:
        return f"/w/{self.workspace.name}/runs/{self.run.run_id}/"

    def write(self, data: bytes | str) -> None:
        logs.add(self.key, data.encode() if isinstance(data, str) else data)

    def end(self) -> None:
        Job.objects.filter(pk=self.job.pk).update(state=JobState.ENDED)
        self.run.move(RunStatus.COMPLETED)


@pytest.fixture
def run(ana: User, workspace: Workspace, settings: LazySettings) -> OpenRun:
    settings.ROOT_URLCONF = "tests.browser.log_page"
    return OpenRun(workspace, ana)


@pytest.fixture
def watch(page: Page, run: OpenRun, ana: User, sign_in: Callable[[Page, User], None]) -> Callable[..., Page]:
    def go(after: str = "") -> Page:
        sign_in(page, ana)
        page.goto(run.url + after)
        return page

    return go


def texts(page: Page) -> list[str]:
    found: list[str] = page.evaluate(TEXTS)
    return found


def log(page: Page, what: str) -> Any:
    return page.evaluate(f"() => document.querySelector('[data-log]').log.{what}")


def test_lines_appear_as_they_are_written(watch, run):
    page = watch()
    expect(page.get_by_text("Waiting for the first line…")).to_be_visible()
    run.write("loading digits\n")
    expect(page.locator(".log-text").first).to_have_text("loading digits")
    expect(page.locator("[data-log-state]")).to_have_text("following")
    run.write("fold 1/5 ")
    run.write("accuracy \x1b[32m0.9722\x1b[0m\n")
    expect(page.locator(".log-row").nth(1).locator(".log-fg-2")).to_have_text("0.9722")
    assert texts(page) == ["loading digits", "fold 1/5 accuracy 0.9722"]


def test_what_was_left_out_of_a_long_log_is_said_in_amber(watch, run, settings):
    settings.LOG_BYTES = 32768
    with logs.path(run.key).open("wb") as file:
        file.write(b"head\n" * 4096)
        file.truncate(16384)
        file.seek(65536)  # leaves a hole, as taking bytes out does
        file.write(b"tail\n" * 4096)
    page = watch()
    said = "49.2 kB in its middle, from byte 16,384 to byte 65,536"
    expect(page.locator("[data-log-hole]")).to_contain_text(said, timeout=15_000)
    expect(page.locator(".log-text").last).to_have_text("tail")


def test_the_end_is_told_with_every_byte_counted(watch, run):
    run.write("x" * 99 + "\n")
    page = watch()
    expect(page.locator("[data-log-size]")).to_have_text("1 line, 100 bytes so far")
    run.write("done\n")
    run.end()
    expect(page.locator("[data-log-state]")).to_have_text("ended")
    expect(page.locator("[data-log-size]")).to_have_text("2 lines, all 105 bytes")
    digest = hashlib.sha256(b"x" * 99 + b"\ndone\n").hexdigest()
    expect(page.locator("[data-log-sha]")).to_have_text(digest)
    expect(page.locator("[data-log-checked]")).to_contain_text("computed from the bytes on this page")


def test_a_run_that_wrote_nothing_says_so(watch, run):
    run.end()
    expect(watch().get_by_text("Nothing was written.")).to_be_visible()


def test_a_hundred_thousand_lines_leave_few_rows_in_the_page(watch, run):
    page = watch()
    for start in range(0, 100_000, 5_000):
        run.write("".join(f"step {i} loss {1 / (i + 1):.6f} {'.' * 60}\n" for i in range(start, start + 5_000)))
    page.wait_for_function("() => document.querySelector('[data-log]').log.lines.count === 100000")
    page.wait_for_function(AT_END)
    expect(page.locator(".log-text").last).to_contain_text("step 99999 ")
    assert page.locator(".log-row").count() < 100
    page.locator("[data-log-port]").focus()
    page.keyboard.press("Home")
    expect(page.locator(".log-text").first).to_contain_text("step 0 ")
    expect(page.locator("[data-log-state]")).to_have_text("paused")


def test_twenty_cuts_lose_and_repeat_nothing(watch, run, complaints):
    complaints.expect("WebSocket")
    page = watch()
    rng = random.Random(7)  # noqa: S311
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            run.write(rng.randbytes(rng.randint(1, 20_000)) + b"\n")
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(20):
        page.wait_for_function("() => document.querySelector('[data-log]').log.socket.socket.readyState === 1")
        time.sleep(rng.random() / 20)
        page.evaluate("() => document.querySelector('[data-log]').log.socket.socket.close()")
    stop.set()
    writer.join()
    run.end()
    expect(page.locator("[data-log-state]")).to_have_text("ended")
    size = logs.size(run.key)
    assert log(page, "lines.end") == size
    assert page.evaluate(ALL_OF_IT) == logs.sha256(run.key, size)


def test_whoever_scrolls_up_is_left_in_peace(watch, run):
    run.write("".join(f"line {i}\n" for i in range(1, 501)))
    page = watch()
    page.wait_for_function(AT_END)
    page.locator("[data-log-port]").hover()
    page.mouse.wheel(0, -3000)
    expect(page.locator("[data-log-state]")).to_have_text("paused")
    page.wait_for_timeout(300)
    before = texts(page)
    for i in range(501, 521):
        run.write(f"line {i}\n")
        time.sleep(0.01)
    expect(page.locator("[data-log-pill]")).to_have_text("20 new lines below")
    assert texts(page) == before
    page.locator("[data-log-pill]").click()
    expect(page.locator(".log-text").last).to_have_text("line 520")
    expect(page.locator("[data-log-state]")).to_have_text("following")
    run.write("line 521\n")
    expect(page.locator(".log-text").last).to_have_text("line 521")


def test_a_progress_bar_shows_its_last_state_and_keeps_the_others(watch, run):
    run.write("fold 1/5\n" + "".join(f"\r{i:3d} %" for i in range(101)))
    page = watch()
    expect(page.locator(".log-row")).to_have_count(2)
    assert texts(page) == ["fold 1/5", "100 %"]
    page.get_by_text("rewritten 100 times").click()
    assert "  7 %" in page.locator("[data-log-states] pre").inner_text().split("\n")


def test_hostile_bytes_are_only_shown(watch, run):
    run.write(
        b"<img src=x onerror=alert(1)><script>alert(2)</script>\n"
        b"\x1b]0;title\x07\x1b]8;;javascript:alert(3)\x1b\\link\x1b]8;;\x1b\\ \x1b[2J\x1b[10;10Hend\n"
        b"bad \xff\xfe utf-8\n"
        b"user \xe2\x80\xaetxt.exe\n"
        b"nul \x00 bell \x07\n"
        b"\x1b[38;5;208morange\x1b[0m \x1b[38;2;1;2;3mrgb\x1b[m\n"
    )
    page = watch()
    expect(page.locator(".log-row")).to_have_count(6)
    assert texts(page) == [
        "<img src=x onerror=alert(1)><script>alert(2)</script>",
        "link end",
        "bad \ufffd\ufffd utf-8",
        "user U+202Etxt.exe",
        "nul ^@ bell ^G",
        "orange rgb",
    ]
    assert page.locator(".log-text img, .log-text script, .log-text a").count() == 0
    colour = page.get_by_text("orange", exact=True).evaluate("e => getComputedStyle(e).color")
    assert colour == "rgb(255, 135, 0)"


def test_find_counts_and_goes_round(watch, run):
    run.write("".join(f"line {i} {'Fold' if i % 25 == 0 else 'other'}\n" for i in range(1, 1001)))
    page = watch()
    page.wait_for_function(AT_END)
    box = page.get_by_label("Find in log")
    box.fill("fold")
    expect(page.locator("[data-log-found]")).to_have_text("40 of 40")
    expect(page.locator("mark").last).to_have_text("Fold")
    box.press("Enter")
    expect(page.locator("[data-log-found]")).to_have_text("1 of 40")
    expect(page.locator(".log-row.log-chosen .log-text")).to_have_text("line 25 Fold")
    page.locator("[data-log-port]").focus()
    page.keyboard.press("n")
    expect(page.locator("[data-log-found]")).to_have_text("2 of 40")
    page.keyboard.press("N")
    page.keyboard.press("N")
    expect(page.locator("[data-log-found]")).to_have_text("40 of 40")
    run.write("one more fold\n")
    expect(page.locator("[data-log-found]")).to_have_text("40 of 41")
    box.fill("nowhere")
    expect(page.locator("[data-log-found]")).to_have_text("none")


def test_e_goes_to_the_next_error(watch, run):
    run.write("fine\n" * 300 + "ValueError: bad kernel\n" + "fine\n" * 300 + "ERROR disk\n" + "fine\n" * 300)
    page = watch()
    page.wait_for_function(AT_END)
    page.locator("[data-log-port]").focus()
    page.keyboard.press("e")
    expect(page.locator(".log-row.log-chosen .log-text")).to_have_text("ValueError: bad kernel")
    page.keyboard.press("e")
    expect(page.locator(".log-row.log-chosen .log-text")).to_have_text("ERROR disk")
    page.keyboard.press("f")
    expect(page.locator("[data-log-state]")).to_have_text("following")


def test_lines_have_links(watch, run):
    run.write("".join(f"line {i}\n" for i in range(1, 2001)))
    page = watch("#1/std_log.txt:L900-L902")
    expect(page.locator(".log-row.log-chosen")).to_have_count(3)
    assert page.locator(".log-row.log-chosen .log-text").all_inner_texts() == ["line 900", "line 901", "line 902"]
    expect(page.locator(".log-row.log-chosen").first).to_be_in_viewport()
    page.get_by_role("link", name="905", exact=True).click()
    assert page.url.endswith("#1/std_log.txt:L905")
    page.get_by_role("link", name="907", exact=True).click(modifiers=["Shift"])
    assert page.url.endswith("#1/std_log.txt:L905-L907")
    expect(page.locator(".log-row.log-chosen")).to_have_count(3)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_text("Lines", exact=True).click()
    page.get_by_role("button", name="Copy link to lines").click()
    expect(page.locator("[data-log-copy-said]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_copied_selection_has_no_numbers(watch, run):
    run.write("one\n  two\nthree\n")
    page = watch()
    expect(page.locator(".log-row")).to_have_count(3)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        "() => { const rows = document.querySelectorAll('.log-row'); getSelection().setBaseAndExtent("
        "rows[0], 0, rows[2], rows[2].childNodes.length) }"
    )
    page.keyboard.press("Control+C")
    assert page.evaluate("navigator.clipboard.readText()").rstrip("\n") == "one\n  two\nthree"


@pytest.fixture
def large(run: OpenRun) -> OpenRun:
    """A log of 30 MB, above what is sent whole."""
    line = "step {:07d} " + "." * 86 + "\n"  # 99 bytes and a newline
    for start in range(0, 300_000, 50_000):
        run.write("".join(line.format(i) for i in range(start, start + 50_000)))
    return run


def test_a_large_log_opens_at_its_end_and_shows_what_is_scrolled_to(watch, large):
    large.end()
    page = watch()
    expect(page.locator(".log-text").last).to_contain_text("step 0299999")
    expect(page.locator(".log-number").last).to_have_text("300,000")
    expect(page.locator("[data-log-size]")).to_have_text("300,000 lines, all 30,000,000 bytes")
    assert log(page, "lines.blocks.size") <= 3
    page.locator("[data-log-port]").focus()
    page.keyboard.press("Home")
    expect(page.locator(".log-text").first).to_contain_text("step 0000000")
    expect(page.locator(".log-number").first).to_have_text("1")
    page.evaluate("() => document.querySelector('[data-log]').log.view.to(20 * 150_000)")
    page.wait_for_function("() => document.querySelector('.log-row').dataset.line > 149_000")
    first = page.locator(".log-row").first
    expect(first.locator(".log-text")).to_be_visible()
    number = int(first.locator(".log-number").inner_text().replace(",", ""))
    assert 149_900 < number <= 150_001
    expect(first.locator(".log-text")).to_contain_text(f"step {number - 1:07d} ")
    page.evaluate(LOAD_ALL, 30_000_000 // log_index.BLOCK + 1)
    assert page.evaluate(ALL_OF_IT) == logs.sha256(large.key, 30_000_000)


def test_a_window_of_another_size_still_follows(watch, run):
    run.write("".join(f"line {i}\n" for i in range(1, 501)))
    page = watch()
    page.wait_for_function(AT_END)
    for size in ({"width": 390, "height": 1200}, {"width": 1360, "height": 500}, {"width": 1000, "height": 1100}):
        page.set_viewport_size(size)
        page.wait_for_function("() => new Promise(go => requestAnimationFrame(() => setTimeout(() => go(true), 100)))")
        expect(page.locator("[data-log]")).to_have_attribute("data-now", "following")
        page.wait_for_function(AT_END)
    run.write("line 501\n")
    expect(page.locator(".log-text").last).to_have_text("line 501")


def test_long_lines_wrap_when_asked(watch, run):
    run.write("".join(f"line {i} " + "word " * 100 + "\n" for i in range(1, 301)))
    page = watch()
    page.wait_for_function(AT_END)
    page.get_by_role("button", name="Wrap").click()
    last = page.locator(".log-row").last
    expect(last.locator(".log-text")).to_contain_text("line 300 ")
    page.wait_for_function("() => document.querySelector('.log-row:last-child').offsetHeight > 40")
    port, box = page.locator("[data-log-port]").bounding_box(), last.bounding_box()
    assert port
    assert box
    assert abs(port["y"] + port["height"] - box["y"] - box["height"]) < 20
    page.locator("[data-log-port]").focus()
    page.keyboard.press("Home")
    expect(page.locator(".log-text").first).to_contain_text("line 1 ")
    top = page.locator(".log-row").first.bounding_box()
    assert top
    assert abs(top["y"] - port["y"]) < 20


def test_ten_million_lines_scroll_to_scale(watch, run):
    run.write(b"\n" * 10_000_000)
    run.write("the last line\n")
    page = watch()
    page.wait_for_function("() => document.querySelector('[data-log]').log.lines.count === 10000001")
    expect(page.locator(".log-text").last).to_have_text("the last line")
    page.locator("[data-log-port]").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("[data-log-state]")).to_have_text("paused")
    page.keyboard.press("Home")
    expect(page.locator(".log-number").first).to_have_text("1")


def test_times_are_those_of_arrival_and_absent_before(watch, run):
    run.write("before\n")
    page = watch()
    expect(page.locator(".log-row")).to_have_count(1)
    page.get_by_role("button", name="Timestamps").click()
    run.write("after\n")
    expect(page.locator(".log-row")).to_have_count(2)
    before, after = page.locator(".log-time").all_inner_texts()
    assert before == "—"
    assert after[2] == after[5] == ":"


def test_a_run_has_several_logs_and_new_attempts_appear(watch, run):
    run.write("first attempt\n")
    logs.add(run.key.replace("std_log", "studio"), b"Snapshot 9f3c21e (14 files, 212 kB)\n")
    page = watch()
    expect(page.locator(".log-text").first).to_have_text("first attempt")
    page.get_by_label("Which log").select_option("1/studio.txt")
    expect(page.locator(".log-text").first).to_have_text("Snapshot 9f3c21e (14 files, 212 kB)")
    assert page.url.endswith("#1/studio.txt")
    page.get_by_label("Which log").select_option("1/std_log.txt")
    expect(page.locator(".log-text").first).to_have_text("first attempt")
    Job.objects.filter(pk=run.job.pk).update(state=JobState.ENDED)
    run.run.moved()
    expect(page.locator("[data-log-state]")).to_have_text("ended")
    run.attempt(2)
    run.write("second attempt\n")
    run.run.moved()
    expect(page.locator(".log-text").first).to_have_text("second attempt")
    assert page.get_by_label("Which log").input_value() == "2/std_log.txt"


def test_who_is_removed_sees_no_more(watch, run, ben, page, sign_in, ana, workspace):
    from studio.people.actions import remove_member

    sign_in(page, ben)
    page.goto(run.url)
    run.write("for members\n")
    expect(page.locator(".log-row")).to_have_count(1)
    remove_member(workspace, ben, by=ana)
    expect(page.locator("[data-log-state]")).to_have_text("you are no longer a member")
    run.write("more\n")
    page.wait_for_timeout(300)
    assert texts(page) == ["for members"]


def chosen(page: Page) -> Any:
    return page.locator(".log-row.log-chosen .log-text")


def test_all_of_a_large_log_is_searched_and_any_match_shown(watch, large):
    large.write("needle at the end\n")
    page = watch()
    page.wait_for_function(AT_END)
    box, found = page.get_by_label("Find in log"), page.locator("[data-log-found]")
    box.fill("STEP 01000")
    expect(found).to_have_text("1 of 100")
    expect(chosen(page)).to_contain_text("step 0100000")
    expect(page.locator("mark").first).to_have_text("step 01000")
    box.press("Shift+Enter")
    expect(found).to_have_text("100 of 100")
    expect(chosen(page)).to_contain_text("step 0100099")
    large.write("step 01000 again\n")
    expect(found).to_have_text("100 of 101")
    box.press("Enter")
    expect(chosen(page)).to_have_text("step 01000 again")
    page.get_by_role("button", name="Match case").click()
    expect(found).to_have_text("none")
    page.get_by_role("button", name="Regular expression").click()
    box.fill("^step 02\\d*77 \\.")
    expect(found).to_contain_text("of 1,000")
    box.fill("(")
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-log-found]")).to_have_text("no regular expression")


def test_e_goes_to_errors_in_all_of_a_large_log(watch, run):
    filler = ("." * 99 + "\n") * 130_000
    run.write(f"ValueError: early\n{filler}Traceback (most recent call last):\n{filler}CRITICAL late\n")
    page = watch()
    page.wait_for_function("() => document.querySelector('[data-log]').log.lines.numbered")
    page.wait_for_function(AT_END)
    page.locator("[data-log-port]").focus()
    for words, number in (("CRITICAL late", 260_003), ("ValueError: early", 1), ("Traceback", 130_002)):
        page.keyboard.press("e")
        expect(chosen(page)).to_contain_text(words, timeout=15_000)
        assert page.url.endswith(f":L{number}")


def test_a_log_opens_at_a_line_a_byte_or_a_time(watch, large):
    log_index.marks_path(large.key).write_bytes(struct.pack("<dQdQ", 1e9, 10_000_000, 1e9 + 60, 30_000_000))
    page = watch("#1/std_log.txt:L150001-L150003")
    expect(chosen(page)).to_have_count(3)
    expect(chosen(page).first).to_contain_text("step 0150000")
    assert log(page, "lines.blocks.size") <= 10  # those at the end, that of the line, and two on either side
    page.goto(page.url.split("#")[0] + "#1/std_log.txt:B2000050")
    expect(chosen(page)).to_have_count(1)
    expect(chosen(page)).to_contain_text("step 0020000")
    page.locator("[data-log-port]").focus()
    page.keyboard.press("l")
    page.get_by_label("Line number, time here, or share of the log").fill("2001-09-09T01:46:50Z")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(chosen(page)).to_contain_text("step 0100000")
    page.get_by_role("button", name="Timestamps").click()
    expect(page.locator(".log-row.log-chosen .log-time")).to_have_text(re.compile(r"^\d\d:47:40$"))
    page.get_by_text("Lines", exact=True).click()
    page.get_by_role("button", name="Go to a line or a time").click()
    page.get_by_label("Line number, time here, or share of the log").fill("250,000")
    page.keyboard.press("Enter")
    expect(chosen(page)).to_contain_text("step 0249999")
    for asked, wanted in (("50 %", "step 0150000"), ("0,5%", "step 0001500"), ("50 apples", "step 0001500")):
        page.keyboard.press("l")
        page.locator("#log-place").fill(asked)
        page.keyboard.press("Enter")
        expect(chosen(page)).to_contain_text(wanted)
    expect(page.locator("[data-log-note]")).to_contain_text("neither a line nor a time nor a share")
    expect(page.locator("[data-log-pill]")).to_be_hidden()


def test_chosen_lines_are_copied_as_text_and_as_markdown(watch, run):
    run.write("one\n\x1b[31mtwo\x1b[0m ```\nthree\n")
    page = watch("#1/std_log.txt:L2-L3")
    expect(chosen(page)).to_have_count(2)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    said = page.locator("[data-log-copy-said]")
    for name, wanted in (
        ("Copy lines as text", "two ```\nthree"),
        (
            "Copy lines as Markdown, with the link",
            f"[brave_lemur_7k2 std_log.txt:2–3]({page.url})\n\n````text\ntwo ```\nthree\n````\n",
        ),
    ):
        expect(said).to_have_text("Lines")
        said.click()
        page.get_by_role("button", name=name).click()
        expect(said).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == wanted


def test_a_colour_goes_on_until_it_is_switched_off(watch, run):
    run.write("\x1b[31mred\nstill red\n\x1b[0mplain\nand plain\n")
    page = watch()
    expect(page.locator(".log-row")).to_have_count(4)
    assert page.locator(".log-fg-1").all_inner_texts() == ["red", "still red"]


def test_a_line_of_a_hundred_megabytes_does_no_harm(watch, run):
    run.write("before\n")
    for _ in range(100):
        run.write(b"x" * 1_000_000)
    run.write("\nafter\n")
    page = watch()
    page.wait_for_function("() => document.querySelector('[data-log]').log.lines.count === 3")
    page.locator("[data-log-port]").focus()
    page.keyboard.press("Home")
    expect(page.get_by_text("The line goes on for 100 MB: download the log to read it.")).to_be_visible()
    assert texts(page)[0] == "before"
    assert texts(page)[2] == "after"
    assert log(page, "lines.blocks.size") < 10


def test_a_page_forgets_what_is_far_away(watch, run):
    page = watch()
    held = page.evaluate(
        """async () => {
          const { Lines, BLOCK } = await import('/static/js/log/lines.js'), lines = new Lines();
          lines.append(new Uint8Array(600 * BLOCK).fill(10));
          const { blocks, solid, count } = lines;
          return [blocks.size, solid / BLOCK, count / BLOCK, lines.range(0), lines.at(90 * BLOCK)];
        }"""
    )
    assert held == [512, 88, 600, None, 90 * log_index.BLOCK]


@examples(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from(
                [
                    b"\x1b[",
                    b"\x1b]8;;",
                    b"\x1b]0;",
                    b"\x07",
                    b"\x1b\\",
                    b"\x1bP",
                    b"31;1m",
                    b"38;2;1;2;3m",
                    b"38;5;999m",
                    b"<img src=x onerror=alert(1)>",
                    b"</span><script>",
                    b"&lt;",
                    b"\r",
                    b"\xe2\x80\xae",
                    b"\xe2\x81\xa6",
                ]
            ),
            st.characters().map(lambda c: c.encode("utf-8", "surrogatepass")),
        ),
        max_size=12,
    ).map(b"".join)
)
def test_no_bytes_become_anything_but_text(shown: Page, data: bytes):
    tags, attributes, text = shown.evaluate("bytes => draw(bytes)", list(data))
    assert set(tags) <= {"SPAN", "MARK"}
    assert set(attributes) <= {"class", "style"}
    assert not HIDDEN.search(text)
    if data.isascii() and data.decode().isprintable():
        assert text == data.decode()


HIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


@pytest.fixture
def shown(watch, run) -> Page:
    """A page that draws bytes as the viewer does: draw(bytes) → [tags, attributes, text]."""
    page: Page = watch()
    page.evaluate(
        """async () => {
          const { decode, fill, pieces } = await import('/static/js/log/text.js');
          const place = document.createElement('span');
          window.draw = (bytes) => {
            const found = pieces(decode(new Uint8Array(bytes).filter(byte => byte !== 10)));
            fill(place, found, [[0, 2], [5, 9]]);
            const all = [...place.querySelectorAll('*')];
            return [all.map(e => e.tagName), all.flatMap(e => e.getAttributeNames()), place.textContent];
          };
        }"""
    )
    return page
