"""`manage.py backup FILE.tar.gz`: everything that cannot be made again, of a studio that may be running."""

import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from studio.backup import CannotBackUp, back_up


class Command(BaseCommand):
    help = "Back the studio up into one file, while it runs: database, logs, files of runs, outputs, and its key."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.tar.gz")
        parser.add_argument("--without-secrets", action="store_true", help="leave secret_key and seal_keys out")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        began = time.monotonic()
        try:
            content = back_up(file, secrets=not options["without_secrets"])
        except (CannotBackUp, OSError) as exc:
            raise CommandError(str(exc)) from exc
        parts = ", ".join(f"{count} files of {name}" for name, count in content.files.items())
        size = file.stat().st_size
        self.stdout.write(
            f"{file}: the database{', ' if parts else ''}{parts}; "
            f"{size / 1e6:.1f} MB in {time.monotonic() - began:.1f} s."
        )
        if content.keys:
            self.stdout.write(
                "It holds the key that signs sessions and opens sealed secrets: keep it as you keep that."
            )
        if content.keys_kept_elsewhere:
            names = " and ".join(content.keys_kept_elsewhere)
            self.stdout.write(f"It does not hold {names}: keep that beside it, or sealed secrets are lost.")
        self.stdout.write(f"Restore it: python3 manage.py restore {file} --data DIR")
