"""The frame around every page, home and search: what looks at both apps at once."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, IntegerField, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import cached_property
from django.views.decorators.http import require_safe

from compute.models import ComputeTarget
from runs.models import Experiment, Run
from studio.http import StudioRequest
from studio.people.models import Membership, Workspace


class Frame:
    """What the frame shows; nothing is asked of the database until a template does, so parts of pages cost nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def theme(self) -> str:
        """Return "light", "dark" or "system"."""
        return str(getattr(getattr(self.request, "user", None), "theme", "system"))

    @cached_property
    def workspaces(self) -> list[Workspace]:
        return list(Workspace.objects.for_user(self.request.user).order_by("name"))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return the numbers beside the navigation's links, in one query."""
        space: Workspace | None = getattr(self.request, "workspace", None)
        if space is None:
            return {}
        counted = {
            "active_runs": Run.objects.active().filter(workspace=space, archived_at=None),
            "experiments": Experiment.objects.filter(workspace=space, archived_at=None),
            "targets": ComputeTarget.objects.existing().filter(workspace=space),
            "members": Membership.objects.filter(workspace=space),
        }
        return Workspace.objects.filter(pk=space.pk).values(
            **{name: Coalesce(Subquery(_count(rows), output_field=IntegerField()), 0) for name, rows in counted.items()}
        )[0]


def _count(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return `rows` as a query of their number, to stand inside another."""
    return rows.order_by().annotate(_all=Value(1)).values("_all").annotate(_n=Count("pk")).values("_n")


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every page what the frame shows: theme, workspaces to switch to, the navigation's counts."""
    return {"frame": Frame(request)}


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that this process serves pages and reaches its database."""
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
