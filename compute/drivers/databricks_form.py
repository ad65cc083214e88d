"""What the form of a Databricks workspace asks for, and what a run on it may say."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.attach_forms import AzureForm, SecretField
from compute.drivers.base import RunForm
from studio.people.models import Allowance

EXISTING, NEW = "existing", "new"


class DatabricksForm(AzureForm):
    folded: ClassVar[tuple[str, ...]] = ("expires", "resource_id")
    provider, resource = "Microsoft.Databricks", "workspaces"

    url = forms.CharField(
        label=gettext_lazy("Workspace URL"),
        max_length=255,
        help_text=gettext_lazy("https://adb-1234567890123456.7.azuredatabricks.net, as in the browser."),
    )
    access_token = SecretField(
        label=gettext_lazy("Personal access token"),
        one_line=True,
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
