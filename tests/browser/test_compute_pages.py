"""The pages of compute as a person uses them."""

import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from compute.models import ComputeTarget
from compute.states import AllocationState, JobState, NodeState, ProvisioningState
from studio.people.models import User, Workspace
from tests.browser.conftest import Complaints
from tests.compute.clusters import make_cluster, make_job, make_node

LIST = "/w/vision-team/compute/"
CREATE = f"{LIST}create/"


@pytest.fixture
def browsing(page: Page, ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None]) -> Page:
    sign_in(page, ana)
    return page


def live(page: Page) -> None:
    """Wait until the page is kept live."""
    expect(page.locator("body[data-live-now=yes]")).to_be_attached()


def test_a_row_changes_in_place_and_the_others_keep_theirs(browsing: Page, workspace: Workspace) -> None:
    make_cluster(workspace, "alpha")
    beta = make_cluster(workspace, "beta")
    browsing.goto(f"{LIST}?sort=state")
    live(browsing)
    browsing.get_by_label("Select beta").check()
    names = browsing.locator("tbody a.name")
    expect(names).to_have_text(["alpha", "beta"])
    row = browsing.locator(f"#target-{beta.pk}")
    make_node(beta, NodeState.RUNNING)
    make_job(beta)
    ComputeTarget.objects.filter(pk=beta.pk).update(allocation_state=AllocationState.RESIZING)
    beta.moved()
    expect(row).to_contain_text("Resizing", timeout=2000)
    expect(row).to_contain_text("1 / 4")
    expect(names).to_have_text(["alpha", "beta"])
    expect(browsing.get_by_label("Select beta")).to_be_checked()


def test_a_new_target_is_counted_and_shown_on_demand(browsing: Page, workspace: Workspace) -> None:
    make_cluster(workspace, "alpha")
    browsing.goto(LIST)
    live(browsing)
    make_cluster(workspace, "aaa-first").moved()
    pill = browsing.get_by_role("link", name="1 new")
    expect(pill).to_be_visible()
    expect(browsing.locator("tbody a.name")).to_have_text(["alpha"])
    pill.click()
    expect(browsing.locator("tbody a.name")).to_have_text(["aaa-first", "alpha"])


def test_a_deleted_target_keeps_its_place_until_the_page_is_loaded_again(browsing: Page, workspace: Workspace) -> None:
    make_cluster(workspace, "alpha")
    beta = make_cluster(workspace, "beta", provisioning_state=ProvisioningState.DELETING)
    browsing.goto(LIST)
    live(browsing)
    ComputeTarget.objects.filter(pk=beta.pk).update(deleted_at=beta.created_at)
    beta.moved()
    expect(browsing.locator(f"#target-{beta.pk}")).to_contain_text("Deleted")
    browsing.reload()
    expect(browsing.locator("tbody a.name")).to_have_text(["alpha"])


def test_keys_move_through_the_rows_select_and_open(browsing: Page, workspace: Workspace) -> None:
    make_cluster(workspace, "alpha")
    make_cluster(workspace, "beta")
    browsing.goto(LIST)
    browsing.keyboard.press("j")
    browsing.keyboard.press("j")
    expect(browsing.get_by_role("link", name="beta")).to_be_focused()
    browsing.keyboard.press("x")
    expect(browsing.get_by_label("Select beta")).to_be_checked()
    browsing.keyboard.press("k")
    browsing.keyboard.press("Enter")
    expect(browsing).to_have_url(re.compile("/targets/alpha/$"))


def test_selected_rows_are_deleted_after_a_question_that_names_them(browsing: Page, workspace: Workspace) -> None:
    for name in ("alpha", "beta", "gamma"):
        make_cluster(workspace, name)
    make_job(ComputeTarget.objects.get(name="beta"), JobState.WAITING)
    browsing.goto(LIST)
    browsing.get_by_label("Select alpha").check()
    browsing.get_by_label("Select beta").check()
    expect(browsing.get_by_text("2 selected")).to_be_visible()
    browsing.get_by_role("button", name="Delete…").click()
    expect(browsing.get_by_role("heading", name="Delete 2 compute targets?")).to_be_visible()
    expect(browsing.get_by_text("1 run is active and will be canceled.")).to_be_visible()
    expect(browsing.locator("main li b")).to_have_text(["alpha", "beta"])
    browsing.get_by_label("Yes, cancel what runs and waits there").check()
    browsing.get_by_role("button", name="Delete", exact=True).click()
    expect(browsing.get_by_text("alpha, beta are being deleted.")).to_be_visible()
    deleting = ComputeTarget.objects.filter(provisioning_state=ProvisioningState.DELETING)
    assert set(deleting.values_list("name", flat=True)) == {"alpha", "beta"}


def test_columns_are_chosen(browsing: Page, workspace: Workspace) -> None:
    make_cluster(workspace, "alpha", tags={"team": "vision"})
    browsing.goto(LIST)
    browsing.locator(".columns summary").click()
    browsing.get_by_role("checkbox", name="Tags").check()
    browsing.get_by_role("checkbox", name="Cost").uncheck()
    browsing.get_by_role("button", name="Show these").click()
    expect(browsing.get_by_role("columnheader", name="Tags")).to_be_visible()
    expect(browsing.get_by_role("columnheader", name="Cost")).to_have_count(0)
    browsing.locator(".chips a", has_text="vision").click()
    expect(browsing).to_have_url(re.compile("tag=team%3Dvision"))


def test_a_cluster_is_created_by_keyboard_alone(browsing: Page, workspace: Workspace) -> None:
    browsing.goto(CREATE)
    expect(browsing.get_by_role("heading", name="Create a compute cluster")).to_be_visible()
    browsing.get_by_role("radio", name="Dedicated").focus()
    browsing.keyboard.press("ArrowRight")
    expect(browsing.get_by_role("radio", name="Low priority")).to_be_checked()
    size = browsing.locator("input[name=vm_size]:checked")
    expect(size).to_have_count(1)
    browsing.get_by_role("button", name="Next: Scale & name").focus()
    browsing.keyboard.press("Enter")
    browsing.get_by_label("Compute name").focus()
    browsing.keyboard.type("cpu-cluster-1")
    broken = browsing.locator("#name-check .bad")
    expect(broken.filter(has_text="A letter somewhere after each “-”")).to_be_visible()
    browsing.get_by_role("button", name=re.compile("^Use “cpu-cluster")).focus()
    browsing.keyboard.press("Enter")
    expect(broken).to_have_count(0)
    proposed = browsing.get_by_label("Compute name").input_value()
    browsing.get_by_role("spinbutton", name="Maximum number of nodes").fill("6")
    expect(browsing.locator("#wizard-side")).to_contain_text("0 – 6")
    expect(browsing.locator("#side-code")).to_contain_text("--max-instances 6")
    browsing.keyboard.press("Enter")  # in a field: on to the next step
    expect(browsing.get_by_text("Assign a managed identity")).to_be_visible()
    browsing.get_by_role("button", name="Next: Review").focus()
    browsing.keyboard.press("Enter")
    expect(browsing.get_by_role("heading", name=proposed)).to_be_visible()
    browsing.get_by_role("button", name="Create", exact=True).focus()
    browsing.keyboard.press("Enter")
    expect(browsing).to_have_url(re.compile(f"/targets/{proposed}/$"))
    made = ComputeTarget.objects.get(name=proposed)
    assert (made.vm_priority, made.max_nodes) == ("LowPriority", 6)


def test_a_refresh_and_back_lose_nothing_that_was_typed(
    browsing: Page, workspace: Workspace, complaints: Complaints
) -> None:
    complaints.expect("htmx:(afterRequest|sendAbort)")  # a refresh cuts the check of what was typed last
    browsing.goto(f"{CREATE}?step=2")
    browsing.get_by_label("Compute name").fill("half-typed")
    browsing.get_by_label("Tags").fill("team=vision\ncost=low")
    browsing.reload()
    expect(browsing.get_by_label("Compute name")).to_have_value("half-typed")
    expect(browsing.get_by_label("Tags")).to_have_value("team=vision\ncost=low")
    browsing.get_by_role("button", name="Next: Identity & access").click()
    browsing.get_by_label("Resource group").fill("net-rg")
    browsing.get_by_role("button", name="Back").click()
    expect(browsing.get_by_label("Compute name")).to_have_value("half-typed")
    browsing.get_by_role("button", name="Next: Identity & access").click()
    expect(browsing.get_by_label("Resource group")).to_have_value("net-rg")
    browsing.go_back()
    expect(browsing.get_by_label("Compute name")).to_have_value("half-typed")


def test_a_private_key_pasted_by_mistake_stays_out_of_the_address(browsing: Page, workspace: Workspace) -> None:
    browsing.goto(f"{CREATE}?step=2&ssh=on&name=abc")
    browsing.get_by_label("SSH public key").fill("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA")
    expect(browsing.get_by_text("This is a private key.")).to_be_visible()
    browsing.get_by_role("button", name="Next: Identity & access").click()
    assert "PRIVATE" not in browsing.url


def test_the_picker_says_why_this_machine_cannot_host_a_size(browsing: Page, workspace: Workspace) -> None:
    browsing.goto(CREATE)
    browsing.get_by_placeholder("Filter: family, cores, memory, GPU").fill("M128s")
    row = browsing.locator("#sizes tr", has_text="Standard_M128s").first
    expect(row).to_contain_text("needs")
    expect(row.get_by_role("radio")).to_be_disabled()
    sizes = browsing.get_by_role("group", name="VM sizes")
    assert sizes.evaluate("it => it.scrollWidth - it.clientWidth") == 0, "the column that says it is in sight"


def test_a_double_click_creates_one_cluster(browsing: Page, workspace: Workspace) -> None:
    browsing.goto(f"{CREATE}?step=4&name=twice")
    browsing.get_by_role("button", name="Create", exact=True).dblclick()
    expect(browsing).to_have_url(re.compile("/targets/twice/$"))
    assert ComputeTarget.objects.filter(kind="AmlCompute").count() == 1


def test_scale_settings_are_edited_in_place_and_the_page_follows(browsing: Page, workspace: Workspace) -> None:
    cluster = make_cluster(workspace, "alpha", price_usd_per_hour=Decimal("0.1"))
    browsing.goto(f"{LIST}targets/alpha/")
    live(browsing)
    browsing.get_by_role("button", name="Edit scale settings").click()
    browsing.get_by_role("spinbutton", name="Maximum number of nodes").fill("0")
    browsing.get_by_role("button", name="Save").click()
    expect(browsing.locator("#target-scale .errors")).to_be_visible()
    browsing.get_by_role("spinbutton", name="Maximum number of nodes").fill("9")
    browsing.get_by_role("button", name="Save").click()
    expect(browsing.locator("#target-scale")).to_contain_text("9")
    make_node(cluster, NodeState.IDLE)
    cluster.moved()
    expect(browsing.locator("#target-header")).to_contain_text("1 / 9")
    browsing.get_by_label("Parts of alpha").get_by_role("link", name="Activity").click()
    expect(browsing.get_by_text("changed maximum nodes 4 → 9")).to_be_visible()


def test_a_node_is_preempted_after_a_question(browsing: Page, workspace: Workspace) -> None:
    cluster = make_cluster(workspace, "alpha")
    node = make_node(cluster, NodeState.IDLE)
    browsing.goto(f"{LIST}targets/alpha/?tab=nodes")
    browsing.get_by_role("button", name="Preempt").click()
    expect(browsing.locator("#confirm")).to_contain_text(f"Preempt node {node.node_id}?")
    browsing.locator("#confirm").get_by_role("button", name="Preempt").click()
    expect(browsing.get_by_text(f"Node {node.node_id} was preempted.")).to_be_visible()
    expect(browsing.locator("#target-nodes")).to_contain_text("preempted")


def test_deleting_a_cluster_with_runs_asks_for_its_name(browsing: Page, workspace: Workspace) -> None:
    make_job(make_cluster(workspace, "alpha"), JobState.WAITING)
    browsing.goto(f"{LIST}targets/alpha/")
    browsing.get_by_role("button", name="Delete…").click()
    browsing.get_by_label("Type alpha to say that you mean it").fill("alph")
    browsing.get_by_role("button", name="Delete", exact=True).click()
    expect(browsing.locator(".errors")).to_have_text("Type alpha to say that you mean it.")
    browsing.get_by_label("Type alpha to say that you mean it").fill("alpha")
    browsing.get_by_role("button", name="Delete", exact=True).click()
    expect(browsing).to_have_url(re.compile("/compute/$"))
    expect(browsing.get_by_text("alpha is being deleted.")).to_be_visible()


PAGES = [LIST, f"{LIST}?tab=local", CREATE, f"{CREATE}?step=2", f"{CREATE}?step=3", f"{LIST}targets/alpha/"]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone(
    open_page: Callable[..., Page], ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None], path: str
) -> None:
    make_cluster(workspace, "alpha")
    phone = open_page(viewport={"width": 390, "height": 844})
    sign_in(phone, ana)
    phone.goto(path)
    assert phone.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    for tab in phone.locator(".tabs [aria-current=page]").all():
        expect(tab).to_be_in_viewport(ratio=0.99)  # also the last of a row that does not fit
