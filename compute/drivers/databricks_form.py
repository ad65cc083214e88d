"""What the form of a Databricks workspace asks for, and what a run on it may say."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import arm, azure
from compute.attach_forms import AzureForm, SecretField
from compute.drivers.base import RunForm
from studio.errors import StudioError
from studio.people.models import Allowance

EXISTING, NEW = "existing", "new"
TOKEN, AZURE = "token", "azure"
OF_AZURE = (".azuredatabricks.net", ".databricks.azure.us", ".databricks.azure.cn")  # Source: the clouds' own names


class DatabricksForm(AzureForm):
    """A workspace by its URL, or by the names that Azure knows it by. Source: azure-ml facts J2, and J3 point 5."""

    folded: ClassVar[tuple[str, ...]] = ("expires", "resource_group", "workspace_name", "resource_id")
    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        "access_token": ("authentication", TOKEN),
        "expires": ("authentication", TOKEN),
    }
    wanted = frozenset({"url", "access_token"})
    provider, resource = "Microsoft.Databricks", "workspaces"

    url = forms.CharField(
        label=gettext_lazy("Workspace URL"),
        max_length=255,
        required=False,
        help_text=gettext_lazy(
            "https://adb-1234567890123456.7.azuredatabricks.net, as in the browser. Empty: it is looked up in Azure."
        ),
    )
    resource_group = forms.RegexField(  # Source: Azure's naming rules for resource groups
        r"\A[\w\-.()]{0,89}[\w\-()]\Z", label=gettext_lazy("Resource group"), max_length=90, required=False
    )
    workspace_name = forms.RegexField(  # Source: Azure's naming rules for Databricks workspaces
        r"\A[\w\-]{3,64}\Z", label=gettext_lazy("Workspace name"), max_length=64, required=False
    )
    authentication = forms.ChoiceField(
        label=gettext_lazy("Sign in with"),
        choices=[
            (TOKEN, gettext_lazy("A personal access token")),
            (AZURE, gettext_lazy("This workspace’s Azure sign-in")),
        ],
        initial=TOKEN,
        widget=forms.RadioSelect,
    )
    access_token = SecretField(
        label=gettext_lazy("Personal access token"),
        one_line=True,
        required=False,
        max_length=1000,
        help_text=gettext_lazy("It is kept sealed, and can be replaced before it expires."),
    )
    expires = forms.DateField(
        label=gettext_lazy("The token expires on"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=gettext_lazy("The doctor warns in time. Databricks shows the day when the token is made."),
    )

    def clean_url(self) -> str:
        """Keep scheme and host alone: what stands behind them in a browser is a page of the workspace."""
        typed = str(self.cleaned_data["url"]).strip()
        if not typed:
            return ""
        try:
            parts = urlsplit(typed if "://" in typed else f"https://{typed}")
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        plain_is_fine = self.workspace.allows(Allowance.THIS_MACHINE)  # a service on this machine has no certificate
        if parts.scheme != "https" and not (parts.scheme == "http" and plain_is_fine):
            raise forms.ValidationError(_("The address begins with https://."))
        if not parts.hostname or parts.username or not parts.hostname.isprintable():
            raise forms.ValidationError(_("This is no address of a workspace."))
        return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")

    def clean(self) -> dict[str, Any]:
        """Look a workspace without a URL up in Azure; hold that there is a credential to sign in with."""
        cleaned: dict[str, Any] = super().clean()
        if cleaned.get("authentication") == TOKEN and not self.has("access_token"):
            self.add_error("access_token", _("It is needed, unless you sign in with Azure."))
        if self.errors:
            return cleaned
        by_name = bool(cleaned["resource_id"] or (cleaned["resource_group"] and cleaned["workspace_name"]))
        if by_name and (not cleaned["url"] or cleaned["authentication"] == AZURE):
            self._look_up(cleaned)
        elif not cleaned["url"]:
            said = _("It is needed, unless resource group and workspace name are given, or the resource id.")
            self.add_error("url", said)
        elif cleaned["authentication"] == AZURE and not cleaned["url"].endswith(OF_AZURE):
            # An address of somebody's own would be shown the identity of the whole workspace.
            self.add_error("url", _("With Azure sign-in it is looked up: give resource group and workspace name."))
        return cleaned

    def _look_up(self, cleaned: dict[str, Any]) -> None:
        """Ask Azure for the URL, whatever was typed."""
        try:
            path = cleaned["resource_id"]
            if not path:
                names = cleaned["resource_group"], self.provider, self.resource, cleaned["workspace_name"]
                path = arm.path_of(azure.subscription_of(self.workspace), *names)
            told = arm.get(self.workspace, path, "2023-02-01").get("properties") or {}
            if not told.get("workspaceUrl"):
                raise StudioError(_("Azure knows no URL of this workspace."))
            self.cleaned_data["url"] = cleaned["url"] = str(told["workspaceUrl"])
            cleaned["url"] = self.clean_url()
        except StudioError as exc:
            self.add_error("url", f"{exc.message} {exc.hint}".strip())

    def unused(self) -> frozenset[str]:
        return frozenset({"access_token"} if self.cleaned_data.get("authentication") == AZURE else ())

    def config(self) -> dict[str, Any]:
        expires = self.cleaned_data["expires"]
        return super().config() | {"expires": expires.isoformat() if expires else ""}


class DatabricksRunForm(RunForm):
    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        "cluster_id": ("cluster", EXISTING),
        **dict.fromkeys(("spark_version", "node_type", "workers", "most_workers"), ("cluster", NEW)),
    }
    needed = frozenset({"cluster_id", "spark_version", "node_type", "workers"})

    cluster = forms.ChoiceField(
        label=gettext_lazy("Cluster"),
        choices=[
            (NEW, gettext_lazy("A new one, which ends with the run")),
            (EXISTING, gettext_lazy("One that is there")),
        ],
        initial=NEW,
    )
    cluster_id = forms.RegexField(
        r"\A[\w\-]{1,100}\Z", label=gettext_lazy("Cluster id"), required=False, help_text="0923-164208-meows279"
    )
    spark_version = forms.RegexField(
        r"\A[\w.\-]{1,100}\Z", label=gettext_lazy("Spark version"), required=False, initial="15.4.x-scala2.12"
    )
    node_type = forms.RegexField(
        r"\A[\w.\-]{1,100}\Z", label=gettext_lazy("Node type"), required=False, initial="Standard_DS3_v2"
    )
    workers = forms.IntegerField(
        label=gettext_lazy("Workers"), required=False, min_value=1, max_value=10_000, initial=1
    )
    most_workers = forms.IntegerField(
        label=gettext_lazy("Workers at most"),
        required=False,
        min_value=1,
        max_value=10_000,
        help_text=gettext_lazy("More than the workers above: the cluster scales between the two."),
    )

    def clean(self) -> dict[str, Any]:
        """Hold that a cluster that scales has room to."""
        cleaned = super().clean()
        if cleaned.get("most_workers") and cleaned.get("workers") and cleaned["most_workers"] < cleaned["workers"]:
            self.add_error("most_workers", _("At most is less than the workers above."))
        return cleaned
