"""`manage.py doctor`: what is reachable, what is insecure, and how to mend it."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from studio.doctor import Word, examine


class Command(BaseCommand):
    help = "Say what the studio reaches, what is insecure, and how to mend it. Ends with 1 when something is broken."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        count = dict.fromkeys(Word, 0)
        for finding in examine():
            count[finding.word] += 1
            self.stdout.write(f"{finding.word.value:<5} {finding.what}")
            if finding.mend:
                self.stdout.write(f"      → {finding.mend}")
            self.stdout.flush()
        self.stdout.write(f"{count[Word.BAD]} broken, {count[Word.WARN]} to look at, {count[Word.OK]} well.")
        if count[Word.BAD]:
            sys.exit(1)
