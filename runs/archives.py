"""The entries of a hostile zip: what it says of itself is looked at before it is believed."""

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, cast

from django.utils.translation import gettext as _

from runs.entries import MOST_ENTRIES, Entry, checked_path, expect_few
from studio.errors import StudioError

LONGEST_DIRECTORY = 16 * 1024 * 1024  # bytes of a zip's table of contents
UNIX, UTF8_FLAG = 3, 0x800  # of a zip's entry: made on Unix, so it has a mode; its name is in UTF-8
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)


@contextmanager
def entries_of_zip(file: BinaryIO) -> Iterator[list[Entry]]:
    """Give the files of a zip, to be read within the `with` block, where damage becomes a StudioError too."""
    _expect_short_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            yield [e for e in (_entry_of(archive, info) for info in archive.infolist()) if e is not None]
    except UnicodeDecodeError as exc:
        raise _unknown_encoding() from exc
    except (*DAMAGES, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno != errno.EINVAL:  # that one: its figures lead to nowhere
            raise
        raise StudioError(
            _("The zip is damaged: %(why)s.") % {"why": str(exc).rstrip(".")[:200] or type(exc).__name__},
            _("Make the zip again, or drop the folder itself."),
        ) from exc


def _entry_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry | None:
    """Return the entry of a zip's file, or None for a folder, whose name is checked all the same."""
    name = _name_of(info)
    path = checked_path(name.removesuffix("/"))
    mode = info.external_attr >> 16 if info.create_system == UNIX else 0
    kind = stat.S_IFMT(mode)
    if name.endswith("/"):
        return None
    trouble = ""
    if stat.S_ISLNK(mode):
        trouble = _("it is a link")
    elif kind not in {0, stat.S_IFREG}:
        trouble = _("it is no file but a device, pipe or folder")
    elif info.flag_bits & 0x1:
        trouble = _("it is encrypted")
    elif info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        trouble = _("it is compressed in a way the studio does not read")
    return Entry(path, info.file_size, partial(_open_member, archive, info), bool(mode & stat.S_IXUSR), trouble)


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    return cast(BinaryIO, archive.open(info))


def _name_of(info: zipfile.ZipInfo) -> str:
    """Return a zip entry's whole name. Old zips write UTF-8 without saying so, and zipfile then reads it as cp437."""
    name = info.orig_filename
    if info.flag_bits & UTF8_FLAG or name.isascii():
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError as exc:
        raise _unknown_encoding() from exc


def _unknown_encoding() -> StudioError:
    return StudioError(
        _("The zip holds a file name in an unknown encoding."), _("Make the zip again with names in UTF-8.")
    )


def _expect_short_directory(file: BinaryIO) -> None:
    """Look at a zip's end before its table of contents is read. Raises StudioError when it is none, or lists too much.

    Source: APPNOTE.TXT 4.3.14 to 4.3.16 (end of central directory, with its locator in a zip64).
    """
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - 65_536 - 22 - 20))
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < 22:
        raise StudioError(_("This is not a zip."), _("Choose a .zip file, or drop the folder itself."))
    count, length = struct.unpack("<HL", tail[found + 10 : found + 16])
    locator = tail[max(0, found - 20) : found]
    end = start + found
    if locator.startswith(b"PK\x06\x07") and len(locator) == 20:
        file.seek(min(struct.unpack("<Q", locator[8:16])[0], size))
        record = file.read(56)
        if record.startswith(b"PK\x06\x06") and len(record) == 56:
            count, length = struct.unpack("<QQ", record[32:48])
            end -= 76
    expect_few(count)
    if length > LONGEST_DIRECTORY:
        expect_few(MOST_ENTRIES + 1)
    file.seek(max(0, end - length))
    expect_few(file.read(length).count(b"PK\x01\x02"))  # the count above may lie
    file.seek(0)
