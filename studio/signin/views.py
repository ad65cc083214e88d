"""Pages of signing in with providers: for everybody who does, and for the administrator who sets them up."""

from dataclasses import dataclass
from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.account.utils import get_next_redirect_url
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from studio.errors import NotThere, StudioError
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import require_administrator
from studio.people.throttle import throttle
from studio.people.views import keep_the_frame
from studio.signin import actions
from studio.signin.forms import GroupForm, ProviderForm
from studio.signin.models import GroupRole, Provider, SignInRules


@never_cache
@login_not_required
@require_POST
def begin(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Send somebody to their provider, to come back signed in."""
    return _go(request, provider_id, "login", get_next_redirect_url(request))


@never_cache
@require_POST
@reauthentication_required(app="allauth.mfa")  # type: ignore[untyped-decorator]
def link(request: StudioRequest, provider_id: str) -> HttpResponse:
    """Send somebody who is signed in to a provider, to come back linked with it."""
    return _go(request, provider_id, "connect", None)


def _go(request: HttpRequest, slug: str, process: str, next_url: str | None) -> HttpResponse:
    """Answer with a page that goes on by itself: a form may not be redirected away from here, says our policy."""
    from studio.signin import oidc

    throttle(request, "provider")
    try:
        name, address = oidc.begin(request, slug, process, next_url)
    except SocialApp.DoesNotExist:
        raise NotThere from None
    return render(request, "signin/going.html", {"name": name, "address": address})


@never_cache
@login_not_required
@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take somebody back from their provider."""
    from studio.signin import oidc

    throttle(request, "provider")
    try:
        answer: HttpResponse = oidc.callback(request, provider_id)
    except SocialApp.DoesNotExist:
        raise NotThere from None
    return answer


@require_POST
@reauthentication_required(app="allauth.mfa")  # type: ignore[untyped-decorator]
def unlink(request: StudioRequest, pk: int) -> HttpResponse:
    """End one's link with a provider."""
    account = SocialAccount.objects.filter(user=request.user, pk=pk).first()
    if account is None:
        raise NotThere
    actions.unlink(account, by=request.user)
    messages.success(request, _("The link is ended, and the roles it brought."))
    return redirect(reverse("profile") + "#sign-ins")


# For administrators


@require_http_methods(["GET", "HEAD", "POST"])
def providers(request: StudioRequest) -> HttpResponse:
    """Show every provider and whether passwords open the studio; store the latter."""
    require_administrator(request.user)
    if request.method == "POST" and request.POST.get("rule") == "second-step":
        ended = actions.require_second_step("required" in request.POST, by=request.user)
        said = ngettext(
            "%(n)d session ended: its person adds a second step.",
            "%(n)d sessions ended: their people add a second step.",
            ended,
        )
        messages.success(request, said % {"n": ended} if ended else _("How people sign in was changed."))
        return redirect("sign_in_providers")
    if request.method == "POST":
        actions.allow_passwords("passwords" in request.POST, by=request.user)
        messages.success(request, _("How people sign in was changed."))
        return redirect("sign_in_providers")
    keep_the_frame(request)
    facts = {"nav": "studio", "providers": Provider.objects.all(), "rules": SignInRules.now()}
    return render(request, "signin/provider_list.html", facts)


@require_http_methods(["GET", "HEAD", "POST"])
def provider_add(request: StudioRequest) -> HttpResponse:
    """Add a provider."""
    require_administrator(request.user)
    return _edit(request, Provider(is_enabled=False))


@require_http_methods(["GET", "HEAD", "POST"])
def provider_edit(request: StudioRequest, slug: str) -> HttpResponse:
    """Show a provider, with what its groups mean, or change it."""
    require_administrator(request.user)
    return _edit(request, _row(slug))


def _edit(request: StudioRequest, row: Provider) -> HttpResponse:
    form = ProviderForm(request.POST or None, instance=row)
    if request.method == "POST" and form.is_valid():
        kept = actions.keep_provider(form.save(commit=False), form.cleaned_data["secret"], by=request.user)
        messages.success(request, _("%(name)s is saved. Test it now.") % {"name": kept.name})
        return redirect("sign_in_provider", slug=kept.slug)
    return _page(request, row, form, 422 if form.is_bound else 200)


def _page(
    request: StudioRequest, row: Provider, form: ProviderForm, status: int, groups: GroupForm | None = None
) -> HttpResponse:
    keep_the_frame(request)
    facts: dict[str, Any] = {"nav": "studio", "form": form, "provider": row if row.pk else None}
    if row.pk:
        facts["name"] = Provider.objects.get(pk=row.pk).name
        facts["groups"] = row.groups.select_related("workspace", "team")
        facts["group_form"] = groups or GroupForm(auto_id="group_%s")
        facts["redirect_uri"] = _redirect_uri(row)
    return render(request, "signin/provider_edit.html", facts, status=status)


@require_POST
def provider_remove(request: StudioRequest, slug: str) -> HttpResponse:
    """Remove a provider, its links, and the roles its groups brought."""
    require_administrator(request.user)
    row = _row(slug)
    actions.remove_provider(row, by=request.user)
    messages.success(request, _("%(name)s is removed.") % {"name": row.name})
    return redirect("sign_in_providers")


@require_POST
def provider_groups(request: StudioRequest, slug: str) -> HttpResponse:
    """Say what a group means, or forget what it meant (`forget=12`)."""
    require_administrator(request.user)
    row, chosen = _row(slug), request.POST.get("forget", "")
    if chosen:
        known = chosen.isascii() and chosen.isdigit() and len(chosen) < 19
        rule = GroupRole.objects.filter(provider=row, pk=int(chosen)).first() if known else None
        if rule is None:
            raise NotThere
        actions.forget_group(rule, by=request.user)
    else:
        form = GroupForm(request.POST, instance=GroupRole(provider=row), auto_id="group_%s")
        if not form.is_valid():
            return _page(request, row, ProviderForm(instance=row), 422, form)
        actions.map_group(form.save(commit=False), by=request.user)
    return redirect(reverse("sign_in_provider", args=[slug]) + "#groups")


@dataclass(frozen=True)
class Check:
    """One thing that a test looked at. `tone`: ok, warn or bad."""

    tone: str
    what: str
    said: str = ""


@require_POST
def provider_test(request: StudioRequest, slug: str) -> HttpResponse:
    """Fetch what the provider says of itself, and say what is wrong with it."""
    require_administrator(request.user)
    throttle(request, "provider")
    row = _row(slug)
    keep_the_frame(request)
    facts = {"nav": "studio", "provider": row, "checks": _checks(row)}
    template = "signin/_provider_checks.html" if wants_partial(request) else "signin/provider_checks.html"
    return render(request, template, facts)


def _checks(row: Provider) -> list[Check]:
    from studio.signin import oidc

    try:
        said = oidc.discover(row)
        found = [Check("ok", _("Its discovery document speaks for the issuer."), row.issuer)]
        keys = oidc.ask(row, said["jwks_uri"], _("its keys")).get("keys")
    except StudioError as exc:
        return [Check("bad", exc.message, exc.hint)]
    count = len(keys) if isinstance(keys, list) else 0
    words = ngettext("It signs with %(n)d key.", "It signs with %(n)d keys.", count) % {"n": count}
    found.append(Check("ok" if count else "bad", words))
    offered = said.get("scopes_supported")
    missing = sorted(set(row.scopes.split()) - set(map(str, offered))) if isinstance(offered, list) else []
    if missing:
        found.append(Check("warn", _("It does not speak of the scopes %(names)s.") % {"names": ", ".join(missing)}))
    if "S256" not in (said.get("code_challenge_methods_supported") or []):
        found.append(Check("warn", _("It does not say that it checks PKCE."), _("It is sent all the same.")))
    if not row.sealed:
        found.append(Check("warn", _("No client secret is kept: most providers want one.")))
    if not row.groups.exists():
        found.append(Check("warn", _("No group of it brings a role yet."), _("Its people keep what Owners give them.")))
    found.append(Check("ok", _("It must send people back to this address:"), _redirect_uri(row)))
    return found


def _row(slug: str) -> Provider:
    row = Provider.objects.filter(slug=slug).first()
    if row is None:
        raise NotThere
    return row


def _redirect_uri(row: Provider) -> str:
    return settings.PUBLIC_URL.rstrip("/") + reverse("openid_connect_callback", args=[row.slug])
