"""Files that people look at in the browser: what may be shown, how much of it, and answers that do no harm.

What a script wrote is hostile until shown otherwise: it is never served as a page. A download is an
attachment of bytes without a type; a preview is text in one of our own templates, or an image whose first
bytes say that it is one.
"""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote

from django.http import HttpResponse

from studio.http import Streamed

PREVIEW_BYTES = 256 * 1024
PREVIEW_LINES = 5000
TABLE_ROWS = 200
TABLE_COLUMNS = 50
CELL_CHARACTERS = 200
IMAGE_BYTES = 20 * 1000 * 1000
PIECE = 64 * 1024
NO_HARM = "sandbox; default-src 'none'; img-src 'self'; style-src 'none'"

# The first bytes of the images browsers show, none of which can carry a script. SVG can, and is shown as text.
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def image_type(head: bytes) -> str:
    """Return the type of the image that begins with `head`, or an empty string."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _IMAGES.items() if head.startswith(magic)), "")


def shown(name: str) -> str:
    """Return `name` fit to be read: control, bidirectional and undecodable characters are written out."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in name)


@dataclass(frozen=True)
class Preview:
    """What can be shown of one file. `kind` is text, table, image, binary or empty."""

    kind: str
    size: int
    lines: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)  # of a table
    rows: list[list[str]] = field(default_factory=list)
    is_cut: bool = False  # there is more than is shown


def preview(file: IO[bytes], name: str, size: int) -> Preview:
    """Read the beginning of `file` and say what to show of it; never more than PREVIEW_BYTES are read."""
    head = file.read(PREVIEW_BYTES)
    if not head:
        return Preview("empty", size)
    if image_type(head):
        return Preview("image" if size <= IMAGE_BYTES else "binary", size)
    if b"\0" in head:
        return Preview("binary", size)
    is_cut = size > len(head)
    text = head.decode("utf-8-sig", "replace")
    if text.count("�") > len(text) / 10:
        return Preview("binary", size)
    if name.lower().endswith((".csv", ".tsv")):
        table = _table(text, "\t" if name.lower().endswith(".tsv") else ",", is_cut)
        if table is not None:
            first, rows, rows_are_cut = table
            return Preview("table", size, head=first, rows=rows, is_cut=is_cut or rows_are_cut)
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    lines = [_readable(line.rstrip("\r")) for line in lines]
    return Preview("text", size, lines=lines[:PREVIEW_LINES], is_cut=is_cut or len(lines) > PREVIEW_LINES)


def _readable(line: str) -> str:
    return (
        "".join(c if c.isprintable() or c == "\t" else f"\\u{{{ord(c):x}}}" for c in line)
        if not line.isprintable()
        else line
    )


def _table(text: str, delimiter: str, is_cut: bool) -> tuple[list[str], list[list[str]], bool] | None:
    """Return head, rows and whether rows were left out; None for what is no table after all."""
    if is_cut:
        text = text.rpartition("\n")[0]  # the last line is not whole
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            if len(rows) > TABLE_ROWS:
                return rows[0], rows[1:], True
            rows.append([_readable(cell)[:CELL_CHARACTERS] for cell in row[:TABLE_COLUMNS]])
    except csv.Error:
        return None
    return (rows[0], rows[1:], False) if rows else None


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file's bytes and close it."""
    with file:
        while piece := file.read(PIECE):
            yield piece


def harmless(response: Any) -> Any:
    """Mark a response as something no browser may run."""
    response["Content-Security-Policy"] = NO_HARM
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = "private, no-store"
    return response


def attachment(content: Iterable[bytes], name: str, *, size: int | None = None, kind: str = "") -> Streamed:
    """Answer with a download called `name`."""
    response = Streamed(content, content_type=kind or "application/octet-stream")
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\/' else "_" for c in name) or "file"
    star = quote(shown(name).encode(), safe="")
    response["Content-Disposition"] = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{star}"
    if size is not None:
        response["Content-Length"] = str(size)
    harmless(response)
    return response


def image(file: IO[bytes], size: int) -> HttpResponse | None:
    """Answer with an image to be shown in a page, or None when the file is none that may be."""
    with file:
        if size > IMAGE_BYTES:
            return None
        content = file.read(IMAGE_BYTES)
    kind = image_type(content)
    if not kind:
        return None
    response: HttpResponse = harmless(HttpResponse(content, content_type=kind))
    return response


class _Sink(io.RawIOBase):
    """Where a zip is written to, to be taken away piece by piece."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self.waiting)
        self.waiting.clear()
        return taken


def zipped(entries: Iterable[tuple[str, IO[bytes]]]) -> Iterator[bytes]:
    """Yield a zip of `entries` (name, file) while it is made; a file is closed when it is in."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=1) as archive:
        for name, file in entries:
            with file, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                while piece := file.read(PIECE):
                    entry.write(piece)
                    if sink.waiting:
                        yield sink.take()
            yield sink.take()
    yield sink.take()


def tree_of(paths: Iterable[tuple[str, int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Nest files by folder for a tree: [{"name", "path", "size", …} | {"name", "children"}], folders first.

    Each of `paths` is (path with slashes, size, what else the template needs).
    """
    root: dict[str, Any] = {}
    for path, size, more in paths:
        folder = root
        *folders, name = path.split("/")
        for part in folders:
            folder = folder.setdefault(part + "/", {})  # a slash: a file and a folder may not be mixed up
        folder[name] = {"name": shown(name), "path": path, "size": size} | more
    return _listed(root)


def _listed(folder: dict[str, Any]) -> list[dict[str, Any]]:
    folders = [
        {"name": shown(name[:-1]), "children": _listed(inner)}
        for name, inner in sorted(folder.items())
        if name.endswith("/")
    ]
    return folders + [entry for name, entry in sorted(folder.items()) if not name.endswith("/")]
