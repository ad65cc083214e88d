"""The kinds of tiles. Adding one is its module and its line here."""

from typing import Any

from django.utils.translation import gettext as _

from studio.dashboards.models import Tile
from studio.dashboards.tiles.base import Kind, Seen, TileData
from studio.dashboards.tiles.failures import Failures
from studio.dashboards.tiles.longest import Longest
from studio.dashboards.tiles.metric import Metric
from studio.dashboards.tiles.nodes import Nodes
from studio.dashboards.tiles.outcomes import Outcomes
from studio.dashboards.tiles.queue import Queue
from studio.dashboards.tiles.quota import Quota
from studio.dashboards.tiles.spend import Spend

TILES: dict[str, Kind] = {
    kind.key: kind for kind in (Nodes(), Queue(), Outcomes(), Longest(), Failures(), Quota(), Spend(), Metric())
}


def title_of(tile: Tile, seen: Seen) -> str:
    """Return a tile's title: its own, else what its kind says."""
    if tile.title or tile.kind not in TILES:
        return tile.title or _("A tile of an unknown kind")
    return TILES[tile.kind].title(tile.dashboard.workspace, tile.options, seen)


def data_of(tile: Tile, seen: Seen) -> TileData:
    """Return what a tile shows now to whoever sees as much as `seen`."""
    if tile.kind not in TILES:
        return TileData(_("This version of the studio does not know it."), [], [])
    return TILES[tile.kind].ask(tile.dashboard.workspace, tile.options, seen)


def as_json(tile: Tile, seen: Seen) -> dict[str, Any]:
    """Return a tile with its data as JSON, for the interface for programs."""
    place = {"position": tile.position, "width": tile.width, "height": tile.height}
    return {"id": tile.pk, "kind": tile.kind, "title": title_of(tile, seen), **place, **data_of(tile, seen).as_json()}
