"""`manage.py ledger [--rebuild]`: compares the quota ledger with the nodes that exist; repairs it only when asked."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from compute.quotas import ledger


class Command(BaseCommand):
    help = "Compare the quota ledger with the nodes that exist. Ends with 1 when it is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="make it again from the nodes, and note it")

    def handle(self, *args: Any, **options: Any) -> None:
        found = ledger.rebuild() if options["rebuild"] else ledger.check()
        for drift in found:
            self.stdout.write(f"{drift.what}.")
        if not found:
            self.stdout.write("The ledger is right.")
        elif options["rebuild"]:
            self.stdout.write(f"It was made again from the nodes: {len(found)} repaired.")
        else:
            self.stdout.write(f"{len(found)} wrong. `manage.py ledger --rebuild` makes it again from the nodes.")
            sys.exit(1)
