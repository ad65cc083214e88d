"""What people type about themselves, and about who belongs to a workspace."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studio.people.models import User, Workspace
from studio.people.permissions import Role


class ProfileForm(forms.ModelForm[User]):
    """A person's own name, address and preferences."""

    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False)

    class Meta:
        model = User
        fields = ["first_name", "last_name", "email", "language", "theme"]
        labels = {"email": gettext_lazy("E-mail address"), "theme": gettext_lazy("Appearance")}
        help_texts = {"email": gettext_lazy("To sign in with, and for a new password.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        languages: Any = self.fields["language"]
        languages.choices = [("", _("As the browser asks")), *settings.LANGUAGES]

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"])
        if email and User.objects.filter(email__iexact=email).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("Somebody else here uses this address."))
        return email


class MemberForm(forms.Form):
    """Who is to belong to a workspace, and as what: somebody known here, or somebody new."""

    who = forms.CharField(
        label=gettext_lazy("User name or e-mail address"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Role.choices, initial=Role.DATA_SCIENTIST)
    create = forms.BooleanField(required=False, widget=forms.HiddenInput)  # yes: make the account

    def __init__(self, workspace: Workspace, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace
        self.person: User | None = None
        self.offers_to_create = False

    def clean_who(self) -> str:
        who = str(self.cleaned_data["who"]).strip()
        by = "email__iexact" if "@" in who else "username__iexact"
        self.person = User.objects.filter(**{by: who}).order_by("pk").first()
        if self.person is None:
            (validate_email if "@" in who else UnicodeUsernameValidator())(who)
        elif not self.person.is_active:
            raise ValidationError(_("This account is switched off."))
        elif self.workspace.role_of(self.person):
            raise ValidationError(_("%(user)s is a member already.") % {"user": self.person.username})
        return who

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "who" in cleaned and self.person is None and not cleaned.get("create"):
            self.offers_to_create = True
            raise ValidationError(
                _("Nobody here is called “%(who)s” yet."), code="unknown", params={"who": cleaned["who"]}
            )
        return cleaned
