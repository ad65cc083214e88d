"""Dashboards for members of a workspace: the list, one of them, its wall, arranging its tiles, sharing it."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from studio.dashboards import actions, tables
from studio.dashboards.forms import DashboardForm, LinkForm, NameForm
from studio.dashboards.links import render_alone, wall_facts
from studio.dashboards.models import Dashboard, Link, Shows, Tile
from studio.dashboards.rendering import board_of, build
from studio.dashboards.tiles import TILES, title_of
from studio.dashboards.tiles.base import Seen, TileForm
from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, Role, require

STEPS = {"left": -1, "right": 1}
SIZES = {"wider": (1, 0), "narrower": (-1, 0), "taller": (0, 1), "lower": (0, -1)}


@require_http_methods(["GET", "HEAD", "POST"])
def dashboard_list(request: StudioRequest) -> HttpResponse:
    """Show the dashboards that one may see; a POST makes another, `overview` with what is worth a look anywhere."""
    if request.method == "POST":
        require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
        form = NameForm(request.POST)
        if form.is_valid():
            overview = "overview" in request.POST
            made = actions.make_dashboard(
                request.workspace, form.cleaned_data["name"], by=request.user, overview=overview
            )
            return redirect(_address("show", made) + ("" if overview else "?edit=1"))
    else:
        form = NameForm()
    found = Dashboard.objects.for_user(request.user).filter(workspace=request.workspace)
    facts = {
        "nav": "dashboards",
        "form": form,
        "dashboards": found.prefetch_related("tiles").select_related("created_by"),
        "overview": str(actions.OVERVIEW_NAME),
    }
    return render(request, "dashboards/dashboard_list.html", facts, status=422 if form.is_bound else 200)


@require_safe
def show(request: StudioRequest, pk: int) -> HttpResponse:
    """Show a dashboard; ?edit=1 lets its tiles be arranged."""
    dashboard = dashboard_of(request, pk)
    editing = "edit" in request.GET
    if editing:
        require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    return _show(request, dashboard, editing=editing)


def _show(request: StudioRequest, dashboard: Dashboard, *, editing: bool) -> HttpResponse:
    facts = _board_facts(request, dashboard) | {"editing": editing}
    template = "dashboards/_board.html" if wants_partial(request) else "dashboards/dashboard_detail.html"
    return render(request, template, facts)


def _board_facts(request: StudioRequest, dashboard: Dashboard) -> dict[str, Any]:
    language = get_language() or "en"
    board = board_of(dashboard.pk, Seen.by_members(), language)
    if board is None:
        raise NotThere
    socket = f"/ws/w/{request.workspace.name}/dashboards/{dashboard.pk}/?language={language}"
    facts = {"dashboard": dashboard, "board": board, "socket": socket, "build": build(), "kinds": TILES.values()}
    return {"nav": "dashboards", **facts}


@require_safe
def wall(request: StudioRequest, pk: int) -> HttpResponse:
    """Show a dashboard full screen, without navigation; ?theme= chooses light or dark."""
    dashboard = dashboard_of(request, pk)
    facts = _board_facts(request, dashboard) | wall_facts(request)
    return HttpResponse(render_alone("dashboards/wall.html", facts).content)


@require_safe
def tile_csv(request: StudioRequest, pk: int, tile: int) -> HttpResponse:
    """Give the table behind a tile."""
    return tables.answer(tile_of(request, pk, tile), Seen.by_members())


@require_POST
def edit(request: StudioRequest, pk: int) -> HttpResponse:
    """Store a dashboard's name and who sees it."""
    dashboard = dashboard_of(request, pk)
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    form = DashboardForm(request.POST)
    if not form.is_valid():
        return _share(request, dashboard, form=form, status=422)
    roles = [Role(value) for value in form.cleaned_data["roles"]]
    actions.change_dashboard(dashboard, name=form.cleaned_data["name"], roles=roles, by=request.user)
    messages.success(request, _("The dashboard was changed."))
    still = Dashboard.objects.for_user(request.user).filter(pk=pk).exists()
    return redirect(
        _address("share", dashboard) if still else reverse("dashboards:list", args=[request.workspace.name])
    )


@require_POST
def delete(request: StudioRequest, pk: int) -> HttpResponse:
    """Delete a dashboard."""
    dashboard = dashboard_of(request, pk)
    actions.delete_dashboard(dashboard, by=request.user)
    messages.success(request, _("The dashboard %(name)s was deleted.") % {"name": dashboard.name})
    return redirect("dashboards:list", workspace=request.workspace.name)


@require_safe
def share(request: StudioRequest, pk: int) -> HttpResponse:
    """Show who sees a dashboard, and its links."""
    return _share(request, dashboard_of(request, pk))


def _share(request: StudioRequest, dashboard: Dashboard, status: int = 200, **more: Any) -> HttpResponse:
    said = {"name": dashboard.name, "roles": [role.value for role in dashboard.audience]}
    facts = {
        "nav": "dashboards",
        "dashboard": dashboard,
        "form": DashboardForm(initial=said),
        "link_form": LinkForm(),
        "links": dashboard.links.select_related("made_by"),
    }
    return render(request, "dashboards/dashboard_share.html", facts | more, status=status)


@never_cache
@require_POST
def make_link(request: StudioRequest, pk: int) -> HttpResponse:
    """Make a link and show it, once."""
    dashboard = dashboard_of(request, pk)
    require(request.user, Right.SHARE_DASHBOARDS, request.workspace)
    form = LinkForm(request.POST)
    if not form.is_valid():
        return _share(request, dashboard, link_form=form, status=422)
    said = form.cleaned_data
    shows = {Shows(value) for value in said["shows"]}
    made, token = actions.make_link(dashboard, said["name"], days=said["days"], shows=shows, by=request.user)
    address = settings.PUBLIC_URL.rstrip("/") + reverse("dashboard_link", args=[token])
    return _share(request, dashboard, made=made, address=address)


@require_POST
def revoke_link(request: StudioRequest, pk: int, link: int) -> HttpResponse:
    """End a link."""
    dashboard = dashboard_of(request, pk)
    require(request.user, Right.SHARE_DASHBOARDS, request.workspace)
    found = Link.objects.select_related("dashboard__workspace").filter(dashboard=dashboard, pk=link).first()
    if found is None:
        raise NotThere
    actions.revoke_link(found, by=request.user)
    messages.success(request, _("The link %(name)s opens nothing any more.") % {"name": found.name})
    return redirect(_address("share", dashboard))


@require_http_methods(["GET", "HEAD", "POST"])
def add_tile(request: StudioRequest, pk: int, kind: str) -> HttpResponse:
    """Ask for the options of a new tile, and put it on the dashboard."""
    dashboard = dashboard_of(request, pk)
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    if kind not in TILES:
        raise NotThere
    shape = TILES[kind]
    form = shape.form(request.workspace, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        title = form.cleaned_data["title"]
        tile = actions.add_tile(dashboard, kind, title=title, options=form.options, by=request.user)
        return redirect(f"{_address('show', dashboard)}?edit=1#tile-{tile.pk}")
    return _tile_page(request, dashboard, form, shape=shape)


@require_http_methods(["GET", "HEAD", "POST"])
def edit_tile(request: StudioRequest, pk: int, tile: int) -> HttpResponse:
    """Change the options of a tile. Who saves over another's changes sees them first, and decides."""
    found = tile_of(request, pk, tile)
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    shape = TILES[found.kind]
    stored = found.options | {"title": found.title}
    if request.method != "POST":
        return _tile_page(request, found.dashboard, shape.form(request.workspace, initial=stored), shape, found)
    form = shape.form(request.workspace, request.POST)
    version = request.POST.get("version", "")
    if not form.is_valid():
        return _tile_page(request, found.dashboard, form, shape, found)
    known = int(version) if version.isascii() and version.isdigit() and len(version) < 9 else 0
    title, options = form.cleaned_data["title"], form.options
    if not actions.configure_tile(found, version=known, title=title, options=options, by=request.user):
        theirs = [(field.label, _in_words(field, stored.get(field.name, ""))) for field in form]
        return _tile_page(request, found.dashboard, form, shape, found, theirs=theirs)
    return redirect(f"{_address('show', found.dashboard)}?edit=1#tile-{found.pk}")


def _in_words(field: Any, value: Any) -> str:
    """Return a stored value as the form would show it."""
    choices = dict(getattr(field.field, "choices", ()))
    return str(choices.get(value, value))


def _tile_page(
    request: StudioRequest, dashboard: Dashboard, form: TileForm, shape: Any, tile: Tile | None = None, **more: Any
) -> HttpResponse:
    facts = {"nav": "dashboards", "dashboard": dashboard, "form": form, "shape": shape, "tile": tile} | more
    status = 409 if more else 422 if form.is_bound else 200
    return render(request, "dashboards/tile_edit.html", facts, status=status)


@require_POST
def place_tile(request: StudioRequest, pk: int, tile: int) -> HttpResponse:
    """Move a tile (`go` left or right, or `position`) or give it another size (`go` wider, narrower, taller, lower)."""
    found = tile_of(request, pk, tile)
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    go, position = request.POST.get("go", ""), request.POST.get("position", "")
    if go in SIZES:
        more = SIZES[go]
        actions.place_tile(
            found, width=max(1, found.width + more[0]), height=max(1, found.height + more[1]), by=request.user
        )
    elif go in STEPS:
        actions.place_tile(found, position=found.position + STEPS[go], by=request.user)
    elif position.isascii() and position.isdigit() and len(position) < 5:
        actions.place_tile(found, position=int(position), by=request.user)
    return _arranged(request, found)


@require_POST
def remove_tile(request: StudioRequest, pk: int, tile: int) -> HttpResponse:
    """Take a tile off its dashboard."""
    found = tile_of(request, pk, tile)
    actions.remove_tile(found, by=request.user)
    messages.success(request, _("The tile %(title)s was removed.") % {"title": title_of(found, Seen.by_members())})
    return redirect(f"{_address('show', found.dashboard)}?edit=1")


def _arranged(request: StudioRequest, tile: Tile) -> HttpResponse:
    if wants_partial(request):
        return _show(request, tile.dashboard, editing=True)
    return redirect(f"{_address('show', tile.dashboard)}?edit=1#tile-{tile.pk}")


def dashboard_of(request: StudioRequest, pk: int) -> Dashboard:
    """Return a dashboard that one may see. Raises NotThere."""
    found = Dashboard.objects.for_user(request.user).select_related("workspace")
    dashboard = found.filter(workspace=request.workspace, pk=pk).first()
    if dashboard is None:
        raise NotThere
    return dashboard


def tile_of(request: StudioRequest, pk: int, tile: int) -> Tile:
    """Return a tile of a dashboard that one may see. Raises NotThere."""
    found = Tile.objects.filter(dashboard=dashboard_of(request, pk), pk=tile, kind__in=TILES)
    one = found.select_related("dashboard__workspace").first()
    if one is None:
        raise NotThere
    return one


def _address(name: str, dashboard: Dashboard) -> str:
    return reverse(f"dashboards:{name}", args=[dashboard.workspace.name, dashboard.pk])
