"""`manage.py account USER off|on|forget-second-step`: switches a person's account off, which signs it out everywhere,
or on again; or takes the second step and the passkeys of somebody away who is locked out.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from studio.errors import NotAllowedNow
from studio.people import actions, second_step
from studio.people.models import User


class Command(BaseCommand):
    help = (
        "Switch a person's account off, which signs it out everywhere and closes its open pages, or on again; "
        "or take the second step and the passkeys of a locked-out person away."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name or e-mail address")
        parser.add_argument("switch", choices=["off", "on", "forget-second-step"])

    def handle(self, *args: Any, **options: Any) -> None:
        who = options["user"]
        person = User.objects.filter(Q(username__iexact=who) | Q(email__iexact=who)).first()
        if person is None:
            raise CommandError(f"Nobody here is called {who}.")
        if options["switch"] == "forget-second-step":
            gone = second_step.forget(person, by=None)
            what = "The second step and every passkey" if gone else "There was no second step"
            self.stdout.write(f"{what} of {person.username}" + (" is taken away." if gone else "."))
            return
        try:
            (actions.switch_off if options["switch"] == "off" else actions.switch_on)(person, by=None)
        except NotAllowedNow as exc:
            raise CommandError(f"{exc.message} {exc.hint}") from None
        self.stdout.write(f"The account {person.username} is {options['switch']}.")
