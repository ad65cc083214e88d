"""Where a person is signed in: listed, ended, and the open pages of what ended."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.test import Client

from studio.people.actions import end_sessions, sessions_of, switch_off
from studio.people.models import BrowserSession
from tests.sockets import Socket

LIVE = "/ws/w/vision-team/live/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile Safari/604.1"


def browser(user, agent=FIREFOX, address="203.0.113.5"):
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
    client.force_login(user)
    client.get("/profile/")
    return client


def test_the_profile_lists_where_one_is_signed_in(ana, cleo):
    here, _other, _hers = browser(ana), browser(ana, SAFARI, "2001:db8::7"), browser(cleo)
    page = here.get("/profile/").text
    assert "Firefox, Linux" in page
    assert "Safari, iOS" in page
    assert "203.0.113.5" in page
    assert "2001:db8::7" in page
    assert page.count("this one") == 1
    assert page.count('name="session"') == 1
    assert BrowserSession.objects.count() == 3


def test_one_session_is_ended(ana):
    here, there = browser(ana), browser(ana, SAFARI)
    other = BrowserSession.objects.get(session_key=there.session.session_key)
    assert here.post("/profile/sessions/", {"session": other.pk}).status_code == 302
    assert there.get("/profile/").status_code == 302
    assert here.get("/profile/").status_code == 200
    assert here.post("/profile/sessions/", {"session": other.pk}).status_code == 404


def test_every_other_session_is_ended(ana):
    here, *there = [browser(ana) for _ in range(4)]
    assert here.post("/profile/sessions/").status_code == 302
    assert [client.get("/profile/").status_code for client in there] == [302] * 3
    assert here.get("/profile/").status_code == 200


@pytest.mark.parametrize("session", ["x", "-1", "9" * 30, "1 OR 1=1", "²"])
def test_a_session_that_is_not_there_is_not_found(ana, session):
    assert browser(ana).post("/profile/sessions/", {"session": session}).status_code == 404


def test_nobody_ends_the_session_of_another(ana, cleo):
    hers = browser(cleo)
    pk = BrowserSession.objects.get(user=cleo).pk
    assert browser(ana).post("/profile/sessions/", {"session": pk}).status_code == 404
    assert hers.get("/profile/").status_code == 200


def test_this_session_is_not_ended_by_a_forged_form(ana):
    here = browser(ana)
    assert here.post("/profile/sessions/", {"session": BrowserSession.objects.get().pk}).status_code == 404
    assert here.get("/profile/").status_code == 200


def test_a_new_password_ends_the_other_sessions(ana):
    here, there = browser(ana), browser(ana)
    form = {"oldpassword": "correct horse", "password1": "tall green ladder", "password2": "tall green ladder"}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert here.get("/profile/").status_code == 200
    assert there.get("/profile/").status_code == 302
    assert len(sessions_of(ana)) == 1


def test_signing_out_is_forgotten_and_so_is_what_ended_by_itself(ana):
    browser(ana).post("/accounts/logout/")
    assert not BrowserSession.objects.exists()
    browser(ana)
    Session.objects.all().delete()
    assert sessions_of(ana) == []
    assert not BrowserSession.objects.exists()


def test_a_session_is_written_down_once_in_a_while_and_not_with_every_page(ana, django_assert_num_queries):
    client = browser(ana)
    client.get("/healthz")
    with django_assert_num_queries(3):  # session, person, health
        client.get("/healthz")


def test_a_hostile_browser_is_shown_as_text(ana):
    page = browser(ana, "<script>alert(1)</script>" + "x" * 2000).get("/profile/")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def key_of(user):
    return browser(user).session.session_key


@pytest.mark.django_db(transaction=True)
async def test_open_pages_of_a_session_that_ended_are_closed_and_others_stay(workspace, ana):
    key, other = await sync_to_async(key_of)(ana), await sync_to_async(key_of)(ana)
    here, there = Socket(LIVE, key), Socket(LIVE, other)
    assert await here.opens()
    assert await there.opens()
    await sync_to_async(end_sessions)(ana, but=key)
    assert await there.closes() == 4401
    assert await here.wire.receive_nothing()
    await here.leaves()


@pytest.mark.django_db(transaction=True)
async def test_open_pages_of_one_switched_off_are_closed(workspace, ana, ben):
    page = Socket(LIVE, await sync_to_async(key_of)(ben))
    assert await page.opens()
    await sync_to_async(switch_off)(ben, by=ana)
    assert await page.closes() in (4401, 4403)


@pytest.mark.django_db(transaction=True)
async def test_signing_out_closes_the_pages_in_other_tabs(workspace, ben):
    client = await sync_to_async(browser)(ben)
    page = Socket(LIVE, await sync_to_async(lambda: client.session.session_key)())
    assert await page.opens()
    await sync_to_async(client.post)("/accounts/logout/")
    assert await page.closes() == 4401
