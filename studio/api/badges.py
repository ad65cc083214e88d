"""Badges: made, revoked, and drawn as an image that any page may show."""

import hashlib
from datetime import timedelta
from xml.sax.saxutils import escape, quoteattr

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from compute import listing
from compute.models import ComputeTarget
from runs.models import Run
from studio.api.models import Badge
from studio.errors import NotAllowedNow, NotThere
from studio.http import StudioRequest
from studio.people.actions import note
from studio.people.models import User
from studio.people.permissions import Right, require

DAYS = (30, 90, 365)  # how long a badge may work
MOST = 20  # working ones of one target or run
FRESH_SECONDS = 60  # for which a copy may be shown
COLOURS = {"ok": "#1a7f37", "run": "#0969da", "warn": "#9a6700", "bad": "#cf222e", "idle": "#57606a"}
WIDE, NARROW = set("mwMW—"), set("iljtfrI1.,:;|! ")
HEADERS = {
    # It may stand in any page, and does nothing there.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": f"public, max-age={FRESH_SECONDS}",
}


@transaction.atomic
def make(thing: ComputeTarget | Run, *, by: User, days: int) -> Badge:
    """Make a badge of a target or a run. Raises NotAllowedNow where there are many already."""
    if days not in DAYS:
        raise ValueError(days)
    if Badge.objects.working().of(thing).count() >= MOST:
        raise NotAllowedNow(
            _("There are %(n)d badges of it already.") % {"n": MOST}, _("Use one of them, or revoke one first.")
        )
    place = {"target": thing} if isinstance(thing, ComputeTarget) else {"run": thing}
    expires_at = timezone.now() + timedelta(days=days)
    badge: Badge = Badge.objects.create(workspace=thing.workspace, made_by=by, expires_at=expires_at, **place)
    facts = {"expires_at": badge.expires_at.isoformat()}
    note(badge.workspace, by, "badge.make", thing, kind=badge.kind, name=_name(thing), detail=facts)
    return badge


@transaction.atomic
def revoke(badge: Badge, *, by: User) -> None:
    """End a badge: its link shows nothing any more. Once is enough."""
    if Badge.objects.filter(pk=badge.pk, revoked_at=None).update(revoked_at=timezone.now()):
        note(badge.workspace, by, "badge.revoke", badge.thing, kind=badge.kind, name=_name(badge.thing))


def _name(thing: ComputeTarget | Run) -> str:
    return thing.display_name if isinstance(thing, Run) else thing.name


# Pages


@require_POST
def make_badge(request: StudioRequest) -> HttpResponse:
    """Make a badge of the run or the target that the form names."""
    require(request.user, Right.SHARE_DASHBOARDS, request.workspace)
    thing = _thing(request, request.POST.get("kind", ""), request.POST.get("name", ""))
    days = request.POST.get("days", "")
    make(thing, by=request.user, days=int(days) if days in map(str, DAYS) else DAYS[1])
    messages.success(request, _("The badge is made."))
    return redirect(page_of(thing))


@require_POST
def revoke_badge(request: StudioRequest, pk: int) -> HttpResponse:
    """Revoke a badge of the workspace."""
    require(request.user, Right.SHARE_DASHBOARDS, request.workspace)
    badge = (
        Badge.objects.filter(workspace=request.workspace, pk=pk).select_related("workspace", "target", "run").first()
    )
    if badge is None:
        raise NotThere
    revoke(badge, by=request.user)
    messages.success(request, _("The badge is revoked. A copy of it may be shown for a minute."))
    return redirect(page_of(badge.thing))


def _thing(request: StudioRequest, kind: str, name: str) -> ComputeTarget | Run:
    found: ComputeTarget | Run | None = None
    if kind == "run":
        found = Run.objects.select_related("workspace").filter(workspace=request.workspace, run_id=name[:255]).first()
    elif kind == "target":
        targets = ComputeTarget.objects.existing().select_related("workspace")
        found = targets.filter(workspace=request.workspace, name=name[:24]).first()
    if found is None:
        raise NotThere
    return found


def page_of(thing: ComputeTarget | Run) -> str:
    """Return the address of the page, where the card is."""
    if isinstance(thing, Run):
        return reverse("runs:detail", args=[thing.workspace.name, thing.run_id]) + "?tab=details#badges"
    return reverse("compute:detail", args=[thing.workspace.name, thing.name]) + "#badges"


# Images


@require_safe
@login_not_required
def badge_svg(request: HttpRequest, token: str) -> HttpResponse:
    """Show the state as an image; whoever has the link may see that, and no more."""
    badge = Badge.find(token)
    if badge is None:
        return _gone()
    return _answer(request, _svg(*_said(badge)), "image/svg+xml")


@require_safe
@login_not_required
def badge_text(request: HttpRequest, token: str) -> HttpResponse:
    """Say the state in one line of text."""
    badge = Badge.find(token)
    if badge is None:
        return _gone()
    what, state, _tone = _said(badge)
    return _answer(request, f"{what}: {state}\n", "text/plain; charset=utf-8")


def _said(badge: Badge) -> tuple[str, str, str]:
    """Return what it is, how it is, and the tone of that. No name is said: neither of a host nor of a person."""
    with translation.override("en"):  # the same for everybody
        if badge.run is not None:
            return "run", str(badge.run.state.label), badge.run.state.tone
        target = badge.target
        if target is None or target.deleted_at is not None:
            return "compute", "Deleted", "idle"
        state = listing.rows([target.pk])[0].state
        return "compute", str(state.label), state.tone


def _answer(request: HttpRequest, text: str, kind: str) -> HttpResponse:
    body = text.encode()
    response = HttpResponse(body, content_type=kind, headers=HEADERS)
    response.xframe_options_exempt = True
    response["ETag"] = etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    answered = get_conditional_response(request, etag=etag, response=response)
    if answered is None or answered is response:
        return response
    for name, value in HEADERS.items():
        answered[name] = value
    answered.xframe_options_exempt = True
    return answered


def _gone() -> HttpResponse:
    """Answer alike what was never there, is too old, or was revoked."""
    return HttpResponse("There is no such badge.\n", status=404, content_type="text/plain", headers=HEADERS)


def _width(text: str) -> int:
    """Return about how many pixels a text takes at 11 px; the image holds it to that."""
    return round(sum(10 if c in WIDE else 4 if c in NARROW else 6.6 for c in text)) + 12


def _svg(what: str, state: str, tone: str) -> str:
    left, right = _width(what), _width(state)
    width, colour = left + right, COLOURS.get(tone, COLOURS["idle"])

    def words(text: str, start: int, room: int) -> str:
        at = f'x="{start + room / 2}" y="14" textLength="{room - 12}"'
        return f'<text {at} lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'

    title = f"{what}: {state}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label={quoteattr(title)}>'
        f"<title>{escape(title)}</title>"
        f'<clipPath id="c"><rect width="{width}" height="20" rx="4"/></clipPath>'
        f'<g clip-path="url(#c)"><rect width="{left}" height="20" fill="#32383f"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-size="11" font-family="Verdana,DejaVu Sans,Geneva,sans-serif">'
        f"{words(what, 0, left)}{words(state, left, right)}</g></svg>"
    )
