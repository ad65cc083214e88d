"""`manage.py account USER off|on`: switches a person's account off, which signs it out everywhere, or on again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from studio.errors import NotAllowedNow
from studio.people import actions
from studio.people.models import User


class Command(BaseCommand):
    help = "Switch a person's account off, which signs it out everywhere and closes its open pages, or on again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name or e-mail address")
        parser.add_argument("switch", choices=["off", "on"])

    def handle(self, *args: Any, **options: Any) -> None:
        who = options["user"]
        person = User.objects.filter(Q(username__iexact=who) | Q(email__iexact=who)).first()
        if person is None:
            raise CommandError(f"Nobody here is called {who}.")
        try:
            (actions.switch_off if options["switch"] == "off" else actions.switch_on)(person, by=None)
        except NotAllowedNow as exc:
            raise CommandError(f"{exc.message} {exc.hint}") from None
        self.stdout.write(f"The account {person.username} is {options['switch']}.")
