"""What a link opens: one dashboard as a wall, its tables, its socket, and nothing else. No cookie is read or set."""

from typing import Any

from allauth.core.internal import ratelimit
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from studio.dashboards.models import Link
from studio.dashboards.rendering import board_of, build
from studio.dashboards.tables import answer
from studio.dashboards.tiles.base import Seen
from studio.people.throttle import APP

THEMES = ("light", "dark")


def opened(request: HttpRequest, token: str) -> Link | None:
    """Return what a token opens, or None. Who guessed too often is told nothing for a while, whatever the token."""
    tried = {"app": APP, "action": "open_dashboard", "limit_get": True}
    if ratelimit.consume(request, dry_run=True, **tried) is None:
        return None
    link = Link.objects.of(token)
    if link is None:
        ratelimit.consume(request, **tried)
    return link


@never_cache
@login_not_required
@require_safe
def wall(request: HttpRequest, token: str) -> HttpResponse:
    """Show the dashboard of a link, full screen; ?theme= chooses light or dark."""
    link = opened(request, token)
    language = get_language() or "en"
    seen = Seen.by(link) if link else Seen()
    board = board_of(link.dashboard_id, seen, language) if link else None
    if board is None:
        return _private(render_alone("dashboards/closed.html", {}, status=404))
    facts = wall_facts(request) | {"board": board, "socket": f"/ws/d/{token}/?language={language}"}
    return _private(render_alone("dashboards/wall.html", facts))


@never_cache
@login_not_required
@require_safe
def tile_csv(request: HttpRequest, token: str, tile: int) -> HttpResponse:
    """Give the table behind a tile, where the link allows it."""
    link = opened(request, token)
    found = link.dashboard.tiles.select_related("dashboard__workspace").filter(pk=tile).first() if link else None
    if link is None or found is None or not Seen.by(link).csv:
        return _private(render_alone("dashboards/closed.html", {}, status=404))
    return _private(answer(found, Seen.by(link)))


def wall_facts(request: HttpRequest) -> dict[str, Any]:
    """Return what every wall needs to know."""
    theme = request.GET.get("theme", "")
    return {"theme": theme if theme in THEMES else "system", "build": build()}


def render_alone(template: str, facts: dict[str, Any], status: int = 200) -> HttpResponse:
    """Render a page without what belongs to a person: no session is opened, and no cookie set."""
    return HttpResponse(render_to_string(template, facts), status=status)


def _private(response: HttpResponse) -> HttpResponse:
    """Keep the address out of other sites and out of search engines."""
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
