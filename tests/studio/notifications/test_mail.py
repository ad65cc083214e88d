"""E-mail by a real mail server: who is told what, in which language, and many things in one."""

import re
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from studio.notifications import outbox
from studio.notifications.actions import announce, choose_mail
from studio.notifications.events import About, Event
from studio.notifications.mail import message_for
from studio.notifications.models import Delivery, DeliveryState, MailChoice
from studio.people.actions import remove_member
from studio.people.models import User
from tests.receivers import mail_server
from tests.studio.notifications.conftest import drain, hours_later

pytestmark = pytest.mark.django_db
HOSTILE = "x\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script>\u202e@channel"


@pytest.fixture
def mails(settings: Any) -> Iterator[list[EmailMessage]]:
    with mail_server() as (port, kept):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        yield kept


def about(name: str, seconds: float = 900.0) -> About:
    said = f"{name} ended with exit code 1."
    facts = {"Target": "cpu-cluster"}
    return About(f"Run {name} failed", said, "The last lines of its log say why.", "/w/x/", facts, {"seconds": seconds})


def parts(mail: EmailMessage) -> tuple[str, str]:
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    return plain.get_content(), html.get_content()


def test_one_end_is_one_mail_after_a_minute(workspace, ben, mails):
    announce(workspace, Event.RUN_FAILED, about=about("train.py"), to=[ben])
    drain()
    assert not mails  # others may end with it
    hours_later(1 / 59)
    drain()
    [mail] = mails
    assert (mail["To"], mail["Subject"]) == ("ben@example.org", "Run train.py failed · vision-team")
    plain, html = parts(mail)
    for words in ("train.py ended with exit code 1.", "The last lines of its log say why.", "cpu-cluster", "/w/x/"):
        assert words in plain
        assert words in html
    assert "/profile/#notifications" in plain
    drain()
    assert len(mails) == 1


def test_one_press_in_the_mail_program_ends_a_persons_mails_and_nothing_else(workspace, ana, ben, mails):
    announce(workspace, Event.RUN_FAILED, about=about("train.py"), to=[ben])
    hours_later(1 / 59)
    drain()
    [mail] = mails
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    written = message_for(ben, list(Delivery.objects.all())).message().as_bytes()
    assert re.search(rb"\nList-Unsubscribe:\s+<http\S+/unsubscribe/\S+>\n", written), "programs read no encoded words"
    address = mail["List-Unsubscribe"].strip(" <>").removeprefix(settings.PUBLIC_URL.rstrip("/"))
    program = Client(enforce_csrf_checks=True)
    looked = program.get(address).content.decode()
    assert "ben@example.org" in looked
    assert MailChoice.of(User.objects.get(pk=ben.pk)).events, "a look ends nothing"
    for forged in (address[:-2] + "x/", address.replace("~", "x~"), "/unsubscribe/~/", "/unsubscribe/W10~a~b/"):
        assert program.post(forged).status_code == 410
    assert MailChoice.of(User.objects.get(pk=ben.pk)).events
    pressed = program.post(address, {"List-Unsubscribe": "One-Click"})
    assert pressed.status_code == 200
    assert not program.cookies.get("sessionid"), "it signs nobody in"
    assert MailChoice.of(User.objects.get(pk=ben.pk)).events == []
    assert MailChoice.of(User.objects.get(pk=ana.pk)).events, "the others are told as before"
    announce(workspace, Event.RUN_FAILED, about=about("again.py"), to=[User.objects.get(pk=ben.pk)])
    hours_later(1 / 59)
    drain()
    assert len(mails) == 1
    User.objects.filter(pk=ben.pk).update(email="benedict@example.org")
    assert program.post(address).status_code == 410, "the address was given up, and may be somebody else's"


def test_many_ends_are_one_mail(workspace, ben, mails):
    for n in range(60):
        announce(workspace, Event.RUN_FAILED, about=about(f"sweep_{n}"), to=[ben])
    hours_later(1 / 59)
    announce(workspace, Event.RUN_FAILED, about=about("last"), to=[ben])
    drain()
    [mail] = mails
    assert mail["Subject"] == "61 runs ended, 61 of them failed · vision-team"
    plain, _html = parts(mail)
    assert "sweep_0" in plain
    assert "And 11 more." in plain
    assert {d.state for d in Delivery.objects.all()} == {DeliveryState.SENT}


def test_a_hostile_name_is_words_and_the_language_is_the_persons(workspace, ben, mails):
    ben.language = "es"
    ben.save()
    announce(workspace, Event.RUN_FAILED, about=about(HOSTILE), to=[ben])
    hours_later(1 / 59)
    drain()
    [mail] = mails
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]
    plain, html = parts(mail)
    assert "Las últimas líneas de su registro dicen por qué." in plain
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\u202e" not in plain


def test_who_left_or_chose_otherwise_is_not_mailed(workspace, ana, ben, rita, mails):
    for person in (ben, rita):
        announce(workspace, Event.RUN_FAILED, about=about("train.py"), to=[person])
    remove_member(workspace, ben, by=ana)
    choose_mail(rita, [Event.RUN_COMPLETED], 0)
    hours_later(1 / 59)
    drain()
    assert not mails
    assert {d.state for d in Delivery.objects.all()} == {DeliveryState.DROPPED}


@pytest.mark.parametrize("later", [1, -365 * 24], ids=["an hour later", "a clock that is set back"])
def test_a_mail_server_that_is_away_is_asked_again(workspace, ana, ben, mails, settings, later):
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, 1
    for person in (ana, ben):
        announce(workspace, Event.RUN_FAILED, about=about("train.py"), to=[person])
    hours_later(1 / 59)
    drain()
    first = Delivery.objects.earliest("pk")
    assert (first.state, first.problem) == (DeliveryState.WAITING, "The mail server does not answer as it should.")
    assert not Delivery.objects.filter(outbox._due()).exists()
    settings.EMAIL_PORT = port
    hours_later(later)
    drain()
    assert {mail["To"] for mail in mails} == {"ana@example.org", "ben@example.org"}
