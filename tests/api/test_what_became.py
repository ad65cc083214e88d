"""What programs are told of a target's connection and identity, and of what became of runs and experiments."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from compute.attaching import look_again
from compute.engines import embedded
from compute.models import Examination, Job
from compute.prices.actions import price_machine
from compute.prices.models import Unit
from compute.states import EndReason, JobState
from compute.usage import record
from runs.models import Attempt
from studio.people.models import Activity
from tests.api.test_answers import make_runs, problem
from tests.compute.clusters import make_cluster, make_job
from tests.compute.tiny import KEY, OTHER_KEY, looked_at, make_attached
from tests.runs.test_receipts import CANCELED

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)


def test_an_attached_target_tells_its_connection_and_each_look_but_no_secret(
    with_tiny, queued, program, ana, ben, workspace
):
    target = make_attached(workspace, ana, "lab", "lab-<b>.example")
    target.config["changed_host_key"] = OTHER_KEY
    target.save()
    ours = program(ana)
    assert ours.post("targets/lab/looks").status_code == 202
    newest = looked_at(Examination.objects.latest("pk"))
    assert look_again(target, by=ana).pk != newest.pk  # it has ended: this is another one, which goes on
    said = program(ben).get("targets/lab/connection").json()
    assert ("Address", "lab-<b>.example") in {(one["label"], one["value"]) for one in said["typed"]}
    assert (said["has_credentials"], said["host_key"], said["changed_host_key"]) == (
        True, KEY["sha256"], OTHER_KEY["sha256"],
    )  # fmt: skip
    assert (said["newest_look"]["ended_at"], said["newest_look"]["has_passed"]) == (None, False)
    assert "the secret key" not in json.dumps(said)
    answer = ours.get("targets/lab/looks?limit=1").json()
    looks = answer["items"] + ours.get(answer["next"]).json()["items"]
    assert looks[1]["id"] == newest.pk
    (gpu,) = [check for check in looks[1]["checks"] if check["key"] == "gpu"]
    assert (gpu["state"], gpu["evidence"], gpu["needed"]) == ("warn", "none", False)
    assert gpu["remedy"] == "Install a driver."
    make_cluster(workspace, "cpu-cluster")
    problem(ours.get("targets/cpu-cluster/connection"), 404)
    problem(ours.post("targets/cpu-cluster/looks"), 409)
    problem(ours.get("targets/lab/identity"), 404)


def test_a_cluster_is_given_an_identity_and_never_both_kinds(program, ana, workspace):
    make_cluster(workspace, "cpu-cluster")
    ours, path = program(ana), "targets/cpu-cluster/identity"
    lab = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/lab"
    one = f"{lab}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reader"
    assert ours.get(path).json() == {"type": "None", "ids": []}
    assert ours.ask("PUT", path, {"type": "SystemAssigned"}).json() == {"type": "SystemAssigned", "ids": []}
    for sent, status in (
        ({"type": "SystemAssigned", "ids": [one]}, 409),
        ({"type": "UserAssigned"}, 409),
        ({"type": "UserAssigned", "ids": ["reader"]}, 409),
        ({"type": "None", "ids": [one]}, 409),
        ({"type": "Mine"}, 422),
    ):
        problem(ours.ask("PUT", path, sent), status)
    stale = ours.get(path)["ETag"]
    sent = {"type": "UserAssigned", "ids": [one]}
    assert ours.ask("PUT", path, sent, If_Match=stale).json() == sent
    problem(ours.ask("PUT", path, {"type": "None"}, If_Match=stale), 412)
    assert ours.get("targets/cpu-cluster").json()["identity"] == sent
    assert ours.ask("PUT", path, {"type": "None"}).json() == {"type": "None", "ids": []}
    assert Activity.objects.filter(verb="target.identity", token="program").count() == 3


def test_a_run_tells_its_attempts_with_receipt_cost_and_metrics(program, ana, ben, workspace):
    host = embedded.this_host()
    price_machine(workspace, host, Decimal("0.05"), Unit.NODE, by=ana)
    cluster = make_cluster(workspace, "cpu-cluster", host=host)
    run, never = make_runs(workspace, 2)
    first = _attempt(run, cluster, 1, EndReason.PREEMPTED, submitted_by=ana)
    last = _attempt(run, cluster, 2, EndReason.CANCELED, submitted_by=ana, receipt=CANCELED, facts={
        "page": "javascript:alert(1)", "run": "<b>7</b>", "secret": "x",
    })  # fmt: skip
    ours = program(ben)
    newest, oldest = ours.get(f"runs/{run.run_id}/attempts").json()["items"]
    assert (oldest["number"], oldest["end_reason"], oldest["seconds"]) == (1, "preempted", 7200)
    assert (newest["number"], newest["service"]) == (2, {"run": "<b>7</b>"})
    assert newest["ended_how"].startswith("2 processes were ended")
    assert newest["receipt"][0]["processes"][0]["signals"] == "SIGTERM, SIGKILL"
    used = ours.get(f"runs/{run.run_id}/usage").json()
    assert (Decimal(used["node_hours"]), Decimal(used["usd"]), used["jobs"]) == (Decimal(4), Decimal("0.2"), 2)
    assert used["rests_on"].startswith("USD, price of the machine")
    assert [(one["attempt"], one["seconds"], Decimal(one["usd"])) for one in used["lost"]] == [
        (1, 7200, Decimal("0.1"))
    ]
    _measure(first, {"name": "old", "value": 9})
    _measure(last, {"name": "loss", "value": 0.5}, {"name": "loss", "value": 0.25}, {"name": "a/b <i>", "value": 1})
    said = ours.get(f"runs/{run.run_id}/metrics").json()
    assert (said["attempt"], [one["name"] for one in said["series"]]) == (2, ["loss", "a/b <i>"])
    (loss,) = ours.get(f"runs/{run.run_id}/metrics?name=loss").json()["series"]
    assert (loss["count"], loss["last"], [p["value"] for p in loss["points"]]) == (2, 0.25, [0.5, 0.25])
    assert ours.get(f"runs/{never.run_id}/metrics").json() == {"attempt": None, "skipped": 0, "series": []}
    answer = ours.get("experiments/digits/metrics?limit=1").json()
    rows = answer["items"] + ours.get(answer["next"]).json()["items"]
    assert [(row["number"], row["metrics"]) for row in rows] == [(1, {}), (0, {"loss": 0.25, "a/b <i>": 1.0})]
    march = "since=2026-03-01&until=2026-04-30"
    assert Decimal(ours.get(f"experiments/digits/usage?{march}").json()["usd"]) == 0
    problem(ours.get(f"experiments/digits/usage?{march}&whose=all"), 403)
    everybodys = program(ana).get(f"experiments/digits/usage?{march}&whose=all").json()
    assert (Decimal(everybodys["usd"]), everybodys["jobs"]) == (Decimal("0.2"), 2)


def _attempt(run, cluster, number, reason, **facts) -> Job:
    job = make_job(
        cluster, JobState.ENDED, started_at=NOON, ended_at=NOON + timedelta(hours=2), attempt=number,
        end_reason=reason, spec={"experiment": "digits"}, **facts,
    )  # fmt: skip
    Attempt.objects.create(run=run, number=number, job=job)
    record.ended(job)
    return job


def _measure(job, *lines) -> None:
    outputs = job.folder / "rank-0" / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    (outputs / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
