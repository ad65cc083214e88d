"""What the form of an Azure Batch account asks for, and what a run on it may say."""

from typing import ClassVar

from django import forms
from django.utils.translation import gettext_lazy

from compute.drivers.azure_account import AzureAccountForm
from compute.drivers.base import RunForm

NAMED, MADE = "named", "made"


class BatchForm(AzureAccountForm):
    provider, resource = "Microsoft.Batch", "batchAccounts"


class BatchRunForm(RunForm):
    """Source of the exit code's rule and of its default: azure-ml facts F1."""

    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        "pool_id": ("pool", NAMED),
        **dict.fromkeys(("vm_size", "low_priority"), ("pool", MADE)),
    }
    needed = frozenset({"pool_id", "vm_size"})

    pool = forms.ChoiceField(
        label=gettext_lazy("Pool"),
        choices=[
            (MADE, gettext_lazy("A new one of a single node, which ends with the run")),
            (NAMED, gettext_lazy("One that is there")),
        ],
        initial=MADE,
    )
    pool_id = forms.RegexField(
        r"\A[A-Za-z0-9_\-]{1,64}\Z",
        label=gettext_lazy("Pool id"),
        required=False,
        help_text=gettext_lazy(
            "A pool of Linux nodes with Python 3, and its venv where a run names packages. Windows will not do."
        ),
    )
    vm_size = forms.RegexField(
        r"\A[A-Za-z0-9_]{1,64}\Z", label=gettext_lazy("VM size"), required=False, initial="STANDARD_D2S_V3"
    )
    low_priority = forms.BooleanField(
        label=gettext_lazy("A Spot node, which may be taken away"), required=False, initial=False
    )
    positive_fails = forms.BooleanField(
        label=gettext_lazy("A positive exit code is a failure"), required=False, initial=True
    )
    deletes_job = forms.BooleanField(
        label=gettext_lazy("Delete the job in Batch once it has ended"), required=False, initial=True
    )
