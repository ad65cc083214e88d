"""The OpenID providers of this studio, what their groups mean here, and whether passwords open it, too."""

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from studio.people.models import Team, Workspace
from studio.people.permissions import Role
from studio.seal import unseal

SECRET = "client_secret"  # noqa: S105  its name among the sealed values


class Provider(models.Model):
    """An OpenID provider that people sign in with: Entra ID, or any other that has a discovery document.

    Its slug stands in its addresses and in every link of a person with it, and its issuer says whose `sub` those are:
    both stay as they are.
    """

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=40)
    issuer = models.CharField(max_length=300)
    client_id = models.CharField(max_length=191)
    sealed = models.JSONField(default=dict)  # {"client_secret": sealed text}
    scopes = models.CharField(
        max_length=300,
        default="openid profile email",
        validators=[RegexValidator(r"\A[\x21\x23-\x5b\x5d-\x7e ]+\Z", _("Words with spaces between them."))],
    )
    groups_claim = models.CharField(max_length=100, default="groups")
    is_enabled = models.BooleanField(default=True)
    makes_accounts = models.BooleanField(default=False)  # for people whom a group maps; nobody else
    allows_inside = models.BooleanField(default=False)  # it answers on this machine, or on its own link
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "pk"]
        verbose_name_plural = "sign-in providers"

    def __str__(self) -> str:
        return self.name

    def place_of(self, name: str) -> str:
        """Return the place that a sealed value is bound to."""
        return f"signin.provider/{self.pk}/{name}"

    @property
    def secret(self) -> str:
        """Return the client secret, unsealed; nothing when there is none."""
        return unseal(self.sealed[SECRET], where=self.place_of(SECRET)) if SECRET in self.sealed else ""


class GroupRole(models.Model):
    """What a provider's group means: a role in a workspace, and maybe a team there."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="groups")
    group = models.CharField(max_length=255)  # as the provider writes it: Entra sends object ids
    label = models.CharField(max_length=100, blank=True)  # as people call it
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=20, choices=Role)
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["workspace__name", "label", "group"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "group", "workspace"], name="one_role_of_a_group")
        ]

    def __str__(self) -> str:
        return f"{self.called}: {self.role} in {self.workspace}"

    @property
    def called(self) -> str:
        """Return its name for people."""
        return self.label or self.group


class SignInRules(models.Model):
    """The one row that says how people may sign in at all."""

    passwords_allowed = models.BooleanField(default=True)
    second_step_required = models.BooleanField(default=False)  # of who does not come by a provider

    def __str__(self) -> str:
        return "rules of signing in"

    @classmethod
    def now(cls) -> "SignInRules":
        """Return the rules; without a row, those of a new studio."""
        return cls.objects.first() or cls(pk=1)
