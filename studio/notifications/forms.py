"""What people type about whom to tell of what."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studio.errors import StudioError
from studio.notifications import posting
from studio.notifications.events import Event
from studio.notifications.models import MailChoice, Webhook


class AddressInput(forms.URLInput):
    """Takes an address and shows none, not even the one that was just typed: whoever knows it may write there."""

    def format_value(self, value: Any) -> None:
        return None


class WebhookForm(forms.ModelForm[Webhook]):
    """A webhook; of one that is there already the address may be left as it is."""

    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=2000,
        required=False,
        widget=AddressInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "https://"}),
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Tell it when"), choices=Event.choices, widget=forms.CheckboxSelectMultiple
    )
    language = forms.ChoiceField(label=gettext_lazy("Language of the sentences"), choices=settings.LANGUAGES)
    wanted = frozenset({"address"})  # not called optional

    class Meta:
        model = Webhook
        fields = ["name", "format", "address", "events", "experiment", "language", "is_on"]
        labels = {
            "name": gettext_lazy("Name"),
            "format": gettext_lazy("Format"),
            "experiment": gettext_lazy("Only runs of the experiment"),
            "is_on": gettext_lazy("Turned on"),
        }
        help_texts = {
            "experiment": gettext_lazy("Its name; empty: of all. What is not about runs is told all the same."),
        }
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "off"})}

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"]).strip()
        others = Webhook.objects.filter(workspace=self.instance.workspace, name__iexact=name)
        if others.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(_("The name “%(name)s” is taken.") % {"name": name})
        return name

    def clean_address(self) -> str:
        """Refuse what must not be reached, as it is resolved now; it is looked at again at every sending."""
        address = str(self.cleaned_data["address"]).strip()
        if not address:
            if self.instance.pk is None:
                raise forms.ValidationError(_("A webhook needs an address."))
            return ""
        try:
            posting.places_of(self.instance.workspace, posting.parse(address))
        except posting.BadAddress:
            raise forms.ValidationError(_("An address begins with https:// and names a host.")) from None
        except StudioError as exc:
            raise forms.ValidationError(f"{exc.message} {exc.hint}") from exc
        return address


class MailForm(forms.ModelForm[MailChoice]):
    """What a person wants to be told by e-mail."""

    MINUTES = (0, 1, 10, 60)

    events = forms.MultipleChoiceField(
        label=gettext_lazy("Write to me when"),
        choices=Event.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    least_minutes = forms.TypedChoiceField(label=gettext_lazy("Of runs, only those that took"), coerce=int)

    class Meta:
        model = MailChoice
        fields = ["events", "least_minutes"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        words = [_("any time at all"), _("1 minute or more"), _("10 minutes or more"), _("1 hour or more")]
        spans: Any = self.fields["least_minutes"]
        spans.choices = list(zip(self.MINUTES, words, strict=True))
