"""The pages of runs as a person uses them: submit, watch, look at files, cancel, find again."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from compute.actions import ensure_local
from compute.models import ComputeTarget, Job
from compute.states import JobState, ProvisioningState
from runs import snapshots
from runs.actions import record
from runs.models import Attempt, Experiment, Run
from runs.states import RunStatus
from studio.people.models import User, Workspace

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)


@pytest.fixture
def signed_in(page: Page, sign_in: Callable[[Page, User], None], ana: User, workspace: Workspace) -> Page:
    ensure_local(workspace)
    sign_in(page, ana)
    return page


@pytest.fixture
def run(workspace: Workspace, ana: User) -> Run:
    """Return a running run with an attempt that wrote files."""
    target = ensure_local(workspace)
    home = Experiment.objects.create(workspace=workspace, name="digits-svm", last_number=1, created_by=ana)
    text = "import sys\n\nprint('hello', sys.argv)\n"
    snapshot, _facts = snapshots.from_text(workspace, "train.py", text)
    run = Run.objects.create(
        workspace=workspace,
        experiment=home,
        number=1,
        run_id="digits-svm_1",
        display_name="brave_lemur_7k2",
        target=target,
        target_name="local",
        snapshot=snapshot,
        submitted_by=ana,
        config={"script": "train.py", "arguments": ["--kernel", "rbf"], "variables": {"TOKEN": "s3cret"}},
        tags={"kernel": "rbf", "data": "digits"},
        properties={"azureml.git.commit": "4be1c07aa", "azureml.git.branch": "main", "azureml.git.dirty": "True"},
    )
    run.move(RunStatus.STARTING)
    run.move(RunStatus.QUEUED, reason="It waits for a node.")
    run.move(RunStatus.RUNNING)
    job = Job.objects.create(target=target, run_id=run.run_id, run_name=str(run), state=JobState.RUNNING)
    Attempt.objects.create(run=run, number=1, job=job)
    outputs = job.folder / "rank-0" / "outputs"
    (outputs / "plots").mkdir(parents=True)
    (outputs / "plots" / "loss.png").write_bytes(PNG)
    (outputs / "scores.csv").write_text("fold,accuracy\n1,0.9722\n2,0.9750\n")
    (outputs / "evil.html").write_text("<script>document.title = 'taken'</script>")
    return run


def address(workspace: Workspace, path: str) -> str:
    return f"/w/{workspace.name}/{path}"


def test_a_script_is_pasted_and_submitted(signed_in: Page, workspace: Workspace) -> None:
    page = signed_in
    page.goto(address(workspace, "submit/"))
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_text("Paste a script").click()
    page.get_by_label("Script", exact=True).fill("print('hello')\n")
    page.get_by_label("Experiment", exact=True).fill("first-steps")
    page.get_by_label("Arguments").focus()  # what was typed has changed with that, and asks nothing about the target
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "/check/" in url]
    page.get_by_label("Arguments").fill("--name 'a b' -n 3")
    expect(page.get_by_text("Read as:")).to_contain_text("a b")
    page.get_by_role("button", name="Add a tag").click()
    page.get_by_role("textbox", name="Key").first.fill("who")
    page.get_by_role("textbox", name="Value").nth(1).fill("me")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page).to_have_url(re.compile("/runs/first-steps_"))
    expect(page.get_by_role("navigation", name="Parts of the run")).to_be_visible()
    run = Run.objects.get()
    assert run.config["arguments"] == ["--name", "a b", "-n", "3"]
    assert run.experiment.name == "first-steps"


def test_a_target_is_offered_the_environments_that_it_takes(signed_in: Page, workspace: Workspace) -> None:
    kinds = {"bricks": "Databricks", "lake": "DataLakeAnalytics", "lab": "VirtualMachine"}
    for name, kind in kinds.items():
        ComputeTarget.objects.create(
            workspace=workspace, name=name, kind=kind, provisioning_state=ProvisioningState.SUCCEEDED
        )
    page = signed_in
    page.goto(address(workspace, "submit/?target=lab"))
    conda = page.locator("label:has([name=environment][value=conda])")
    conda.click()
    page.locator("[name=target][value=bricks]").check()
    expect(conda).to_be_hidden()
    expect(page.locator("[name=environment][value=interpreter]")).to_be_checked()
    expect(page.locator("label:has([name=environment][value=pip])")).to_be_visible()
    page.locator("[name=target][value=lake]").check()
    expect(page.locator("fieldset[data-field=environment]")).to_be_hidden()
    expect(page.get_by_label("Interpreter")).to_be_hidden()
    page.locator("[name=target][value=lab]").check()
    expect(conda).to_be_visible()
    expect(page.get_by_label("Interpreter")).to_be_visible()


def test_a_submitted_runs_page_comes_without_loading_the_frame_again_and_back_leads_to_the_form(
    signed_in: Page, workspace: Workspace
) -> None:
    page = signed_in
    page.goto(address(workspace, "submit/?target=local"))
    page.get_by_text("Paste a script").click()
    page.get_by_label("Script", exact=True).fill("print('hello')\n")
    page.evaluate("() => { document.body.dataset.sameFrame = 'yes'; }")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page).to_have_url(re.compile(r"/runs/default_"))
    run = Run.objects.get()
    expect(page.get_by_role("heading", level=1)).to_contain_text(run.display_name)
    expect(page).to_have_title(re.compile(run.display_name))
    expect(page.locator("body[data-same-frame]")).to_have_count(1)
    expect(page.locator("#main")).to_be_focused()
    run.move(RunStatus.QUEUED, reason="It waits for a node of the test.")
    expect(page.locator("#run-header")).to_contain_text("It waits for a node of the test.")
    page.keyboard.press("Tab")
    expect(page.locator("#main a:focus")).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Submit a run")
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_enabled()
    page.wait_for_load_state()  # before that nobody listens to Forward
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_contain_text(run.display_name)


def test_a_folder_is_listed_with_what_is_left_out_and_stays_chosen_when_something_is_wrong(
    signed_in: Page, workspace: Workspace, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "__pycache__").mkdir()
    (project / ".git").mkdir()
    for name, text in {
        "train.py": "print(1)\n",
        "util.py": "x = 1\n",
        "data/a.csv": "1,2\n",
        "big.ckpt": "x" * 100,
        "__pycache__/util.pyc": "x",
        ".gitignore": "*.ckpt\n",
        ".git/HEAD": "4be1c07aaaabbbbccccddddeeeeffff000011112\n",
        ".git/config": "",
        "requirements.txt": "scikit-learn==1.6.1\n",
    }.items():
        (project / name).write_text(text)
    page = signed_in
    page.goto(address(workspace, "submit/"))
    page.locator("[data-folder]").set_input_files(project)
    chosen = page.locator("[data-chosen]")
    expect(chosen).to_contain_text("5 files")
    expect(chosen).to_contain_text("left out by .gitignore")
    expect(page.get_by_label("Script to run")).to_have_value("train.py")
    expect(page.locator("[name=pip_text]")).to_have_value("scikit-learn==1.6.1\n")
    page.get_by_label("Maximum duration").fill("soon")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("[data-field=max_duration]")).to_contain_text("is no duration")
    expect(page.get_by_label("Maximum duration")).to_be_focused()
    expect(chosen).to_contain_text("train.py")
    page.get_by_label("Maximum duration").fill("1 h")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page).to_have_url(re.compile("/runs/"))
    run = Run.objects.get()
    assert run.snapshot is not None
    assert [e["path"] for e in run.snapshot.manifest] == [
        ".gitignore", "data/a.csv", "requirements.txt", "train.py", "util.py",
    ]  # fmt: skip
    assert run.properties["azureml.git.commit"].startswith("4be1c07")


def test_a_folder_dropped_on_the_page_is_taken_with_all_that_is_in_it(
    signed_in: Page, workspace: Workspace, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "train.py").write_text("print('dropped')\n")
    for n in range(120):  # Chromium lists a folder's entries a hundred at a time
        (project / "data" / f"part-{n:03}.txt").write_text(str(n))
    page = signed_in
    page.goto(address(workspace, "submit/"))
    drop = page.locator("[data-drop]")
    drop.scroll_into_view_if_needed()
    box = drop.bounding_box()
    assert box is not None
    browser = page.context.new_cdp_session(page)
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 20}
    data = {"items": [], "files": [str(project)], "dragOperationsMask": 1}
    for step in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": step, **place, "data": data})
    expect(page.locator("[data-total]")).to_contain_text("121 files")
    page.locator("[name=experiment]").fill("dropped")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/dropped_"))
    snapshot = Run.objects.get().snapshot
    assert snapshot is not None
    assert snapshot.file_count == 121
    assert {"train.py", "data/part-119.txt"} <= {entry["path"] for entry in snapshot.manifest}


def test_an_error_of_the_server_stands_by_its_field(signed_in: Page, workspace: Workspace, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"no zip at all")
    page = signed_in
    page.goto(address(workspace, "submit/"))
    page.locator("[data-archive]").set_input_files(broken)
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("[data-field=files] [data-errors]")).to_contain_text("zip")
    expect(page.locator("[data-submit-problem]")).to_contain_text("mended")
    page.locator("[name=node_count]").fill("4")
    page.locator("[name=node_count]").blur()
    expect(page.get_by_text("This could never run:")).to_be_visible()


def test_a_run_is_watched_through_its_tabs_and_canceled(signed_in: Page, workspace: Workspace, run: Run) -> None:
    page = signed_in
    page.goto(address(workspace, f"runs/{run.run_id}/"))
    expect(page.get_by_role("heading", name="brave_lemur_7k2")).to_contain_text("Running")
    expect(page.locator(".run-facts")).to_contain_text("main@4be1c07")
    tabs = page.get_by_role("navigation", name="Parts of the run")
    tabs.get_by_role("link", name="Details").click()
    expect(page.get_by_text("s3cret")).to_be_hidden()
    page.get_by_text("Show value").click()
    expect(page.get_by_text("s3cret")).to_be_visible()
    tabs.get_by_role("link", name="Snapshot").click()
    expect(page.locator(".source")).to_contain_text("import sys")
    tabs.get_by_role("link", name="Child runs").click()
    expect(page.get_by_text("No child runs.")).to_be_visible()
    tabs.get_by_role("link", name="Raw JSON").click()
    expect(page.locator("#raw-json")).to_contain_text('"runId": "digits-svm_1"')
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel run").click()
    expect(page.get_by_role("heading", name="brave_lemur_7k2")).to_contain_text("Cancel requested")
    Run.objects.get().move(RunStatus.CANCELED, reason="ana canceled it.")
    expect(page.get_by_role("heading", name="brave_lemur_7k2")).to_contain_text("Canceled")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_what_a_service_says_of_a_run_stands_beside_it_while_it_runs(
    signed_in: Page, workspace: Workspace, run: Run
) -> None:
    page = signed_in
    page.goto(address(workspace, f"runs/{run.run_id}/"))
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()
    job = Job.objects.get()
    job.facts = {"application": "application_17_0042", "page": "https://head.example.org/42"}
    job.save()
    record(run, job)  # which moves nothing
    expect(page.locator("#run-side")).to_contain_text("application_17_0042")
    expect(page.get_by_role("link", name="Its own page")).to_have_attribute("href", "https://head.example.org/42")


def test_what_is_agreed_to_is_done_though_its_part_of_the_page_came_anew_meanwhile(
    signed_in: Page, workspace: Workspace, run: Run
) -> None:
    page = signed_in
    page.goto(address(workspace, "runs/digits-svm_1/"))
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Its processes are asked to stop")
    old = page.locator("#run-header").element_handle()
    page.evaluate("id => document.body.dispatchEvent(new CustomEvent(`run-${id}:moved`))", run.pk)
    page.wait_for_function("old => !old.isConnected", arg=old)
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
    expect(page.locator("#run-header")).to_contain_text("Cancel requested")
    assert Run.objects.get().status == RunStatus.CANCEL_REQUESTED


def test_a_button_is_not_torn_away_from_under_the_finger(signed_in: Page, workspace: Workspace, run: Run) -> None:
    page = signed_in
    page.goto(address(workspace, "runs/digits-svm_1/"))
    button = page.get_by_role("button", name="Cancel", exact=True)
    button.hover()
    page.mouse.down()
    with page.expect_response(re.compile("/header/$")):
        page.evaluate("id => document.body.dispatchEvent(new CustomEvent(`run-${id}:moved`))", run.pk)
    old = page.locator("#run-header").element_handle()
    page.wait_for_timeout(200)
    assert page.evaluate("old => old.isConnected", old)
    with page.expect_response(re.compile("/header/$")):  # what came meanwhile comes now
        page.mouse.up()
    expect(page.get_by_role("dialog")).to_contain_text("Its processes are asked to stop")
    page.wait_for_function("old => !old.isConnected", arg=old)


def test_outputs_are_looked_at_by_keyboard_and_do_no_harm(signed_in: Page, workspace: Workspace, run: Run) -> None:
    page = signed_in
    page.goto(address(workspace, f"runs/{run.run_id}/?tab=outputs"))
    tree = page.locator("[data-tree]")
    tree.locator("summary").first.focus()
    page.keyboard.press("End")
    expect(tree.get_by_role("link", name="scores.csv")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#preview")).to_contain_text("0.9722")
    expect(page).to_have_url(re.compile("file=outputs/scores.csv"))
    page.reload()
    expect(page.locator("#preview")).to_contain_text("0.9722")
    tree.get_by_role("link", name="loss.png").click()
    image = page.locator("#preview img")
    expect(image).to_be_visible()
    assert image.evaluate("i => i.complete && i.naturalWidth") == 1
    tree.get_by_role("link", name="evil.html").click()
    expect(page.locator("#preview")).to_contain_text("<script>")
    assert page.title() != "taken"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "evil.html"


def test_the_list_moves_in_place_keeps_what_is_selected_and_says_what_is_new(
    signed_in: Page, workspace: Workspace, run: Run, ana: User
) -> None:
    page = signed_in
    page.goto(address(workspace, "runs/"))
    row = page.locator(f"#run-{run.pk}")
    expect(row).to_contain_text("Running")
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()
    row.get_by_role("checkbox").check()
    Run.objects.get(pk=run.pk).move(RunStatus.COMPLETED)
    expect(row).to_contain_text("Completed", timeout=2000)
    expect(row.get_by_role("checkbox")).to_be_checked()
    new = Run.objects.create(
        workspace=workspace,
        experiment=run.experiment,
        number=2,
        run_id="digits-svm_2",
        display_name="calm_fox",
        target_name="local",
        submitted_by=ana,
    )
    new.moved()
    page.get_by_role("link", name="1 new run").click()
    expect(page.get_by_role("link", name="calm_fox")).to_be_visible()
    page.get_by_label("Filter by name, experiment, text").fill("lemur")
    expect(page.get_by_role("link", name="calm_fox")).to_have_count(0)
    expect(page).to_have_url(re.compile("q=lemur"))
    page.get_by_role("link", name="brave_lemur_7k2").click()
    page.go_back()
    expect(page.get_by_label("Filter by name, experiment, text")).to_have_value("lemur")
    page.locator(f"#run-{run.pk}").get_by_role("checkbox").check()
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.get_by_text("1 run is archived.")).to_be_visible()


def test_experiments_lead_to_their_runs(signed_in: Page, workspace: Workspace, run: Run) -> None:
    page = signed_in
    page.goto(address(workspace, "experiments/"))
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="digits-svm", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="digits-svm")).to_be_visible()
    expect(page.get_by_role("link", name="brave_lemur_7k2")).to_be_visible()
    page.get_by_text("Description and tags").click()
    page.get_by_label("Description", exact=True).fill("Support vector machines on digits.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".head")).to_contain_text("Support vector machines")
