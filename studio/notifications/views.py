"""The pages of a workspace's webhooks with the log of what was sent, and one's own choice of e-mail."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.notifications import actions, mail
from studio.notifications.events import Event
from studio.notifications.forms import MailForm, WebhookForm
from studio.notifications.models import Delivery, DeliveryState, MailChoice, Webhook
from studio.people.models import Allowance
from studio.people.permissions import Right, require
from studio.people.throttle import throttle

MOST_SHOWN = 50  # deliveries of a page


@require_safe
def webhooks(request: StudioRequest) -> HttpResponse:
    """Show the workspace's webhooks and how they fare, to every member; no address is told."""
    require(request.user, Right.VIEW, request.workspace)
    facts = {"nav": "studio", "webhooks": with_figures(request.workspace.webhooks), "mail_is_set_up": mail.is_set_up()}
    part = "notifications/_webhook_table.html" if wants_partial(request) else "notifications/webhook_list.html"
    return render(request, part, facts)


def with_figures(found: Any) -> QuerySet[Webhook]:
    """Return webhooks by name, each with when something arrived last and how much waits."""
    sent, waiting = Q(deliveries__state=DeliveryState.SENT), Q(deliveries__state=DeliveryState.WAITING)
    counted: QuerySet[Webhook] = found.annotate(
        sent_at=Max("deliveries__last_at", filter=sent), waiting=Count("deliveries", filter=waiting)
    )
    return counted.order_by("name")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new_webhook(request: StudioRequest) -> HttpResponse:
    """Make a webhook; its signing secret is shown once."""
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    quiet = [Event.RUN_FAILED, Event.QUOTA_REQUESTED, Event.BUDGET_WARNED, Event.BUDGET_REACHED, Event.TARGET_BLOCKED]
    spoken = str(get_language() or settings.LANGUAGE_CODE).partition("-")[0]
    fresh = Webhook(workspace=request.workspace, events=quiet, language=spoken)
    form = WebhookForm(request.POST or None, instance=fresh)
    if request.method == "POST" and form.is_valid():
        webhook = form.save(commit=False)
        secret = actions.add_webhook(webhook, form.cleaned_data["address"], by=request.user)
        return _detail(request, webhook, WebhookForm(instance=webhook), secret=secret, is_new=True)
    facts = _form_facts(request, form)
    return render(request, "notifications/webhook_new.html", facts, status=422 if form.is_bound else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def webhook(request: StudioRequest, pk: int) -> HttpResponse:
    """Show a webhook with what was sent to it, or change it; `?part=log` is the log alone, `?before=` what is older."""
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    found = webhook_of(request, pk)
    if wants_partial(request) and request.GET.get("part") == "log":
        return render(request, "notifications/_delivery_table.html", _log(request, found))
    form = WebhookForm(request.POST or None, instance=webhook_of(request, pk))
    if request.method == "POST" and form.is_valid():
        actions.change_webhook(form.save(commit=False), form.cleaned_data["address"], by=request.user)
        messages.success(request, _("The webhook %(name)s is saved.") % {"name": form.instance.name})
        return redirect("notifications:webhook", workspace=request.workspace.name, pk=pk)
    return _detail(request, found, form, status=422 if form.is_bound else 200)


@require_POST
def test_webhook(request: StudioRequest, pk: int) -> HttpResponse:
    """Send a test now, and show what was answered."""
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    found = webhook_of(request, pk)
    tried = actions.try_webhook(found, by=request.user)
    if wants_partial(request):
        return render(request, "notifications/_answer.html", {"tried": tried})
    return _detail(request, webhook_of(request, pk), WebhookForm(instance=found), tried=tried)


@never_cache
@require_POST
def renew_secret(request: StudioRequest, pk: int) -> HttpResponse:
    """Make a new signing secret and show it, once."""
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    secret = actions.renew_secret(webhook_of(request, pk), by=request.user)
    found = webhook_of(request, pk)
    return _detail(request, found, WebhookForm(instance=found), secret=secret)


@require_POST
def delete_webhook(request: StudioRequest, pk: int) -> HttpResponse:
    """Delete a webhook with its log."""
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    found = webhook_of(request, pk)
    actions.delete_webhook(found, by=request.user)
    messages.success(request, _("The webhook %(name)s is deleted.") % {"name": found.name})
    return redirect("notifications:webhooks", workspace=request.workspace.name)


@require_POST
def deliver_again(request: StudioRequest, pk: int, delivery: int) -> HttpResponse:
    """Send one delivery again."""
    require(request.user, Right.EDIT_NOTIFICATIONS, request.workspace)
    found = webhook_of(request, pk).deliveries.select_related("webhook__workspace").filter(pk=delivery).first()
    if found is None:
        raise NotThere
    actions.deliver_again(found, by=request.user)
    messages.success(request, _("It is sent again."))
    return redirect(reverse("notifications:webhook", args=[request.workspace.name, pk]) + "#log")


@require_POST
def choose_mail(request: StudioRequest) -> HttpResponse:
    """Store what one wants to be told by e-mail."""
    form = MailForm(request.POST)
    if form.is_valid():
        events = [Event(value) for value in form.cleaned_data["events"]]
        actions.choose_mail(request.user, events, form.cleaned_data["least_minutes"])
        messages.success(request, _("What is mailed to you is saved."))
    else:
        messages.error(request, _("This cannot be chosen. Nothing was changed."))
    return redirect(reverse("profile") + "#notifications")


@never_cache
@login_not_required
@csrf_exempt  # mail programs press it for their person, without a cookie; the link's signature says whose it is
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Offer to end one's e-mails from the link of a mail; a look alone ends nothing. Source: RFC 8058."""
    throttle(request, "open_link")
    person = mail.who_leaves(token)
    if person is not None and request.method == "POST":
        actions.choose_mail(person, [], MailChoice.of(person).least_minutes)
    facts = {"person": person, "is_done": request.method == "POST"}
    return render(request, "notifications/unsubscribe.html", facts, status=200 if person else 410)


def mail_facts(person: Any) -> dict[str, Any]:
    """Return the context of the card on a person's own page."""
    form = MailForm(instance=MailChoice.of(person), auto_id="id_mail_%s")
    return {"form": form, "is_set_up": mail.is_set_up(), "address": person.email}


def webhook_of(request: StudioRequest, pk: int) -> Webhook:
    """Return a webhook of the workspace. Raises NotThere."""
    found = with_figures(request.workspace.webhooks.select_related("workspace")).filter(pk=pk).first()
    if found is None:
        raise NotThere
    return found


def _detail(
    request: StudioRequest, webhook: Webhook, form: WebhookForm, status: int = 200, **more: Any
) -> HttpResponse:
    facts = _form_facts(request, form) | _log(request, webhook)
    return render(request, "notifications/webhook_detail.html", facts | more, status=status)


def _form_facts(request: StudioRequest, form: WebhookForm) -> dict[str, Any]:
    inside = request.workspace.allows(Allowance.INTERNAL_WEBHOOKS)
    return {"nav": "studio", "form": form, "allows_internal": inside}


def _log(request: StudioRequest, webhook: Webhook) -> dict[str, Any]:
    before = request.GET.get("before", "")
    older_than = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    found = Delivery.objects.filter(webhook=webhook).select_related("notice").order_by("-pk")
    if older_than:
        found = found.filter(pk__lt=older_than)
    rows = list(found[: MOST_SHOWN + 1])
    more = rows[MOST_SHOWN - 1].pk if len(rows) > MOST_SHOWN else None
    return {"webhook": webhook, "deliveries": rows[:MOST_SHOWN], "older": more, "before": older_than}
