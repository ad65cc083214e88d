"""Pages of people: members, profile, signing in by a link."""

from datetime import timedelta
from io import StringIO
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from studio.people.actions import create_workspace
from studio.people.models import Activity, Membership, SignInLink, User
from studio.people.permissions import TABLE, Right, Role


def member_url(workspace, user):
    membership = Membership.objects.get(workspace=workspace, user=user)
    return f"/w/{workspace.name}/members/{membership.pk}/"


def test_a_look_at_a_link_does_not_use_it_up(ana):
    address = f"/sign-in/{SignInLink.issue(ana)}/"
    assert "Sign in as ana" in Client().get(address).text
    assert "Sign in as ana" in Client().get(address).text
    client = Client()
    assert client.post(address)["Location"] == "/"
    assert client.get("/profile/").status_code == 200


def test_a_link_signs_in_once_and_then_says_what_to_do(ana):
    address = f"/sign-in/{SignInLink.issue(ana)}/"
    assert Client().post(address).status_code == 302
    again = Client()
    answer = again.post(address)
    assert answer.status_code == 410
    assert "manage.py signinlink" in answer.text
    assert again.get("/profile/").status_code == 302  # not signed in


def test_a_link_that_is_too_old_does_not_sign_in(ana):
    token = SignInLink.issue(ana)
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(f"/sign-in/{token}/").status_code == 410
    assert Client().post(f"/sign-in/{token}/").status_code == 410


def test_a_link_of_somebody_switched_off_does_not_sign_in(ana):
    token = SignInLink.issue(ana)
    User.objects.update(is_active=False)
    assert Client().get(f"/sign-in/{token}/").status_code == 410
    assert Client().post(f"/sign-in/{token}/").status_code == 410


def test_one_without_a_password_is_asked_to_choose_one(db):
    dora = User(username="dora")
    dora.set_unusable_password()
    dora.save()
    client = Client()
    there = client.post(f"/sign-in/{SignInLink.issue(dora)}/")["Location"]
    assert "Choose a password" in client.get(there).text
    done = client.post(there, {"password1": "tall green ladder", "password2": "tall green ladder"})
    assert done.status_code == 302
    assert Client().login(username="dora", password="tall green ladder")


def test_the_command_prints_a_link_that_works(ana, settings):
    settings.PUBLIC_URL = "https://studio.example.org"
    said = StringIO()
    call_command("signinlink", "ANA", stdout=said)
    assert said.getvalue().startswith("https://studio.example.org/sign-in/")
    assert Client().post(urlsplit(said.getvalue().strip()).path).status_code == 302


def test_the_command_names_who_there_is(ana):
    with pytest.raises(CommandError, match="There are: ana"):
        call_command("signinlink", "anna")


@pytest.mark.parametrize("login", ["ana", "ana@example.org"])
def test_one_signs_in_by_name_or_address(ana, workspace, login):
    client = Client()
    answer = client.post("/accounts/login/", {"login": login, "password": "correct horse"})
    assert answer.status_code == 302
    assert client.get("/", follow=True).status_code == 200


def test_a_wrong_password_is_said_clearly(ana):
    answer = Client().post("/accounts/login/", {"login": "ana", "password": "wrong"})
    assert 'role="alert"' in answer.text
    assert 'value="ana"' in answer.text  # what was typed stays


@pytest.mark.parametrize(
    "address", ["login/", "password/reset/", "password/reset/done/", "signup/", "inactive/", "password/reset/key/done/"]
)
def test_the_pages_before_sign_in_are_in_the_look(db, address):
    answer = Client().get(f"/accounts/{address}", follow=True)
    assert answer.status_code == 200
    assert 'class="card"' in answer.text
    assert "css/studio.css" in answer.text


@pytest.mark.parametrize("address", ["logout/", "password/change/", "email/"])
def test_the_pages_of_an_account_are_in_the_look(as_user, ana, address):
    answer = as_user(ana).get(f"/accounts/{address}")
    assert answer.status_code == 200
    assert "css/studio.css" in answer.text


def test_nobody_signs_up_alone(db):
    Client().post(
        "/accounts/signup/", {"username": "eve", "password1": "tall green ladder", "password2": "tall green ladder"}
    )
    assert not User.objects.exists()


def test_an_owner_adds_somebody_known_here(as_user, ana, workspace, cleo):
    answer = as_user(ana).post(f"/w/{workspace.name}/members/add/", {"who": "CLEO@example.org", "role": "Reader"})
    assert answer.status_code == 302
    assert workspace.role_of(cleo) == Role.READER


@pytest.mark.parametrize("who", ["", "no spaces please", "half@", "x" * 200])
def test_a_name_that_cannot_be_is_refused(as_user, ana, workspace, who):
    form = {"who": who, "role": "Reader", "invite": "on"}
    assert as_user(ana).post(f"/w/{workspace.name}/members/add/", form).status_code == 422
    assert User.objects.count() == 1


def test_a_member_is_not_added_twice(as_user, ana, workspace, ben):
    answer = as_user(ana).post(f"/w/{workspace.name}/members/add/", {"who": "ben", "role": "Owner"})
    assert answer.status_code == 422
    assert workspace.role_of(ben) == Role.DATA_SCIENTIST


def test_an_owner_changes_a_role_and_removes_a_member(as_user, ana, workspace, ben):
    client = as_user(ana)
    client.post(member_url(workspace, ben), {"role": "Owner"})
    assert workspace.role_of(ben) == Role.OWNER
    client.post(member_url(workspace, ben), {"action": "remove"})
    assert workspace.role_of(ben) is None
    assert list(Activity.objects.filter(verb__startswith="member").values_list("verb", flat=True)[:2]) == [
        "member.remove",
        "member.role",
    ]


@pytest.mark.parametrize("change", [{"role": "Reader"}, {"action": "remove"}])
def test_the_last_owner_stays(as_user, ana, workspace, change):
    answer = as_user(ana).post(member_url(workspace, ana), change)
    assert answer.status_code == 409
    assert "last Owner" in answer.text
    assert workspace.role_of(ana) == Role.OWNER


@pytest.mark.parametrize("role", [role for role in Role if role != Role.OWNER])
def test_others_see_the_members_and_change_nothing(as_user, member, workspace, ana, cleo, role):
    user = member("otto", role)
    client = as_user(user)
    page = client.get(f"/w/{workspace.name}/members/")
    assert page.status_code == 200
    assert "This needs the role Owner" in page.text
    assert client.post(f"/w/{workspace.name}/members/add/", {"who": "cleo", "role": "Reader"}).status_code == 403
    assert client.post(member_url(workspace, ana), {"action": "remove"}).status_code == 403
    assert client.post(member_url(workspace, user), {"role": "Owner"}).status_code == 403
    assert workspace.role_of(user) == role


def test_the_members_page_says_what_each_role_may(as_user, ana, workspace):
    page = as_user(ana).get(f"/w/{workspace.name}/members/").text
    table = page[page.index('class="rights"') :]
    assert table.count("<tr>") == 1 + len(Right)
    assert table.count('aria-label="yes"') == sum(len(rights) for rights in TABLE.values())


def test_a_member_of_another_workspace_is_not_reached(as_user, ana, workspace, cleo):
    create_workspace("elsewhere", cleo)
    there = Membership.objects.get(user=cleo)
    answer = as_user(ana).post(f"/w/{workspace.name}/members/{there.pk}/", {"action": "remove"})
    assert answer.status_code == 404
    assert Membership.objects.filter(pk=there.pk).exists()


def test_one_changes_ones_own_profile(as_user, ana):
    client = as_user(ana)
    form = {"first_name": "Ana", "last_name": "Kovač", "email": "ana@new.org", "language": "es", "theme": "dark"}
    answer = client.post("/profile/", form)
    assert answer.status_code == 302
    ana.refresh_from_db()
    assert (ana.get_full_name(), ana.email, ana.language, ana.theme) == ("Ana Kovač", "ana@new.org", "es", "dark")
    page = client.get("/profile/").text
    assert 'data-theme="dark"' in page
    assert '<html lang="es"' in page


def test_an_address_belongs_to_one_person(as_user, ana, ben):
    answer = as_user(ben).post("/profile/", {"email": "ANA@example.org", "theme": "system"})
    assert answer.status_code == 422
    assert "Somebody else here uses this address" in answer.text


def test_the_switch_keeps_the_theme_and_goes_back(as_user, ana):
    client = as_user(ana)
    assert client.post("/profile/", {"theme": "dark", "next": "/w/x/"})["Location"] == "/w/x/"
    ana.refresh_from_db()
    assert ana.theme == "dark"
    assert client.post("/profile/", {"theme": "light", "next": "//evil.example"})["Location"] == "/"
    assert client.post("/profile/", {"theme": "neon", "next": "/"}, headers={"HX-Request": "true"}).status_code == 204
    ana.refresh_from_db()
    assert ana.theme == "light"
