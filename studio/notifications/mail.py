"""Notices as e-mail: in plain text and simple HTML, in the person's language, many of them in one."""

import smtplib
from collections import Counter
from dataclasses import dataclass
from email.utils import make_msgid
from urllib.parse import urlsplit

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from studio.notifications import formats
from studio.notifications.events import OF_RUNS, RUN_ENDS, Event
from studio.notifications.models import Delivery, MailChoice, Notice
from studio.people.models import User

NOWHERE = {"console", "dummy"}  # backends of Django's that send nothing
MOST_LISTED = 50
CHOOSE = "/profile/#notifications"  # where a person decides what is mailed
LEAVING_WORKS_FOR = 60 * 60 * 24 * 180  # seconds after a mail was sent


@dataclass(frozen=True)
class Problem:
    """Why a mail was not sent, in a stored sentence; `is_final`: trying again is of no use."""

    sentence: str
    is_final: bool = False


@dataclass(frozen=True)
class Told:
    """One notice in the reader's language, for the templates."""

    title: str
    sentences: list[str]
    facts: list[tuple[str, str]]
    url: str
    workspace: str


def _leaving() -> signing.TimestampSigner:
    return signing.TimestampSigner(sep="~", salt="studio.unsubscribe")


def is_set_up() -> bool:
    """Say whether this studio can send e-mail at all."""
    return settings.EMAIL_BACKEND.split(".")[-2] not in NOWHERE


def is_wanted(notice: Notice, person: User) -> bool:
    """Say whether a person is still to be told: a member with an address who has not chosen otherwise meanwhile."""
    belongs = person.is_active and person.email and notice.workspace.memberships.filter(user=person).exists()
    return bool(belongs) and MailChoice.of(person).wants(notice.event, notice.data)


def send(person: User, deliveries: list[Delivery]) -> Problem | None:
    """Send a person one mail that says all of it; return what went wrong."""
    try:
        message_for(person, deliveries).send()
    except smtplib.SMTPRecipientsRefused as exc:
        codes = [code for code, _words in exc.recipients.values()]
        return Problem(gettext_noop("The mail server refuses the address."), all(code >= 500 for code in codes))
    except smtplib.SMTPAuthenticationError:
        return Problem(gettext_noop("The mail server does not take the studio's user name and password."))
    except smtplib.SMTPResponseException as exc:
        return Problem(gettext_noop("The mail server refuses it with the code %(code)s.") % {"code": exc.smtp_code})
    except (OSError, smtplib.SMTPException):
        return Problem(gettext_noop("The mail server does not answer as it should."))
    return None


def message_for(person: User, deliveries: list[Delivery]) -> EmailMultiAlternatives:
    """Return the mail that says all of it in the person's language. No name in it can begin a header of its own."""
    known = person.language if translation.check_for_language(person.language or "") else ""
    with translation.override(known or settings.LANGUAGE_CODE):
        told = [_told(one.notice) for one in deliveries[:MOST_LISTED]]
        subject = formats.line(_subject([one.notice for one in deliveries]), 200)
        choose, rest = formats.url_of(CHOOSE), len(deliveries) - len(told)
        facts = {"told": told, "rest": rest, "choose": choose, "subject": subject, "is_one": len(deliveries) == 1}
        html = render_to_string("notifications/mail.html", facts)
        text = _as_text(told, rest, choose)
    domain = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    message = EmailMultiAlternatives(
        subject,
        text,
        to=[person.email],
        headers={
            "Message-ID": make_msgid(deliveries[0].uid.hex, domain=domain),
            "List-Unsubscribe": f"<{formats.url_of(reverse('unsubscribe', args=[leaving_token(person)]))}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",  # Source: RFC 8058
            "Auto-Submitted": "auto-generated",
        },
    )
    message.attach_alternative(html, "text/html")
    return message


def leaving_token(person: User) -> str:
    """Return what stands in the link of a mail that ends all of them: it does this alone, for its address alone."""
    return _leaving().sign_object([person.pk, person.email])


def who_leaves(token: str) -> User | None:
    """Return the person whose mails a link ends; None for a link that is none, is too old or of another address."""
    try:
        pk, email = _leaving().unsign_object(token, max_age=LEAVING_WORKS_FOR)
    except signing.BadSignature:
        return None
    return User.objects.filter(pk=pk, email=email, is_active=True).first()


def _told(notice: Notice) -> Told:
    facts, sentences = formats.facts_of(notice), formats.sentences_of(notice)
    title, url = formats.line(notice.title), formats.url_of(notice.path)
    return Told(title, sentences, facts, url, notice.workspace.name)


def _subject(notices: list[Notice]) -> str:
    """Return one line: what happened, or how many of what."""
    if len(notices) == 1:
        return f"{formats.line(notices[0].title, 160)} · {notices[0].workspace.name}"
    events = Counter(notice.event for notice in notices)
    ended = sum(events[event] for event in RUN_ENDS)
    spaces = ", ".join(sorted({notice.workspace.name for notice in notices}))
    if ended == len(notices):
        said = ngettext("%(n)d run ended", "%(n)d runs ended", ended) % {"n": ended}
        if failed := events[Event.RUN_FAILED]:
            said += ngettext(", %(n)d of them failed", ", %(n)d of them failed", failed) % {"n": failed}
    elif all(event in OF_RUNS for event in events):
        said = ngettext("News of %(n)d run", "News of %(n)d runs", len(notices)) % {"n": len(notices)}
    else:
        said = ngettext("%(n)d message", "%(n)d messages", len(notices)) % {"n": len(notices)}
    return f"{said} · {spaces}"


def _as_text(told: list[Told], rest: int, choose: str) -> str:
    parts = []
    for one in told:
        facts = [f"{name}: {value}" for name, value in one.facts] if len(told) == 1 else []
        parts.append("\n".join([one.title, *one.sentences, *facts, one.url]))
    if rest:
        parts.append(ngettext("And %(n)d more.", "And %(n)d more.", rest) % {"n": rest})
    why = _("You are told because it is yours, or waits for you. Choose what is mailed: %(address)s")
    return "\n\n".join([*parts, f"-- \n{why % {'address': choose}}", ""])
