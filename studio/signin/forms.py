"""What an administrator types about a provider and its groups."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studio.people.models import Team, Workspace
from studio.people.permissions import Role
from studio.signin.models import SECRET, GroupRole, Provider

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class ProviderForm(forms.ModelForm[Provider]):
    """A provider. Its issuer is said once: another one's people would be taken for those that are linked."""

    secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("It is kept sealed and never shown."),
    )
    wanted = frozenset({"secret"})

    class Meta:
        model = Provider
        fields = (
            "name", "issuer", "client_id", "secret", "scopes", "groups_claim",
            "is_enabled", "makes_accounts", "allows_inside",
        )  # fmt: skip
        labels = {
            "name": gettext_lazy("Name"),
            "issuer": gettext_lazy("Issuer"),
            "client_id": gettext_lazy("Client id"),
            "scopes": gettext_lazy("Scopes"),
            "groups_claim": gettext_lazy("Claim that holds groups"),
            "is_enabled": gettext_lazy("People may sign in with it"),
            "makes_accounts": gettext_lazy("It makes accounts for people whom one of the groups below maps"),
            "allows_inside": gettext_lazy("It answers on the studio’s own machine"),
        }
        help_texts = {
            "name": gettext_lazy("As the sign-in page says it: Contoso."),
            "issuer": gettext_lazy("Of Entra ID: https://login.microsoftonline.com/TENANT-ID/v2.0"),
            "scopes": gettext_lazy("Some providers send groups only for a scope of their own."),
            "makes_accounts": gettext_lazy("Everybody else is turned away, however well the provider knows them."),
            "allows_inside": gettext_lazy(
                "Else loopback, link-local and metadata addresses are refused. Plain HTTP is for such a one alone."
            ),
        }
        widgets = {name: forms.TextInput(attrs=PLAIN) for name in ("issuer", "client_id", "scopes", "groups_claim")}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk:
            self.fields["issuer"].disabled = True
            self.fields["issuer"].help_text = _("It stays. For another one, add another provider.")

    @property
    def keeps_secret(self) -> bool:
        return SECRET in self.instance.sealed

    def clean_issuer(self) -> str:
        issuer = str(self.cleaned_data["issuer"]).strip()
        try:
            parts = urlsplit(issuer)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), 0
        if not parts.hostname or parts.scheme not in {"https", "http"} or parts.username or parts.query or port == 0:
            raise ValidationError(_("An address that begins with https://."))
        return issuer.removesuffix("/.well-known/openid-configuration")

    def clean_scopes(self) -> str:
        return " ".join(dict.fromkeys(["openid", *str(self.cleaned_data["scopes"]).split()]))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if str(cleaned.get("issuer", "")).startswith("http:") and not cleaned.get("allows_inside"):
            self.add_error("issuer", _("Plain HTTP would show everybody on the way who signs in."))
        return cleaned


class GroupForm(forms.ModelForm[GroupRole]):
    """What a group means in a workspace."""

    team = forms.CharField(label=gettext_lazy("Team"), required=False, max_length=50)

    class Meta:
        model = GroupRole
        fields = ("group", "label", "workspace", "role", "team")
        labels = {
            "group": gettext_lazy("Group"),
            "label": gettext_lazy("Called"),
            "workspace": gettext_lazy("Workspace"),
            "role": gettext_lazy("Role"),
        }
        help_texts = {"group": gettext_lazy("As the provider sends it. Entra ID sends object ids.")}
        widgets = {"group": forms.TextInput(attrs=PLAIN)}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        spaces: Any = self.fields["workspace"]
        spaces.queryset, spaces.empty_label = Workspace.objects.order_by("name"), None
        roles: Any = self.fields["role"]
        roles.choices = Role.choices

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        named, space = str(cleaned.get("team", "")).strip(), cleaned.get("workspace")
        cleaned["team"] = None
        if named and space is not None:
            cleaned["team"] = Team.objects.filter(workspace=space, name__iexact=named).first()
            if cleaned["team"] is None:
                self.add_error("team", _("%(workspace)s has no team of this name.") % {"workspace": space.name})
        return cleaned
