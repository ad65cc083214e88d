"""Dashboards, their tiles with what is behind each, and the links that open them without signing in."""

from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema, Status
from pydantic import StrictInt

from studio.api.kit import Asked, Listed, Paging, Text, listed, not_valid, place_in
from studio.dashboards import actions, tables
from studio.dashboards.models import HIGHEST, WIDEST, Dashboard, Link, Shows, Tile
from studio.dashboards.tiles import TILES, as_json, title_of
from studio.dashboards.tiles.base import Seen, TileForm
from studio.dashboards.views import dashboard_of, tile_of
from studio.errors import ChangedMeanwhile, NotThere, NotValid
from studio.http import StudioRequest
from studio.people.permissions import Right, Role, require

router = Router()
CSV: dict[str, Any] = {
    "responses": {200: {"description": "A table.", "content": {"text/csv": {"schema": {"type": "string"}}}}}
}
Options = dict[Text, Text | bool | StrictInt]


class DashboardFacts(Schema):
    id: int
    name: str
    roles: list[Role] = Field(description="Who sees it; none: everybody. Owners and whoever made it see it always.")
    tiles: int
    created_by: str
    created_at: datetime


class TileFacts(Schema):
    id: int
    kind: str
    title: str
    options: dict[str, Any] = Field(description="What was chosen about it: a time, a run, a metric.")
    position: int
    width: int
    height: int
    version: int = Field(description="Of title and options: who changes an older one is refused.")


class Board(DashboardFacts):
    shows: list[TileFacts] = Field(description="Its tiles, in order.")


class TileShown(Schema):
    id: int
    kind: str
    title: str
    position: int
    width: int
    height: int
    said: str = Field(description="What it shows, in a sentence.")
    columns: list[str]
    rows: list[list[Any]] = Field(description="The table behind it.")
    as_of: str | None = Field(description="Of the newest sample, where it is made of samples.")


class LinkFacts(Schema):
    id: int
    name: str
    shows: list[Shows] = Field(description="What it shows beyond states and numbers.")
    made_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = Field(description="Within a minute.")
    revoked_at: datetime | None


class NewDashboard(Asked):
    name: Text = Field(min_length=1, max_length=100)
    overview: bool = Field(False, description="With the tiles of the overview.")


class DashboardChange(Asked):
    name: Text | None = Field(None, min_length=1, max_length=100)
    roles: list[Role] | None = Field(None, description="None of them: everybody.")


class NewTile(Asked):
    kind: Text = Field(max_length=20)
    title: Text = Field("", max_length=100, description="Empty: as its kind says. A link shows it as it is.")
    options: Options = Field({}, max_length=20)


class TileChange(Asked):
    version: StrictInt = Field(ge=1, lt=2**31, description="The one you saw; another now refuses the change.")
    title: Text | None = Field(None, max_length=100)
    options: Options | None = Field(None, max_length=20)


class Place(Asked):
    position: StrictInt | None = Field(None, ge=0, lt=1000, description="Counted from 0; too far is the last one.")
    width: StrictInt | None = Field(None, ge=1, le=WIDEST)
    height: StrictInt | None = Field(None, ge=1, le=HIGHEST)


@router.get("", response=Listed[DashboardFacts])
def list_dashboards(request: StudioRequest, response: HttpResponse, asked: Query[Paging]) -> dict[str, Any]:
    """The dashboards that you may see, by name."""
    found = _counted(Dashboard.objects.for_user(request.user).filter(workspace=request.workspace))
    if (after := place_in(asked.cursor, str, int)) is not None:
        name, pk = after
        found = found.filter(Q(name__gt=name) | Q(name=name, pk__gt=pk))
    rows = list(found.order_by("name", "pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_row(one) for one in rows], *([rows[-1].name, rows[-1].pk] if more else []))


def _counted(found: Any) -> Any:
    return found.select_related("created_by").annotate(tile_count=Count("tiles"))


def _row(one: Any) -> dict[str, Any]:
    return {
        "id": one.pk,
        "name": one.name,
        "roles": one.audience,
        "tiles": one.tile_count,
        "created_by": one.created_by.username if one.created_by else "",
        "created_at": one.created_at,
    }


def _board(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as it is now."""
    tiles = dashboard.tiles.filter(kind__in=TILES).select_related("dashboard__workspace")
    known = _counted(Dashboard.objects.filter(pk=dashboard.pk)).first()
    if known is None:
        raise NotThere
    return _row(known) | {"shows": [_tile(tile) for tile in tiles]}


def _tile(tile: Tile) -> dict[str, Any]:
    kept = ("kind", "options", "position", "width", "height", "version")
    return {name: getattr(tile, name) for name in kept} | {"id": tile.pk, "title": title_of(tile, Seen.by_members())}


@router.post("", response={201: Board})
def create_dashboard(request: StudioRequest, response: HttpResponse, asked: NewDashboard) -> Status[dict[str, Any]]:
    """Make a dashboard: an empty one, or one with what is worth a look anywhere."""
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    name = _name(asked.name)
    made = actions.make_dashboard(request.workspace, name, by=request.user, overview=asked.overview)
    response["Location"] = f"{request.path}/{made.pk}"
    return Status(201, _board(made))


def _name(typed: str) -> str:
    """Return a name as the page stores it. Raises NotValid."""
    if not typed.strip():
        raise NotValid([("name", _("A dashboard needs a name."))])
    return typed.strip()


@router.get("/{int:dashboard_id}", response=Board)
def get_dashboard(request: StudioRequest, dashboard_id: int) -> dict[str, Any]:
    """One dashboard, with its tiles."""
    return _board(dashboard_of(request, dashboard_id))


@router.patch("/{int:dashboard_id}", response=Board)
def change_dashboard(request: StudioRequest, dashboard_id: int, asked: DashboardChange) -> dict[str, Any]:
    """Give a dashboard another name, or show it to other roles.

    The answer is what it became, also where you are among those who do not see it any more.
    """
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    dashboard = dashboard_of(request, dashboard_id)
    actions.change_dashboard(
        dashboard,
        name=dashboard.name if asked.name is None else _name(asked.name),
        roles=dashboard.audience if asked.roles is None else asked.roles,
        by=request.user,
    )
    return _board(dashboard)


@router.delete("/{int:dashboard_id}", response={204: None})
def delete_dashboard(request: StudioRequest, dashboard_id: int) -> Status[None]:
    """Delete a dashboard with its tiles and links; its walls close at once."""
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    actions.delete_dashboard(dashboard_of(request, dashboard_id), by=request.user)
    return Status(204, None)


@router.post("/{int:dashboard_id}/tiles", response={201: TileFacts})
def add_tile(
    request: StudioRequest, response: HttpResponse, dashboard_id: int, asked: NewTile
) -> Status[dict[str, Any]]:
    """Put a tile behind the others.

    Its options are those of its page: `span` or `days`, and of a metric `of`, `name`, `metric` and `logarithmic`.
    """
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    dashboard = dashboard_of(request, dashboard_id)
    if asked.kind not in TILES:
        raise NotValid([("kind", _("It is one of %(names)s.") % {"names": ", ".join(sorted(TILES))})])
    form = _form(request, asked.kind, asked.title, asked.options)
    title = form.cleaned_data["title"]
    tile = actions.add_tile(dashboard, asked.kind, title=title, options=form.options, by=request.user)
    response["Location"] = f"{request.path}/{tile.pk}"
    return Status(201, _tile(tile))


def _form(request: StudioRequest, kind: str, title: str, options: dict[str, Any]) -> TileForm:
    """Return the page's form, filled with what a program chose. Raises NotValid."""
    shape = TILES[kind].form
    known = [name for name in shape.base_fields if name != "title"]
    if unknown := sorted(set(options) - set(known)):
        said = _("There is no such option here; there are: %(names)s.") if known else _("It takes no options.")
        raise NotValid([(f"options.{name[:80]}", said % {"names": ", ".join(known)}) for name in unknown[:10]])
    usual = {name: shape.base_fields[name].initial for name in known}
    form = shape(request.workspace, usual | options | {"title": title})
    if not form.is_valid():
        raise not_valid(form, {name: f"options.{name}" for name in known})
    return form


@router.get("/{int:dashboard_id}/tiles/{int:tile_id}", response=TileShown)
def get_tile(request: StudioRequest, dashboard_id: int, tile_id: int) -> dict[str, Any]:
    """What a tile shows now: a sentence, and the table behind it."""
    return as_json(tile_of(request, dashboard_id, tile_id), Seen.by_members())


@router.get("/{int:dashboard_id}/tiles/{int:tile_id}/table.csv", openapi_extra=CSV)
def get_tile_csv(request: StudioRequest, dashboard_id: int, tile_id: int) -> HttpResponse:
    """The table behind a tile, as the page gives it: no cell is a formula for a spreadsheet."""
    return tables.answer(tile_of(request, dashboard_id, tile_id), Seen.by_members())


@router.patch("/{int:dashboard_id}/tiles/{int:tile_id}", response=TileFacts)
def change_tile(request: StudioRequest, dashboard_id: int, tile_id: int, asked: TileChange) -> dict[str, Any]:
    """Change title or options of a tile, unless somebody else did since `version`: then the answer is 412."""
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    tile = tile_of(request, dashboard_id, tile_id)
    options = tile.options if asked.options is None else asked.options
    form = _form(request, tile.kind, tile.title if asked.title is None else asked.title, options)
    title = form.cleaned_data["title"]
    if not actions.configure_tile(tile, version=asked.version, title=title, options=form.options, by=request.user):
        raise ChangedMeanwhile
    return _tile(tile_of(request, dashboard_id, tile_id))


@router.put("/{int:dashboard_id}/tiles/{int:tile_id}/place", response=Board)
def place_tile(request: StudioRequest, dashboard_id: int, tile_id: int, asked: Place) -> dict[str, Any]:
    """Put a tile at another place among the others, or give it another size; what is left away stays."""
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    tile = tile_of(request, dashboard_id, tile_id)
    size = {"width": asked.width or 0, "height": asked.height or 0}
    actions.place_tile(tile, position=asked.position, by=request.user, **size)
    return _board(tile.dashboard)


@router.delete("/{int:dashboard_id}/tiles/{int:tile_id}", response={204: None})
def remove_tile(request: StudioRequest, dashboard_id: int, tile_id: int) -> Status[None]:
    """Take a tile away."""
    require(request.user, Right.EDIT_DASHBOARDS, request.workspace)
    actions.remove_tile(tile_of(request, dashboard_id, tile_id), by=request.user)
    return Status(204, None)


@router.get("/{int:dashboard_id}/links", response=Listed[LinkFacts])
def list_links(
    request: StudioRequest, response: HttpResponse, dashboard_id: int, asked: Query[Paging]
) -> dict[str, Any]:
    """The links that open a dashboard without signing in, the newest first; what opens it is told nobody again."""
    found = dashboard_of(request, dashboard_id).links.select_related("made_by")
    require(request.user, Right.SHARE_DASHBOARDS, request.workspace)
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_link(one) for one in rows], *([rows[-1].pk] if more else []))


def _link(one: Link) -> dict[str, Any]:
    kept = {name: getattr(one, name) for name in LinkFacts.model_fields if name not in {"id", "made_by"}}
    return kept | {"id": one.pk, "made_by": one.made_by.username if one.made_by else ""}


@router.delete("/{int:dashboard_id}/links/{int:link_id}", response={204: None})
def revoke_link(request: StudioRequest, dashboard_id: int, link_id: int) -> Status[None]:
    """End a link: its open pages close at once. Links are made on the page, which shows them once."""
    dashboard = dashboard_of(request, dashboard_id)
    require(request.user, Right.SHARE_DASHBOARDS, request.workspace)
    link = Link.objects.select_related("dashboard__workspace").filter(dashboard=dashboard, pk=link_id).first()
    if link is None:
        raise NotThere
    actions.revoke_link(link, by=request.user)
    return Status(204, None)
