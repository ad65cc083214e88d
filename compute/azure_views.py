"""A workspace's sign-in to Azure: its page for Owners, and a test that says what it came to."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from compute import arm, azure
from compute.azure_form import AzureSignInForm
from compute.models import AzureSignIn
from studio.errors import StudioError
from studio.http import StudioRequest, wants_partial
from studio.people.actions import note
from studio.people.permissions import Right, require
from studio.seal import seal

MOST_SHOWN = 12  # actions


@require_http_methods(["GET", "HEAD", "POST"])
def azure_sign_in(request: StudioRequest) -> HttpResponse:
    """Show how the workspace signs in, or store it. For who may decide how safe it is."""
    require(request.user, Right.EDIT_SAFETY, request.workspace)
    found = AzureSignIn.objects.filter(workspace=request.workspace).first()
    form = AzureSignInForm(request.POST or None, instance=found or AzureSignIn(workspace=request.workspace))
    if request.method == "POST" and form.is_valid():
        _store(request, form)
        messages.success(request, _("Azure sign-in was changed. Test it now."))
        return redirect("compute:azure", workspace=request.workspace.name)
    shown = [(form[name], *form.shown_with.get(name, ("", ""))) for name in form.fields]
    context = {"nav": "studio", "form": form, "shown": shown, "is_set": found is not None}
    return render(request, "compute/azure.html", context, status=422 if form.is_bound else 200)


@require_POST
def test_azure_sign_in(request: StudioRequest) -> HttpResponse:
    """Sign in, and show which credential answered and what it may do."""
    require(request.user, Right.EDIT_SAFETY, request.workspace)
    context: dict[str, object] = {"nav": "studio"}
    try:
        context["answer"] = azure.test(request.workspace)
        subscription = azure.subscription_of(request.workspace)
        context["subscription"] = subscription
        actions = arm.may(request.workspace, f"/subscriptions/{subscription}")
        context |= {"actions": actions[:MOST_SHOWN], "more": len(actions) - MOST_SHOWN, "has_asked": True}
    except StudioError as exc:
        context["error"] = exc
    part = "compute/_azure_answer.html" if wants_partial(request) else "compute/azure_answer.html"
    return render(request, part, context)


@transaction.atomic
def _store(request: StudioRequest, form: AzureSignInForm) -> None:
    before = AzureSignIn.objects.filter(workspace=request.workspace).first()
    row: AzureSignIn = form.save(commit=False)
    typed = form.cleaned_data["client_secret"]
    if row.way != AzureSignIn.Way.SERVICE_PRINCIPAL:
        row.sealed = {}
    elif typed:
        row.sealed = {"client_secret": seal(typed, where=row.place_of("client_secret"))}
    row.save()
    changes = {"before": _facts(before) if before else {}, "after": _facts(row) | {"new_secret": bool(typed)}}
    note(
        request.workspace, request.user, "workspace.azure", request.workspace,
        kind="workspace", name=request.workspace.name, detail=changes,
    )  # fmt: skip


def _facts(row: AzureSignIn) -> dict[str, str]:
    names = ("way", "subscription_id", "tenant_id", "client_id", "authority", "resource_manager", "data_lake_analytics")
    return {name: str(getattr(row, name)) for name in names if getattr(row, name)}
