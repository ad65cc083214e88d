"""A run's files as they were at submission: taken from an upload or a folder, looked at, and laid out for a job.

A snapshot is a manifest of hashed files. What arrives is hostile until it stands in a manifest: paths are checked,
links and devices refused, bytes counted while they are read, and nothing is written anywhere but in the store.
"""

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from io import BytesIO, RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from runs.archives import entries_of_zip
from runs.entries import (
    Entry,
    checked_path,
    expect_few,
    expect_no_collision,
    expect_within_limits,
    shown,
    without_common_folder,
)
from runs.git import facts_of_checkout, git_facts
from runs.ignore import kept_of
from runs.models import KnownFile, Snapshot
from runs.stores import PIECE, store
from studio.errors import NotThere, StudioError
from studio.people.models import Workspace

LONGEST_GIT_FILE = 4 * 1024 * 1024  # bytes; packed-refs of a big repository


class ManifestEntry(TypedDict):
    """One file of a manifest."""

    path: str
    sha256: str
    size: int
    executable: bool


Taken = tuple[Snapshot, dict[str, str]]  # and what git says of the files, as properties of a run


# Taking files in


def from_files(workspace: Workspace, files: Iterable[tuple[str, BinaryIO]]) -> Taken:
    """Take uploaded files, each with its path. A folder that all of them share is left off."""
    entries: list[Entry] = []
    for name, file in files:
        path = checked_path(name)
        file.seek(0, os.SEEK_END)
        entries.append(Entry(path, file.tell(), _from_the_start(file)))
        expect_few(len(entries))
    return _take(workspace, without_common_folder(entries))


def from_zip(workspace: Workspace, file: BinaryIO) -> Taken:
    """Take the files of a zip. A folder that all of them share is left off."""
    with entries_of_zip(file) as entries:
        return _take(workspace, without_common_folder(entries))


def from_text(workspace: Workspace, name: str, text: str) -> Taken:
    """Take one pasted file, its line ends as Linux writes them."""
    if not text.strip():
        raise StudioError(_("The script is empty."), _("Paste its text, or upload it as a file."))
    try:
        data = text.replace("\r\n", "\n").encode()
    except UnicodeEncodeError as exc:
        raise StudioError(
            _("The text holds half a character at position %(at)d.") % {"at": exc.start},
            _("Paste it again from an editor, or upload it as a file."),
        ) from exc
    return _take(workspace, [Entry(checked_path(name), len(data), lambda: BytesIO(data))])


def from_folder(workspace: Workspace, path: Path) -> Taken:
    """Take a folder of this machine. If it lies in a git checkout, git is asked also whether it was changed."""
    entries: list[Entry] = []
    folders = [path]
    try:
        while folders:
            with os.scandir(folders.pop()) as listing:
                for found in listing:
                    if not found.is_dir(follow_symlinks=False):
                        entries.append(_entry_of_file(path, Path(found.path)))
                        expect_few(len(entries))
                    elif found.name != ".git":
                        folders.append(Path(found.path))
    except OSError as exc:
        raise StudioError(
            _("The folder %(path)s cannot be read: %(why)s.") % {"path": path, "why": exc.strerror},
            _("Check that it exists and that the studio may read it."),
        ) from exc
    snapshot, _none = _take(workspace, entries)
    return snapshot, facts_of_checkout(path)


# Looking at them, laying them out


def open_file(snapshot: Snapshot, path: str) -> BinaryIO:
    """Open a file of a snapshot. Raises NotThere when the snapshot has no such file."""
    for entry in snapshot.manifest:
        if entry["path"] == path:
            return store().open(entry["sha256"])
    raise NotThere(_("The snapshot has no file “%(path)s”.") % {"path": shown(path)}, _("Pick a file from its list."))


def materialise(snapshot: Snapshot, folder: Path) -> None:
    """Copy a snapshot's files into `folder`, which is made. Copies, for a run may write to its files; repeatable."""
    blobs, made = store(), set[Path]()
    folder.mkdir(parents=True, exist_ok=True)
    for entry in snapshot.manifest:
        target = folder / checked_path(entry["path"])
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _mode_of(entry))
        with open(handle, "wb") as file, blobs.open(entry["sha256"]) as blob:  # noqa: PTH123 (an open descriptor)
            _copy(blob, file, entry["size"])


def zip_stream(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield a snapshot as a zip while it is made: never more than a piece of it is in memory."""
    sink, blobs = _Sink(), store()
    with zipfile.ZipFile(sink, "w") as archive:
        for entry in snapshot.manifest:
            info = zipfile.ZipInfo(checked_path(entry["path"]), snapshot.created_at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | _mode_of(entry)) << 16
            with blobs.open(entry["sha256"]) as source, archive.open(info, "w", force_zip64=True) as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    if ready := sink.take():
                        yield ready
    yield sink.take()


def _mode_of(entry: ManifestEntry) -> int:
    return 0o755 if entry["executable"] else 0o644


class _Sink(RawIOBase):
    """A file that cannot be read or sought: what is written waits to be taken."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self.waiting = b"".join(self.waiting), []
        return taken


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Copy `size` bytes inside the kernel where it can, else through here."""
    try:
        done = 0
        while done < size:
            count = os.sendfile(target.fileno(), source.fileno(), done, size - done)
            if not count:
                break
            done += count
    except (OSError, UnsupportedOperation):
        source.seek(0)
        target.seek(0)
        shutil.copyfileobj(source, target, PIECE)


# Counting and keeping


def _take(workspace: Workspace, entries: list[Entry]) -> Taken:
    """Store what is to be kept of `entries`, and return its snapshot: the same files are the same snapshot."""
    kept = to_keep(entries)
    sizes = {e.path: e.size for e in kept}
    manifest: list[ManifestEntry] = []
    with store().batch() as batch:
        for entry in kept:
            blob = batch.put(_pieces(entry, sizes))
            manifest.append(
                {"path": entry.path, "sha256": blob.sha256, "size": blob.size, "executable": entry.executable}
            )
    return snapshot_of(workspace, manifest), facts_in(entries)


def to_keep(entries: list[Entry]) -> list[Entry]:
    """Return what is to be kept of `entries`, by path. Raises StudioError when nothing is, or what cannot be."""
    kept = sorted(kept_of(entries), key=lambda e: e.path)
    if not kept:
        raise StudioError(
            _("There is no file in it.")
            if not entries
            else ngettext(
                "The ignore file leaves out the only file.", "The ignore file leaves out all %(n)d files.", len(entries)
            )
            % {"n": len(entries)},
            _("Choose the folder that holds the script."),
        )
    for entry in kept:
        if entry.trouble:
            raise StudioError(
                _("“%(path)s” cannot be taken: %(why)s.") % {"path": shown(entry.path), "why": entry.trouble},
                _("Put the file itself in its place, or name it in .amlignore."),
            )
    expect_no_collision(kept)
    expect_within_limits({e.path: e.size for e in kept})
    return kept


def facts_in(entries: list[Entry]) -> dict[str, str]:
    """Return what git's own files among `entries` say, as properties of a run."""
    return git_facts({e.path: partial(_text_of, e) for e in entries if e.path.startswith(".git/")})


def snapshot_of(workspace: Workspace, manifest: list[ManifestEntry]) -> Snapshot:
    """Return the workspace's snapshot of files that are stored; its people need not send them again."""
    written = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    with transaction.atomic():
        snapshot, is_new = Snapshot.objects.get_or_create(
            workspace=workspace,
            digest=hashlib.sha256(written.encode()).hexdigest(),
            defaults={
                "manifest": manifest,
                "file_count": len(manifest),
                "size_bytes": sum(entry["size"] for entry in manifest),
            },
        )
        if is_new:
            sizes = {entry["sha256"]: entry["size"] for entry in manifest}
            known = [KnownFile(workspace=workspace, sha256=sha256, size=size) for sha256, size in sizes.items()]
            KnownFile.objects.bulk_create(known, ignore_conflicts=True, batch_size=500)
    return snapshot


def _pieces(entry: Entry, sizes: dict[str, int]) -> Iterator[bytes]:
    """Yield an entry's bytes; keep in `sizes` what was really read. Raises TooLarge at the limit."""
    declared, sizes[entry.path] = sizes[entry.path], 0
    rest = sum(sizes.values())
    with entry.open() as file:
        while piece := file.read(PIECE):
            sizes[entry.path] += len(piece)
            if rest + sizes[entry.path] > settings.SNAPSHOT_MAX_BYTES:
                sizes[entry.path] = max(sizes[entry.path], declared)
                expect_within_limits(sizes)
            yield piece


# What an entry is made from


@contextmanager
def _lent(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give a file that stays open, from its start."""
    file.seek(0)
    yield file


def _from_the_start(file: BinaryIO) -> Callable[[], AbstractContextManager[BinaryIO]]:
    return partial(_lent, file)


def _entry_of_file(root: Path, file: Path) -> Entry:
    """Return the entry of a file on this machine."""
    found = file.lstat()
    trouble = ""
    if stat.S_ISLNK(found.st_mode):
        trouble = _("it is a link")
    elif not stat.S_ISREG(found.st_mode):
        trouble = _("it is no file but a device, pipe or socket")
    return Entry(
        checked_path(file.relative_to(root).as_posix()),
        found.st_size,
        partial(_open_plain, file),
        executable=bool(found.st_mode & stat.S_IXUSR),
        trouble=trouble,
    )


def _open_plain(file: Path) -> BinaryIO:
    """Open a file that is no link, also if it became one meanwhile."""
    return open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123


def _text_of(entry: Entry) -> str:
    """Return the beginning of a small text file, or nothing when it cannot be read as one."""
    if entry.trouble:
        return ""
    with entry.open() as file:
        return file.read(LONGEST_GIT_FILE).decode(errors="replace")
