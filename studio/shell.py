"""The frame around every page, home and search: what looks at both apps at once."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from studio.http import StudioRequest


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every page what the frame shows: the workspaces to switch to and the navigation's counts."""
    return {}


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that this process serves pages and reaches its database."""
    from studio.people.models import Workspace

    Workspace.objects.exists()
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def start(request: StudioRequest) -> HttpResponse:
    """Go to the workspace last looked at, else to the person's first."""
    spaces = request.user.workspaces.order_by("name")
    chosen = spaces.filter(name=request.session.get("workspace", "")).first() or spaces.first()
    if chosen is None:
        return render(request, "no_workspace.html")
    return redirect("home", workspace=chosen.name)


@require_safe
def home(request: StudioRequest) -> HttpResponse:
    return render(request, "home.html")


@require_safe
def search(request: StudioRequest) -> HttpResponse:
    return render(request, "search.html")
