"""A cluster of a machine whose worker does not answer any more: it says so, and can be deleted all the same."""

from datetime import timedelta

import pytest
from django.utils import timezone

from compute import actions, gone, processes, tasks
from compute.engines import embedded
from compute.models import ComputeTarget, Host, Node
from compute.states import EndReason, JobState, NodeState
from tests.compute.clusters import make_cluster, make_job

SAID = "Its machine, far, does not answer: the worker there is stopped or cut off."


@pytest.fixture
def cluster(workspace):
    embedded.this_host()
    far = Host.objects.create(name="far", cpus=8, memory_bytes=32_000_000_000, seen_at=timezone.now())
    return make_cluster(workspace, "far-cluster", host=far)


def silence(minutes: float = 5) -> None:
    Host.objects.filter(name="far").update(seen_at=timezone.now() - timedelta(minutes=minutes))


def refreshed(cluster: ComputeTarget) -> ComputeTarget:
    actions.refresh_target(ComputeTarget.objects.select_related("workspace").get(pk=cluster.pk))
    return ComputeTarget.objects.get(pk=cluster.pk)


def test_the_cluster_and_what_waits_for_it_say_that_its_machine_does_not_answer(cluster):
    waiting = make_job(cluster, JobState.WAITING)
    assert refreshed(cluster).state_reason == ""
    silence()
    assert refreshed(cluster).state_reason == SAID
    tasks.reconcile()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.wait_reason) == (JobState.WAITING, SAID)
    silence(minutes=0)
    assert refreshed(cluster).state_reason == ""


def test_it_can_be_deleted_and_what_ran_there_is_given_up(cluster, ana):
    job = make_job(cluster, handle={"ranks": []})
    facts = {"virtual_cpus": 2, "memory_bytes": 7_000_000_000, "state": NodeState.RUNNING, "job": job}
    Node.objects.create(target=cluster, host=cluster.host, node_id=Node.new_id(), **facts)
    silence()
    tasks.reconcile()
    job.refresh_from_db()
    assert job.state == JobState.RUNNING  # it may well go on there
    actions.delete_target(cluster, by=ana)
    tasks.reconcile()
    tasks.reconcile()
    job.refresh_from_db()
    cluster.refresh_from_db()
    assert (job.state, job.end_reason, job.end_detail) == (JobState.ENDED, EndReason.LOST, SAID)
    assert cluster.deleted_at is not None
    assert not Node.objects.exists()


def test_what_was_given_up_is_ended_when_its_machine_is_back(cluster, settings, monkeypatch):
    job = make_job(cluster, JobState.ENDED, handle={"ranks": [{"pid": 7}]})
    make_job(cluster, JobState.RUNNING, handle={"ranks": [{"pid": 8}]})
    ended = []
    monkeypatch.setattr(processes, "end", lambda rank, because: ended.append((rank["pid"], because)))
    gone.end_what_was_let_go()
    assert ended == []  # its cluster is there: it ended as others do
    ComputeTarget.objects.filter(pk=cluster.pk).update(deleted_at=timezone.now())
    settings.HOST_NAME = "far"
    gone.end_what_was_let_go()
    assert ended == [(job.handle["ranks"][0]["pid"], EndReason.CANCELED)]
