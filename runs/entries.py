"""What is on its way into a snapshot, hostile until it stands in a manifest: names are checked, files are counted."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import BinaryIO

from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from studio.errors import StudioError, TooLarge

MOST_ENTRIES = 50_000  # names an upload may hold before the ignore file leaves some out
LONGEST_PATH, LONGEST_NAME = 1024, 255  # bytes
DEEPEST = 32  # folders
COLLECTED = {"outputs", "logs"}  # folders that every run has
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Entry:
    """A file on its way into a snapshot. Its path has been checked."""

    path: str
    size: int  # bytes, as declared; what is read is counted again
    open: Callable[[], AbstractContextManager[BinaryIO]]
    executable: bool = False
    trouble: str = ""  # why it cannot be kept, should the ignore file not leave it out
    sha256: str = ""  # as declared by a browser that has not sent it yet


# Names


def checked_path(name: str) -> str:
    """Return a path as a manifest holds it: relative, with slashes. Raises StudioError for one that is not safe."""
    path = name.removeprefix("./")
    parts = path.split("/")
    problem = ""
    if not name or "\x00" in name:
        problem = _("a name is empty or cut by a NUL")
    elif name.startswith("/") or re.match(r"[A-Za-z]:", path):
        problem = _("its path is absolute")
    elif "\\" in path:
        problem = _("it has a backslash")
    elif ".." in parts:
        problem = _("it climbs out of its folder")
    elif "" in parts or "." in parts:
        problem = _("a folder in its path has no name")
    elif any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} or c in _BIDI_CONTROLS for c in path):
        problem = _("it has control characters")
    elif any(unicodedata.category(c) == "Cs" for c in path):
        problem = _("it is not in UTF-8")
    elif len(path.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in parts):
        problem = _("it is too long (a name may have %(name)d bytes, a path %(path)d)") % {
            "name": LONGEST_NAME,
            "path": LONGEST_PATH,
        }
    elif len(parts) > DEEPEST:
        problem = _("it lies more than %(n)d folders deep") % {"n": DEEPEST}
    if problem:
        raise StudioError(
            _("The file name “%(name)s” cannot be taken: %(problem)s.") % {"name": shown(name), "problem": problem},
            _("Rename it, or leave it out of the upload."),
        )
    return path


def shown(name: str) -> str:
    """Return a name so that it does no harm in a sentence: unprintables escaped, 120 characters at most."""
    text = repr(name)[1:-1]
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]}"


def without_common_folder(entries: list[Entry]) -> list[Entry]:
    """Return the entries without the one folder that holds all of them, as a zip of a folder has it."""
    entries = [e for e in entries if not e.path.startswith("__MACOSX/") and e.path != ".DS_Store"]
    tops = {e.path.partition("/")[0] for e in entries}
    if len(tops) != 1 or any("/" not in e.path for e in entries) or tops == {".git"}:
        return entries
    return [replace(e, path=e.path.partition("/")[2]) for e in entries]


def expect_no_collision(entries: Iterable[Entry]) -> None:
    """Raise StudioError when two names are one on some machine, or one is both a file and a folder."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        key = _folded(entry.path)
        if key in files:
            same = files[key] == entry.path
            raise StudioError(
                _("The file “%(path)s” is there twice.") % {"path": shown(entry.path)}
                if same
                else _("“%(one)s” and “%(two)s” are one name where case does not count.")
                % {"one": shown(files[key]), "two": shown(entry.path)},
                _("Rename or remove one of the two."),
            )
        files[key] = entry.path
        parts = key.split("/")
        for end in range(1, len(parts)):
            folders.setdefault("/".join(parts[:end]), entry.path)
    for key in files.keys() & folders.keys():
        raise StudioError(
            _("“%(path)s” is a file and a folder at once.") % {"path": shown(files[key])},
            _("Rename or remove one of the two."),
        )
    for name in COLLECTED & files.keys():
        raise StudioError(
            _("“%(path)s” is a file, and every run has a folder of that name.") % {"path": shown(files[name])},
            _("Rename the file."),
        )


def _folded(path: str) -> str:
    """Return what a path is on a disk that ignores case and composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


# Figures


def expect_within_limits(sizes: dict[str, int]) -> None:
    """Raise TooLarge, with the figures and with what is largest, when files are too many or too big."""
    total, most = sum(sizes.values()), settings.SNAPSHOT_MAX_BYTES
    if total <= most and len(sizes) <= settings.SNAPSHOT_MAX_FILES:
        return
    by_top = Counter[str]()
    for path, size in sizes.items():
        top, slash, _rest = path.partition("/")
        by_top[top + slash] += size if total > most else 1
    top, share = by_top.most_common(1)[0]
    hint = _("Name what the run does not need in a file .amlignore.")
    if share * 10 >= by_top.total():
        hint = _("Name what the run does not need in a file .amlignore. Most is in “%(top)s”: %(share)s.")
    largest = _megabytes(share) if total > most else _files(share)
    raise TooLarge(
        _("The upload has %(files)s and %(size)s; a snapshot may have %(most_files)s and %(most)s.")
        % {
            "files": _files(len(sizes)),
            "size": _megabytes(total),
            "most_files": _files(settings.SNAPSHOT_MAX_FILES),
            "most": _megabytes(most),
        },
        hint % {"top": shown(top), "share": largest},
    )


def expect_few(count: int) -> None:
    """Raise TooLarge when an upload has more names than anybody should have to look at."""
    if count > MOST_ENTRIES:
        raise TooLarge(
            _("The upload has more than %(n)s names; a snapshot may have %(most)s.")
            % {"n": number_format(MOST_ENTRIES, force_grouping=True), "most": _files(settings.SNAPSHOT_MAX_FILES)},
            _("Choose the folder that holds the script and what it reads, without data and environments."),
        )


def _megabytes(count: int) -> str:
    """Write bytes in the MB in which the limit is given (1,048,576 bytes), rounded up."""
    whole, tenth = divmod(math.ceil(count * 10 / (1024 * 1024)), 10)
    said = number_format(Decimal(whole * 10 + tenth) / 10, decimal_pos=bool(tenth), force_grouping=True)
    return _("%(n)s MB") % {"n": said}


def _files(count: int) -> str:
    return ngettext("%(n)s file", "%(n)s files", count) % {"n": number_format(count, force_grouping=True)}
