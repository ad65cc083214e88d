"""What the form of every attachable kind begins with, and the field of a credential."""

from collections.abc import Collection
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import names
from compute.forms import is_taken, parse_tags
from studio.people.models import Workspace


class SecretInput(forms.Textarea):
    """Takes a credential and never shows one, not even the one that was just typed."""

    def format_value(self, value: Any) -> None:
        return None


class SecretField(forms.CharField):
    """A credential: sealed when it is kept, never shown again. Empty in an edit keeps the one there is."""

    def __init__(self, *, one_line: bool = False, **options: Any) -> None:
        widget = forms.PasswordInput if one_line else SecretInput
        attrs: dict[str, Any] = {"autocomplete": "off", "spellcheck": "false"}
        if not one_line:
            attrs |= {"class": "code-input", "rows": 5, "data-file-said": gettext_lazy("Read it from a file…")}
        super().__init__(**{"widget": widget(attrs=attrs), "strip": False, **options})


class AttachForm(forms.Form):
    """Name, description and tags; a kind's form adds its own fields, which become `config` and `secrets`.

    A form with the fields `private_key` and `password` asks for a yes to what a password gives up.
    """

    shown_with: ClassVar[dict[str, tuple[str, str]]] = {}  # field → (another field, its value that makes it of use)
    folded: ClassVar[tuple[str, ...]] = ()  # fields that few need: they begin folded away
    wanted: ClassVar[frozenset[str]] = frozenset()  # fields that most need, though something else can stand for them

    name = forms.CharField(label=gettext_lazy("Name"), max_length=24, help_text=gettext_lazy("How runs choose it."))
    description = forms.CharField(label=gettext_lazy("Description"), max_length=500, required=False)
    tags = forms.CharField(label=gettext_lazy("Tags"), required=False, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(
        self, workspace: Workspace, *args: Any, name: str = "", kept: Collection[str] = (), **options: Any
    ) -> None:
        """`name`: of the target that is edited, which stays as it is. `kept`: the credentials that are there already,
        and may be left out.
        """
        super().__init__(*args, **options)
        self.workspace, self.edited, self.kept = workspace, name, frozenset(kept)
        if name:
            del self.fields["name"]
        for field_name in self.kept & self.fields.keys():
            self.fields[field_name].required = False
        if {"private_key", "password"} <= self.fields.keys() and "password" not in self.kept:
            self.fields["understood"] = forms.BooleanField(
                label=_("I know what a password gives up, and use one all the same"), required=False
            )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        failed = [clause.text for clause in names.check_name(name) if not clause.ok]
        if failed:
            raise forms.ValidationError(_("It needs: %(clauses)s.") % {"clauses": "; ".join(failed)})
        if is_taken(self.workspace, name):
            raise forms.ValidationError(_("The name “%(name)s” is taken.") % {"name": name})
        return name

    def clean_tags(self) -> dict[str, str]:
        return parse_tags(self.cleaned_data["tags"])

    def clean(self) -> dict[str, Any]:
        """Ask for a yes when a password is chosen; a kind's own rules come after."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "understood" in self.fields and cleaned.get("password") and not cleaned.get("understood"):
            self.add_error("understood", _("Say yes to this, or use an SSH key instead."))
        return cleaned

    def has(self, secret: str) -> bool:
        """Say whether there is a credential of that name: typed now, or kept from before."""
        return bool(self.cleaned_data.get(secret)) or secret in self.kept

    @classmethod
    def is_of_use(cls, name: str, config: dict[str, Any]) -> bool:
        """Say whether what was typed into a field matters, beside the other choices that were made."""
        on, value = cls.shown_with.get(name, ("", ""))
        return not on or config.get(on) == value

    def unused(self) -> frozenset[str]:
        """Return the credentials that what was chosen leaves without use: they are forgotten, also kept ones."""
        return frozenset()

    def config(self) -> dict[str, Any]:
        """Return what was typed into the kind's own fields, credentials left out."""
        common = {*AttachForm.base_fields, "understood"}
        own = [n for n, f in self.fields.items() if n not in common and not isinstance(f, SecretField)]
        return {name: self.cleaned_data[name] for name in own}

    def secrets(self) -> dict[str, str]:
        """Return the credentials that were typed."""
        kept = [name for name, field in self.fields.items() if isinstance(field, SecretField)]
        return {name: self.cleaned_data[name] for name in kept if self.cleaned_data.get(name)}


class AzureForm(AttachForm):
    """The form of what may be a resource of Azure, whose id is kept with it."""

    provider: ClassVar[str] = ""  # of its resource id
    resource: ClassVar[str] = ""

    resource_id = forms.CharField(
        label=gettext_lazy("Azure resource id"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("Kept with it, where it is Azure’s."),
    )

    def clean_resource_id(self) -> str:
        """Hold the form of a resource id. Source: azure-ml facts J3, point 3."""
        resource_id = str(self.cleaned_data["resource_id"]).strip()
        parts = resource_id.split("/")
        if resource_id and (len(parts) != 9 or [parts[1].lower(), parts[6]] != ["subscriptions", self.provider]):
            raise forms.ValidationError(
                _("A resource id reads /subscriptions/…/resourceGroups/…/providers/%(provider)s/%(resource)s/…")
                % {"provider": self.provider, "resource": self.resource}
            )
        return resource_id
