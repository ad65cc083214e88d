"""How the API answers: who is let in, errors in words, ETags, pages of lists, and things made once."""

import json
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from compute.models import ComputeTarget
from runs.models import Experiment, Run
from studio.people.actions import create_workspace, issue_token, revoke_token
from studio.people.models import ApiToken
from studio.people.permissions import Right
from tests.api.conftest import Program
from tests.compute.clusters import make_cluster


def problem(answer, status):
    """Return the problem that an answer is."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["detail"]
    return said


def make_runs(workspace, count, **facts):
    experiment, _made = Experiment.objects.get_or_create(workspace=workspace, name="digits")
    now = timezone.now()
    first = Run.objects.count()
    return Run.objects.bulk_create(
        Run(
            **{
                "workspace": workspace,
                "experiment": experiment,
                "number": n,
                "run_id": f"digits_{n}",
                "display_name": f"run_{n:04}",
                "status": "Completed",
                "target_name": "local",
                "config": {"script": "train.py"},
                "created_at": now - timedelta(minutes=1000 - n),
                "ended_at": now,
            }
            | facts
        )
        for n in range(first, first + count)
    )


def test_a_token_opens_its_workspace_and_no_other(program, ana, workspace):
    create_workspace("other-team", ana)
    ours = program(ana)
    said = ours.get("/api/v1/me").json()
    assert (said["username"], said["by_token"]) == ("ana", True)
    assert [space["name"] for space in said["workspaces"]] == ["vision-team"]
    hidden, absent = ours.get("/api/v1/w/other-team"), ours.get("/api/v1/w/nowhere")
    assert problem(hidden, 404)["detail"] == problem(absent, 404)["detail"]


@pytest.mark.parametrize("word", ["", "studio_guessed", "x" * 5000])
def test_nobody_is_told_how_to_come_in(db, word):
    answer = Client().get("/api/v1/me", headers={"Authorization": f"Bearer {word}"} if word else {})
    said = problem(answer, 401)
    assert "studio_…" in said["hint"]
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert not answer.cookies


def test_tokens_end(program, ana, workspace):
    for end in ({"revoked_at": timezone.now()}, {"revoked_at": None, "expires_at": timezone.now()}):
        ours = program(ana)
        assert ours.get().status_code == 200
        ApiToken.objects.update(**end)
        problem(ours.get(), 401)


def test_guessing_tokens_is_slowed_down_and_those_that_work_go_on(program, ana):
    ours = program(ana)
    answers = [Client().get("/api/v1/me", headers={"Authorization": f"Bearer studio_{n}"}) for n in range(31)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    problem(answers[-1], 429)
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert ours.get().status_code == 200


def test_a_program_is_given_no_cookie_and_its_own_counts_for_nothing(program, ana, cleo):
    ours = program(ana)
    ours.client.force_login(cleo)
    answer = ours.get()
    assert answer.status_code == 200
    assert not answer.cookies
    assert ours.get("/api/v1/me").json()["username"] == "ana"
    ours.headers = {"Authorization": "Bearer studio_guessed"}
    problem(ours.get("/api/v1/me"), 401)  # nor does the session help


def test_a_token_opens_nothing_but_the_api(program, ana, workspace):
    ours = program(ana)
    for page in ("/w/vision-team/", "/w/vision-team/runs/", "/profile/"):
        answer = ours.client.get(page, headers=ours.headers)
        assert answer.status_code == 302, page


def test_a_session_changes_something_only_from_our_pages(ana, workspace):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ana)
    assert client.get("/api/v1/w/vision-team").status_code == 200
    run = make_runs(workspace, 1)[0]
    path = f"/api/v1/w/vision-team/runs/{run.run_id}"
    sent = json.dumps({"description": "better"})
    assert "X-CSRFToken" in problem(client.patch(path, sent, "application/json"), 403)["hint"]
    client.get("/w/vision-team/submit/")  # a page with a form
    token = client.cookies["csrftoken"].value
    answer = client.patch(path, sent, "application/json", headers={"X-CSRFToken": token})
    assert answer.status_code == 200
    run.refresh_from_db()
    assert run.description == "better"


def test_a_right_that_the_token_lacks_is_named(program, ana, workspace):
    said = problem(program(ana, Right.VIEW).post("runs/x/cancel"), 403)
    assert "run.cancel" in said["detail"]
    assert "Data Scientist" in said["hint"]


def test_a_role_that_is_too_small_is_named(program, rita):
    said = problem(program(rita).post("runs/x/cancel"), 403)
    assert "This needs the role" in said["hint"]


def test_whatever_is_wrong_is_a_problem_and_never_a_page(program, ana, workspace):
    ours = program(ana)
    assert problem(ours.get("nothing-like-it"), 404)["instance"] == "/api/v1/w/vision-team/nothing-like-it"
    problem(ours.get("/api/v2/me"), 404)
    problem(ours.get("/api/v1/w/vision-team/runs/a\x00b"), 404)
    problem(ours.get("runs/a%0Ab"), 404)
    answer = ours.ask("DELETE", "runs")
    assert problem(answer, 405)["detail"] == "This address takes GET, POST."
    assert answer["Allow"] == "GET, POST"
    problem(ours.ask("TRACE", "runs"), 405)
    for body in (b"{no json", b"[" * 100_000):
        problem(ours.post("runs", body), 400)
    problem(ours.post("runs", b"x" * 11_000_000), 413)
    problem(ours.client.get("/api/v1/me", headers=ours.headers | {"Host": "evil.example"}), 400)
    assert ours.ask("HEAD", "runs").status_code == 200


def test_what_nobody_expected_is_a_problem_too_and_says_nothing_of_the_inside(program, ana, monkeypatch):
    ours = program(ana)
    ours.client.raise_request_exception = False

    def fail(*_any):
        raise DatabaseError("the secret of the table")

    monkeypatch.setattr("studio.api.routers.runs.part_of_runs", fail)
    answer = ours.get("runs")
    assert "log" in problem(answer, 500)["hint"]
    assert "secret" not in answer.text


def test_errors_speak_spanish_to_who_asks_for_it_and_english_otherwise(program, ana):
    ana.language = "es"
    ana.save()
    assert problem(program(ana).get("runs/nowhere"), 404)["detail"].startswith("There is no")
    spanish = problem(program(ana).get("runs/nowhere", Accept_Language="tlh, es-MX;q=0.8, en;q=0.1"), 404)
    assert not spanish["detail"].startswith("There is no")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("runs?limit=0", "limit"),
        ("runs?limit=201", "limit"),
        ("runs?limit=many", "limit"),
        ("runs?status=Done", "status.0"),
        ("runs?sort=price", "sort"),
        ("runs?colour=red", "colour"),
        ("runs?cursor=guess", "cursor"),
        ("runs?sort=name&cursor=WyJ4IiwxXQ==", "cursor"),
        ("runs?cursor=WyIyMDI2LTAxLTAxIiwxXQ==", "cursor"),
        ("targets?state=tired", "state"),
        ("targets?cursor=WzEsLTFd", "cursor"),
        ("experiments?q=%61&sort=--name", "sort"),
        ("search", "q"),
        ("members?verbose=1", "verbose"),
    ],
)
def test_what_is_asked_wrongly_is_named(program, ana, path, field):
    said = problem(program(ana).get(path), 422)
    assert field in [error["field"] for error in said["errors"]], said


def test_a_zero_byte_and_a_name_that_is_not_known_are_refused_in_bodies(program, ana, workspace):
    run = make_runs(workspace, 1)[0]
    ours = program(ana)
    for sent in ({"description": "a\0b"}, {"colour": "red"}, {"tags": {"a\0": "b"}}, ["description"]):
        problem(ours.ask("PATCH", f"runs/{run.run_id}", sent), 422)


def walk(ours, path, between=lambda: None):
    """Return the names of all rows of a list, part by part."""
    seen, answer = [], ours.get(path)
    while True:
        said = answer.json()
        seen += [row.get("run_id") or row["name"] for row in said["items"]]
        if said["next"] is None:
            assert "Link" not in answer
            return seen
        assert answer["Link"] == f'<{said["next"]}>; rel="next"'
        between()
        answer = ours.get(said["next"])
        assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("sort", ["-created", "created", "name", "-status", "experiment", "duration", "-target"])
def test_a_list_of_runs_is_read_to_its_end_while_others_submit(program, ana, workspace, sort):
    old = [run.run_id for run in make_runs(workspace, 23)]
    seen = walk(program(ana), f"runs?limit=5&sort={sort}", lambda: make_runs(workspace, 1, target_name="a"))
    assert sorted(set(seen) & set(old)) == sorted(old)
    assert len(seen) == len(set(seen))
    if sort == "-created":
        assert seen == old[::-1]


def test_runs_of_the_same_moment_are_each_read_once(program, ana, workspace):
    old = [run.run_id for run in make_runs(workspace, 7, created_at=timezone.now())]
    for sort in ("created", "-created"):
        assert sorted(walk(program(ana), f"runs?limit=2&sort={sort}")) == sorted(old)


def test_targets_and_experiments_are_read_to_their_end(program, ana, workspace):
    for n in range(7):
        make_cluster(workspace, f"cluster-{n}")
        Experiment.objects.create(workspace=workspace, name=f"trial-{n}", created_by=ana)
    clusters = iter(range(10, 99))
    ours = program(ana)
    seen = walk(ours, "targets?limit=3&sort=-name", lambda: make_cluster(workspace, f"cluster-{next(clusters)}"))
    assert seen == ["local", *(f"cluster-{n}" for n in range(6, -1, -1))]
    assert walk(ours, "targets?tab=clusters&limit=200&q=cluster-3") == ["cluster-3"]
    assert walk(ours, "experiments?limit=2&sort=name") == [f"trial-{n}" for n in range(7)]


def test_an_etag_saves_the_body_and_keeps_changes_apart(program, ana, workspace):
    run = make_runs(workspace, 1)[0]
    ours, path = program(ana), f"runs/{run.run_id}"
    first = ours.get(path)
    again = ours.get(path, If_None_Match=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    changed = ours.ask("PATCH", path, {"tags": {"kernel": "rbf"}}, If_Match=first["ETag"])
    assert changed.json()["tags"] == {"kernel": "rbf"}
    late = ours.ask("PATCH", path, {"tags": {"kernel": "poly"}}, If_Match=first["ETag"])
    assert "ETag" in problem(late, 412)["detail"]
    run.refresh_from_db()
    assert run.tags == {"kernel": "rbf"}
    assert ours.ask("PATCH", path, {"archived": True}, If_Match="*").status_code == 200
    assert ours.get(path, If_None_Match=first["ETag"]).status_code == 200


def test_a_key_makes_one_thing_however_often_it_is_sent(program, ana, ben, workspace):
    ours, sent = program(ana), {"target": "local", "experiment": "digits", "code": "print(1)\n"}
    ours.get("targets")
    first = ours.post("runs", sent, Idempotency_Key="nightly")
    assert first.status_code == 201, first.content
    assert ours.post("runs", sent, Idempotency_Key="nightly").json()["run_id"] == first.json()["run_id"]
    assert ours.get(first["Location"]).json()["runId"] == first.json()["run_id"]
    assert program(ben).post("runs", sent, Idempotency_Key="nightly").json()["run_id"] != first.json()["run_id"]
    assert ours.post("runs", sent).json()["run_id"] != first.json()["run_id"]
    for _ in range(2):
        again = ours.post(f"runs/{first.json()['run_id']}/resubmit", Idempotency_Key="nightly")
        assert again.status_code == 201
    assert Run.objects.count() == 4
    problem(ours.post("runs", sent, Idempotency_Key="n" * 256), 422)
    cluster = {"name": "new-one", "vm_size": "Standard_D1_v2", "max_nodes": 1}
    names = [ours.post("targets", cluster, Idempotency_Key="nightly").json()["name"] for _ in range(2)]
    assert names == ["new-one", "new-one"]
    assert "name" in [e["field"] for e in problem(ours.post("targets", cluster), 422)["errors"]]
    assert ComputeTarget.objects.filter(name="new-one").count() == 1


def test_a_token_of_who_is_no_member_any_more_opens_nothing(workspace, ana, ben):
    token, word = issue_token(workspace, ben, "old", set(), days=1)
    workspace.memberships.filter(user=ben).delete()
    problem(Program("vision-team", word).get(), 404)
    revoke_token(token, by=ana)
    problem(Program("vision-team", word).get(), 401)
