"""Invitations by link: made, shown once, handed over, accepted once, renewed and revoked."""

import re
import threading
from datetime import timedelta
from io import StringIO
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from studio.errors import NotAllowedNow
from studio.people.actions import create_workspace, invite, remove_member, set_role, switch_off, switch_on
from studio.people.models import Activity, Invitation, SignInLink, User, hash_of
from studio.people.permissions import Role

NEW = {"username": "dora", "password": "tall green ladder"}


@pytest.fixture
def token(workspace, ana):
    return invite(workspace, "dora@example.org", Role.CONTRIBUTOR, by=ana)[1]


def link_in(answer):
    found = re.search(r"https?://\S+?(/join/[\w-]+/)", answer.text)
    assert found
    return urlsplit(found.group())


def test_an_unknown_name_is_invited_only_when_asked_again(as_user, ana, workspace):
    client, address = as_user(ana), f"/w/{workspace.name}/members/add/"
    answer = client.post(address, {"who": "dora@example.org", "role": "Contributor"})
    assert answer.status_code == 422
    assert "Invite dora@example.org" in answer.text
    assert not Invitation.objects.exists()
    answer = client.post(address, {"who": "dora@example.org", "role": "Contributor", "invite": "on"})
    link = link_in(answer)
    assert "no-store" in answer["Cache-Control"]
    assert "mailto:dora@example.org?" in answer.text
    assert User.objects.count() == 1  # no account before somebody comes
    page = client.get(f"/w/{workspace.name}/members/").text
    assert link.path not in page  # shown once
    assert "dora@example.org" in page
    assert "Works until" in page
    assert client.post(address, {"who": "DORA@example.org", "role": "Owner", "invite": "on"}).status_code == 422


def test_a_new_person_chooses_a_name_and_a_password_and_is_in(workspace, token):
    client = Client()
    page = client.get(f"/join/{token}/")
    assert "ana invites you as Contributor" in page.text
    assert 'value="dora"' in page.text
    assert client.get(f"/join/{token}/").status_code == 200  # a look does not use it up
    answer = client.post(f"/join/{token}/", NEW)
    assert answer["Location"] == "/w/vision-team/"
    assert client.get(answer["Location"]).status_code == 200
    dora = User.objects.get(username="dora")
    assert (dora.email, workspace.role_of(dora)) == ("dora@example.org", Role.CONTRIBUTOR)
    assert Client().login(username="dora", password="tall green ladder")
    assert Activity.objects.filter(verb="member.join").exists()


def test_one_with_an_account_signs_in_and_joins(workspace, token, cleo):
    client = Client()
    sign_in = re.search(r'href="(/accounts/login/\?next=[^"]+)"', client.get(f"/join/{token}/").text)
    assert sign_in
    answer = client.post(sign_in[1], {"login": "cleo", "password": "correct horse"})
    assert answer["Location"] == f"/join/{token}/"
    assert "Join as cleo" in client.get(answer["Location"]).text
    assert client.post(answer["Location"])["Location"] == "/w/vision-team/"
    assert workspace.role_of(cleo) == Role.CONTRIBUTOR


def test_a_link_lets_one_person_in(workspace, token, cleo, as_user):
    assert Client().post(f"/join/{token}/", NEW).status_code == 302
    for client in (Client(), as_user(cleo)):
        assert client.get(f"/join/{token}/").status_code == 410
        assert client.post(f"/join/{token}/", NEW | {"username": "eve"}).status_code == 410
    assert set(workspace.members.values_list("username", flat=True)) == {"ana", "dora"}


def test_a_member_keeps_the_role_and_the_link(workspace, token, ben, as_user):
    client = as_user(ben)
    assert "already" in client.get(f"/join/{token}/").text
    assert client.post(f"/join/{token}/").status_code == 409
    assert workspace.role_of(ben) == Role.DATA_SCIENTIST
    assert Client().get(f"/join/{token}/").status_code == 200


def test_a_link_that_is_too_old_says_so(token):
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = Client().post(f"/join/{token}/", NEW)
    assert answer.status_code == 410
    assert "no longer works" in answer.text
    assert User.objects.count() == 1


def test_an_owner_renews_and_revokes(as_user, ana, workspace, token):
    client, invitation = as_user(ana), Invitation.objects.get()
    Invitation.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert "too old" in client.get(f"/w/{workspace.name}/members/").text
    address = f"/w/{workspace.name}/members/invitations/{invitation.pk}/"
    fresh = link_in(client.post(address, {"action": "link"})).path
    assert Client().get(f"/join/{token}/").status_code == 410
    assert Client().get(fresh).status_code == 200
    assert client.post(address, {"action": "revoke"}).status_code == 302
    assert Client().get(fresh).status_code == 410
    assert "Invitations nobody" not in client.get(f"/w/{workspace.name}/members/").text
    assert client.post(address, {"action": "revoke"}).status_code == 404


def test_what_was_accepted_is_neither_renewed_nor_revoked(as_user, ana, workspace, token):
    invitation = Invitation.objects.get()
    Client().post(f"/join/{token}/", NEW)
    address = f"/w/{workspace.name}/members/invitations/{invitation.pk}/"
    for action in ("link", "revoke"):
        assert as_user(ana).post(address, {"action": action}).status_code == 409
    assert Invitation.objects.filter(used_by__username="dora").exists()


def test_another_workspaces_invitation_is_not_reached(as_user, cleo, token):
    create_workspace("elsewhere", cleo)
    address = f"/w/elsewhere/members/invitations/{Invitation.objects.get().pk}/"
    assert as_user(cleo).post(address, {"action": "revoke"}).status_code == 404
    assert Invitation.objects.exists()


@pytest.mark.parametrize("leave", [remove_member, lambda space, user, by: set_role(space, user, Role.READER, by=by)])
def test_the_links_of_a_former_owner_end(workspace, ana, ben, leave):
    set_role(workspace, ben, Role.OWNER, by=ana)
    _invitation, token = invite(workspace, "back-door", Role.OWNER, by=ben)
    leave(workspace, ben, by=ana)
    assert Client().get(f"/join/{token}/").status_code == 410


def test_only_a_hash_is_kept(token):
    kept = Invitation.objects.values().get()
    assert kept["token_sha256"] == hash_of(token)
    assert token not in str(kept)


@pytest.mark.parametrize(
    "typed",
    [
        {"username": "ANA"},
        {"username": "ana@example.org"},
        {"username": ""},
        {"username": "<script>"},
        {"username": "x" * 5000},
        {"password": "short"},
        {"password": "password"},
        {"username": "dorabella", "password": "dorabella"},
        {"password": ""},
    ],
)
def test_an_account_that_cannot_be_is_refused_and_the_link_stays(token, typed):
    assert Client().post(f"/join/{token}/", NEW | typed).status_code == 422
    assert User.objects.count() == 1
    assert Client().get(f"/join/{token}/").status_code == 200


def test_one_switched_off_is_out_everywhere_and_comes_back(as_user, ana, workspace, ben):
    client = as_user(ben)
    assert client.get("/profile/").status_code == 200
    switch_off(ben, by=ana)
    assert client.get("/profile/").status_code == 302
    assert not ben.browser_sessions.exists()
    assert not Client().login(username="ben", password="correct horse")
    switch_on(ben, by=ana)
    assert Client().login(username="ben", password="correct horse")
    assert workspace.role_of(ben) == Role.DATA_SCIENTIST


def test_the_last_owner_is_not_switched_off(workspace, ana, ben):
    token = SignInLink.issue(ben)
    with pytest.raises(NotAllowedNow, match="last Owner"):
        switch_off(ana, by=None)
    ana.refresh_from_db()
    assert ana.is_active
    set_role(workspace, ben, Role.OWNER, by=ana)
    switch_off(ben, by=ana)
    assert SignInLink.person_of(token) is None
    with pytest.raises(NotAllowedNow):  # the other Owner is switched off
        remove_member(workspace, ana, by=ana)


def test_the_command_switches_an_account_off_and_on(workspace, ana, ben):
    said = StringIO()
    call_command("account", "BEN@example.org", "off", stdout=said)
    ben.refresh_from_db()
    assert not ben.is_active
    call_command("account", "ben", "on", stdout=said)
    ben.refresh_from_db()
    assert ben.is_active
    assert said.getvalue().splitlines() == ["The account ben is off.", "The account ben is on."]
    with pytest.raises(CommandError, match="last Owner"):
        call_command("account", "ana", "off")
    with pytest.raises(CommandError, match="Nobody here"):
        call_command("account", "zoe", "off")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "leave",
    [
        lambda space, user, by: remove_member(space, user, by=by),
        lambda space, user, by: set_role(space, user, Role.READER, by=by),
        lambda space, user, by: switch_off(user, by=by),
    ],
    ids=["remove", "demote", "switch off"],
)
def test_two_owners_who_remove_each_other_at_once_leave_one(workspace, ana, ben, leave):
    set_role(workspace, ben, Role.OWNER, by=ana)
    both, refused = threading.Barrier(2), []

    def go(user, by):
        both.wait()
        try:
            leave(workspace, user, by)
        except NotAllowedNow:
            refused.append(user)
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=pair) for pair in ((ana, ben), (ben, ana))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert workspace.memberships.filter(role=Role.OWNER, user__is_active=True).count() == 1
