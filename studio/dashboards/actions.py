"""Verbs over dashboards, their tiles and their links; each writes down who did it."""

import secrets
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studio.dashboards.models import HIGHEST, WIDEST, Dashboard, Link, Shows, Tile
from studio.dashboards.tiles import TILES
from studio.errors import NotAllowedNow, StudioError
from studio.people.actions import note
from studio.people.models import User, Workspace, hash_of
from studio.people.permissions import Right, Role, require

MOST_TILES = 24  # of one dashboard
LINK_DAYS = range(1, 366)  # how long a link may work
DAYS = 30  # unless another span is chosen
OVERVIEW_NAME = gettext_lazy("Overview")
OVERVIEW = [
    ("nodes", {"span": "day"}, 2, 1),
    ("queue", {"span": "day"}, 2, 1),
    ("outcomes", {"days": "7"}, 2, 1),
    ("longest", {}, 2, 1),
    ("failures", {"days": "7"}, 4, 1),
]


@transaction.atomic
def make_dashboard(workspace: Workspace, name: str, *, by: User | None, overview: bool = False) -> Dashboard:
    """Make a dashboard: an empty one, or one with what is worth a look anywhere."""
    if by is not None:
        require(by, Right.EDIT_DASHBOARDS, workspace)
    dashboard = Dashboard.objects.create(workspace=workspace, name=name, created_by=by)
    for position, (kind, options, width, height) in enumerate(OVERVIEW if overview else []):
        dashboard.tiles.create(kind=kind, options=options, position=position, width=width, height=height)
    note(workspace, by, "dashboard.make", dashboard, kind="dashboard", name=name)
    dashboard.moved()
    return dashboard


@transaction.atomic
def change_dashboard(dashboard: Dashboard, *, name: str, roles: list[Role], by: User) -> None:
    """Give a dashboard another name or audience; none: everybody. Open pages of who may not see it any more close."""
    require(by, Right.EDIT_DASHBOARDS, dashboard.workspace)
    dashboard = _locked(dashboard)
    before = {"name": dashboard.name, "roles": dashboard.roles}
    if set(roles) != set(dashboard.audience):  # who puts such a tile there says to whom it is shown
        for kind in set(dashboard.tiles.filter(kind__in=TILES).values_list("kind", flat=True)):
            if (needed := TILES[kind].right) is not None:
                require(by, needed, dashboard.workspace)
    dashboard.name, dashboard.roles = name, ",".join(role.value for role in Role if role in roles)
    dashboard.save(update_fields=["name", "roles"])
    after = {"name": dashboard.name, "roles": dashboard.roles}
    if before != after:
        _note(dashboard, by, "dashboard.edit", {"before": before, "after": after})


@transaction.atomic
def delete_dashboard(dashboard: Dashboard, *, by: User) -> None:
    """Delete a dashboard with its tiles and links; open pages and walls close."""
    require(by, Right.EDIT_DASHBOARDS, dashboard.workspace)
    _note(dashboard, by, "dashboard.delete")
    dashboard.delete()


@transaction.atomic
def add_tile(dashboard: Dashboard, kind: str, *, by: User, title: str = "", options: dict[str, Any]) -> Tile:
    """Put a tile behind the others. Raises NotAllowedNow when there are too many, NeedsRight as its kind says."""
    require(by, Right.EDIT_DASHBOARDS, dashboard.workspace)
    shape = TILES[kind]
    if shape.right is not None:
        require(by, shape.right, dashboard.workspace)
    dashboard = _locked(dashboard)
    count = dashboard.tiles.count()
    if count >= MOST_TILES:
        raise NotAllowedNow(_("A dashboard has at most %(n)d tiles.") % {"n": MOST_TILES}, _("Make another one."))
    facts = {"kind": kind, "title": title, "options": options, "width": shape.width, "height": shape.height}
    tile = dashboard.tiles.create(position=count, **facts)
    _note(dashboard, by, "dashboard.tile.add", {"after": facts})
    return tile


@transaction.atomic
def configure_tile(tile: Tile, *, version: int, title: str, options: dict[str, Any], by: User) -> bool:
    """Store title and options, unless somebody else stored others since `version`; say whether they were stored."""
    require(by, Right.EDIT_DASHBOARDS, tile.dashboard.workspace)
    before = {"title": tile.title, "options": tile.options}
    after = {"title": title, "options": options}
    won = Tile.objects.filter(pk=tile.pk, version=version).update(**after, version=version + 1)
    if won:
        _note(tile.dashboard, by, "dashboard.tile.edit", {"before": before, "after": after})
    return bool(won)


@transaction.atomic
def place_tile(tile: Tile, *, by: User, position: int | None = None, width: int = 0, height: int = 0) -> None:
    """Put a tile at another place among the others, or give it another size; too much is the nearest possible."""
    require(by, Right.EDIT_DASHBOARDS, tile.dashboard.workspace)
    dashboard = _locked(tile.dashboard)
    order = list(dashboard.tiles.all())
    moved = next((one for one in order if one.pk == tile.pk), None)
    if moved is None:
        raise NotAllowedNow(_("Somebody else has removed this tile."), _("Look at the dashboard again."))
    before = [moved.position, moved.width, moved.height]
    moved.width = min(max(width or moved.width, 1), WIDEST)
    moved.height = min(max(height or moved.height, 1), HIGHEST)
    if position is not None:
        order.remove(moved)
        order.insert(min(max(position, 0), len(order)), moved)
    _number(order)
    after = [moved.position, moved.width, moved.height]
    if before != after:
        _note(dashboard, by, "dashboard.tile.place", {"before": {moved.kind: before}, "after": {moved.kind: after}})


@transaction.atomic
def remove_tile(tile: Tile, *, by: User) -> None:
    """Take a tile away; one that somebody else took away is fine."""
    require(by, Right.EDIT_DASHBOARDS, tile.dashboard.workspace)
    dashboard = _locked(tile.dashboard)
    gone, _by_model = Tile.objects.filter(pk=tile.pk).delete()
    _number(list(dashboard.tiles.all()))
    if gone:
        _note(dashboard, by, "dashboard.tile.remove", {"before": {"kind": tile.kind, "title": tile.title}})


@transaction.atomic
def make_link(dashboard: Dashboard, name: str, *, days: int, shows: set[Shows], by: User) -> tuple[Link, str]:
    """Make a link that opens this dashboard alone; return it and its token, which is never stored."""
    require(by, Right.SHARE_DASHBOARDS, dashboard.workspace)
    if days not in LINK_DAYS:
        raise StudioError(_("A link works for 1 to %(n)d days.") % {"n": LINK_DAYS[-1]})
    token = secrets.token_urlsafe(32)  # 256 bits
    link = dashboard.links.create(
        name=name,
        shows=sorted(shows),
        token_sha256=hash_of(token),
        made_by=by,
        expires_at=timezone.now() + timedelta(days=days),
    )
    facts = {"link": name, "shows": link.shows, "expires_at": link.expires_at.isoformat()}
    _note(dashboard, by, "dashboard.link.make", facts)
    return link, token


@transaction.atomic
def revoke_link(link: Link, *, by: User) -> None:
    """End a link: its open pages close at once. Once is enough."""
    require(by, Right.SHARE_DASHBOARDS, link.dashboard.workspace)
    if Link.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=timezone.now()):
        _note(link.dashboard, by, "dashboard.link.revoke", {"link": link.name})


def _locked(dashboard: Dashboard) -> Dashboard:
    """Let nobody else change it meanwhile. Raises NotAllowedNow when somebody deleted it."""
    found = Dashboard.objects.select_for_update().filter(pk=dashboard.pk).first()
    if found is None:
        raise NotAllowedNow(_("Somebody else has deleted this dashboard."))
    return found


def _number(order: list[Tile]) -> None:
    for position, one in enumerate(order):
        one.position = position
    Tile.objects.bulk_update(order, ["position", "width", "height"])


def _note(dashboard: Dashboard, by: User, verb: str, detail: dict[str, Any] | None = None) -> None:
    note(dashboard.workspace, by, verb, dashboard, kind="dashboard", name=dashboard.name, detail=detail)
    dashboard.moved()
