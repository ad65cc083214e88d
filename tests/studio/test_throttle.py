"""Whoever tries too often is told how long to wait."""

import re

import pytest
from django.core import mail
from django.test import Client

from studio.people.throttle import in_words

SIGN_IN = "/accounts/login/"


def fail(client, times, who="ana", **extra):
    return [client.post(SIGN_IN, {"login": who, "password": "wrong"}, **extra) for _ in range(times)]


def wait_said(answer):
    assert answer.status_code == 429
    assert re.search(r"Wait \d+ (second|minute)s?, then try again", answer.text)
    return int(answer["Retry-After"])


def test_the_sixth_wrong_password_is_told_to_wait(ana):
    client = Client()
    *before, last = fail(client, 6)
    assert all(answer.status_code == 200 for answer in before)
    assert 290 < wait_said(last) <= 300
    assert client.post(SIGN_IN, {"login": "ana", "password": "correct horse"}).status_code == 429  # nor the right one
    assert Client().post(SIGN_IN, {"login": "nobody", "password": "x"}).status_code == 200  # others go on


def test_nobody_learns_whether_an_account_exists(ana):
    assert [a.status_code for a in fail(Client(), 6, who="ana")] == [a.status_code for a in fail(Client(), 6, who="no")]


def test_a_right_password_is_not_counted(ana):
    for _ in range(8):
        assert Client().post(SIGN_IN, {"login": "ana", "password": "correct horse"}).status_code == 302


def test_one_address_does_not_try_many_accounts(db):
    answers = [answer for n in range(21) for answer in fail(Client(), 1, who=f"person{n}")]
    assert wait_said(answers[-1])
    assert answers[-2].status_code == 200


def test_behind_a_proxy_each_client_has_a_count_of_its_own(ana, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1

    def from_(address, who):
        return fail(Client(), 1, who=who, headers={"X-Forwarded-For": f"6.6.6.6, {address}"})[0].status_code

    assert [from_("203.0.113.5", f"a{n}") for n in range(21)][-1] == 429
    assert from_("203.0.113.6", "b") == 200


def test_without_a_proxy_what_a_client_says_of_itself_does_not_count(ana):
    answers = [
        fail(Client(), 1, who=f"a{n}", headers={"X-Forwarded-For": f"203.0.113.{n}"})[0].status_code for n in range(21)
    ]
    assert answers[-1] == 429


def test_a_client_without_an_address_signs_in(ana):
    answer = Client(REMOTE_ADDR="").post(SIGN_IN, {"login": "ana", "password": "correct horse"})
    assert answer.status_code == 302


@pytest.mark.parametrize("address", ["/sign-in/guess/", "/join/guess/"])
def test_links_are_not_guessed(db, address):
    answers = [Client().get(address) for _ in range(31)]
    assert {answer.status_code for answer in answers[:-1]} == {410}
    assert wait_said(answers[-1]) <= 60


def test_forgotten_passwords_are_not_asked_for_without_end(ana):
    answers = [Client().post("/accounts/password/reset/", {"email": "ana@example.org"}) for _ in range(4)]
    assert [answer.status_code for answer in answers[:3]] == [302] * 3
    assert wait_said(answers[3]) > 500
    assert len(mail.outbox) == 3


def test_a_password_is_not_changed_without_end(as_user, ana):
    client = as_user(ana)
    answers = [client.post("/accounts/password/change/", {"oldpassword": "guess"}) for _ in range(6)]
    assert wait_said(answers[-1]) <= 60


def test_a_wait_is_rounded_up():
    assert [in_words(n) for n in (1, 99, 100, 121, 300)] == [
        "1 second",
        "99 seconds",
        "2 minutes",
        "3 minutes",
        "5 minutes",
    ]
