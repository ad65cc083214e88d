"""Tiles and whole dashboards as HTML, the same for everybody who sees as much of them."""

import hashlib
import json
from dataclasses import dataclass

from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import translation

from studio.dashboards.models import Dashboard, Tile
from studio.dashboards.tiles import TILES, data_of, title_of
from studio.dashboards.tiles.base import Seen, TileData
from studio.settings_page import version

FRESH_SECONDS = 180  # a sample older than this is said to be


@dataclass(frozen=True)
class Shown:
    """A tile as it is shown."""

    tile: Tile
    seen: Seen
    title: str
    data: TileData

    @property
    def template(self) -> str:
        return TILES[self.tile.kind].template

    @property
    def chart(self) -> str:
        return json.dumps(self.data.chart, separators=(",", ":")) if self.data.chart else ""

    @property
    def csv(self) -> str:
        """Return where the table behind it is, as seen from its page and its wall, whichever door those have."""
        return f"tiles/{self.tile.pk}.csv"

    @property
    def digest(self) -> str:
        """Return what is another as soon as anything that is shown is."""
        facts = repr((self.title, self.tile.width, self.tile.height, self.data.as_json(), self.data.figures))
        return hashlib.sha256((facts + repr(self.data.items) + self.chart).encode()).hexdigest()[:16]

    @property
    def html(self) -> str:
        return render_to_string("dashboards/_tile.html", {"one": self, "fresh": FRESH_SECONDS})


@dataclass(frozen=True)
class Board:
    """A dashboard as it is shown."""

    name: str
    shown: list[Shown]

    @property
    def html(self) -> str:
        return "".join(one.html for one in self.shown)


def shown_of(tiles: list[Tile], seen: Seen, language: str) -> list[Shown]:
    """Ask what each of the tiles shows now."""
    with translation.override(language):
        return [Shown(tile, seen, title_of(tile, seen), data_of(tile, seen)) for tile in tiles]


def board_of(pk: int, seen: Seen, language: str) -> Board | None:
    """Return a dashboard; None when it was deleted."""
    dashboard = Dashboard.objects.select_related("workspace").filter(pk=pk).first()
    if dashboard is None:
        return None
    tiles = list(dashboard.tiles.filter(kind__in=TILES).select_related("dashboard__workspace"))
    return Board(dashboard.name, shown_of(tiles, seen, language))


def build() -> str:
    """Return what is another in another version of the studio: pages that stay open for weeks load themselves anew."""
    files = " ".join(static(name) for name in ("js/board.js", "js/chart.js", "css/dashboards.css"))
    return hashlib.sha256(f"{version()} {files}".encode()).hexdigest()[:12]
