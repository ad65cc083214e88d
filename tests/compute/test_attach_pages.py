"""The pages of attaching: the form of a kind, its doctor, the connection of a target, detaching."""

from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from compute import attaching, host_keys
from compute.models import ComputeTarget, Examination
from studio.people.permissions import Role
from tests.compute.clusters import make_job
from tests.compute.tiny import KEY, OTHER_KEY, TinyDriver, looked_at, make_attached

pytestmark = pytest.mark.usefixtures("with_tiny")
ATTACH = "/w/vision-team/compute/attach/Tiny/"
SECRET = "-----BEGIN OPENSSH PRIVATE KEY-----\nvery secret\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def browser(workspace, ana, as_user):
    return as_user(ana)


def typed(**changes: Any) -> dict[str, Any]:
    answers = {"token": str(uuid4()), "action": "check", "name": "lab", "address": "lab.example"}
    return answers | {"authentication": "key", "private_key": SECRET} | changes


def text(answer: Any) -> str:
    return str(answer.content.decode())


def newest() -> Examination:
    return Examination.objects.latest("pk")


def test_the_list_offers_every_kind_and_says_who_may(workspace, browser, rita, as_user):
    said = text(browser.get("/w/vision-team/compute/?tab=attached"))
    assert f'href="{ATTACH}"' in said
    assert "Tiny machine" in said
    said = text(as_user(rita).get("/w/vision-team/compute/?tab=attached"))
    assert f'href="{ATTACH}"' not in said
    assert "This needs the role Compute Operator" in said


def test_a_form_says_what_is_needed_and_how_to_make_a_key(browser):
    said = text(browser.get(ATTACH))
    for words in ("What you need", "hostname -f", "Use an SSH key", "On Windows", "Make a key pair here"):
        assert words in said


@pytest.mark.parametrize("kind", ["AmlCompute", "local", "Abacus"])
def test_what_cannot_be_attached_has_no_page(browser, kind):
    assert browser.get(f"/w/vision-team/compute/attach/{kind}/").status_code == 404


def test_from_the_form_to_the_target(browser, workspace, queued):
    answer = browser.post(ATTACH, typed())
    draft = newest()
    assert answer.status_code == 302
    assert answer["Location"] == f"{ATTACH}?draft={draft.pk}#doctor"
    assert draft.sealed.keys() == {"private_key"}
    looked_at(draft)
    said = text(browser.get(answer["Location"]))
    assert KEY["sha256"] in said
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in said
    assert "very secret" not in said
    answer = browser.post(ATTACH, {"draft": draft.pk, "action": "trust", "sha256": KEY["sha256"]})
    looked_at(draft)
    part = text(browser.get(f"{ATTACH}?draft={draft.pk}&part=doctor", headers={"HX-Request": "true"}))
    assert 'value="attach"' in part
    assert "<html" not in part
    answer = browser.post(ATTACH, typed(draft=draft.pk, action="attach", private_key="", description="mine"))
    target = ComputeTarget.objects.get(name="lab")
    assert answer["Location"] == reverse("compute:detail", args=["vision-team", "lab"])
    assert target.secret("private_key") == SECRET
    assert target.description == "mine"
    again = browser.post(ATTACH, typed(draft=draft.pk, action="attach", private_key=""))
    assert again["Location"] == answer["Location"]


def test_what_was_changed_after_the_look_is_looked_at_first(browser, workspace, ana):
    browser.post(ATTACH, typed())
    draft = newest()
    attaching.trust(looked_at(draft), KEY["sha256"])
    looked_at(draft)
    answer = browser.post(ATTACH, typed(draft=draft.pk, action="attach", address="other.example", private_key=""))
    assert answer["Location"].endswith("#doctor")
    assert not ComputeTarget.objects.filter(name="lab").exists()
    draft.refresh_from_db()
    assert draft.ended_at is None
    assert "host_key" not in draft.config


def test_a_form_sent_twice_is_one_draft(browser):
    form = typed()
    for _ in range(2):
        browser.post(ATTACH, form)
    assert Examination.objects.count() == 1


def test_a_credential_is_not_asked_for_again_because_something_else_is_wrong(browser):
    answer = browser.post(ATTACH, typed(name="9-bad-"))
    assert answer.status_code == 422
    assert "very secret" not in text(answer)
    assert "One is kept here, sealed." in text(answer)
    answer = browser.post(ATTACH, typed(draft=newest().pk, private_key=""))
    assert answer.status_code == 302


def test_a_password_takes_a_yes_to_what_it_gives_up(browser):
    password = {"authentication": "password", "password": "hunter2", "private_key": ""}
    answer = browser.post(ATTACH, typed(**password))
    assert answer.status_code == 422
    assert "Say yes to this, or use an SSH key instead." in text(answer)
    assert browser.post(ATTACH, typed(**password, understood="on")).status_code == 302
    assert newest().sealed.keys() == {"password"}
    assert "understood" not in newest().config


def test_the_same_machine_twice_is_refused_before_it_is_looked_at(browser, workspace, ana):
    make_attached(workspace, ana, "first")
    answer = browser.post(ATTACH, typed())
    assert answer.status_code == 409
    assert "attached already, as first" in text(answer)


def test_a_draft_is_its_persons_alone(browser, workspace, member, as_user):
    browser.post(ATTACH, typed())
    other = as_user(member("otto", Role.CONTRIBUTOR))
    assert other.get(f"{ATTACH}?draft={newest().pk}").status_code == 404
    assert other.post(ATTACH, typed(draft=newest().pk, action="trust", sha256="x")).status_code == 404


def test_credentials_are_replaced_through_the_same_form_and_empty_keeps_them(browser, workspace, ana):
    target = make_attached(workspace, ana)
    url = reverse("compute:connection", args=["vision-team", "lab"])
    said = text(browser.get(url))
    assert "One is kept here, sealed." in said
    assert "the secret key" not in said
    form = {k: v for k, v in typed(private_key="").items() if k != "name"}
    assert browser.post(url, form | {"description": "new words"})["Location"].endswith("/targets/lab/")
    target.refresh_from_db()
    assert target.description == "new words"
    assert not Examination.objects.filter(is_draft=True).exists()  # nothing of the connection changed
    answer = browser.post(url, form | {"token": str(uuid4()), "description": "new words"})
    assert answer["Location"].endswith("#doctor")  # nothing changed at all: a look was asked for, and is made
    answer = browser.post(url, form | {"token": str(uuid4()), "private_key": "a new key"})
    draft = looked_at(newest())
    assert answer["Location"] == f"{url}?draft={draft.pk}#doctor"
    answer = browser.post(url, form | {"draft": draft.pk, "action": "attach"})
    assert answer["Location"].endswith("/targets/lab/")
    assert ComputeTarget.objects.get(name="lab").secret("private_key") == "a new key"


def test_the_page_of_a_target_shows_its_connection_and_no_secret(browser, workspace, ana):
    make_attached(workspace, ana)
    url = reverse("compute:detail", args=["vision-team", "lab"])
    for tab in ("overview", "connection", "runs", "activity"):
        answer = browser.get(f"{url}?tab={tab}")
        assert answer.status_code == 200
        assert "the secret key" not in text(answer)
    overview = text(browser.get(url))
    assert KEY["sha256"] in overview
    assert "SSH key" in overview  # the word of the choice, not its value
    assert "Detach…" in overview
    assert "Signing in" in text(browser.get(f"{url}?tab=connection"))
    assert "attached it" in text(browser.get(f"{url}?tab=activity"))


def test_the_list_shows_the_last_check_the_host_key_and_who_attached(browser, workspace, ana):
    make_attached(workspace, ana)
    said = text(browser.get("/w/vision-team/compute/?tab=attached"))
    for words in ("Last check", "Host key", "Attached", KEY["sha256"], "ana", "Detach…"):
        assert words in said
    assert "Priority" not in said


def test_it_can_be_looked_at_again_from_its_page(browser, workspace, ana):
    target = make_attached(workspace, ana)
    answer = browser.post(reverse("compute:look_again", args=["vision-team", "lab"]))
    assert answer["Location"].endswith("?tab=connection")
    assert target.examinations.count() == 2
    assert "looking" in text(browser.get(answer["Location"]))
    assert looked_at(newest()).ended_at


def test_both_fingerprints_stand_side_by_side_until_somebody_accepts(browser, workspace, ana, rita, as_user):
    target = make_attached(workspace, ana)
    host_keys.block(target, OTHER_KEY)
    page = reverse("compute:detail", args=["vision-team", "lab"])
    for client in (browser, as_user(rita)):
        said = text(client.get(page))
        assert KEY["sha256"] in said
        assert OTHER_KEY["sha256"] in said
    said = text(browser.get("/w/vision-team/compute/?tab=attached&state=blocked"))
    assert "Blocked" in said
    assert "not well" in said  # whatever an earlier look found
    url = reverse("compute:accept_host_key", args=["vision-team", "lab"])
    assert as_user(rita).post(url, {"sha256": OTHER_KEY["sha256"]}).status_code == 403
    assert browser.post(url, {"sha256": OTHER_KEY["sha256"]}).status_code == 302
    target.refresh_from_db()
    assert target.config["host_key"] == OTHER_KEY


def test_detaching_asks_for_the_name_while_runs_are_active(browser, workspace, ana):
    target = make_attached(workspace, ana)
    make_job(target)
    url = reverse("compute:detach", args=["vision-team", "lab"])
    assert "itself runs on" in text(browser.get(url))
    assert browser.post(url).status_code == 422
    assert browser.post(url, {"confirm": "lab"}).status_code == 302


def test_several_are_detached_from_the_list(browser, workspace, ana):
    make_attached(workspace, ana, "one", "one.example")
    make_attached(workspace, ana, "two", "two.example")
    url = reverse("compute:delete_many", args=["vision-team"])
    said = text(browser.post(url, {"target": ["one", "two"]}))
    assert "Detach 2 compute targets?" in said
    assert "themselves run on" in said
    browser.post(url, {"target": ["one", "two"], "confirmed": "yes"})
    assert not ComputeTarget.objects.existing().filter(kind="Tiny").exists()


@pytest.mark.parametrize("page", ["/w/vision-team/", "/w/vision-team/compute/"])
def test_who_attached_it_and_the_owners_are_told_of_a_changed_host_key(page, workspace, ana, member, as_user):
    otto = member("otto", Role.CONTRIBUTOR)
    host_keys.block(make_attached(workspace, otto), OTHER_KEY)
    told = "lab answers with another host key"
    assert told in text(as_user(ana).get(page))  # an Owner
    assert told in text(as_user(otto).get(page))
    assert told not in text(as_user(member("ida", Role.CONTRIBUTOR)).get(page))
    part = as_user(ana).get("/w/vision-team/?part=blocked", headers={"HX-Request": "true"})
    assert told in text(part)
    assert "<html" not in text(part)


def test_what_has_to_be_said_of_a_kind_is_said_first(browser, monkeypatch):
    monkeypatch.setattr(TinyDriver, "notice", "Its maker has retired it.")
    said = text(browser.get(ATTACH))
    assert said.index("Its maker has retired it.") < said.index("<form", said.index("<h1"))
