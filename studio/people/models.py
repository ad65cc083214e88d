"""People, workspaces, who belongs where, and what was done by whom."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studio.people.origin import Way
from studio.people.permissions import Right, Role, Scope

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
    scope: Scope | None = None  # of the API token this person comes by; None: signed in

    @property
    def initials(self) -> str:
        """Two letters for the round mark in the top bar."""
        words = (self.get_full_name() or self.username).replace(".", " ").replace("_", " ").split()
        return "".join(w[0] for w in words[:2]).upper() if len(words) > 1 else self.username[:2].upper()

    @property
    def group(self) -> str:
        """Return the name of the channel group that this person's open pages watch."""
        return f"person.{self.pk}"


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def for_user(self, user: Any) -> "WorkspaceQuerySet":
        """Return the workspaces `user` belongs to; of who comes by an API token, at most the token's."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        belongs = self.filter(memberships__user=user)
        if user.scope is None:
            return belongs
        seen = user.scope.workspace_id
        return belongs.filter(pk=seen) if user.scope.allows(Right.VIEW, seen) else self.none()


class Allowance(models.TextChoices):
    """What is refused when something is attached or told, unless an Owner of the workspace allows it."""

    OTHER_LINUX = "other-linux", _("Machines that do not run Ubuntu")
    THIS_MACHINE = "this-machine", _("Addresses of the studio's own machine, and link-local ones")
    INTERNAL_WEBHOOKS = "internal-webhooks", _("Webhooks to addresses of internal networks")


class Workspace(models.Model):
    """What a team shares: its compute, experiments and runs."""

    name = models.CharField(max_length=33, unique=True, validators=[valid_workspace_name])
    guid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    description = models.CharField(max_length=500, blank=True)
    allowances = models.JSONField(default=list, blank=True)  # of Allowance
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

    def allows(self, what: Allowance) -> bool:
        """Say whether its Owners allow `what` to be attached."""
        return what.value in self.allowances

    @property
    def group(self) -> str:
        """Return the name of the channel group that open pages of this workspace watch."""
        return f"workspace.{self.pk}"


class Team(models.Model):
    """Some members of a workspace, who share limits and budgets. Whoever is in none is on their own."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="teams")
    name = models.CharField(max_length=50)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint("workspace", Lower("name"), name="one_team_of_a_name")]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a workspace, and the team they work in."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="memberships")
    by_provider = models.SlugField(max_length=50, blank=True)  # whose group brought the role; empty: by hand
    by_group = models.CharField(max_length=255, blank=True)  # as people call it
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="one_role_each")]

    def __str__(self) -> str:
        return f"{self.user} as {self.role} in {self.workspace}"


class ActivityQuerySet(models.QuerySet["Activity"]):
    def update(self, **values: Any) -> int:
        raise RuntimeError(KEPT)

    def delete(self) -> tuple[int, dict[str, int]]:
        raise RuntimeError(KEPT)

    def link(self, pk: int, seq: int, digest: str) -> None:
        """Give an entry its place in its chain, once."""
        models.QuerySet.update(self.filter(pk=pk, seq=None), seq=seq, hash=digest)


KEPT = "The activity is only ever added to."


class Activity(models.Model):
    """Something a person, or the studio itself, changed: who, what, when, from where, before and after.

    It is only ever added to, and outlives its workspace and its person: their ids are kept, and no row is asked for.
    """

    workspace = models.ForeignKey(
        Workspace, on_delete=models.DO_NOTHING, related_name="activity", null=True, db_constraint=False, db_index=False
    )
    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(
        User, on_delete=models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    actor_name = models.CharField(max_length=150)
    verb = models.CharField(max_length=40)  # "target.create", "target.resize", "run.cancel", … as in verbs.py
    object_kind = models.CharField(max_length=20)  # "target", "run", "experiment", "member", "workspace"
    object_id = models.CharField(max_length=255)
    object_name = models.CharField(max_length=255)
    detail = models.JSONField(default=dict)  # {"before": {...}, "after": {...}} or facts; never a secret
    way = models.CharField(max_length=8, choices=Way, blank=True)  # empty: older than this was written down
    token = models.CharField(max_length=100, blank=True)  # name of the API token
    address = models.CharField(max_length=100, blank=True)
    seq = models.BigIntegerField(null=True)  # its place in the chain, from 1; None until it is linked
    hash = models.CharField(max_length=64, blank=True)

    objects = ActivityQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["workspace", "object_kind", "object_id", "-at"], name="activity_of_object"),
            models.Index(fields=["workspace", "-id"], name="activity_newest"),
            models.Index(fields=["workspace", "id"], name="activity_to_link", condition=models.Q(seq=None)),
        ]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "seq"], name="one_entry_a_place"),
            models.UniqueConstraint(
                fields=["seq"], condition=models.Q(workspace=None), name="one_entry_a_place_of_none"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise RuntimeError(KEPT)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise RuntimeError(KEPT)


class Chain(models.Model):
    """The end of one chain of the activity: that of a workspace, or that of what belongs to none."""

    name = models.CharField(max_length=36, unique=True)  # the workspace's GUID, or "studio"
    workspace = models.ForeignKey(
        Workspace, on_delete=models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )
    length = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"chain {self.name} of {self.length}"


def hash_of(token: str) -> str:
    """Return what is kept of a token: enough to know it again, and nothing to use."""
    return hashlib.sha256(token.encode()).hexdigest()


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def pending(self) -> "InvitationQuerySet":
        """Return those that nobody has accepted, also the ones whose time is over."""
        return self.filter(used_at=None)

    def of(self, token: str) -> "Invitation | None":
        """Return the invitation that `token` opens; None when it is unknown, used, revoked or too old."""
        fresh = self.pending().filter(token_sha256=hash_of(token), expires_at__gt=timezone.now())
        return fresh.select_related("workspace", "made_by").first()


class Invitation(models.Model):
    """A link by which one person joins a workspace, once. Only a hash of its token is kept."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="invitations")
    who = models.CharField(max_length=150)  # as the Owner typed it: a name or an e-mail address
    role = models.CharField(max_length=20, choices=Role)
    token_sha256 = models.CharField(max_length=64, unique=True)
    made_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"invitation of {self.who} to {self.workspace}"

    @property
    def email(self) -> str:
        """Return the address it was made for, or nothing when it was made for a name."""
        return self.who if "@" in self.who else ""

    @property
    def is_too_old(self) -> bool:
        return self.expires_at <= timezone.now()


# What stands in the header "User-Agent", the most telling first: Edge says it is Chrome, and Chrome that it is Safari.
BROWSERS = [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")]
SYSTEMS = [
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
]


class BrowserSession(models.Model):
    """Where a person is signed in: the facts of one session, to tell it from the others and to end it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="browser_sessions")
    session_key = models.CharField(max_length=40, unique=True)
    address = models.GenericIPAddressField(null=True)
    agent = models.CharField(max_length=300, blank=True)  # what the browser says of itself
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)  # within a few minutes

    class Meta:
        ordering = ["-seen_at", "-pk"]

    def __str__(self) -> str:
        return f"session of {self.user} at {self.address}"

    @property
    def device(self) -> str:
        """Return browser and system as far as the browser tells: "Firefox, Linux"."""
        browser = next((name for mark, name in BROWSERS if mark in self.agent), "")
        system = next((name for mark, name in SYSTEMS if mark in self.agent), "")
        return ", ".join(word for word in (browser, system) if word) or self.agent[:60] or str(_("An unknown device"))


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
        cls.objects.create(user=user, token_sha256=hash_of(token), expires_at=timezone.now() + timedelta(hours=hours))
        return token

    @classmethod
    def person_of(cls, token: str) -> User | None:
        """Return whom a token would sign in, without using it up; None when it no longer works."""
        fresh = cls.objects.filter(
            token_sha256=hash_of(token), used_at=None, expires_at__gt=timezone.now(), user__is_active=True
        )
        link = fresh.select_related("user").first()
        return link.user if link else None

    @classmethod
    def redeem(cls, token: str) -> User | None:
        """Use up a token and return its person; None when it is unknown, used or too old."""
        digest = hash_of(token)
        now = timezone.now()
        fresh = cls.objects.filter(token_sha256=digest, used_at=None, expires_at__gt=now)
        if not fresh.update(used_at=now):
            return None
        user = cls.objects.get(token_sha256=digest).user
        return user if user.is_active else None


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def working(self) -> "ApiTokenQuerySet":
        """Return those that open something: neither revoked nor too old, of people who may sign in."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now(), user__is_active=True)


class ApiToken(models.Model):
    """What a program shows instead of signing in: some of a person's rights in one workspace. Only a hash is kept."""

    USED_WITHIN = timedelta(minutes=1)  # how exactly `used_at` is kept: asking often writes seldom

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_tokens")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    rights = models.JSONField(default=list)  # of Right
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)  # within a minute
    revoked_at = models.DateTimeField(null=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"API token {self.name} of {self.user}"

    @property
    def scope(self) -> Scope:
        """Return what it leaves of its person's rights."""
        rights = frozenset(right for right in Right if right.value in self.rights)
        return Scope(self.workspace_id, rights, self.name, self.pk)

    @classmethod
    def person_of(cls, token: str) -> User | None:
        """Return whose `token` is, limited to its scope, and note its use; None when it does not work."""
        found = cls.objects.working().select_related("user").filter(token_sha256=hash_of(token)).first()
        if found is None:
            return None
        now = timezone.now()
        if found.used_at is None or now - found.used_at >= cls.USED_WITHIN:
            cls.objects.filter(pk=found.pk).update(used_at=now)
        person = found.user
        person.scope = found.scope
        return person
