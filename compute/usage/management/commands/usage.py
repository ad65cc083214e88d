"""`manage.py usage [--rebuild]`: compares the totals of usage with what each job used; makes them anew when asked."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from compute.usage import check


class Command(BaseCommand):
    help = "Compare the totals of usage with what each job used. Ends with 1 when they are wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="make them anew from what each job used")

    def handle(self, *args: Any, **options: Any) -> None:
        found = check.drift()
        for line in found:
            self.stdout.write(line)
        if options["rebuild"]:
            check.rebuild()
            self.stdout.write(f"The totals were made anew; {len(found)} were wrong.")
        elif found:
            self.stdout.write(f"{len(found)} wrong. `manage.py usage --rebuild` makes them anew.")
            sys.exit(1)
        else:
            self.stdout.write("The totals are right.")
