"""Submitting to what is attached: what its kind asks beside the rest, and what is known only there."""

import pytest
from django.urls import reverse

from compute.models import Job
from runs.models import Run
from tests.compute.tiny import make_attached
from tests.runs.test_submit import JSON, errors, typed

pytestmark = pytest.mark.usefixtures("with_tiny")


@pytest.fixture
def url(workspace, ana):
    make_attached(workspace, ana)
    return reverse("runs:submit", args=[workspace.name])


def there(**changes):
    return typed(target="lab", **{"options-Tiny-where": "now"}) | changes


def test_what_the_kind_asks_is_on_the_form_and_hidden_for_other_kinds(as_user, ben, url):
    page = as_user(ben).get(url).content.decode()
    assert 'data-options="Tiny" >' in page  # the only target is picked
    assert 'name="options-Tiny-where"' in page
    assert 'data-with="options-Tiny-where" data-with-value="queue"' in page


def test_what_is_said_to_the_kind_is_kept_and_goes_with_the_job(as_user, ben, rita, url, workspace):
    answer = as_user(ben).post(
        url, there(**{"options-Tiny-where": "queue", "options-Tiny-queue_name": "night"}), headers=JSON
    )
    assert answer.status_code == 201, answer.content
    run = Run.objects.get()
    assert (
        run.config["options"]
        == Job.objects.get().spec["options"]
        == {"where": "queue", "queue_name": "night", "copies": None}
    )
    page = as_user(ben).get(reverse("runs:detail", args=[workspace.name, run.run_id]) + "?tab=details")
    assert '<th scope="row">Queue</th><td class="wrap">night</td>' in page.content.decode()
    seen = as_user(rita).get(reverse("runs:detail", args=[workspace.name, run.run_id]) + "?tab=details")
    assert '<th scope="row">Queue</th>' in seen.content.decode()
    assert "night" not in seen.content.decode()  # Spark's configuration holds keys of storage, for one
    again = as_user(ben).get(f"{url}?like={run.run_id}").content.decode()
    assert 'value="night"' in again
    as_user(ben).post(reverse("runs:resubmit", args=[workspace.name, run.run_id]))
    assert Run.objects.latest("pk").config["options"] == run.config["options"]


def test_an_error_of_the_kinds_own_field_stands_by_that_field(as_user, ben, url):
    wrong = there(**{"options-Tiny-where": "queue"})
    assert errors(as_user(ben).post(url, wrong, headers=JSON)) == {"options-Tiny-queue_name": ["Name the queue."]}
    page = as_user(ben).post(url, wrong).content.decode()
    assert "Name the queue." in page
    assert Run.objects.count() == 0


def test_the_words_of_an_error_are_whole(as_user, ben, url):
    wrong = there(**{"options-Tiny-copies": "0"})
    (said,) = errors(as_user(ben).post(url, wrong, headers=JSON))["options-Tiny-copies"]
    assert said == "Ensure this value is greater than or equal to 1."


def test_a_python_that_only_the_other_machine_has_is_taken(as_user, ben, url):
    assert as_user(ben).post(url, there(interpreter="/opt/far/bin/python"), headers=JSON).status_code == 201
    assert Job.objects.get().spec["interpreter"] == "/opt/far/bin/python"


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"interpreter": "-c import os"}, "interpreter", "no Python"),
        ({"environment": "pip", "pip_text": "--extra-index-url http://x"}, "pip_text", ""),
        ({"environment": "conda", "conda_text": "dependencies: [python]"}, "conda_text", "Tiny machine"),
    ],
)
def test_what_no_machine_could_make_is_refused(as_user, ben, url, changes, field, word):
    (said,) = errors(as_user(ben).post(url, there(**changes), headers=JSON))[field]
    assert word in said


def test_what_the_service_says_of_a_run_is_beside_its_log(as_user, ben, url, workspace):
    as_user(ben).post(url, there(), headers=JSON)
    run = Run.objects.get()
    job = run.attempts.get().job
    page = reverse("runs:detail", args=[workspace.name, run.run_id])
    job.facts = {"page": "https://service.example/run/7", "application": "application_1_0007", "other": "unsaid"}
    job.save()
    shown = as_user(ben).get(page).content.decode()
    assert 'href="https://service.example/run/7"' in shown
    assert "application_1_0007" in shown
    assert "unsaid" not in shown
    job.facts = {"page": "javascript:alert(1)", "run": "<script>"}
    job.save()
    shown = as_user(ben).get(page).content.decode()
    assert "javascript:" not in shown
    assert "<script>" not in shown.partition("run-side")[2].partition("</aside>")[0]
