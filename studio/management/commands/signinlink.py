"""`manage.py signinlink USER`: a link that signs one person in, once."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.urls import reverse

from studio.people.models import SignInLink, User


class Command(BaseCommand):
    help = "Print a link that signs one person in, once, within the hour."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name or e-mail address")
        parser.add_argument("--hours", type=int, default=1, help="how long it works (default: 1)")

    def handle(self, *args: Any, **options: Any) -> None:
        who = options["user"]
        person = User.objects.filter(Q(username__iexact=who) | Q(email__iexact=who), is_active=True).first()
        if person is None:
            names = ", ".join(
                User.objects.filter(is_active=True).order_by("username").values_list("username", flat=True)[:20]
            )
            raise CommandError(f"Nobody here is called {who}. There are: {names or 'no people yet'}.")
        token = SignInLink.issue(person, hours=options["hours"])
        self.stdout.write(settings.PUBLIC_URL.rstrip("/") + reverse("sign_in_by_link", args=[token]))
