"""Quota as people meet it: the slider, a limit edited by keyboard, and more asked for, granted and used."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from compute.models import ComputeTarget
from compute.quotas.models import Limit, QuotaRequest
from studio.people.models import User, Workspace
from studio.people.permissions import Role
from tests.compute.clusters import make_cluster
from tests.compute.quotas.accounts import hold, limit

WIZARD = "/w/vision-team/compute/create/?step=2&vm_size=Standard_D1_v2&name=my-cluster&max_nodes=1"


@pytest.fixture
def browsing(page: Page, ana: User, workspace: Workspace, sign_in: Callable[[Page, User], None]) -> Page:
    sign_in(page, ana)
    return page


def test_the_slider_moves_the_bar_and_the_sentence(browsing: Page, workspace: Workspace) -> None:
    limit(6, workspace=workspace)
    browsing.goto(WIZARD)
    verdict = browsing.locator("#verdict")
    expect(verdict).to_contain_text("6 of 6 cores of vision-team left; this needs 1.")
    slider = browsing.get_by_role("slider", name="Maximum number of nodes")
    slider.focus()
    for _n in range(7):
        browsing.keyboard.press("ArrowRight")
    expect(browsing.get_by_label("Maximum number of nodes", exact=True)).to_have_value("8")
    expect(verdict).to_contain_text("6 of 6 cores of vision-team left; this needs 8. Lower maximum nodes to 6")
    expect(verdict.locator(".bar")).to_have_accessible_name("0 used, 8 for this, 0 left of 6 cores")
    expect(browsing).to_have_url(re.compile("max_nodes=8"))
    browsing.get_by_label("Maximum number of nodes", exact=True).fill("2")
    expect(slider).to_have_value("2")
    expect(verdict).to_contain_text("this needs 2.")


def test_a_limit_is_edited_by_keyboard_alone(browsing: Page, workspace: Workspace) -> None:
    one = limit(24, "standarddv2family", workspace)
    cluster = make_cluster(workspace, min_nodes=2)
    hold(cluster, 2)
    browsing.goto("/w/vision-team/compute/quota/")
    expect(browsing.locator("body[data-live-now=yes]")).to_be_attached()
    family = browsing.locator("section", has=browsing.get_by_role("heading", name="Dv2"))
    family.locator("summary").focus()
    browsing.keyboard.press("Enter")
    expect(family).to_contain_text("its minimum keeps 4")
    family.get_by_role("button", name="Edit the limit of vision-team, Dv2").focus()
    browsing.keyboard.press("Enter")
    field = family.get_by_label("At most for vision-team")
    expect(field).to_be_focused()
    settled = family.locator(".edit.open.htmx-added")  # what came is listened to from then on
    expect(settled).to_have_count(0)
    browsing.keyboard.press("Control+A")
    browsing.keyboard.type("3")
    expect(family).to_contain_text("cpu-cluster needs 4 cores at its minimum: cannot go below.")
    browsing.keyboard.press("Control+A")
    browsing.keyboard.type("5")
    expect(family).to_contain_text("Grow less far: cpu-cluster (2 of 4 nodes).")
    Limit.objects.filter(pk=one.pk).update(cores=30, version=2)  # somebody is faster
    browsing.keyboard.press("Enter")
    expect(family).to_contain_text("meanwhile. Look at it again, and decide.")
    expect(settled).to_have_count(0)
    browsing.keyboard.press("Enter")
    expect(family.locator("#figures-workspace-standarddv2family-Dedicated")).to_contain_text("4 of 5")
    expect(family).to_contain_text("its minimum keeps 4")  # what was opened stays open
    one.refresh_from_db()
    assert one.cores == 5


def test_more_is_asked_for_granted_and_used(
    browsing: Page, open_page: Callable[..., Page], ana: User, workspace: Workspace,
    sign_in: Callable[[Page, User], None], member: Callable[[str, Role], User],
) -> None:  # fmt: skip
    limit(0, "standarddv2family", workspace)
    olga = member("olga", Role.COMPUTE_OPERATOR)
    theirs = open_page()
    sign_in(theirs, olga)
    browsing.goto("/w/vision-team/compute/quota/requests/")
    expect(browsing.locator("body[data-live-now=yes]")).to_be_attached()
    theirs.goto("/w/vision-team/compute/create/?name=my-cluster&max_nodes=2&q=D1_v2")
    row = theirs.locator("tr", has_text="Standard_D1_v2").last
    expect(row).to_contain_text("0 of 0")
    row.get_by_role("link", name="ask").click()
    theirs.get_by_label("The limit should be").fill("4")
    theirs.get_by_label("What for").fill("A first try.")
    theirs.get_by_role("button", name="Ask for more").click()
    expect(theirs.get_by_text("Waits for an answer")).to_be_visible()
    expect(browsing.get_by_text("A first try.")).to_be_visible()
    browsing.get_by_role("link", name="Answer").click()
    browsing.get_by_role("button", name="Approve").click()
    expect(browsing.get_by_text("No request waits.")).to_be_visible()
    expect(theirs.get_by_text("Approved: 4 cores")).to_be_visible()
    theirs.get_by_role("link", name="Back to what was blocked").click()
    theirs.get_by_role("radio", name="Standard_D1_v2").check()
    for _step in range(3):
        theirs.get_by_role("button", name="Next:").click()
    theirs.get_by_role("button", name="Create", exact=True).click()
    expect(theirs.get_by_role("heading", name="my-cluster")).to_be_visible()
    assert ComputeTarget.objects.filter(name="my-cluster", created_by=olga).exists()
    assert QuotaRequest.objects.get().granted == 4


def test_the_later_of_two_who_edit_reads_what_the_other_set(browsing: Page, workspace: Workspace, ben: User) -> None:
    one = limit(24, "standarddv2family", workspace)
    browsing.goto("/w/vision-team/compute/quota/")
    expect(browsing.locator("body[data-live-now=yes]")).to_be_attached()
    family = browsing.locator("section", has=browsing.get_by_role("heading", name="Dv2"))
    family.get_by_role("button", name="Edit the limit of vision-team, Dv2").click()
    expect(family.locator(".note")).to_contain_text("Nobody is affected")
    Limit.objects.filter(pk=one.pk).update(cores=30, version=2, updated_by=ben)
    with browsing.expect_response(re.compile("part=preview.*cores=8")):
        family.get_by_label("At most for vision-team").fill("8")
    family.get_by_role("button", name="Save").click()
    said = family.locator(".note", has_text="ben set it to 30 meanwhile.")
    expect(said).to_be_visible()
    expect(family.locator(".edit [hx-trigger*=load]")).to_have_count(0)  # or a preview would be said over it
    family.get_by_role("button", name="Save").click()
    expect(family).to_contain_text("0 of 8")
    assert Limit.objects.get(pk=one.pk).cores == 8
