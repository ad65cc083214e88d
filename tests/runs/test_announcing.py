"""What people are told of their runs, in the transaction that moves them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from compute import host_keys
from compute.states import EndReason, JobState
from runs import actions
from runs.states import RunStatus
from studio.notifications.events import Event
from studio.notifications.models import Delivery, Notice
from studio.people.actions import set_role
from studio.people.permissions import Role
from tests.compute.tiny import OTHER_KEY, make_attached
from tests.studio.notifications.things import make_webhook

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(minutes=20)


@pytest.fixture(autouse=True)
def told(workspace, ana):
    """Have a webhook told of everything."""
    webhook, _delivery = make_webhook(workspace, ana, events=[*Event])
    Notice.objects.all().delete()
    return webhook


def test_each_end_is_told_once_in_the_words_of_the_page(workspace, make_run, attempt_of, ben):
    ends: dict[str, dict[str, object]] = {
        "good": {"end_reason": EndReason.EXITED, "exit_code": 0},
        "bad": {"end_reason": EndReason.EXITED, "exit_code": 3},
        "stopped": {"end_reason": EndReason.CANCELED, "end_detail": "ben canceled it."},
    }
    for name, facts in ends.items():
        run = make_run(name, status=RunStatus.RUNNING, submitted_by=ben, created_at=timezone.now() - LONG_AGO)
        job = attempt_of(run, JobState.ENDED, **facts)
        actions.record(run, job)
        actions.record(run, job)
    told = {notice.title: notice for notice in Notice.objects.all()}
    assert set(told) == {"Run good completed", "Run bad failed", "Run stopped was canceled"}
    bad = told["Run bad failed"]
    assert (bad.event, bad.text) == ("run.failed", "train.py ended with exit code 3.")
    assert bad.hint == "The last lines of its log say why."
    assert bad.path.endswith(f"/runs/{bad.data['run_id']}/")
    assert bad.facts["Took"].startswith("20 m")
    assert (bad.data["exit_code"], bad.data["experiment"]) == (3, "digits")
    assert [one.notice for one in Delivery.objects.filter(person=ben)] == [bad]


def test_one_that_never_began_and_one_that_starts_over_are_told(workspace, make_run, attempt_of, ana):
    waiting = make_run("early", status=RunStatus.QUEUED)
    actions.cancel_run(waiting, by=ana)
    facts = {"config": {"script": "train.py", "restarts": 1}, "status": RunStatus.RUNNING}
    run = make_run("again", **facts)
    job = attempt_of(run, JobState.ENDED, end_reason=EndReason.PREEMPTED, end_detail="Its node was taken.")
    actions.record(run, job)
    assert [notice.title for notice in Notice.objects.order_by("pk")] == [
        "Run early was canceled",
        "Run again was preempted",
    ]
    assert "attempt 2 of 2" in Notice.objects.latest("pk").text


@pytest.mark.usefixtures("with_tiny")
def test_a_changed_host_key_is_told_to_owners_and_to_who_attached_it(workspace, ana, ben, member):
    set_role(workspace, ben, Role.COMPUTE_OPERATOR, by=ana)
    member("olga", Role.OWNER)
    member("otto", Role.COMPUTE_OPERATOR)
    target = make_attached(workspace, ben)
    host_keys.block(target, OTHER_KEY)
    host_keys.block(target, OTHER_KEY)
    notice = Notice.objects.get()
    assert (notice.event, notice.title) == ("target.blocked", "Target lab is blocked")
    people = Delivery.objects.filter(notice=notice, webhook=None).values_list("person__username", flat=True)
    assert sorted(people) == ["ana", "ben", "olga"]
