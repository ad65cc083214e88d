"""Charts as the page draws them, and the library that draws: this module and static/js/chart.js alone know it.

A chart is small JSON: {"kind": "area", "x": "time", "log": false, "series": [{"name", "tone", "x", "y"}]}. The library
is plotly.js, MIT, as its Python wheel brings it; its Python code is never imported. It writes no style into the page
where elements stand for the ones it would write, so the page's policy stays as strict as everywhere else: that is what
the id of css/dashboards.css in the pages is for, and STYLE_OF_MAPS in chart.js.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

LIBRARY = "charts/plotly.min.js"  # as a static file
Chart = dict[str, Any]


def chart(kind: str, x: str, series: Iterable[dict[str, Any]], *, logarithmic: bool = False) -> Chart:
    """Return a chart. `kind` is area (stacked), line or bars (stacked); `x` is time, day or number."""
    return {"kind": kind, "x": x, "log": logarithmic, "series": list(series)}


def series(name: str, tone: str, x: Sequence[Any], y: Sequence[float | None]) -> dict[str, Any]:
    """Return one series. A tone is one of the stylesheet's: ok, run, warn, bad, idle, accent."""
    return {
        "name": name,
        "tone": tone,
        "x": [round(at.timestamp() * 1000) if isinstance(at, datetime) else at for at in x],
        "y": [value if value is None else round(value, 6) for value in y],
    }


def library_folder() -> Path:
    """Return where the wheel has the library."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("plotly")
    return Path(spec.submodule_search_locations[0]) / "package_data"


class LibraryFinder(BaseFinder):
    """Finds the one file of the library among the static files."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.storage = FileSystemStorage(location=library_folder())
        vars(self.storage)["prefix"] = "charts"  # where collectstatic puts it

    def check(self, **options: Any) -> list[Any]:
        return []

    def find(self, path: str, find_all: bool = False, **options: Any) -> Any:
        found = self.storage.path(Path(LIBRARY).name) if path == LIBRARY else None
        return ([found] if found else []) if find_all else found or []

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        yield Path(LIBRARY).name, self.storage
