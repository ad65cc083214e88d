"""The form of a workspace's sign-in to Azure."""

from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.attach_forms import SecretField
from compute.models import AzureSignIn

Way = AzureSignIn.Way
STAND_IN = "account-name-stands-here"  # a host of letters, while braces are looked at as none
OWN_ENDPOINTS = ("authority", "resource_manager", "data_lake_analytics")


class AzureSignInForm(forms.ModelForm):  # type: ignore[type-arg]
    """A machine's own identity is shown to Azure's own addresses alone: another would only have to ask for it."""

    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        "tenant_id": ("way", Way.SERVICE_PRINCIPAL.value),
        "client_secret": ("way", Way.SERVICE_PRINCIPAL.value),
        **dict.fromkeys(OWN_ENDPOINTS, ("way", Way.SERVICE_PRINCIPAL.value)),
    }

    wanted: ClassVar[frozenset[str]] = frozenset({"tenant_id", "client_secret"})  # see AttachForm

    client_secret = SecretField(
        label=gettext_lazy("Client secret"),
        one_line=True,
        required=False,
        max_length=1000,
        help_text=gettext_lazy("It is kept sealed and never shown."),
    )

    class Meta:
        model = AzureSignIn
        fields = ("way", "subscription_id", "tenant_id", "client_id", "client_secret", *OWN_ENDPOINTS)
        labels = {
            "way": gettext_lazy("Sign in with"),
            "subscription_id": gettext_lazy("Subscription id"),
            "tenant_id": gettext_lazy("Tenant id"),
            "client_id": gettext_lazy("Client id"),
            "authority": gettext_lazy("Authority"),
            "resource_manager": gettext_lazy("Resource Manager"),
            "data_lake_analytics": gettext_lazy("Data Lake Analytics"),
        }
        help_texts = {
            "subscription_id": gettext_lazy("az account show --query id"),
            "tenant_id": gettext_lazy("az account show --query tenantId"),
            "client_id": gettext_lazy(
                "Of the service principal, or of a user-assigned identity; empty: the machine’s own."
            ),
            "authority": gettext_lazy("Empty: https://login.microsoftonline.com"),
            "resource_manager": gettext_lazy("Empty: https://management.azure.com"),
            "data_lake_analytics": gettext_lazy(
                "The service was retired on 29 February 2024. An endpoint that speaks its protocol, such as "
                "https://{account}.datalake.example.org"
            ),
        }
        widgets = {"way": forms.RadioSelect}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["way"].choices = Way.choices  # type: ignore[attr-defined]  # a radio for nothing chosen is none

    @property
    def keeps_secret(self) -> bool:
        """Say whether there is a client secret already, which may be left as it is."""
        return "client_secret" in self.instance.sealed

    def clean_subscription_id(self) -> str:
        return _uuid(self.cleaned_data["subscription_id"])

    def clean_tenant_id(self) -> str:
        return _uuid(self.cleaned_data["tenant_id"])

    def clean_client_id(self) -> str:
        return _uuid(self.cleaned_data["client_id"])

    def clean_authority(self) -> str:
        return _https(self.cleaned_data["authority"])

    def clean_resource_manager(self) -> str:
        return _https(self.cleaned_data["resource_manager"])

    def clean_data_lake_analytics(self) -> str:
        typed = str(self.cleaned_data["data_lake_analytics"])
        return _https(typed.replace("{account}", STAND_IN)).replace(STAND_IN, "{account}")

    def clean(self) -> dict[str, Any]:
        """Hold that a service principal is whole, and that nothing else goes to addresses of one's own."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("way") != Way.SERVICE_PRINCIPAL:
            cleaned |= dict.fromkeys((*OWN_ENDPOINTS, "tenant_id"), "")
            if cleaned.get("way") == Way.DEFAULT:
                cleaned["client_id"] = ""
            return cleaned
        for name in ("tenant_id", "client_id"):
            if name in cleaned and not cleaned[name]:
                self.add_error(name, _("A service principal has one."))
        # A kept secret goes to nobody it was not given for.
        moved = {"authority", "tenant_id", "client_id"} & set(self.changed_data)
        if not cleaned.get("client_secret") and (not self.keeps_secret or moved):
            self.add_error("client_secret", _("Give the secret of this service principal, also when it is the same."))
        return cleaned


def _uuid(typed: str) -> str:
    if not typed.strip():
        return ""
    try:
        return str(UUID(typed.strip()))
    except ValueError:
        raise forms.ValidationError(_("An id reads 12345678-90ab-cdef-1234-567890abcdef.")) from None


def _https(typed: str) -> str:
    """Return an address without what stands behind its host. Raises ValidationError for another scheme."""
    typed = typed.strip()
    if not typed:
        return ""
    try:
        parts = urlsplit(typed)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "https" or not parts.hostname or parts.username or not parts.hostname.isprintable():
        raise forms.ValidationError(_("An address begins with https:// and names a host."))
    return f"https://{parts.hostname}" + (f":{port}" if port else "")
