"""Dashboards, their tiles, the links that open them without signing in, and the samples that charts over time need."""

from datetime import datetime, timedelta
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import StrIndex
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studio.live import nudge
from studio.people.models import Membership, User, Workspace, hash_of
from studio.people.permissions import Role

WIDEST, HIGHEST = 4, 3


class DashboardQuerySet(models.QuerySet["Dashboard"]):
    def for_user(self, user: Any) -> "DashboardQuerySet":
        """Return those that `user` may see: for everybody of their workspaces, for their role there, or made by them.

        An Owner sees every dashboard of the workspace: somebody has to be able to change it.
        """
        role = StrIndex(OuterRef("roles"), F("role"))
        here = Membership.objects.filter(workspace=OuterRef("workspace_id"), user=user.pk).alias(at=role)
        shown = Q(roles="") | Q(created_by=user.pk) | Exists(here.filter(Q(at__gt=0) | Q(role=Role.OWNER)))
        return self.filter(shown, workspace__in=Workspace.objects.for_user(user))


class Dashboard(models.Model):
    """Some tiles in an order, for people of a workspace to look at."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="dashboards")
    name = models.CharField(max_length=100)
    roles = models.CharField(max_length=100, blank=True)  # of Role, with commas between them; empty: everybody
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    objects = DashboardQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    @property
    def audience(self) -> list[Role]:
        """Return the roles it is for; none: everybody."""
        return [role for role in Role if role.value in self.roles.split(",")]

    def moved(self) -> None:
        """Nudge the pages that show it."""
        nudge(self.workspace.group, "dashboard:moved", id=self.pk)


class Tile(models.Model):
    """One thing that a dashboard shows."""

    dashboard = models.ForeignKey(Dashboard, on_delete=models.CASCADE, related_name="tiles")
    kind = models.CharField(max_length=20)  # a key of TILES
    title = models.CharField(max_length=100, blank=True)  # empty: as its kind says
    options = models.JSONField(default=dict, blank=True)  # what the kind's form declares
    position = models.PositiveIntegerField(default=0)  # counted from 0, without gaps
    width = models.PositiveSmallIntegerField(default=2, validators=[MinValueValidator(1), MaxValueValidator(WIDEST)])
    height = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(HIGHEST)])
    version = models.PositiveIntegerField(default=1)  # of title and options: who saves an older one is told

    class Meta:
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return f"{self.kind} on {self.dashboard}"


class Shows(models.TextChoices):
    """What a link shows only where it was chosen when the link was made."""

    PEOPLE = "people", _("Names of people")
    NAMES = "names", _("Names of runs, experiments, compute and metrics")
    REASONS = "reasons", _("Why runs failed or wait: error texts may hold paths, hosts and values")
    CSV = "csv", _("What is behind each tile, as CSV")


class LinkQuerySet(models.QuerySet["Link"]):
    def working(self) -> "LinkQuerySet":
        """Return those that open something: neither revoked nor too old."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def of(self, token: str) -> "Link | None":
        """Return the link that `token` opens, and note its use; None when it opens nothing."""
        found = self.working().select_related("dashboard__workspace").filter(token_sha256=hash_of(token)).first()
        if found is not None:
            found.note_use()
        return found


class Link(models.Model):
    """An address that shows one dashboard without signing in. Only a hash of its token is kept."""

    USED_WITHIN = timedelta(minutes=1)  # how exactly `used_at` is kept: opening often writes seldom

    dashboard = models.ForeignKey(Dashboard, on_delete=models.CASCADE, related_name="links")
    name = models.CharField(max_length=100)  # where it hangs: "screen in the lab"
    shows = models.JSONField(default=list)  # of Shows
    token_sha256 = models.CharField(max_length=64, unique=True)
    made_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)  # within a minute
    revoked_at = models.DateTimeField(null=True)

    objects = LinkQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"link {self.name} to {self.dashboard}"

    @property
    def is_too_old(self) -> bool:
        return self.expires_at <= timezone.now()

    @property
    def shown(self) -> list[str]:
        """Return in words what it shows beyond states and numbers."""
        return [str(one.label) for one in Shows if one.value in self.shows]

    def note_use(self) -> None:
        now = timezone.now()
        if self.used_at is None or now - self.used_at >= self.USED_WITHIN:
            Link.objects.filter(pk=self.pk).update(used_at=now)


class Every(models.IntegerChoices):
    """How far apart samples lie, in seconds."""

    MINUTE = 60
    HOUR = 3600
    DAY = 86400


class Sample(models.Model):
    """How a workspace stood at a moment; of an hour or a day, its means and its worst waits."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="samples")
    every = models.PositiveIntegerField(choices=Every, default=Every.MINUTE)
    at = models.DateTimeField()  # where the minute, the hour or the day begins
    nodes = models.JSONField(default=dict)  # {target id: {state: how many}}
    waiting = models.FloatField(default=0)  # runs
    oldest_seconds = models.FloatField(default=0)  # how long the one has waited that waits longest

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["workspace", "every", "at"], name="one_sample_of_a_moment")]

    def __str__(self) -> str:
        return f"{self.workspace} at {self.at}"

    @staticmethod
    def begins(at: datetime, every: int) -> datetime:
        """Return where the minute, hour or day begins that `at` lies in (UTC)."""
        return datetime.fromtimestamp(at.timestamp() // every * every, tz=at.tzinfo)
