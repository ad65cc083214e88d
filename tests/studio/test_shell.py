"""The frame, home, search, and errors as pages and as notices."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from compute.models import ComputeTarget, Host, Node
from compute.states import NodeState
from runs.models import Experiment, Run
from runs.states import RunStatus
from studio.people.actions import create_workspace, set_role
from studio.people.models import User
from studio.people.permissions import Role

HTMX = {"HX-Request": "true"}


@pytest.fixture
def cluster(workspace) -> ComputeTarget:
    return ComputeTarget.objects.create(
        workspace=workspace,
        name="cpu-cluster",
        kind="AmlCompute",
        vm_size="Standard_D2_v2",
        max_nodes=6,
        provisioning_state="Succeeded",
        tags={"team": "vision"},
    )


@pytest.fixture
def make_run(workspace, cluster, ana):
    def make(name: str, status: RunStatus = RunStatus.RUNNING, **facts: Any) -> Run:
        experiment, _created = Experiment.objects.get_or_create(workspace=workspace, name="digits-svm")
        experiment.last_number += 1
        experiment.save()
        if status in (RunStatus.FAILED, RunStatus.COMPLETED):
            facts.setdefault("ended_at", timezone.now())
        return Run.objects.create(
            workspace=workspace,
            experiment=experiment,
            number=experiment.last_number,
            run_id=f"digits-svm_{experiment.last_number}_{name}",
            display_name=name,
            status=status,
            target=cluster,
            target_name=cluster.name,
            submitted_by=ana,
            **facts,
        )

    return make


def test_the_start_is_the_workspace_last_looked_at(as_user, ana, workspace):
    create_workspace("another", ana)
    client = as_user(ana)
    assert client.get("/")["Location"] == "/w/another/"  # the first by name
    client.get("/w/vision-team/")
    assert client.get("/")["Location"] == "/w/vision-team/"


def test_one_without_a_workspace_is_told_whom_to_ask(as_user, cleo):
    assert "You belong to no workspace yet" in as_user(cleo).get("/").text


def test_a_visitor_signs_in_first(db):
    assert Client().get("/")["Location"].startswith("/accounts/login/")


def test_home_says_what_runs_waits_and_failed_and_why(as_user, ana, workspace, make_run):
    make_run("brave_lemur")
    make_run("lucky_wren", RunStatus.QUEUED, reason="Waits for 2 nodes of cpu-cluster: 4 of 4 busy.")
    make_run("tall_ibis", RunStatus.FAILED, reason="No module named 'torch'", hint="Add torch to its environment.")
    make_run("old_mole", RunStatus.FAILED, ended_at=timezone.now() - timedelta(days=8))
    make_run("shy_newt", RunStatus.FAILED, archived_at=timezone.now())
    page = as_user(ana).get("/w/vision-team/").text
    for words in ("brave_lemur", "lucky_wren", "4 of 4 busy", "tall_ibis", "Add torch to its environment."):
        assert words in page
    assert "old_mole" not in page
    assert "shy_newt" not in page


def test_home_shows_the_nodes_of_a_cluster(as_user, ana, workspace, cluster):
    host = Host.objects.create(name="host", cpus=8, memory_bytes=8 * 10**9)
    for state in (NodeState.RUNNING, NodeState.RUNNING, NodeState.IDLE):
        Node.objects.create(
            target=cluster, host=host, node_id=Node.new_id(), state=state, virtual_cpus=2, memory_bytes=10**9
        )
    assert "3 of 6 nodes: 2 running, 1 idle" in as_user(ana).get("/w/vision-team/").text


def test_the_parts_of_home_are_served_alone(as_user, ana, workspace, make_run):
    make_run("brave_lemur")
    client = as_user(ana)
    work = client.get("/w/vision-team/?part=work", headers=HTMX).text
    assert 'id="home-work"' in work
    assert "<html" not in work
    assert 'id="home-compute"' in client.get("/w/vision-team/?part=compute", headers=HTMX).text
    nav = client.get("/w/vision-team/?part=nav&nav=runs", headers=HTMX).text
    assert 'hx-swap-oob="true"' in nav
    assert "1 active run" in nav
    assert "<html" in client.get("/w/vision-team/?part=work").text  # a link typed by a person is a page


def test_homes_queries_do_not_grow_with_what_it_shows(as_user, ana, workspace, cluster, make_run):
    client = as_user(ana)
    make_run("first", RunStatus.COMPLETED)
    client.get("/w/vision-team/")
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/w/vision-team/")
    for n in range(12):
        make_run(f"run{n}", [RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.FAILED][n % 3])
        ComputeTarget.objects.create(workspace=workspace, name=f"c{n}", kind="AmlCompute", max_nodes=2)
    with CaptureQueriesContext(connection) as many:
        page = client.get("/w/vision-team/").text
    assert "run0" in page
    assert len(many) <= len(few)
    assert len(many) < 20


@pytest.mark.parametrize(
    ("role", "can_create", "can_submit"),
    [
        (Role.READER, False, False),
        (Role.DATA_SCIENTIST, False, True),
        (Role.COMPUTE_OPERATOR, True, False),
        (Role.OWNER, True, True),
    ],
)
def test_the_first_steps_are_those_a_role_may_go(as_user, member, workspace, role, can_create, can_submit):
    page = as_user(member("otto", role)).get("/w/vision-team/").text
    assert "First steps" in page
    assert ('href="/w/vision-team/compute/create/"' in page) == can_create
    assert ('href="/w/vision-team/submit/"' in page) == can_submit


def test_the_first_steps_go_away_with_the_first_success(as_user, ana, workspace, make_run):
    make_run("brave_lemur", RunStatus.COMPLETED)
    assert "First steps" not in as_user(ana).get("/w/vision-team/").text


@pytest.mark.parametrize(
    "text", ["lemur", "BRAVE", "digits-svm_1_brave", "team:vision", "team=vision", "D2_v2", "digits", "Kovač"]
)
def test_search_finds_by_name_id_size_and_tag(as_user, ana, workspace, make_run, text):
    make_run("brave_lemur", tags={"team": "vision", "who": "Kovač"})
    client = as_user(ana)
    for headers in ({}, HTMX):
        page = client.get("/w/vision-team/search/", {"q": text}, headers=headers).text
        assert "brave_lemur" in page or "cpu-cluster" in page


@pytest.mark.parametrize(
    "text", ["", "  ", "team:audio", "%", "_", "a__b:c", ":", "x" * 500, "\x00", "🦊", "'\"<script>"]
)
def test_search_finds_nothing_without_falling_over(as_user, ana, workspace, make_run, text):
    make_run("brave lemur", tags={"team": "vision"})
    answer = as_user(ana).get("/w/vision-team/search/", {"q": text})
    assert answer.status_code == 200
    assert (
        "<script>" not in answer.text.replace("<script src", "").replace('<script type="module"', "")
        or "'\"" not in text
    )


def test_search_stays_in_its_workspace(as_user, ana, ben, workspace, make_run):
    make_run("brave_lemur")
    elsewhere = create_workspace("elsewhere", ana)
    set_role(elsewhere, ben, Role.READER, by=ana)
    assert "brave_lemur" not in as_user(ben).get("/w/elsewhere/search/?q=lemur").text


def test_a_stranger_learns_nothing_of_a_workspace(as_user, cleo, workspace):
    client = as_user(cleo)
    for address in ("/w/vision-team/", "/w/vision-team/search/?q=a", "/w/vision-team/members/", "/w/no-such/"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "not yours to see" in answer.text


def test_an_error_is_a_page_for_a_page_and_a_notice_for_a_part(as_user, ben, workspace):
    client = as_user(ben)
    page = client.post(
        "/w/vision-team/members/add/",
        {"who": "x", "role": "Reader"},
        headers={"Referer": "http://testserver/w/vision-team/members/"},
    )
    assert page.status_code == 403
    assert "<html" in page.text
    assert 'href="http://testserver/w/vision-team/members/"' in page.text
    part = client.post("/w/vision-team/members/add/", {"who": "x", "role": "Reader"}, headers=HTMX)
    assert part.status_code == 403
    assert part["HX-Retarget"] == "#notices"
    assert "An Owner of the workspace can give it to you" in part.text
    assert "<html" not in part.text


def test_the_way_back_never_leads_elsewhere(as_user, ben, workspace):
    page = as_user(ben).post("/w/vision-team/members/add/", {}, headers={"Referer": "https://evil.example/"})
    assert "evil.example" not in page.text


def test_a_missing_page_is_in_the_look_for_members_and_visitors(as_user, ana, workspace):
    for client in (as_user(ana), Client()):
        answer = client.get("/nothing/here/")
        assert answer.status_code == 404
        assert "css/studio.css" in answer.text


def test_a_broken_page_says_so_without_the_studios_help(as_user, ana, workspace, monkeypatch):
    def broken(workspace):
        raise RuntimeError("boom")

    monkeypatch.setattr("studio.shell.compute_rows", broken)
    client = as_user(ana)
    client.raise_request_exception = False
    answer = client.get("/w/vision-team/")
    assert answer.status_code == 500
    assert "Something broke in the studio" in answer.text
    assert "boom" not in answer.text


def test_a_form_that_is_too_old_says_so(ana):
    answer = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "ana", "password": "correct horse"})
    assert answer.status_code == 403
    assert "too old" in answer.text


def test_no_page_has_inline_script_or_style(as_user, ana, workspace, make_run):
    make_run("brave_lemur")
    client = as_user(ana)
    for address in (
        "/w/vision-team/",
        "/w/vision-team/members/",
        "/w/vision-team/search/?q=a",
        "/profile/",
        "/nothing/",
    ):
        answer = client.get(address)
        assert " style=" not in answer.text
        assert "<style" not in answer.text
        assert "onclick=" not in answer.text
        assert all(" src=" in tag for tag in answer.text.split("<script")[1:])
        assert "script-src 'self'" in answer["Content-Security-Policy"]


def test_the_frame_counts_in_one_query(as_user, ana, workspace, make_run):
    make_run("brave_lemur")
    client = as_user(ana)
    client.get("/w/vision-team/members/")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/w/vision-team/members/").text
    assert "1 active run" in page
    assert len(queries) <= 9


def test_a_frame_that_stays_gets_the_content_alone(as_user, ana, workspace, make_run):
    run = make_run("brave_fox", RunStatus.COMPLETED)
    client, address = as_user(ana), f"/w/{workspace.name}/runs/{run.run_id}/"
    whole = client.get(address)
    content = client.get(address, headers=HTMX | {"HX-Target": "main"})
    again = client.get(address, headers=HTMX | {"HX-Target": "main", "HX-History-Restore-Request": "true"})
    assert whole["Vary"] == content["Vary"]
    assert "HX-Target" in content["Vary"]
    main = re.compile(r'<main id="main".*</main>', re.DOTALL)
    said = [
        re.sub(r'name="(token|csrfmiddlewaretoken)" value="[^"]*"|[0-9.]+ s</time>', "", main.findall(page.text)[0])
        for page in (whole, content, again)
    ]
    assert said[0] == said[1] == said[2]
    assert "<title>brave_fox · vision-team · Compute Studio</title>" in content.text
    assert ['<nav class="nav"' in page.text for page in (whole, content, again)] == [True, False, True]
    assert ["<html" in page.text for page in (whole, content, again)] == [True, False, True]


def test_healthz_needs_no_sign_in(db):
    assert Client().get("/healthz").text == "ok\n"


def test_every_page_of_the_navigation_has_its_key_in_the_list_of_keys(workspace, ana: User, as_user):
    page = as_user(ana).get("/w/vision-team/").text
    links = re.findall(r'<li><a href="([^"]+)"(?: data-go="(\w)")?', page)
    keys = [key for _href, key in links]
    assert all(keys), links
    assert len(set(keys)) == len(keys) >= 12
    assert set(re.findall(r"<kbd>g</kbd> <kbd>(\w)</kbd>", page)) == set(keys)


@pytest.mark.parametrize(("role", "shown"), [(Role.OWNER, True), (Role.DATA_SCIENTIST, False), (Role.READER, False)])
def test_the_navigation_leads_nobody_to_a_page_that_is_not_for_them(as_user, member, workspace, role, shown):
    page = as_user(member("otto", role)).get("/w/vision-team/").text
    assert ("/w/vision-team/activity/" in page) is ("<kbd>g</kbd> <kbd>a</kbd>" in page) is shown


def test_the_navigation_switches_between_ones_own_workspaces(as_user, ana, workspace, cleo):
    create_workspace("elsewhere", cleo)
    create_workspace("another", ana)
    page = as_user(ana).get("/w/vision-team/").text
    assert 'href="/w/another/"' in page
    assert "elsewhere" not in page
    assert User.objects.count() == 2
