"""The page of one run: what each tab says, to whom, and what can be done there."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from compute.models import Environment, EnvironmentState
from compute.quotas.models import Reservation
from compute.states import EndReason, JobState
from runs import snapshots
from runs.models import RunEvent
from runs.states import RunStatus
from studio.people.actions import create_workspace
from tests.compute.clusters import make_cluster
from tests.compute.quotas.accounts import hold

TABS = ["logs", "details", "outputs", "snapshot", "children", "raw", "nonsense"]


@pytest.fixture
def run(make_run, workspace):
    snapshot, _facts = snapshots.from_text(workspace, "train.py", "print('<b>hello</b>')\n")
    return make_run(
        "brave_lemur",
        snapshot=snapshot,
        status=RunStatus.RUNNING,
        config={"script": "train.py", "arguments": ["--x", "<i>"], "variables": {"TOKEN": "s3cret"}},
        tags={"kernel": "rbf"},
        properties={
            "azureml.git.commit": "4be1c07aaaa",
            "azureml.git.branch": "main",
            "azureml.git.dirty": "True",
            "azureml.git.repository_uri": "javascript:alert(1)",
        },
    )


@pytest.fixture
def url(run, workspace):
    return reverse("runs:detail", args=[workspace.name, run.run_id])


def at(name, run, *more):
    return reverse(f"runs:{name}", args=[run.workspace.name, run.run_id, *more])


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_is_shown_to_a_reader_and_to_nobody_else(as_user, rita, cleo, url, run, attempt_of, tab):
    attempt_of(run)
    assert as_user(rita).get(url, {"tab": tab}).status_code == 200
    assert as_user(cleo).get(url, {"tab": tab}).status_code == 404


def test_a_run_whose_environment_was_not_built_opens_with_the_words_of_who_built_it(as_user, ana, url, run, attempt_of):
    environment = Environment.objects.create(digest="0" * 64, definition={}, state=EnvironmentState.READY)
    attempt_of(run, environment=environment)
    first = 'data-stream="1/{}"'.format
    assert first("std_log.txt") in as_user(ana).get(url).content.decode()
    environment.state = EnvironmentState.FAILED
    environment.save()
    page = as_user(ana).get(url).content.decode()
    assert first("environment.txt") in page
    assert page.index(">environment.txt</option>") < page.index(">std_log.txt</option>")


def test_the_header_says_why_a_run_waits_and_why_it_failed(as_user, ana, url, run):
    run.status, run.reason = RunStatus.QUEUED, "waits for 2 nodes of cpu-cluster"
    run.save()
    assert "callout warn" in as_user(ana).get(url).content.decode()
    run.status, run.reason, run.hint = RunStatus.FAILED, "train.py ended with exit code 1.", "Look at its last lines."
    run.save()
    page = as_user(ana).get(url).content.decode()
    assert "callout bad" in page
    assert "Look at its last lines." in page
    run.reason = "Its environment could not be built: The build failed: its log has the rest.\n× <b>no\n  hint"
    run.save()
    page = as_user(ana).get(url).content.decode()
    assert "<b>Its environment could not be built: The build failed: its log has the rest.</b>" in page
    assert ">× &lt;b&gt;no\n  hint</pre>" in page


def test_the_header_is_served_alone_and_names_its_event(as_user, ana, run):
    part = as_user(ana).get(at("header", run)).content.decode()
    assert "<html" not in part
    assert f'hx-trigger="run-{run.pk}:moved from:body' in part


def test_an_address_of_a_repository_is_a_link_only_when_it_is_one_of_the_web(as_user, ana, url, run):
    page = as_user(ana).get(url).content.decode()
    assert "javascript:" not in page
    assert "main@4be1c07" in page
    assert "dirty" in page
    run.properties["azureml.git.repository_uri"] = "https://git.example/team/x.git"
    run.save()
    assert 'href="https://git.example/team/x"' in as_user(ana).get(url).content.decode()


def test_values_of_variables_are_for_those_who_may_submit(as_user, ben, rita, url):
    for tab in ("details", "raw"):
        assert "s3cret" in as_user(ben).get(url, {"tab": tab}).content.decode()
        seen = as_user(rita).get(url, {"tab": tab}).content.decode()
        assert "TOKEN" in seen
        assert "s3cret" not in seen


def test_the_command_is_one_that_could_be_typed_and_the_python_is_the_targets(as_user, ana, url, run):
    run.config["arguments"] = ["--name", "a b", "$(id)"]
    run.save()
    side = as_user(ana).get(url).context["command"]
    assert side == "python train.py --name 'a b' '$(id)'"
    assert as_user(ana).get(url, {"tab": "details"}).context["own_python"] == "the studio's own"
    run.target.kind = "VirtualMachine"
    run.target.save()
    assert as_user(ana).get(url, {"tab": "details"}).context["own_python"] == "the target's own"
    run.target.kind, run.config["script"], run.config["arguments"] = "DataLakeAnalytics", "words.usql", []
    run.target.save()
    run.save()
    page = as_user(ana).get(url, {"tab": "details"})
    assert (page.context["command"], page.context["own_python"]) == ("words.usql", "—")


def test_the_document_has_the_providers_keys(as_user, ana, url, run):
    page = as_user(ana).get(url, {"tab": "raw"})
    document = json.loads(page.context["document"])
    assert document["runId"] == run.run_id
    assert document["target"] == "local"
    assert document["status"] == "Running"
    assert "endTimeUtc" not in document
    assert document["runDefinition"]["script"] == "train.py"
    assert document["runDefinition"]["environment"]["python"]["userManagedDependencies"] is True
    assert any(name.endswith("std_log.txt") for name in document["logFiles"])
    assert {"properties", "inputDatasets", "outputDatasets", "submittedBy", "logFiles"} <= set(document)


def test_preempted_attempts_are_told(as_user, ana, url, run, attempt_of):
    now = timezone.now()
    attempt_of(
        run,
        end_reason=EndReason.PREEMPTED,
        end_detail="Its node was taken.",
        placed_on=["tvm-1"],
        started_at=now - timedelta(seconds=9),
        ended_at=now,
        receipt={"signalled": [], "left": [], "empty_at": now.isoformat()},
    )
    attempt_of(run, placed_on=["tvm-2"])
    page = as_user(ana).get(url, {"tab": "details"}).content.decode()
    assert "preempted once" in page
    assert "Its node was taken." in page
    assert "Nothing was left." in page
    assert "tvm-2" in page


def test_the_page_takes_as_many_queries_for_many_attempts_and_events(as_user, ana, url, run, attempt_of):
    client = as_user(ana)
    attempt_of(run)
    client.get(url, {"tab": "details"})
    with CaptureQueriesContext(connection) as few:
        client.get(url, {"tab": "details"})
    for _n in range(5):
        attempt_of(run)
        RunEvent.objects.create(run=run, old=RunStatus.QUEUED, new=RunStatus.RUNNING)
    with CaptureQueriesContext(connection) as many:
        client.get(url, {"tab": "details"})
    assert len(many) == len(few)


def test_files_of_the_snapshot_are_shown_as_text_and_sent_as_downloads(as_user, rita, cleo, url, run):
    client = as_user(rita)
    page = client.get(url, {"tab": "snapshot"}).content.decode()
    assert "&lt;b&gt;hello" in page
    preview = client.get(at("snapshot_file", run, "train.py"), {"view": "preview"}).content.decode()
    assert "&lt;b&gt;hello" in preview
    sent = client.get(at("snapshot_file", run, "train.py"))
    assert sent["Content-Disposition"].startswith("attachment")
    assert b"".join(sent.streaming_content) == b"print('<b>hello</b>')\n"
    packed = client.get(at("snapshot_zip", run))
    assert b"".join(packed.streaming_content).startswith(b"PK")
    assert client.get(at("snapshot_file", run, "other.py")).status_code == 404
    assert client.get(at("snapshot_file", run, "../../secret")).status_code == 404
    assert client.get(url, {"tab": "snapshot", "file": "other.py"}).status_code == 404
    for name, more in (("snapshot_file", ["train.py"]), ("snapshot_zip", []), ("outputs_zip", [])):
        assert as_user(cleo).get(at(name, run, *more)).status_code == 404


def test_tags_and_description_are_edited_by_those_who_may(as_user, ben, rita, run):
    run.refresh_from_db()
    edit = at("edit", run)
    assert as_user(rita).post(edit, {"description": "x"}).status_code == 403
    answer = as_user(ben).post(edit, {"description": "new words", "tag_key": ["a", "b"], "tag_value": ["1", ""]})
    assert answer.status_code == 302
    run.refresh_from_db()
    assert run.description == "new words"
    assert run.tags == {"a": "1", "b": ""}


@pytest.mark.parametrize("typed", [{"tag_key": ["a" * 101], "tag_value": ["1"]}, {"description": "x" * 5001}])
def test_what_breaks_a_limit_is_said_and_what_was_typed_is_kept(as_user, ben, run, typed):
    answer = as_user(ben).post(at("edit", run), typed)
    assert answer.status_code == 422
    kept = typed.get("description") or typed["tag_key"][0]
    assert kept in answer.content.decode()
    run.refresh_from_db()
    assert run.tags == {"kernel": "rbf"}


def test_a_run_is_canceled_once_by_those_who_may(as_user, ben, rita, run, member):
    cancel = at("cancel", run)
    assert as_user(rita).post(cancel).status_code == 403
    assert as_user(ben).get(cancel).status_code == 405
    part = as_user(ben).post(cancel, headers={"HX-Request": "true"}).content.decode()
    assert 'id="run-header"' in part
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELED
    assert as_user(ben).post(cancel).status_code == 409


def test_what_a_reader_may_not_do_is_shown_disabled(as_user, rita, url):
    page = as_user(rita).get(url).content.decode()
    assert page.count("data-needs") >= 3


def test_nothing_of_a_run_is_found_from_another_workspace(as_user, cleo, run):
    other = create_workspace("others", cleo)
    client = as_user(cleo)
    for name in ("detail", "header", "row", "outputs_zip", "snapshot_zip"):
        assert client.get(reverse(f"runs:{name}", args=[other.name, run.run_id])).status_code == 404
    for name in ("cancel", "resubmit", "edit"):
        assert client.post(reverse(f"runs:{name}", args=[other.name, run.run_id])).status_code == 404


def test_child_runs_are_listed(as_user, ana, url, run, make_run):
    make_run("the_child", parent=run)
    assert "the_child" in as_user(ana).get(url, {"tab": "children"}).content.decode()
    assert (
        "child of brave_lemur"
        in as_user(ana)
        .get(reverse("runs:detail", args=[run.workspace.name, run.children.get().run_id]))
        .content.decode()
    )


def test_a_run_on_borrowed_cores_says_that_it_can_be_stopped(as_user, ana, url, run, attempt_of, workspace):
    job = attempt_of(run, state=JobState.RUNNING)
    node = hold(make_cluster(workspace))[0]
    Reservation.objects.filter(node=node).update(job=job)
    assert "can be stopped" not in as_user(ana).get(url).text
    Reservation.objects.filter(node=node).update(borrowed=True)
    assert "borrowed: can be stopped" in as_user(ana).get(url).text
