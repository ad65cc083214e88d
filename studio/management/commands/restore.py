"""`manage.py restore FILE.tar.gz --data DIR`: a studio made of a backup, where nothing is yet."""

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from studio.backup import CannotBackUp, restore, settle


class Command(BaseCommand):
    help = "Make a studio of a backup, in an empty directory (and with DATABASE_URL, in an empty database)."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.tar.gz")
        parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the studio is to live")

    def handle(self, *args: Any, **options: Any) -> None:
        data: Path = options["data"].absolute()
        if data != settings.DATA_DIR:  # every setting follows from it: begin again with it
            os.environ["STUDIO_DATA"] = str(data)
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
        try:
            content = restore(options["file"])
        except CannotBackUp as exc:
            raise CommandError(str(exc)) from exc
        call_command("migrate", verbosity=0, interactive=False)  # an older studio's backup is brought up to date
        lost = settle(content.made_at)
        parts = ", ".join(f"{count} files of {name}" for name, count in content.files.items())
        self.stdout.write(f"Restored the studio of {content.made_at}: the database{', ' if parts else ''}{parts}.")
        if lost:
            self.stdout.write(f"{lost} of its runs went on while the backup was made; they are shown as lost here.")
        if not content.keys:
            self.stdout.write("The backup holds no key: set SECRET_KEY to the one it had, and SEAL_KEYS.")
        self.stdout.write(f"Start it: python3 manage.py up --data {data}")
