"""From where a change comes: which way somebody came, and from which address. Whoever writes it down asks here."""

import getpass
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from studio.people.permissions import Scope

NO_ADDRESS = "0.0.0.0"  # noqa: S104  who comes over a UNIX socket without a proxy's word has none; they share one count
LONGEST = 100  # characters of an address


class Way(TextChoices):
    """How a change came. Nothing is said of those that are older than this."""

    BROWSER = "browser", _("Browser")
    TOKEN = "token", _("API token")
    COMMAND = "command", _("Command line")
    STUDIO = "studio", _("The studio itself")


@dataclass(frozen=True)
class Origin:
    """Which way, from which address, and of an API token its name."""

    way: Way
    address: str = ""
    token: str = ""


class Somebody(Protocol):
    """Who changes something: a person, maybe by an API token."""

    scope: Scope | None


_address: ContextVar[Callable[[], str] | None] = ContextVar("address", default=None)  # of who asks; none: nobody does
_at_the_command_line: ContextVar[bool] = ContextVar("at_the_command_line", default=False)


@contextmanager
def answering(address: Callable[[], str]) -> Iterator[None]:
    """Have what is changed in here come from a request; `address` says whose, when something is."""
    before = _address.set(address)
    try:
        yield
    finally:
        _address.reset(before)


def at_the_command_line() -> None:
    """Have what is changed from now on come from a command of manage.py."""
    _at_the_command_line.set(True)


def origin_of(actor: Somebody | None) -> Origin:
    """Return from where `actor` does what they do now; of the studio itself, and of its tasks for somebody, no more."""
    ask = _address.get()
    if actor is None or ask is None:
        at_the_desk = _at_the_command_line.get()
        return (
            Origin(Way.COMMAND, f"{_account()}@{socket.gethostname()}"[:LONGEST]) if at_the_desk else Origin(Way.STUDIO)
        )
    found = ask()
    address = "" if found == NO_ADDRESS else found[:LONGEST]
    if actor.scope is not None:
        return Origin(Way.TOKEN, address, actor.scope.token)
    return Origin(Way.BROWSER, address)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return "?"
