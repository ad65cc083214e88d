"""Tables as CSV that a spreadsheet only reads: no cell of text becomes a formula there."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

# Source: OWASP, CSV Injection; what a cell that is taken for a formula begins with.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
CONTENT_TYPE = "text/csv; charset=utf-8"
LINES_A_PIECE = 500


def cell(value: Any) -> Any:
    """Return `value` as it goes into a cell: text that would be a formula gets an apostrophe; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def plain(value: str) -> str:
    """Return what a cell said before `cell` made it safe, for a table that comes back."""
    return value[1:] if value.startswith("'") and value[1:].startswith(FORMULA) else value


def written(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Write rows as CSV (RFC 4180), every cell safe, in pieces that are sent as they come."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for number, row in enumerate(rows, 1):
        writer.writerow([cell(value) for value in row])
        if number % LINES_A_PIECE == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    if buffer.tell():
        yield buffer.getvalue()
