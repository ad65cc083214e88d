"""Badges: links by which one target or one run shows its state to anybody who has them."""

from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from compute.models import ComputeTarget
from runs.models import Run
from studio.people.models import User, Workspace

LONGEST = 100  # characters of a link's token


class BadgeQuerySet(models.QuerySet["Badge"]):
    def working(self) -> "BadgeQuerySet":
        """Return those that show something: neither revoked nor too old."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def of(self, thing: ComputeTarget | Run) -> "BadgeQuerySet":
        """Return those of a target, or of a run."""
        return self.filter(**{"target" if isinstance(thing, ComputeTarget) else "run": thing})


class Badge(models.Model):
    """A link to the state of one target or one run, and of nothing else. Its token is signed, not stored."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="badges")
    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, null=True, related_name="badges")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, related_name="badges")
    made_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    objects = BadgeQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(target=None, run__isnull=False) | Q(target__isnull=False, run=None), name="badge_of_one"
            )
        ]

    def __str__(self) -> str:
        return f"badge of {self.thing}"

    @property
    def thing(self) -> Any:
        """Return the target or the run."""
        return self.target if self.target is not None else self.run

    @property
    def kind(self) -> str:
        return "run" if self.run_id is not None else "target"

    @property
    def token(self) -> str:
        """Return what the link holds: nobody makes one up without the studio's key."""
        return _signer().sign(str(self.pk))

    @property
    def path(self) -> str:
        return reverse("badge", args=[self.token])

    @property
    def address(self) -> str:
        """Return the whole address of the image."""
        return settings.PUBLIC_URL.rstrip("/") + self.path

    @classmethod
    def find(cls, token: str) -> "Badge | None":
        """Return the badge of a token that works; None for every other."""
        try:
            pk = int(_signer().unsign(token)) if len(token) <= LONGEST else 0
        except (BadSignature, ValueError):
            return None
        return cls.objects.working().select_related("target", "run").filter(pk=pk).first()


def _signer() -> Signer:
    """Return who signs badges; made when it is asked, for `manage.py restore` has no key yet."""
    return Signer(sep="~", salt="studio.badge")
