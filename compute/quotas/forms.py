"""What may be typed about limits, budgets and requests for more."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

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
