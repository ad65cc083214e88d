"""What may be typed as a price."""

from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import sizes
from compute.prices.models import Unit
from compute.prices.price import LIST_REGION
from compute.states import Priority

MOST_USD_PER_HOUR = Decimal(10_000)  # no machine that can be rented costs as much


def usd_field(**options: Any) -> forms.DecimalField:
    """Return a field for US dollars an hour: none below zero, four decimals."""
    return forms.DecimalField(
        label=gettext_lazy("US dollars an hour"),
        min_value=Decimal(0),
        max_value=MOST_USD_PER_HOUR,
        max_digits=9,
        decimal_places=4,
        localize=False,
        **options,
    )


class SizePriceForm(forms.Form):
    """What a node of one size and priority costs in Azure."""

    vm_size = forms.CharField(label=gettext_lazy("VM size"), max_length=40)
    priority = forms.ChoiceField(label=gettext_lazy("Priority"), choices=Priority.choices)
    usd = usd_field()
    region = forms.CharField(
        label=gettext_lazy("Region"),
        max_length=40,
        initial=LIST_REGION,
        validators=[RegexValidator(r"\A[A-Za-z0-9 -]+\Z", gettext_lazy("Letters, digits, blanks or “-”."))],
    )
    as_of = forms.DateField(label=gettext_lazy("As of"), widget=forms.DateInput(attrs={"type": "date"}))

    def clean_vm_size(self) -> str:
        """Take a size in any case; refuse one that does not exist."""
        size = sizes.find(self.cleaned_data["vm_size"].strip())
        if size is None:
            said = _("There is no size “%(size)s”.") % {"size": self.cleaned_data["vm_size"]}
            raise forms.ValidationError(said)
        return size.name

    def clean_as_of(self) -> Any:
        """Refuse a day that has not come: prices of the future would be taken for today's."""
        if self.cleaned_data["as_of"] > timezone.localdate():
            raise forms.ValidationError(_("This day has not come yet."))
        return self.cleaned_data["as_of"]


class MachinePriceForm(forms.Form):
    """What nodes on one machine cost."""

    unit = forms.ChoiceField(label=gettext_lazy("For"), choices=Unit.choices)
    usd = usd_field(required=False)

    def clean(self) -> dict[str, Any]:
        """Ask for a figure unless Azure's own are taken."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("unit") == Unit.AZURE:
            cleaned["usd"] = Decimal(0)
        elif cleaned.get("usd") is None and "usd" not in self.errors:
            self.add_error("usd", _("Say how much; 0 for nothing."))
        return cleaned


class TargetPriceForm(forms.Form):
    """What an hour of an attached target costs."""

    usd = usd_field(required=False)
