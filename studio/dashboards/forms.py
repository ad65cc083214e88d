"""What may be typed about dashboards and their links."""

from django import forms
from django.utils.translation import gettext_lazy as _

from studio.dashboards.actions import DAYS, LINK_DAYS
from studio.dashboards.models import Shows
from studio.people.permissions import Role


class NameForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100)


class DashboardForm(NameForm):
    roles = forms.MultipleChoiceField(
        label=_("Who sees it"),
        choices=Role.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: everybody of the workspace. Owners and whoever made it see it always."),
    )


class LinkForm(forms.Form):
    name = forms.CharField(label=_("Where it hangs"), max_length=100, help_text=_("To tell it from the others."))
    days = forms.IntegerField(label=_("Days it works"), min_value=LINK_DAYS[0], max_value=LINK_DAYS[-1], initial=DAYS)
    shows = forms.MultipleChoiceField(
        label=_("Shows"), choices=Shows.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
