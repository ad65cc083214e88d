"""Experiments: their list with outcomes, their page, and what is written about them."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs.models import Experiment
from runs.states import RunStatus
from studio.people.actions import create_workspace


@pytest.fixture
def url(workspace):
    return reverse("runs:experiments", args=[workspace.name])


def listed(response):
    return [experiment.name for experiment in response.context["page"].rows]


def test_each_experiment_says_its_latest_run_and_its_outcomes(make_run, as_user, ana, url):
    make_run("one", status=RunStatus.COMPLETED)
    make_run("two", status=RunStatus.FAILED)
    make_run("three", status=RunStatus.QUEUED)
    page = as_user(ana).get(url)
    (experiment,) = page.context["page"].rows
    assert experiment.latest.display_name == "three"
    assert (experiment.outcomes.active, experiment.outcomes.completed, experiment.outcomes.failed) == (1, 1, 1)


def test_the_list_is_filtered_sorted_and_paged_in_a_fixed_number_of_queries(make_run, as_user, ana, url, workspace):
    client = as_user(ana)
    make_run(experiment="digits")
    client.get(url)
    with CaptureQueriesContext(connection) as few:
        client.get(url)
    for n in range(55):
        make_run(experiment=f"more{n:02}")
    with CaptureQueriesContext(connection) as many:
        page = client.get(url)
    assert len(many) == len(few)
    assert listed(page)[0] == "more54"
    assert len(listed(page)) == 50
    assert "digits" in listed(client.get(url, {"page": "2"}))
    assert listed(client.get(url, {"sort": "name"}))[0] == "digits"
    assert listed(client.get(url, {"q": "MORE07"})) == ["more07"]
    Experiment.objects.filter(name="more03").update(tags={"team": "red"})
    assert listed(client.get(url, {"tag": "team=red"})) == ["more03"]
    assert listed(client.get(url, {"tag": "team=blue"})) == []


def test_an_experiment_without_runs_is_listed_last(make_run, as_user, ana, url, workspace):
    Experiment.objects.create(workspace=workspace, name="empty")
    make_run(experiment="digits")
    assert listed(as_user(ana).get(url)) == ["digits", "empty"]


def test_its_page_shows_its_runs_and_only_those(make_run, as_user, rita, workspace):
    make_run("mine", experiment="digits")
    make_run("other", experiment="mnist")
    page = as_user(rita).get(reverse("runs:experiment", args=[workspace.name, "digits"]), {"experiment": "mnist"})
    assert [run.display_name for run in page.context["page"].rows] == ["mine"]
    part = as_user(rita).get(
        reverse("runs:experiment", args=[workspace.name, "digits"]), {"part": "tiles"}, headers={"HX-Request": "true"}
    )
    assert b'id="experiment-tiles"' in part.content
    table = as_user(rita).get(
        reverse("runs:experiment", args=[workspace.name, "digits"]), headers={"HX-Request": "true"}
    )
    assert b'id="run-table"' in table.content
    assert b"<html" not in table.content


def test_it_is_archived_and_brought_back_by_those_who_may(make_run, as_user, ben, rita, url, workspace):
    make_run(experiment="digits")
    edit = reverse("runs:edit_experiment", args=[workspace.name, "digits"])
    assert as_user(rita).post(edit, {"archived": "1"}).status_code == 403
    client = as_user(ben)
    assert client.get(edit).status_code == 405
    client.post(edit, {"archived": "1"})
    assert listed(client.get(url)) == []
    assert listed(client.get(url, {"archived": "1"})) == ["digits"]
    client.post(edit, {"archived": "0"})
    assert listed(client.get(url)) == ["digits"]


def test_description_and_tags_are_edited_within_their_limits(make_run, as_user, ben, workspace):
    make_run(experiment="digits")
    edit = reverse("runs:edit_experiment", args=[workspace.name, "digits"])
    as_user(ben).post(edit, {"description": "about digits", "tag_key": ["a"], "tag_value": ["1"]})
    experiment = Experiment.objects.get()
    assert (experiment.description, experiment.tags) == ("about digits", {"a": "1"})
    wrong = as_user(ben).post(edit, {"description": "typed", "tag_key": ["b" * 101], "tag_value": ["1"]})
    assert wrong.status_code == 422
    assert b"typed" in wrong.content
    experiment.refresh_from_db()
    assert experiment.description == "about digits"


def test_strangers_and_other_workspaces_find_nothing(make_run, as_user, cleo, url, workspace):
    make_run(experiment="digits")
    client = as_user(cleo)
    other = create_workspace("others", cleo)
    assert client.get(url).status_code == 404
    for name in ("experiment", "edit_experiment"):
        ask = client.get if name == "experiment" else client.post
        assert ask(reverse(f"runs:{name}", args=[workspace.name, "digits"])).status_code == 404
        assert ask(reverse(f"runs:{name}", args=[other.name, "digits"])).status_code == 404
