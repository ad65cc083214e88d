"""The metrics: what Prometheus is told, to whom, and that it stays cheap."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from compute.models import Job
from compute.quotas.models import Account, Limit
from compute.states import JobState, NodeState
from studio.people.actions import create_workspace, issue_token
from studio.people.models import ApiToken
from studio.people.permissions import Right
from tests.api.conftest import Program
from tests.api.test_answers import make_runs, problem
from tests.compute.clusters import make_cluster, make_node


def scrape(program):
    """Return what is told: {(name, values of the labels by their names, less the workspace): value}."""
    answer = program.get("/metrics")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"].startswith("text/plain")
    told = {}
    for family in parsed(answer.text):
        assert family.documentation
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("workspace") == "vision-team"
            told[sample.name, tuple(labels.values())] = sample.value
    return told


@pytest.fixture
def busy(workspace):
    cluster = make_cluster(workspace, "cpu-cluster", max_nodes=8)
    for state in (NodeState.RUNNING, NodeState.RUNNING, NodeState.IDLE, NodeState.PREEMPTED):
        make_node(cluster, state)
    Limit.objects.create(workspace=workspace, family="standarddv2family", cores=20)
    Account.objects.update_or_create(
        workspace=workspace, family="standarddv2family", priority="Dedicated", defaults={"cores": 5}
    )
    for status, started in (("Completed", True), ("Completed", True), ("Failed", True), ("Canceled", False)):
        make_runs(workspace, 1, status=status, started_at=timezone.now() if started else None)
    for minutes in (3, 1):
        since = timezone.now() - timedelta(minutes=minutes)
        Job.objects.create(
            target=cluster, run_id=f"waits_{minutes}", run_name="w", state=JobState.WAITING, enqueued_at=since
        )
    return cluster


def test_prometheus_reads_nodes_cores_quota_runs_and_queue(program, ana, busy):
    told = scrape(program(ana))
    nodes = {labels[1]: n for (name, labels), n in told.items() if name == "studio_nodes"}
    assert nodes == {"active": 2, "idle": 1, "preempted": 1, "preparing": 0, "leaving": 0, "unusable": 0}
    cores = busy.nodes.first().virtual_cpus
    assert told["studio_cores", ("cpu-cluster", "active")] == 2 * cores
    assert told["studio_nodes_max", ("cpu-cluster",)] == 8
    assert told["studio_quota_utilization_percent", ("standarddv2family", "Dedicated", "workspace")] == 25
    assert told["studio_runs", ("Experiment", "Completed")] == 2
    assert told["studio_runs", ("Experiment", "Running")] == 0
    ever = {name: n for (name, labels), n in told.items() if name.endswith("_total")}
    assert ever == {
        "studio_runs_started_total": 3,
        "studio_runs_completed_total": 2,
        "studio_runs_failed_total": 1,
        "studio_runs_canceled_total": 1,
    }
    assert told["studio_queue_length", ("cpu-cluster",)] == 2
    assert 175 < told["studio_queue_oldest_wait_seconds", ("cpu-cluster",)] < 200


def test_openmetrics_is_spoken_to_who_asks_for_it(program, ana, busy):
    answer = program(ana).get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(answer.text)} > {"studio_nodes", "studio_runs_failed"}


def test_a_scrape_costs_the_same_however_much_there_is(program, ana, busy, workspace):
    ours = program(ana)
    ours.get("/metrics")
    with CaptureQueriesContext(
        connection,
    ) as few:
        ours.get("/metrics")
    for n in range(20):
        make_node(make_cluster(workspace, f"cluster-{n}"), NodeState.IDLE)
    make_runs(workspace, 50)
    with CaptureQueriesContext(connection) as many:
        ours.get("/metrics")
    assert len(many) == len(few) < 20


def test_metrics_need_a_token_and_tell_of_its_workspace_alone(program, ana, busy, workspace, cleo, as_user):
    problem(Client().get("/metrics"), 401)
    problem(as_user(ana).get("/metrics"), 401)
    other = create_workspace("other-team", cleo)
    make_cluster(other, "their-cluster")
    assert "their-cluster" not in program(ana).get("/metrics").text
    word = issue_token(other, cleo, "theirs", set(), days=1)[1]
    answer = Program("other-team", word).get("/metrics")
    assert "cpu-cluster" not in answer.text
    assert not answer.cookies
    ApiToken.objects.update(rights=[Right.SUBMIT_RUN])
    problem(Program("other-team", word).get("/metrics"), 403)
    problem(program(ana).post("/metrics"), 405)


def test_a_hostile_name_stays_a_label(program, ana, workspace):
    cluster = make_cluster(workspace, "cpu-cluster")
    type(cluster).objects.filter(pk=cluster.pk).update(name='a"} 1\n# x\\')
    make_node(cluster, NodeState.IDLE)
    assert scrape(program(ana))["studio_nodes", ('a"} 1\n# x\\', "idle")] == 1
