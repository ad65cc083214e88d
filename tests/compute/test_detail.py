"""The page of one target."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from compute import processes
from compute.consumers import handles_of
from compute.models import ComputeTarget, Job, ScalingEvent
from compute.routing import sockets
from compute.states import JobState, NodeState, ProvisioningState
from studio.people.actions import note
from studio.people.models import User, Workspace
from studio.people.permissions import Right, Role, roles_with
from tests.compute.clusters import make_cluster, make_job, make_node

HTMX = {"HX-Request": "true"}
IDENTITY = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ana"
)


@pytest.fixture
def cluster(workspace: Workspace) -> ComputeTarget:
    return make_cluster(workspace)


@pytest.fixture
def url(cluster: ComputeTarget) -> str:
    return reverse("compute:detail", args=[cluster.workspace.name, cluster.name])


def address(target: ComputeTarget, what: str, *more: str) -> str:
    return reverse(f"compute:{what}", args=[target.workspace.name, target.name, *more])


@pytest.mark.parametrize("tab", ["", "overview", "nodes", "runs", "activity", "nonsense"])
@pytest.mark.parametrize("role", [Role.READER, Role.OWNER])
def test_every_member_sees_every_tab(
    member: Callable[[str, Role], User], url: str, as_user: Callable[[User], Client], role: Role, tab: str
) -> None:
    assert as_user(member("mia", role)).get(url, {"tab": tab}).status_code == 200


def test_a_stranger_does_not(cleo: User, url: str, as_user: Callable[[User], Client]) -> None:
    assert as_user(cleo).get(url).status_code == 404


def test_a_deleted_target_has_no_page(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    ComputeTarget.objects.update(deleted_at=timezone.now())
    assert as_user(ana).get(url).status_code == 404


def test_the_page_counts_nodes_by_state(
    ana: User, cluster: ComputeTarget, url: str, as_user: Callable[[User], Client]
) -> None:
    for state in (NodeState.IDLE, NodeState.IDLE, NodeState.RUNNING):
        make_node(cluster, state)
    page = as_user(ana).get(url, {"part": "header"}, headers=HTMX).content.decode()
    assert '<b>2</b><span class="muted">idle</span>' in page
    assert '<b>1</b><span class="muted">running</span>' in page
    assert '<b>0</b><span class="muted">preempted</span>' in page


def test_a_node_shows_its_run_and_can_be_preempted_by_who_may(
    ana: User, ben: User, cluster: ComputeTarget, url: str, as_user: Callable[[User], Client]
) -> None:
    node = make_node(cluster, NodeState.RUNNING, job=make_job(cluster))
    page = as_user(ana).get(url, {"tab": "nodes"}).content.decode()
    assert node.node_id in page
    assert "brave_lemur_0" in page
    assert "Preempt" in page
    assert as_user(ben).post(address(cluster, "preempt", node.node_id)).status_code == 403
    answer = as_user(ana).post(address(cluster, "preempt", node.node_id))
    assert answer["Location"].endswith("?tab=nodes")
    node.refresh_from_db()
    assert node.state == NodeState.PREEMPTED


def test_the_local_computer_shows_its_machine_and_nothing_to_edit(
    ana: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    page = as_user(ana).get(reverse("compute:detail", args=[workspace.name, "local"])).content.decode()
    assert "This machine" in page
    assert "Scale settings" not in page
    assert "Delete…" not in page


def test_scale_settings_are_changed_in_place(
    ana: User, cluster: ComputeTarget, as_user: Callable[[User], Client]
) -> None:
    answers = {"min_nodes": 0, "max_nodes": 6, "idle_seconds": 60}
    page = as_user(ana).post(address(cluster, "scale"), answers, headers=HTMX).content.decode()
    assert page.count("<td>6</td>") == 1
    cluster.refresh_from_db()
    assert (cluster.max_nodes, cluster.idle_seconds) == (6, 60)


def test_scale_settings_that_cannot_be_are_refused_where_they_were_typed(
    ana: User, cluster: ComputeTarget, as_user: Callable[[User], Client]
) -> None:
    answers = {"min_nodes": 5, "max_nodes": 4, "idle_seconds": 60}
    for headers in ({}, HTMX):
        answer = as_user(ana).post(address(cluster, "scale"), answers, headers=headers)
        assert answer.status_code == 422
        assert "The minimum cannot be above the maximum of 4." in answer.content.decode()
    cluster.refresh_from_db()
    assert cluster.max_nodes == 4


def test_the_identity_is_changed_and_taken_away(
    ana: User, cluster: ComputeTarget, as_user: Callable[[User], Client]
) -> None:
    client = as_user(ana)
    client.post(address(cluster, "identity"), {"identity": "user", "identity_id": IDENTITY})
    cluster.refresh_from_db()
    assert cluster.identity == {"type": "UserAssigned", "ids": [IDENTITY]}
    client.post(address(cluster, "identity"), {"identity": ""})
    cluster.refresh_from_db()
    assert cluster.identity == {}
    assert client.post(address(cluster, "identity"), {"identity": "both"}).status_code == 422


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("what", "right"), [("scale", Right.RESIZE_COMPUTE), ("delete", Right.DELETE_COMPUTE)])
def test_a_change_takes_the_right_for_it(
    member: Callable[[str, Role], User],
    cluster: ComputeTarget,
    as_user: Callable[[User], Client],
    role: Role,
    what: str,
    right: Right,
) -> None:
    answers = {"min_nodes": 0, "max_nodes": 6, "idle_seconds": 60}
    answer = as_user(member("mia", role)).post(address(cluster, what), answers)
    assert answer.status_code == (302 if role in roles_with(right) else 403)


def test_deletion_asks_for_the_name_while_runs_are_active(
    ana: User, cluster: ComputeTarget, as_user: Callable[[User], Client]
) -> None:
    make_job(cluster, JobState.WAITING)
    client = as_user(ana)
    asked = client.get(address(cluster, "delete")).content.decode()
    assert "1 run is active on it" in asked
    assert client.post(address(cluster, "delete"), {"confirm": "something else"}).status_code == 422
    cluster.refresh_from_db()
    assert cluster.provisioning_state == ProvisioningState.SUCCEEDED
    assert client.post(address(cluster, "delete"), {"confirm": "cpu-cluster"}).status_code == 302
    cluster.refresh_from_db()
    assert cluster.provisioning_state == ProvisioningState.DELETING


def test_activity_tells_scaling_and_changes_in_one_list_by_time(
    ana: User, cluster: ComputeTarget, url: str, as_user: Callable[[User], Client]
) -> None:
    now = timezone.now()
    scaled = {"target": cluster, "before": 0, "after": 2, "cause": "for run brave_lemur"}
    ScalingEvent.objects.create(**scaled, at=now - timedelta(minutes=2), took=timedelta(seconds=0.4))
    ScalingEvent.objects.create(**scaled, at=now + timedelta(minutes=2), error="no memory left")
    before, after = {"nodes": [0, 4], "idle_seconds": 120}, {"nodes": [0, 6], "idle_seconds": 120}
    detail = {"before": before, "after": after}
    note(cluster.workspace, ana, "target.resize", cluster, kind="target", name=cluster.name, detail=detail)
    page = " ".join(as_user(ana).get(url, {"tab": "activity"}).content.decode().split())
    assert "<b>ana</b> changed maximum nodes 4 → 6" in page
    assert "took 0.4 s" in page
    assert page.index("no memory left") < page.index("changed maximum nodes") < page.index("took 0.4 s")


def test_older_activity_is_a_page_further(
    ana: User, cluster: ComputeTarget, url: str, as_user: Callable[[User], Client]
) -> None:
    now = timezone.now()
    ScalingEvent.objects.bulk_create(
        ScalingEvent(target=cluster, at=now - timedelta(minutes=n), before=0, after=n, cause=f"cause-{n:03}")
        for n in range(130)
    )
    client = as_user(ana)
    first = client.get(url, {"tab": "activity"})
    assert "cause-099" in first.content.decode()
    assert "cause-100" not in first.content.decode()
    older = client.get(url, {"tab": "activity", "before": first.context["older"].isoformat()}).content.decode()
    assert "cause-100" in older
    assert "cause-099" not in older


def test_the_load_of_nodes_is_read_from_their_processes(
    ana: User, cluster: ComputeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(cluster, placed_on=["tvm-a", "tvm-b"], handle={"ranks": [{"folder": "/a"}, {"folder": "/b"}]})
    make_job(cluster, JobState.ENDED, placed_on=["tvm-c"], handle={"ranks": [{"folder": "/c"}]})
    found = handles_of(ana, cluster.workspace.name, cluster.name)
    assert found is not None
    assert found[1] == {"tvm-a": {"folder": "/a"}, "tvm-b": {"folder": "/b"}}


def test_a_stranger_learns_no_load(cleo: User, cluster: ComputeTarget) -> None:
    assert handles_of(cleo, cluster.workspace.name, cluster.name) is None
    assert handles_of(AnonymousUser(), cluster.workspace.name, cluster.name) is None


@pytest.mark.django_db(transaction=True)
async def test_the_socket_sends_loads_and_follows_the_jobs(
    ana: User, cleo: User, cluster: ComputeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr(
        processes, "usage", lambda handle: processes.Usage(cpu_percent=50.0, memory_bytes=handle["n"], at=now)
    )

    def look_as(user: User) -> ApplicationCommunicator:
        path = f"/ws/w/vision-team/compute/{cluster.name}/nodes/"
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": [],
            "subprotocols": [],
            "user": user,
        }
        return ApplicationCommunicator(URLRouter(sockets), scope)

    async def next_of(socket: ApplicationCommunicator) -> Any:
        frame: dict[str, Any] = await socket.receive_output(timeout=5)
        return json.loads(frame["text"]) if "text" in frame else frame["type"]

    stranger, socket = look_as(cleo), look_as(ana)
    await stranger.send_input({"type": "websocket.connect"})
    assert await next_of(stranger) == "websocket.close"
    await socket.send_input({"type": "websocket.connect"})
    assert await next_of(socket) == "websocket.accept"
    assert await next_of(socket) == {}
    facts: dict[str, Any] = {"placed_on": ["tvm-a"], "handle": {"ranks": [{"n": 7}]}}
    await database_sync_to_async(lambda: make_job(cluster, **facts))()
    await database_sync_to_async(cluster.moved)()
    said: dict[str, Any] = {}
    for _n in range(3):
        said = said or await next_of(socket)
    assert said == {"tvm-a": {"cpu_percent": 50.0, "memory_bytes": 7}}
    assert await database_sync_to_async(Job.objects.count)() == 1
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(timeout=5)
