"""People, workspaces, who belongs where, and what was done by whom."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studio.people.permissions import Role

# Source: the `workspaceName` pattern of the provider's contract, 2020-08-01.
valid_workspace_name = RegexValidator(
    r"\A[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}\Z",
    _("3 to 33 letters, digits, “-” or “_”, the first a letter or a digit."),
)


class User(AbstractUser):
    """A person. Roles are held per workspace; `is_superuser` may also make workspaces."""

    class Theme(models.TextChoices):
        SYSTEM = "system", _("As the system")
        LIGHT = "light", _("Light")
        DARK = "dark", _("Dark")

    theme = models.CharField(max_length=8, choices=Theme, default=Theme.SYSTEM)
    language = models.CharField(max_length=8, blank=True)  # empty: as the browser asks

    @property
    def initials(self) -> str:
        """Two letters for the round mark in the top bar."""
        words = (self.get_full_name() or self.username).replace(".", " ").replace("_", " ").split()
        return "".join(w[0] for w in words[:2]).upper() if len(words) > 1 else self.username[:2].upper()

    def was_invited_here(self, workspace: "Workspace") -> bool:
        """Say whether the account was made for `workspace` alone and has never been used."""
        if self.last_login is not None or self.has_usable_password():
            return False
        return not self.memberships.exclude(workspace=workspace).exists()


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def for_user(self, user: Any) -> "WorkspaceQuerySet":
        """Return the workspaces `user` belongs to."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(memberships__user=user)


class Workspace(models.Model):
    """What a team shares: its compute, experiments and runs."""

    name = models.CharField(max_length=33, unique=True, validators=[valid_workspace_name])
    guid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    members: models.ManyToManyField[User, "Membership"] = models.ManyToManyField(
        User, through="Membership", related_name="workspaces"
    )

    objects = WorkspaceQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def role_of(self, user: Any) -> Role | None:
        """Return the role of `user` here, or None."""
        value = self.memberships.filter(user=user).values_list("role", flat=True).first()
        return Role(value) if value else None

    @property
    def group(self) -> str:
        """Return the name of the channel group that open pages of this workspace watch."""
        return f"workspace.{self.pk}"


class Membership(models.Model):
    """A person's role in a workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="one_role_each")]

    def __str__(self) -> str:
        return f"{self.user} as {self.role} in {self.workspace}"


class Activity(models.Model):
    """Something a person, or the studio itself, changed: who, what, when, before and after."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="activity", null=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    actor_name = models.CharField(max_length=150)  # survives the person
    verb = models.CharField(max_length=40)  # "target.create", "target.resize", "run.cancel", "member.role", …
    object_kind = models.CharField(max_length=20)  # "target", "run", "experiment", "member", "workspace"
    object_id = models.CharField(max_length=255)
    object_name = models.CharField(max_length=255)
    detail = models.JSONField(default=dict)  # {"before": {...}, "after": {...}} or facts; never a secret

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["workspace", "object_kind", "object_id", "-at"], name="activity_of_object")]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.object_name}"


class SignInLink(models.Model):
    """A link that signs one person in, once, within its hour. Only a hash of its token is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    token_sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user}"

    @classmethod
    def issue(cls, user: User, *, hours: int = 1) -> str:
        """Store a link for `user` and return its token, which is never stored."""
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        cls.objects.create(user=user, token_sha256=digest, expires_at=timezone.now() + timedelta(hours=hours))
        return token

    @classmethod
    def person_of(cls, token: str) -> User | None:
        """Return whom a token would sign in, without using it up; None when it no longer works."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        fresh = cls.objects.filter(
            token_sha256=digest, used_at=None, expires_at__gt=timezone.now(), user__is_active=True
        )
        link = fresh.select_related("user").first()
        return link.user if link else None

    @classmethod
    def redeem(cls, token: str) -> User | None:
        """Use up a token and return its person; None when it is unknown, used or too old."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        now = timezone.now()
        fresh = cls.objects.filter(token_sha256=digest, used_at=None, expires_at__gt=now)
        if not fresh.update(used_at=now):
            return None
        user = cls.objects.get(token_sha256=digest).user
        return user if user.is_active else None
