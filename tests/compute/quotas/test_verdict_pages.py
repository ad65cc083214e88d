"""The verdict where people decide: in the wizard, in the form of scale settings, and where runs are submitted."""

import re
import uuid
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from compute import sizes
from compute.models import ComputeTarget
from compute.quotas.bounds import rooms_of_families
from compute.quotas.models import Limit
from compute.quotas.verdict_views import ask_for_run
from compute.states import JobState
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster, make_job
from tests.compute.quotas.accounts import hold, limit, words

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def owner(ana: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(ana)


def asked(**answers: str) -> dict[str, str]:
    given = {"name": "new-one", "token": str(uuid.uuid4()), "vm_size": "Standard_D2_v2", "priority": "Dedicated"}
    return given | {"type": "CPU", "min_nodes": "0", "max_nodes": "4", "idle_seconds": "120", "step": "2"} | answers


def test_a_maximum_above_what_is_left_warns_and_a_minimum_above_it_is_refused(
    owner: Client, workspace: Workspace
) -> None:
    url = reverse("compute:create", args=[workspace.name])
    limit(12, "standarddv2family", workspace)
    hold(make_cluster(workspace), 3)  # 6 cores
    page = owner.get(url, asked(), headers=HTMX).content.decode()
    assert "6 of 12 Dv2 cores of vision-team left; this needs 8." in page
    assert "Lower maximum nodes to 3" in page
    assert re.search(r'role="img" aria-label="6 used, 8 for this, 0 left of 12 cores"', page)
    assert "2 too many now" in page
    assert owner.get(url, asked(go="next")).status_code == 302  # it warns, and no more
    for sent in (asked(go="next", min_nodes="4"), asked(step="4", min_nodes="4")):
        way = owner.get if "go" in sent else owner.post
        answer = way(url, sent)
        assert answer.status_code == 422
        assert "6 of 12 Dv2 cores of vision-team left; this needs 8. Lower minimum nodes to 3" in words(answer)
    assert owner.post(url, asked(step="4", min_nodes="3", max_nodes="9")).status_code == 302
    assert "/quota/requests/new/?size=Standard_D2_v2" in page


def test_sizes_say_what_is_left_of_them_and_those_without_quota_come_last_and_ask(
    owner: Client, workspace: Workspace, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    limit(24, "standarddv2family", workspace), limit(0, "standarddsv2family")
    hold(make_cluster(workspace), 1)
    url = reverse("compute:create", args=[workspace.name])
    page = owner.get(url, asked(step="1")).content.decode()
    rows = {name: row for row in re.findall(r"<tr.*?</tr>", page, re.S) for name in re.findall(r'id="size-(\w+)"', row)}
    assert "22 of 24" in rows["Standard_D2_v2"]
    assert "no limit" in rows["Standard_F4s_v2"]
    assert "0 of 0" in rows["Standard_DS3_v2"]
    assert "requests/new/?size=Standard_DS3_v2" in rows["Standard_DS3_v2"]
    assert "disabled" in rows["Standard_DS3_v2"]
    names = list(rows)
    assert names.index("Standard_DS3_v2") > names.index("Standard_F4s_v2")
    answer = owner.get(url, asked(step="1", vm_size="Standard_DS3_v2", go="next"))
    assert answer.status_code == 422
    assert "0 of 0 DSv2 cores left; this needs 4." in answer.content.decode()
    with django_assert_max_num_queries(2):
        rooms = rooms_of_families(workspace, "Dedicated")
    assert set(rooms) == set(sizes.families())


def test_the_scale_form_says_what_becomes_of_it_as_it_is_typed(owner: Client, workspace: Workspace) -> None:
    limit(12, workspace=workspace)
    cluster = make_cluster(workspace, max_nodes=2)
    hold(cluster, 2)
    hold(make_cluster(workspace, "other"), 3)
    url = reverse("compute:scale", args=[workspace.name, cluster.name])
    assert "6 used, 4 for this, 2 left of 12 cores" in owner.get(url).content.decode()
    part = owner.get(url, {"part": "verdict", "min_nodes": "0", "max_nodes": "5"}, headers=HTMX)
    said = "6 of 12 cores of vision-team left; this needs 10. Lower maximum nodes to 3, choose low priority"
    assert said in words(part)
    assert f"target={cluster.name}" in part.content.decode()
    for strange in ("", "-1", "x", "9" * 30):
        assert owner.get(url, {"part": "verdict", "max_nodes": strange}, headers=HTMX).status_code == 200
    sent = {"min_nodes": "4", "max_nodes": "5", "idle_seconds": "120"}
    answer = owner.post(url, sent, headers=HTMX)
    assert answer.status_code == 422
    assert "6 of 12 cores of vision-team left; this needs 8." in answer.content.decode()
    assert owner.post(url, sent | {"min_nodes": "3"}, headers=HTMX).status_code == 200
    assert ComputeTarget.objects.get(pk=cluster.pk).max_nodes == 5


def test_the_submit_form_says_it_of_the_chosen_target_and_number_of_nodes(
    ben: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    limit(2, workspace=workspace, person=ben)
    cluster = make_cluster(workspace, vm_size="Standard_D1_v2", max_nodes=6)
    url = reverse("runs:submit_check", args=[workspace.name])
    page = as_user(ben).get(url, {"target": cluster.name, "node_count": "2"}).content.decode()
    assert 'id="verdict"' in page
    answer = as_user(ben).get(url, {"target": cluster.name, "node_count": "3"})
    assert "2 of 2 cores of ben left; this needs 3. Ask for 2 nodes at most, or ask for more." in words(answer)
    assert "node_count=3" in answer.content.decode()
    Limit.objects.update(cores=1)
    answer = as_user(ben).get(url, {"target": cluster.name, "node_count": "3"})
    assert "1 of 1 cores of ben left; this needs 3. Ask for 1 node at most, or ask for more." in words(answer)
    page = as_user(ben).get(url, {"target": "local", "node_count": "1"}).content.decode()
    assert "cores" not in page


def test_a_run_that_waits_for_quota_asks_for_more_of_what_its_owner_may_have(
    ana: User, ben: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    limit(2, workspace=workspace, person=ben)
    cluster = make_cluster(workspace, vm_size="Standard_D1_v2")
    job = make_job(cluster, JobState.WAITING, submitted_by=ben, node_count=3, wait={"kind": "quota"})
    address = ask_for_run(job)
    assert f"run={job.run_id}" in address
    assert "2 of 2 cores of ben left; this needs 3." in words(as_user(ana).get(address))
    job.wait = {"kind": "behind"}
    assert ask_for_run(job) == ""
    assert ask_for_run(None) == ""
