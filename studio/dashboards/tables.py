"""The table behind a tile as CSV."""

from django.http import HttpResponse
from django.utils.text import slugify

from studio.csvs import CONTENT_TYPE, written
from studio.dashboards.models import Tile
from studio.dashboards.tiles import as_json
from studio.dashboards.tiles.base import Seen


def answer(tile: Tile, seen: Seen) -> HttpResponse:
    """Return the table behind a tile as a file."""
    said = as_json(tile, seen)
    response = HttpResponse("".join(written([said["columns"], *said["rows"]])), content_type=CONTENT_TYPE)
    name = slugify(said["title"])[:60] or "tile"
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
