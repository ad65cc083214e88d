"""The list's page, its live rows, and deleting several."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from compute.models import ComputeTarget
from compute.states import JobState, NodeState, ProvisioningState
from studio.people.actions import create_workspace
from studio.people.models import User, Workspace
from studio.people.permissions import Right, Role, roles_with
from tests.compute.clusters import make_cluster, make_job, make_node

HTMX = {"HX-Request": "true"}


@pytest.fixture
def url(workspace: Workspace) -> str:
    return reverse("compute:list", args=[workspace.name])


@pytest.mark.parametrize("role", list(Role))
def test_every_member_sees_the_list(
    member: Callable[[str, Role], User], url: str, workspace: Workspace, as_user: Callable[[User], Client], role: Role
) -> None:
    make_cluster(workspace)
    answer = as_user(member("mia", role)).get(url)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "cpu-cluster" in page
    assert ("data-needs" in page) == (role not in roles_with(Right.DELETE_COMPUTE))


def test_a_stranger_and_nobody_see_nothing(cleo: User, url: str, as_user: Callable[[User], Client]) -> None:
    assert as_user(cleo).get(url).status_code == 404
    assert Client().get(url).status_code == 302


@pytest.mark.parametrize(
    ("tab", "said"),
    [
        ("clusters", "No compute clusters yet"),
        ("instances", "This version of the studio has no compute instances"),
        ("attached", "Attach a machine or a service that your team has already"),
    ],
)
def test_an_empty_tab_says_why_and_has_one_thing_to_do(
    ana: User, url: str, as_user: Callable[[User], Client], tab: str, said: str
) -> None:
    page = as_user(ana).get(url, {"tab": tab}).content.decode()
    assert said in page


def test_a_filter_that_matches_nothing_offers_to_clear_it(
    ana: User, url: str, as_user: Callable[[User], Client]
) -> None:
    page = as_user(ana).get(url, {"q": "nothing"}).content.decode()
    assert "Nothing matches the filter" in page
    assert "?tab=clusters" in page


def test_the_local_computer_is_always_there_and_cannot_be_selected(
    ana: User, url: str, as_user: Callable[[User], Client]
) -> None:
    page = as_user(ana).get(url, {"tab": "local"}).content.decode()
    assert "Local computer" in page
    assert 'name="target"' not in page


def test_the_page_takes_as_many_queries_for_fifty_rows_as_for_one(
    ana: User, url: str, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    client = as_user(ana)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as counted:
            assert client.get(url, {"sort": "-cost", "q": "c"}).status_code == 200
        return len(counted)

    make_cluster(workspace, "c0x")
    client.get(url)  # the session and the local computer are there from now on
    one = queries()
    for n in range(1, 60):
        cluster = make_cluster(workspace, f"c{n}x", created_by=ana, tags={"n": str(n)})
        make_node(cluster, NodeState.RUNNING)
        make_job(cluster)
    assert queries() == one


def test_columns_are_chosen_and_kept(
    ana: User, url: str, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    make_cluster(workspace, tags={"team": "vision"})
    client = as_user(ana)
    answer = client.get(url, {"choose": "columns", "column": ["tags", "state", "nonsense"], "q": "cpu"})
    assert answer.status_code == 302
    assert answer["Location"] == f"{url}?q=cpu"
    page = client.get(url).content.decode()
    assert "<b>team</b>vision" in page
    assert "sort=priority" not in page
    assert "sort=name" in page or "sort=-name" in page  # the name always stays


def test_a_heading_turns_its_order_and_says_which_it_is(
    ana: User, url: str, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    make_cluster(workspace)
    page = as_user(ana).get(url, {"sort": "cost"}).content.decode()
    assert 'aria-sort="ascending" scope="col"><a href="/w/vision-team/compute/?sort=-cost">Cost' in page


def test_a_row_is_served_alone_and_names_the_event_it_waits_for(
    ana: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    cluster = make_cluster(workspace)
    url = reverse("compute:row", args=[workspace.name, cluster.name])
    page = as_user(ana).get(url, {"id": cluster.pk}, headers=HTMX).content.decode()
    assert page.strip().startswith(f'<tr id="target-{cluster.pk}"')
    assert f"target-{cluster.pk}:moved from:body" in page


def test_the_row_of_a_deleted_target_stays_and_says_so(
    ana: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    cluster = make_cluster(workspace, deleted_at=timezone.now())
    make_cluster(workspace)  # its name is taken again
    url = reverse("compute:row", args=[workspace.name, cluster.name])
    page = as_user(ana).get(url, {"id": cluster.pk}, headers=HTMX).content.decode()
    assert "Deleted" in page
    assert "hx-get" not in page


def test_another_workspaces_row_is_not_served(
    ana: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    theirs = make_cluster(create_workspace("other-team", ana))
    url = reverse("compute:row", args=[workspace.name, theirs.name])
    assert as_user(ana).get(url, {"id": theirs.pk}, headers=HTMX).status_code == 404


def test_new_targets_are_counted_instead_of_moving_the_rows(
    ana: User, url: str, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    since = make_cluster(workspace).pk
    make_cluster(workspace, "second")
    make_cluster(workspace, "third", vm_priority="LowPriority")
    client = as_user(ana)
    page = client.get(url, {"part": "glance", "since": str(since)}, headers=HTMX).content.decode()
    assert "2 new" in page
    filtered = client.get(url, {"part": "glance", "since": str(since), "priority": "LowPriority"}, headers=HTMX)
    assert "1 new" in filtered.content.decode()


def test_deleting_several_asks_first_and_names_them_and_counts_their_runs(
    ana: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    first, second = make_cluster(workspace), make_cluster(workspace, "nightly")
    make_cluster(workspace, "staying")
    make_job(first, JobState.WAITING)
    url, client = reverse("compute:delete_many", args=[workspace.name]), as_user(ana)
    asked = client.post(url, {"target": [first.name, second.name]}).content.decode()
    assert "cpu-cluster" in asked
    assert "nightly" in asked
    assert "staying" not in asked
    assert "1 run is active and will be canceled." in asked
    assert not ComputeTarget.objects.filter(provisioning_state=ProvisioningState.DELETING).exists()
    client.post(url, {"target": [first.name, second.name], "confirmed": "yes"})
    deleting = ComputeTarget.objects.filter(provisioning_state=ProvisioningState.DELETING)
    assert set(deleting.values_list("name", flat=True)) == {"cpu-cluster", "nightly"}


def test_one_that_cannot_be_deleted_does_not_hold_up_the_others(
    ana: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    make_cluster(workspace, "going", provisioning_state=ProvisioningState.DELETING)
    make_cluster(workspace)
    client = as_user(ana)
    url = reverse("compute:delete_many", args=[workspace.name])
    answer = client.post(url, {"target": ["going", "cpu-cluster"], "confirmed": "yes"}, follow=True)
    page = answer.content.decode()
    assert "going is being deleted." in page
    assert "cpu-cluster is being deleted." in page
    assert ComputeTarget.objects.get(name="cpu-cluster").provisioning_state == ProvisioningState.DELETING


def test_who_may_not_delete_is_refused(ben: User, workspace: Workspace, as_user: Callable[[User], Client]) -> None:
    make_cluster(workspace)
    url = reverse("compute:delete_many", args=[workspace.name])
    answer = as_user(ben).post(url, {"target": ["cpu-cluster"], "confirmed": "yes"})
    assert answer.status_code == 403
    assert ComputeTarget.objects.get(name="cpu-cluster").provisioning_state == ProvisioningState.SUCCEEDED
