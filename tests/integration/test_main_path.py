"""The main job, with real processes: a cluster, a script, its log, its end."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from compute import disk, logs
from compute.actions import create_cluster, delete_target, ensure_local, preempt_node, resize_target
from compute.models import ComputeTarget, Job, Node, ScalingEvent
from compute.states import AllocationState, JobState, NodeState
from runs import snapshots
from runs.actions import cancel_run, resubmit_run, submit_run
from runs.configuration import EnvironmentSpec, RunConfiguration
from runs.models import Run
from runs.states import RunStatus
from studio.errors import CannotEverRun
from studio.people.models import User, Workspace
from tests.integration.conftest import Worker

pytestmark = pytest.mark.django_db(transaction=True)
PYTHON = EnvironmentSpec("interpreter", sys.executable)
Submit = Callable[..., Run]


@pytest.fixture(autouse=True)
def roomy(settings: Any) -> None:
    settings.OVERCOMMIT = 8.0  # four small nodes fit on a machine of one CPU
    settings.GRACE_SECONDS = 0.5


@pytest.fixture
def cluster(workspace: Workspace, ana: User) -> ComputeTarget:
    return make_cluster(workspace, ana, "cpu-cluster")


def make_cluster(workspace: Workspace, by: User, name: str, **changes: Any) -> ComputeTarget:
    facts: dict[str, Any] = {
        "vm_size": "Standard_D1_v2",
        "vm_priority": "Dedicated",
        "min_nodes": 0,
        "max_nodes": 2,
        "idle_seconds": 120,
    }
    return create_cluster(workspace, by=by, name=name, **facts | changes)


@pytest.fixture
def submit(workspace: Workspace, ana: User) -> Submit:
    def submit(target: ComputeTarget, code: str, **changes: Any) -> Run:
        snapshot, _facts = snapshots.from_text(workspace, "train.py", code)
        config = RunConfiguration("train.py", environment=PYTHON, **changes)
        return submit_run(workspace, by=ana, experiment="digits", target=target, snapshot=snapshot, config=config)

    return submit


def status(run: Run) -> RunStatus:
    run.refresh_from_db()
    return run.state


def log_of(run: Run, name: str = "std_log.txt", attempt: int = 1) -> str:
    key = f"runs/{run.run_id}/{attempt}/{name}"
    return logs.read(key, 0, logs.size(key)).decode()


def test_a_cluster_grows_for_a_run_and_shrinks_after_it(cluster: ComputeTarget, submit: Submit, worker: Worker) -> None:
    ComputeTarget.objects.filter(pk=cluster.pk).update(idle_seconds=0)
    run = submit(cluster, "print('fold 1/5 accuracy 0.97')")
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.COMPLETED, run.reason
    assert run.exit_code == 0
    assert log_of(run) == "fold 1/5 accuracy 0.97\n"
    assert [e.new for e in run.events.all()] == ["Starting", "Queued", "Running", "Completed"]
    worker.until(lambda: not cluster.nodes.exists())
    grown, shrunk = ScalingEvent.objects.order_by("pk")
    assert (grown.before, grown.after) == (0, 1)
    assert run.display_name in grown.cause
    assert (shrunk.before, shrunk.after) == (1, 0)
    cluster.refresh_from_db()
    assert cluster.allocation_state == AllocationState.STEADY


def test_a_failing_run_keeps_its_last_words(cluster: ComputeTarget, submit: Submit, worker: Worker) -> None:
    run = submit(cluster, "print('fold 1/5')\nraise MemoryError('no room')")
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.FAILED
    assert run.exit_code == 1
    assert "exit code 1" in run.reason
    assert run.hint
    assert log_of(run).endswith("MemoryError: no room\n")


def test_a_run_on_the_local_computer_needs_no_node(workspace: Workspace, submit: Submit, worker: Worker) -> None:
    run = submit(ensure_local(workspace), "print('here')")
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.COMPLETED, run.reason
    assert log_of(run) == "here\n"


def test_a_run_sees_nothing_of_the_studio(
    cluster: ComputeTarget, submit: Submit, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    run = submit(cluster, "import os\nprint(sorted(os.environ))\nprint(os.environ['MINE'])", variables={"MINE": "yes"})
    worker.until(lambda: status(run).is_final)
    words = log_of(run)
    assert "yes" in words
    assert "AZUREML_RUN_ID" in words
    for hidden in ("DATABASE_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "STUDIO_DATA"):
        assert hidden not in words


def test_all_ranks_start_together_and_know_each_other(cluster: ComputeTarget, submit: Submit, worker: Worker) -> None:
    names = "RANK WORLD_SIZE NODE_RANK LOCAL_RANK MASTER_ADDR MASTER_PORT"
    run = submit(cluster, f"import os\nprint(*[os.environ[n] for n in '{names}'.split()])", node_count=2)
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.COMPLETED, run.reason
    first, second = (log_of(run, f"std_log_process_{rank}.txt").split() for rank in (0, 1))
    assert first[:5] == ["0", "2", "0", "0", "127.0.0.1"]
    assert second[:5] == ["1", "2", "1", "0", "127.0.0.1"]
    assert first[5] == second[5]
    assert len(set(Job.objects.get().placed_on)) == 2


def test_one_rank_that_fails_ends_the_others(cluster: ComputeTarget, submit: Submit, worker: Worker) -> None:
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(7)\ntime.sleep(60)"
    run = submit(cluster, code, node_count=2)
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.FAILED
    assert run.exit_code == 7


def test_a_run_that_can_never_be_placed_is_refused_at_once(cluster: ComputeTarget, submit: Submit) -> None:
    with pytest.raises(CannotEverRun, match="2"):
        submit(cluster, "pass", node_count=3)
    assert not Run.objects.exists()


def test_a_second_run_waits_and_says_for_what(cluster: ComputeTarget, submit: Submit, worker: Worker) -> None:
    first = submit(cluster, "import time; time.sleep(60)", node_count=2)
    worker.until(lambda: status(first) == RunStatus.RUNNING)
    second = submit(cluster, "print('at last')", node_count=2)
    worker.until(lambda: status(second) == RunStatus.QUEUED and second.reason)
    assert "2 nodes of cpu-cluster" in second.reason
    assert first.display_name in second.reason
    cancel_run(first, by=first.submitted_by)  # type: ignore[arg-type]
    worker.until(lambda: status(second) == RunStatus.COMPLETED)
    assert status(first) == RunStatus.CANCELED


def test_a_canceled_run_leaves_a_receipt_and_no_process(
    cluster: ComputeTarget, submit: Submit, worker: Worker, ana: User
) -> None:
    run = submit(cluster, "import time\nprint('on', flush=True)\ntime.sleep(60)")
    worker.until(lambda: status(run) == RunStatus.RUNNING and log_of(run) == "on\n")
    cancel_run(run, by=ana)
    assert status(run) == RunStatus.CANCEL_REQUESTED
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.CANCELED
    assert "ana" in run.reason
    receipt = Job.objects.get().receipt["ranks"][0]
    assert receipt["signalled"]
    assert receipt["left"] == []
    worker.until(lambda: cluster.nodes.get().state == NodeState.IDLE)


def test_a_waiting_run_is_canceled_at_once(cluster: ComputeTarget, submit: Submit, ana: User) -> None:
    run = submit(cluster, "print()")
    cancel_run(run, by=ana)
    assert Job.objects.get().state == JobState.ENDED


def test_a_preempted_run_starts_over_and_keeps_what_each_attempt_put_out(
    cluster: ComputeTarget, submit: Submit, worker: Worker, ana: User
) -> None:
    code = (
        "import os, time, pathlib\n"
        "pathlib.Path('outputs/mark').write_text(os.environ['AZUREML_NODE_ID'])\n"
        "print('start', flush=True)\n"
        "time.sleep(60 if not pathlib.Path('/proc/self').exists() or not os.environ.get('GO') else 0)\n"
    )
    run = submit(cluster, code)
    worker.until(lambda: status(run) == RunStatus.RUNNING and log_of(run) == "start\n")
    taken = cluster.nodes.get()
    preempt_node(cluster, taken.node_id, by=ana)
    worker.until(lambda: run.attempts.count() == 2 and status(run) == RunStatus.RUNNING)
    assert not Node.objects.filter(pk=taken.pk).exists()
    first, second = run.attempts.all()
    assert first.job.end_reason == "preempted"
    assert (first.job.folder / "rank-0" / "outputs" / "mark").read_text() == taken.node_id
    reasons = " ".join(run.events.values_list("reason", flat=True))
    assert "attempt 2 of 4" in reasons
    cancel_run(run, by=ana)
    worker.until(lambda: status(run).is_final)
    assert second.job.folder != first.job.folder


def test_a_run_preempted_too_often_fails_and_says_so(
    cluster: ComputeTarget, submit: Submit, worker: Worker, ana: User
) -> None:
    run = submit(cluster, "import time; time.sleep(60)", restarts=0)
    worker.until(lambda: status(run) == RunStatus.RUNNING)
    preempt_node(cluster, cluster.nodes.get().node_id, by=ana)
    worker.until(lambda: status(run).is_final)
    assert run.status == RunStatus.FAILED
    assert run.reason == "ana preempted it by hand. It has used all its attempts: 1."


def test_a_dedicated_run_takes_the_place_of_a_low_priority_one(
    workspace: Workspace, ana: User, submit: Submit, worker: Worker, settings: Any
) -> None:
    import os

    settings.OVERCOMMIT = 2 / len(os.sched_getaffinity(0))  # room for two nodes
    low = make_cluster(workspace, ana, "low", vm_priority="LowPriority")
    high = make_cluster(workspace, ana, "high", max_nodes=1)
    cheap = submit(low, "import time; time.sleep(60)", node_count=2)
    worker.until(lambda: status(cheap) == RunStatus.RUNNING)
    dear = submit(high, "print('mine')")
    worker.until(lambda: status(dear) == RunStatus.COMPLETED)
    assert status(cheap) in {RunStatus.QUEUED, RunStatus.RUNNING}
    assert cheap.attempts.count() == 2
    cancel_run(cheap, by=ana)
    worker.until(lambda: status(cheap).is_final)


def test_the_minimum_stands_without_any_run(cluster: ComputeTarget, worker: Worker, ana: User) -> None:
    resize_target(cluster, by=ana, min_nodes=2, max_nodes=2, idle_seconds=0)
    worker.until(lambda: cluster.nodes.filter(state=NodeState.IDLE).count() == 2)
    resize_target(cluster, by=ana, min_nodes=0, max_nodes=2, idle_seconds=0)
    worker.until(lambda: not cluster.nodes.exists())


def test_a_deleted_cluster_ends_its_runs_and_frees_its_name(
    workspace: Workspace, cluster: ComputeTarget, submit: Submit, worker: Worker, ana: User
) -> None:
    run = submit(cluster, "import time; time.sleep(60)")
    worker.until(lambda: status(run) == RunStatus.RUNNING)
    delete_target(cluster, by=ana)
    worker.until(lambda: status(run).is_final and not ComputeTarget.objects.existing().filter(pk=cluster.pk).exists())
    assert run.status == RunStatus.CANCELED
    assert "deleted the cluster" in run.reason
    assert make_cluster(workspace, ana, "CPU-cluster").pk != cluster.pk


def test_the_same_form_twice_is_one_run_and_one_cluster(workspace: Workspace, ana: User) -> None:
    from uuid import uuid4

    token = uuid4()
    first, second = (make_cluster(workspace, ana, "once", token=token) for _ in range(2))
    assert first.pk == second.pk
    snapshot, _facts = snapshots.from_text(workspace, "train.py", "pass")
    config = RunConfiguration("train.py", environment=PYTHON)
    one, two = (
        submit_run(workspace, by=ana, experiment="e", target=first, snapshot=snapshot, config=config, token=token)
        for _ in range(2)
    )
    assert one.pk == two.pk
    assert Job.objects.count() == 1


def test_a_resubmitted_run_has_the_same_files(
    cluster: ComputeTarget, submit: Submit, worker: Worker, ana: User
) -> None:
    run = submit(cluster, "print('again')")
    again = resubmit_run(run, by=ana)
    worker.until(lambda: status(again).is_final and status(run).is_final)
    assert again.snapshot_id == run.snapshot_id
    assert again.number == run.number + 1
    assert log_of(again) == "again\n"


@pytest.mark.parametrize("on", ["cluster", "local"])
def test_below_the_floor_of_free_disk_a_run_waits_and_says_why(
    on: str, cluster: ComputeTarget, workspace: Workspace, submit: Submit, worker: Worker, settings: Any
) -> None:
    settings.DISK_FLOOR_BYTES = disk.free_bytes() * 2
    run = submit(cluster if on == "cluster" else ensure_local(workspace), "print('at last')")
    worker.until(lambda: status(run) == RunStatus.QUEUED and "less than the floor" in run.reason)
    assert not cluster.nodes.exists()
    settings.DISK_FLOOR_BYTES = 0
    worker.until(lambda: status(run).is_final)
    assert (run.status, log_of(run)) == (RunStatus.COMPLETED, "at last\n"), run.reason
