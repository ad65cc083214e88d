"""What may be typed about limits, budgets and requests for more."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from compute.quotas.actions import MOST_USD
from compute.quotas.models import MOST_CORES


def cores_field(label: Any, **options: Any) -> forms.IntegerField:
    """Return a field for a whole number of cores, none below zero."""
    return forms.IntegerField(
        label=label,
        min_value=0,
        max_value=MOST_CORES,
        localize=False,
        error_messages={"invalid": gettext_lazy("A whole number of cores, such as 24.")},
        **options,
    )


class AskForm(forms.Form):
    """How high a limit should be, and why."""

    cores = cores_field(gettext_lazy("The limit should be"), help_text=gettext_lazy("Cores in all, not cores more."))
    reason = forms.CharField(
        label=gettext_lazy("What for"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("Whoever answers reads it. It stays in the activity."),
    )


class AnswerForm(forms.Form):
    """What a limit becomes, and what is said to who asked."""

    cores = cores_field(gettext_lazy("The limit becomes"), required=False)
    answer = forms.CharField(
        label=gettext_lazy("Answer"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Whoever asked reads it. To decline it takes a reason."),
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)


class LimitForm(forms.Form):
    """A limit as it is typed: empty is no limit, or no guarantee."""

    cores = cores_field(gettext_lazy("At most"), required=False)
    guaranteed = cores_field(gettext_lazy("Guaranteed"), required=False)
    version = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)


class BudgetForm(forms.Form):
    """What may be spent a month: empty is no budget."""

    usd = forms.DecimalField(
        label=gettext_lazy("US dollars a month"),
        required=False,
        min_value=0,
        max_value=MOST_USD,
        max_digits=12,
        decimal_places=2,
        localize=False,
        error_messages={"invalid": gettext_lazy("An amount of US dollars, such as 250 or 99.50.")},
    )
    version = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)
