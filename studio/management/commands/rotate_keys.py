"""`manage.py rotate_keys`: seals every secret under the newest key, online, and proves that nothing old is left.

Put the new key first in SEAL_KEYS, the old one after it, and restart the studio; run this; then take the old one out.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError

from studio import rotation
from studio.errors import StudioError
from studio.people import second_step
from studio.seal import CannotUnseal, newest_key


class Command(BaseCommand):
    help = "Seal every secret under the first of SEAL_KEYS, while the studio runs, and prove that nothing old is left."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            key = newest_key()
        except StudioError as exc:
            raise CommandError(f"{exc.message} {exc.hint}") from exc
        left = 0
        for model in rotation.models_with_secrets():
            name = str(model._meta.verbose_name_plural)
            try:
                for looked, whole, changed in rotation.reseal(model):
                    self.stdout.write(f"{name}: {looked} of {whole} rows, {changed} secrets sealed anew")
            except CannotUnseal as exc:
                raise CommandError(
                    f"{name}: {exc} Put the key that sealed it into SEAL_KEYS, after the new one."
                ) from exc
            left += rotation.left_over(model)
        try:
            self.stdout.write(f"second steps: {second_step.seal_anew()} secrets sealed anew")
        except CannotUnseal as exc:
            raise CommandError(
                f"second steps: {exc} Put the key that sealed it into SEAL_KEYS, after the new one."
            ) from exc
        if left:
            raise CommandError(
                f"{left} secrets are under an older key: a process that was not restarted sealed them meanwhile. "
                "Restart the studio and run this again."
            )
        self.stdout.write(f"Every secret is sealed under the key {key.id}; no older one is needed any more.")
