"""What is attached: drafts, looks, the rules that hold, host keys that change, and letting go."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from compute import attaching, examining, host_keys, jobs
from compute.models import ComputeTarget, Examination, Job
from compute.states import EndReason, JobState, ProvisioningState
from studio.errors import NotAllowedNow, NotSupported
from studio.people.models import Activity
from tests.compute.clusters import make_job
from tests.compute.tiny import KEY, OTHER_KEY, TinyDriver, looked_at, make_attached

pytestmark = pytest.mark.usefixtures("with_tiny")
CONFIG = {"address": "lab.example", "authentication": "key", "resource_id": ""}


@pytest.fixture
def draft(workspace, ana):
    draft = attaching.begin(workspace, "Tiny", by=ana)
    attaching.keep(draft, typed=CONFIG, config=CONFIG, secrets={"private_key": "the secret key"})
    attaching.look(draft)
    return draft


def states(examination: Examination) -> dict[str, str]:
    return {check["key"]: check["state"] for check in examination.checks}


def attached(draft: Examination, ana: Any, name: str = "lab") -> ComputeTarget:
    return attaching.attach(draft, by=ana, name=name, description="", tags={})


def test_a_host_key_that_was_never_seen_waits_for_a_person(draft, ana):
    looked_at(draft)
    assert states(draft) == {"name": "ok", "host_key": "ask", "sign_in": "skipped"}
    assert attaching.asked_key(draft) == KEY
    assert TinyDriver.seen == []  # nothing was sent to it
    with pytest.raises(NotAllowedNow, match="Not everything"):
        attached(draft, ana)


def test_once_it_is_trusted_the_checks_go_on_and_it_can_be_attached(draft, ana):
    attaching.trust(looked_at(draft), KEY["sha256"])
    looked_at(draft)
    assert states(draft) == {"name": "ok", "host_key": "ok", "sign_in": "ok", "gpu": "warn"}
    assert TinyDriver.seen == ["the secret key"]
    target = attached(draft, ana)
    assert target.config == {**CONFIG, "host_key": KEY}
    assert target.secret("private_key") == "the secret key"
    assert attached(draft, ana) == target  # the same draft twice is one target
    kept = target.examinations.get()
    assert (kept.is_draft, kept.sealed, kept.config, len(kept.checks)) == (False, {}, {}, 4)
    noted = Activity.objects.get(verb="target.attach")
    assert noted.detail["sha256"] == KEY["sha256"]
    assert "secret" not in str(noted.detail)


def test_only_the_key_that_was_shown_can_be_trusted(draft):
    looked_at(draft)
    with pytest.raises(NotAllowedNow, match="another one than was shown"):
        attaching.trust(draft, OTHER_KEY["sha256"])
    assert "host_key" not in draft.config


def test_a_pinned_key_stays_with_its_address_and_with_no_other(draft):
    attaching.trust(looked_at(draft), KEY["sha256"])
    attaching.keep(draft, typed={}, config=CONFIG | {"resource_id": "x"}, secrets={})
    assert draft.config["host_key"] == KEY
    attaching.keep(draft, typed={}, config=CONFIG | {"address": "elsewhere.example"}, secrets={})
    assert "host_key" not in draft.config


def test_what_is_needed_and_is_not_well_keeps_it_from_being_attached(draft, ana):
    attaching.keep(draft, typed={}, config=CONFIG | {"address": "not ubuntu"}, secrets={})
    attaching.look(draft)
    attaching.trust(looked_at(draft), KEY["sha256"])
    assert states(looked_at(draft))["ubuntu"] == "bad"
    with pytest.raises(NotAllowedNow):
        attached(draft, ana)


def test_a_driver_that_breaks_tells_no_secret(draft, caplog):
    attaching.keep(draft, typed={}, config=CONFIG | {"address": "breaks"}, secrets={})
    attaching.look(draft)
    attaching.trust(looked_at(draft), KEY["sha256"])
    looked_at(draft)
    assert states(draft)["doctor"] == "bad"
    assert "the secret key" not in str(draft.checks)
    assert "the secret key" not in caplog.text


def test_the_same_machine_is_attached_once_however_far_both_drafts_have_come(draft, workspace, ana):
    attaching.trust(looked_at(draft), KEY["sha256"])
    looked_at(draft)
    make_attached(workspace, ana, "first")
    with pytest.raises(NotAllowedNow, match="attached already, as first"):
        attached(draft, ana, "second")


def test_a_name_that_is_taken_is_refused(draft, workspace, ana):
    make_attached(workspace, ana, "lab", "other.example")
    attaching.trust(looked_at(draft), KEY["sha256"])
    with pytest.raises(NotAllowedNow, match="named “LAB” already"):
        attached(looked_at(draft), ana, "LAB")


def test_a_look_that_was_asked_anew_lets_the_earlier_one_go(draft):
    first = draft.round
    attaching.look(draft)
    examining.examine(draft.pk, first)
    draft.refresh_from_db()
    assert draft.checks == []
    assert draft.started_at is None


def test_a_look_that_goes_on_is_not_begun_twice(draft):
    Examination.objects.filter(pk=draft.pk).update(started_at=timezone.now())
    examining.examine(draft.pk, draft.round)
    draft.refresh_from_db()
    assert draft.checks == []


def test_drafts_go_after_a_day_and_cut_off_looks_end(draft, workspace, ana):
    old = attaching.begin(workspace, "Tiny", by=ana)
    Examination.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=25))
    Examination.objects.filter(pk=draft.pk).update(asked_at=timezone.now() - timedelta(minutes=3))
    examining.sweep()
    assert not Examination.objects.filter(pk=old.pk).exists()
    draft.refresh_from_db()
    assert draft.ended_at is not None
    assert "cut off" in draft.checks[-1]["evidence"]
    assert not attaching.has_passed(draft)


def test_a_key_that_was_pasted_takes_the_passphrase_of_the_old_one_along(draft):
    attaching.keep(draft, typed={}, secrets={"passphrase": "old"})
    attaching.keep(draft, typed={}, secrets={"private_key": "another"})
    assert set(draft.sealed) == {"private_key"}


def test_credentials_are_replaced_and_empty_ones_kept(workspace, ana):
    target = make_attached(workspace, ana)
    draft = attaching.begin(workspace, "Tiny", by=ana, target=target)
    assert set(draft.sealed) == {"private_key"}
    changed = CONFIG | {"authentication": "password"}
    attaching.keep(draft, typed={}, config=changed, secrets={"password": "new"}, unused={"private_key", "passphrase"})
    attaching.look(draft)
    TinyDriver.seen.clear()
    looked_at(draft)
    assert TinyDriver.seen == ["new"]
    target.refresh_from_db()
    assert target.secret("private_key") == "the secret key"  # not before it is saved
    ComputeTarget.objects.update(provisioning_state=ProvisioningState.FAILED, state_reason="It refuses the key.")
    attaching.save(draft, by=ana, description="the lab's", tags={"room": "7"})
    target = ComputeTarget.objects.get(pk=target.pk)
    assert (target.secret("password"), target.secret("private_key")) == ("new", "")
    assert target.config["host_key"] == KEY
    assert target.tags == {"room": "7"}
    assert (target.provisioning_state, target.state_reason) == (ProvisioningState.SUCCEEDED, "")  # as it was just found
    assert Activity.objects.filter(verb="target.edit").exists()


def test_a_target_is_looked_at_again_as_a_new_line_of_history(workspace, ana):
    target = make_attached(workspace, ana)
    again = attaching.look_again(target, by=ana)
    assert attaching.look_again(target, by=ana) == again  # one at a time
    looked_at(again)
    assert attaching.has_passed(again)
    assert target.examinations.count() == 2


def test_another_host_key_blocks_the_target_until_somebody_accepts_it(workspace, ana):
    target = make_attached(workspace, ana)
    ComputeTarget.objects.filter(pk=target.pk).update(config=target.config | {"address": "other key"})
    target.refresh_from_db()
    TinyDriver.seen.clear()
    looked_at(attaching.look_again(target, by=ana))
    target.refresh_from_db()
    assert target.config["changed_host_key"] == OTHER_KEY
    assert "host key of lab changed" in target.why_held
    assert TinyDriver.seen == []
    noted = Activity.objects.get(verb="target.hostkey.changed")
    assert noted.actor is None
    assert noted.detail == {"before": {"sha256": KEY["sha256"]}, "after": {"sha256": OTHER_KEY["sha256"]}}
    with pytest.raises(NotAllowedNow):
        attaching.accept_host_key(target, KEY["sha256"], by=ana)
    attaching.accept_host_key(target, OTHER_KEY["sha256"], by=ana)
    target.refresh_from_db()
    assert target.config["host_key"] == OTHER_KEY
    assert not target.why_held
    assert Activity.objects.filter(verb="target.hostkey.accept", actor=ana).exists()


def test_the_same_change_is_told_once(workspace, ana):
    target = make_attached(workspace, ana)
    for _ in range(3):
        host_keys.block(target, OTHER_KEY)
    host_keys.block(target, KEY)  # the pinned one is no change
    assert Activity.objects.filter(verb="target.hostkey.changed").count() == 1


def test_a_detached_target_is_gone_with_its_credentials_and_its_name_is_free(workspace, ana):
    target = make_attached(workspace, ana)
    attaching.detach(target, by=ana)
    target.refresh_from_db()
    assert target.deleted_at is not None
    assert target.sealed == {}
    make_attached(workspace, ana)


def test_runs_that_are_active_are_canceled_before_it_goes(workspace, ana, queued):
    target = make_attached(workspace, ana)
    running, waiting = make_job(target), make_job(target, JobState.WAITING)
    attaching.detach(target, by=ana)
    target.refresh_from_db()
    waiting.refresh_from_db()
    assert target.provisioning_state == ProvisioningState.DELETING
    assert target.deleted_at is None
    assert waiting.end_reason == EndReason.CANCELED
    assert running.move(JobState.ENDED, ended_at=timezone.now())
    examining.sweep()
    target.refresh_from_db()
    assert target.deleted_at is not None


def test_a_machine_that_cannot_be_reached_any_more_is_detached_all_the_same(workspace, ana):
    target = make_attached(workspace, ana)
    running = make_job(target)
    attaching.detach(target, by=ana)
    examining.sweep()
    target.refresh_from_db()
    assert target.deleted_at is None
    ComputeTarget.objects.filter(pk=target.pk).update(modified_at=timezone.now() - timedelta(minutes=6))
    examining.sweep()
    target.refresh_from_db()
    running.refresh_from_db()
    assert target.deleted_at is not None
    assert running.end_reason == EndReason.LOST


def test_what_is_created_here_is_not_attached(workspace, ana):
    with pytest.raises(NotSupported, match="created here"):
        attaching.begin(workspace, "AmlCompute", by=ana)


def test_runs_of_a_blocked_target_wait_with_the_reason_and_go_on_when_it_is_accepted(workspace, ana, queued):
    target = make_attached(workspace, ana)
    host_keys.block(target, OTHER_KEY)
    job = make_job(target, JobState.PREPARING)
    jobs.enqueue(job)
    assert job.state == JobState.WAITING
    assert job.wait_reason.startswith("The host key of lab changed.")
    jobs.start_when_room(job)
    assert job.state == JobState.WAITING
    attaching.accept_host_key(target, OTHER_KEY["sha256"], by=ana)
    job = Job.objects.get(pk=job.pk)
    jobs.start_when_room(job)
    assert job.state == JobState.RUNNING


def test_of_many_looks_the_newest_are_kept(workspace, ana, monkeypatch):
    monkeypatch.setattr(examining, "KEPT", 3)
    target = make_attached(workspace, ana)
    for _ in range(4):
        looked_at(attaching.look_again(target, by=ana))
    newest = list(target.examinations.values_list("pk", flat=True)[:3])
    examining.sweep()
    assert list(target.examinations.values_list("pk", flat=True)) == newest


def test_the_same_host_key_is_the_same_machine_whatever_its_address(draft, workspace, ana, monkeypatch):
    make_attached(workspace, ana, "first", "192.0.2.7")
    monkeypatch.setattr(TinyDriver, "host_key_tells", True)
    with pytest.raises(NotAllowedNow, match="the host key of first"):
        attaching.trust(looked_at(draft), KEY["sha256"])
    assert "host_key" not in Examination.objects.get(pk=draft.pk).config


def test_it_is_the_same_machine_also_as_another_kind(draft, workspace, ana, monkeypatch):
    other = make_attached(workspace, ana, "first", "192.0.2.7")
    ComputeTarget.objects.filter(pk=other.pk).update(kind="HDInsight")
    monkeypatch.setattr(TinyDriver, "host_key_tells", True)
    with pytest.raises(NotAllowedNow, match="the host key of first"):
        attaching.trust(looked_at(draft), KEY["sha256"])


def test_what_matters_is_enough_while_the_rest_is_still_looked_at(draft, ana, monkeypatch):
    monkeypatch.setattr(TinyDriver, "needed_checks", classmethod(lambda _cls, _config: frozenset({"name", "sign_in"})))
    examination = looked_at(draft)
    name = {"key": "name", "title": "", "state": "ok", "evidence": "", "remedy": "", "needed": True, "facts": {}}
    for checks, passed in (
        ([name], False),  # nobody has signed in yet
        ([name, name | {"key": "sign_in"}], True),
        ([name, name | {"key": "sign_in", "state": "bad"}], False),
        ([name, name | {"key": "sign_in"}, name | {"key": "disk", "state": "bad"}], False),
        ([name, name | {"key": "sign_in"}, name | {"key": "gpu", "state": "bad", "needed": False}], True),
    ):
        examination.ended_at, examination.checks = None, checks
        assert attaching.has_passed(examination) is passed, checks
    monkeypatch.setattr(TinyDriver, "needed_checks", classmethod(lambda _cls, _config: frozenset()))
    assert not attaching.has_passed(examination)  # a kind that does not say waits for the end
