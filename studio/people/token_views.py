"""The pages of API tokens: one's own, and for Owners everybody's."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from studio.errors import NeedsRight, NotThere
from studio.http import StudioRequest
from studio.people import actions
from studio.people.forms import TokenForm
from studio.people.permissions import GRANTABLE, Right, Role, may, require
from studio.people.words import rights_in_words

MOST = 200  # shown; the newest


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: StudioRequest) -> HttpResponse:
    """Show one's own API tokens of the workspace, or everybody's (`?of=all`), and make one; its word is shown once."""
    _signed_in_only(request)
    form = TokenForm(Role(request.membership.role), request.POST or None)
    if request.method != "POST":
        return _page(request, form)
    if not form.is_valid():
        return _page(request, form, status=422)
    typed = form.cleaned_data
    token, word = actions.issue_token(request.workspace, request.user, typed["name"], form.chosen(), days=typed["days"])
    return _page(request, TokenForm(Role(request.membership.role)), made=token, word=word)


def _page(request: StudioRequest, form: TokenForm, status: int = 200, **more: Any) -> HttpResponse:
    of_all = request.GET.get("of") == "all"
    if of_all:
        require(request.user, Right.ASSIGN_ROLES, request.workspace)
    found = request.workspace.api_tokens.select_related("user")
    found = found if of_all else found.filter(user=request.user)
    words = rights_in_words()
    rows = [(token, [words[right] for right in Right if right.value in token.rights]) for token in found[:MOST]]
    now = timezone.now()
    facts = {
        "nav": "members" if of_all else "settings",
        "form": form,
        "of_all": of_all,
        "working": [row for row in rows if row[0].revoked_at is None and row[0].expires_at > now],
        "ended": [row for row in rows if row[0].revoked_at is not None or row[0].expires_at <= now],
        "never": [words[right] for right in Right if right not in GRANTABLE],
        "runs_address": f"{settings.PUBLIC_URL.rstrip('/')}/api/v1/w/{request.workspace.name}/runs",
    }
    return render(request, "people/tokens.html", facts | more, status=status)


@never_cache
@require_POST
def revoke_token(request: StudioRequest, pk: int) -> HttpResponse:
    """End a token: one's own, or as an Owner anybody's. That there is another's, nobody else learns."""
    _signed_in_only(request)
    token = request.workspace.api_tokens.select_related("user", "workspace").filter(pk=pk).first()
    if token is None or not (token.user == request.user or may(request.user, Right.ASSIGN_ROLES, request.workspace)):
        raise NotThere
    actions.revoke_token(token, by=request.user)
    messages.success(request, _("The token %(name)s is revoked: it opens nothing any more.") % {"name": token.name})
    of_all = "?of=all" if request.POST.get("of") == "all" else ""
    return redirect(reverse("tokens", args=[request.workspace.name]) + of_all)


def _signed_in_only(request: StudioRequest) -> None:
    """Keep who comes by a token from tokens. Raises NeedsRight."""
    if request.user.scope is not None:
        raise NeedsRight(_("A token makes, shows and revokes no tokens."), _("Sign in to do that."))
