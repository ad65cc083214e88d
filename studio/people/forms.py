"""What people type about themselves, and about who belongs to a workspace."""

import re
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from studio.people.models import Invitation, Team, User, Workspace
from studio.people.permissions import GRANTABLE, TABLE, Right, Role
from studio.people.words import rights_in_words


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
    """Who is to belong to a workspace, and as what: somebody known here, or somebody to invite."""

    who = forms.CharField(
        label=gettext_lazy("User name or e-mail address"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Role.choices, initial=Role.DATA_SCIENTIST)
    invite = forms.BooleanField(required=False, widget=forms.HiddenInput)  # yes: make the link

    def __init__(self, workspace: Workspace, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace
        self.person: User | None = None
        self.offers_to_invite = False

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
        if self.person is None and self.workspace.invitations.pending().filter(who__iexact=who).exists():
            raise ValidationError(_("%(who)s is invited already: see below.") % {"who": who})
        return who

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "who" in cleaned and self.person is None and not cleaned.get("invite"):
            self.offers_to_invite = True
            raise ValidationError(
                _("Nobody here is called “%(who)s” yet."), code="unknown", params={"who": cleaned["who"]}
            )
        return cleaned


class TeamForm(forms.Form):
    """What a team is called."""

    name = forms.CharField(label=gettext_lazy("Name of the team"), max_length=50)

    def __init__(self, workspace: Workspace, *args: Any, but: Team | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace, self.but = workspace, but

    def clean_name(self) -> str:
        name = " ".join(str(self.cleaned_data["name"]).split())
        same = self.workspace.teams.filter(name__iexact=name)
        if (same.exclude(pk=self.but.pk) if self.but else same).exists():
            raise ValidationError(_("There is a team “%(name)s” already.") % {"name": name})
        return name


class TokenForm(forms.Form):
    """What an API token is called, what it lets do of what its person may, and for how long."""

    READ, SUBMIT, CHOSEN = "read", "submit", "chosen"
    PRESETS = {
        READ: (gettext_lazy("Read only"), frozenset({Right.VIEW})),
        SUBMIT: (
            gettext_lazy("Read, submit and cancel runs"),
            frozenset({Right.VIEW, Right.SUBMIT_RUN, Right.CANCEL_RUN}),
        ),
    }
    DAYS = (7, 30, 90, 365)

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("What it is for, so that you know it again: “nightly sweep on the build server”."),
    )
    preset = forms.ChoiceField(label=gettext_lazy("Rights"))
    rights = forms.MultipleChoiceField(label=gettext_lazy("Which rights"), required=False)
    days = forms.TypedChoiceField(label=gettext_lazy("Works for"), coerce=int, initial=30)

    def __init__(self, role: Role, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.may = TABLE[role] & GRANTABLE
        words = rights_in_words()
        fields: Any = self.fields
        fields["rights"].choices = [(right.value, words[right]) for right in Right if right in self.may]
        presets = [(key, label) for key, (label, rights) in self.PRESETS.items() if rights <= self.may]
        fields["preset"].choices = [*presets, (self.CHOSEN, _("Chosen one by one"))]
        fields["preset"].initial = self.READ
        fields["days"].choices = [(n, ngettext("%(n)d day", "%(n)d days", n) % {"n": n}) for n in self.DAYS]

    def chosen(self) -> set[Right]:
        """Return the rights that were asked for."""
        if self.cleaned_data["preset"] == self.CHOSEN:
            return {Right(value) for value in self.cleaned_data["rights"]}
        return set(self.PRESETS[self.cleaned_data["preset"]][1])


class NewAccountForm(forms.ModelForm[User]):
    """What somebody who was invited chooses: a user name and a password."""

    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("At least 8 characters, not a common word."),
    )

    class Meta:
        model = User
        fields = ["username"]
        labels = {"username": gettext_lazy("User name")}
        help_texts = {"username": gettext_lazy("Letters, digits and @ . + - _")}
        widgets = {
            "username": forms.TextInput(
                attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
            )
        }

    def __init__(self, invitation: Invitation, *args: Any, **kwargs: Any) -> None:
        wanted = re.sub(r"[^\w.+-]", "", invitation.who.partition("@")[0])[:150]
        super().__init__(*args, **kwargs)
        self.initial["username"] = wanted
        self.invitation = invitation

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"])
        taken = Q(username__iexact=name) | Q(email__iexact=name)  # both sign in
        if User.objects.filter(taken).exists():
            raise ValidationError(_("Somebody else here has this name. If it is you, sign in instead."))
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        person, email = self.instance, self.invitation.email
        if not User.objects.filter(email__iexact=email).exists():
            person.email = email
        person.username = cleaned.get("username", "")
        if cleaned.get("password"):
            try:
                validate_password(cleaned["password"], person)
            except ValidationError as exc:
                self.add_error("password", exc)
        return cleaned
