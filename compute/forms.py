"""The forms of compute targets."""

from django import forms

from compute.models import ComputeTarget


class TargetForm(forms.ModelForm[ComputeTarget]):
    """What every kind of target asks for. A kind's form adds its own fields."""

    class Meta:
        model = ComputeTarget
        fields = ["name", "description"]
