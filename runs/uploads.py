"""Uploads in pieces: what is asked for first, kept while it arrives, checked, and made a snapshot.

A browser hashes its files and says what it has; the answer names the contents that the workspace does not hold.
Those come as one stream of bytes, one file behind the other, so that one number says how far it got. An upload is a
folder on the disk that all web processes share, named after person, workspace and files: begun again, it goes on
where it was, and a piece that is written twice changes nothing.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.utils.translation import gettext as _

from runs.entries import Entry, checked_path, expect_few, without_common_folder
from runs.models import KnownFile, Snapshot
from runs.snapshots import ManifestEntry, Taken, facts_in, snapshot_of, to_keep
from runs.stores import PIECE, Batch, store
from studio.errors import NotThere, StudioError
from studio.people.models import User, Workspace

LARGEST_PIECE = 8 * 1024 * 1024  # bytes of one request
MOST_UNFINISHED = 5  # of a person; the oldest goes when there are more
ABANDONED_SECONDS = 24 * 3600
LONGEST_TEXT = 4 * 1024 * 1024  # bytes of a file that is sent along: an ignore file, packed-refs of a big repository
HASHES_A_QUERY = 500
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Missing:
    """A content that has to be sent: so many bytes that hash to that."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Upload:
    """An upload that has begun. `missing` is in the order in which its bytes follow one another."""

    folder: Path
    workspace: int
    manifest: list[ManifestEntry]
    missing: list[Missing]
    facts: dict[str, str] = field(default_factory=dict)  # what git says

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def size(self) -> int:
        return sum(one.size for one in self.missing)

    @property
    def received(self) -> int:
        """Return how many bytes have arrived. The file is opened: a disk of the network then asks its server."""
        with contextlib.suppress(FileNotFoundError), self._data.open("rb") as data:
            return os.fstat(data.fileno()).st_size
        return 0

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def write(self, offset: int, piece: bytes) -> bool:
        """Take a piece, whose bytes begin at `offset`; say whether it joined on to what is there."""
        if len(piece) > LARGEST_PIECE or offset < 0 or offset + len(piece) > self.size:
            raise StudioError(_("The piece does not belong to this upload."), _("Press Submit again."))
        if offset > self.received:
            return False
        try:
            handle = os.open(self._data, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as exc:
            raise _gone() from exc
        with open(handle, "wb", buffering=0) as file:  # noqa: PTH123  an open descriptor
            file.seek(offset)
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
        return True

    def finish(self, workspace: Workspace) -> Taken:
        """Check every hash, store what came, and return the snapshot. What does not hash as promised is thrown away."""
        if self.received < self.size:
            raise StudioError(_("The upload is not complete."), _("Press Submit again: it goes on where it was."))
        with store().batch() as batch:
            if self.missing:
                try:
                    with self._data.open("rb") as data:
                        self._keep(data, batch)
                except FileNotFoundError as exc:
                    raise _gone() from exc
        snapshot: Snapshot = snapshot_of(workspace, self.manifest)
        self.forget()
        return snapshot, self.facts

    def _keep(self, data: BinaryIO, batch: Batch) -> None:
        for one in self.missing:
            blob = batch.put(_pieces(data, one.size))
            if (blob.sha256, blob.size) != (one.sha256, one.size):
                self.forget()
                raise StudioError(
                    _("A file arrived otherwise than it was sent."), _("Press Submit again: it is sent once more.")
                )

    def forget(self) -> None:
        """Remove what has arrived."""
        shutil.rmtree(self.folder, ignore_errors=True)


def begin(workspace: Workspace, by: User, files: Any, texts: Any) -> Upload:
    """Begin an upload of `files` ([{"path", "sha256", "size"}]), or find it again.

    `texts` has what must be read before anything is sent: {path: text} of the ignore file and of git's own files.
    Nothing is taken that could not become a snapshot: names, ignore file and limits are looked at here.
    """
    entries = without_common_folder(_entries(files, texts))
    facts = facts_in(entries)
    manifest: list[ManifestEntry] = [
        {"path": entry.path, "sha256": entry.sha256, "size": entry.size, "executable": False}
        for entry in to_keep(entries)
    ]
    said = json.dumps([workspace.pk, by.pk, manifest, facts], sort_keys=True, separators=(",", ":"))
    folder = _root() / str(by.pk) / hashlib.sha256(said.encode()).hexdigest()[:32]
    if begun := _read(folder):
        return begun
    missing = _missing(workspace, manifest)
    _sweep(folder.parent)
    upload = Upload(folder, workspace.pk, manifest, missing, facts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    plan = {"workspace": workspace.pk, "manifest": manifest, "missing": list(map(asdict, missing)), "facts": facts}
    scratch = folder / f"plan.{os.getpid()}.{time.monotonic_ns()}"
    scratch.write_text(json.dumps(plan))
    # Whoever begins the same at once: the first plan stands, for bytes may follow it already.
    with contextlib.suppress(FileExistsError):
        os.link(scratch, folder / "plan.json")
    scratch.unlink()
    return _read(folder) or upload


def find(workspace: Workspace, by: User, upload_id: str) -> Upload:
    """Return a person's own upload to a workspace. Raises NotThere for any other."""
    upload = _read(_root() / str(by.pk) / upload_id) if re.fullmatch(r"[0-9a-f]{32}", upload_id) else None
    if upload is None or upload.workspace != workspace.pk:
        raise _gone()
    return upload


def _gone() -> StudioError:
    return NotThere(_("There is no such upload any more."), _("Press Submit again: what is missing is sent again."))


def _root() -> Path:
    return Path(settings.SNAPSHOT_DIR) / "uploads"


def _read(folder: Path) -> Upload | None:
    try:
        plan = json.loads((folder / "plan.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    missing = [Missing(**one) for one in plan["missing"]]
    return Upload(folder, plan["workspace"], plan["manifest"], missing, plan["facts"])


def _entries(files: Any, texts: Any) -> list[Entry]:
    """Return the entries of what a browser says. Raises StudioError when it does not say it well."""
    try:
        expect_few(len(files) + len(texts))
        read = {str(path): str(text).encode() for path, text in texts.items()}
        sizes = {file["sha256"]: file["size"] for file in files}
        if any(len(data) > LONGEST_TEXT for data in read.values()):
            raise ValueError(LONGEST_TEXT)
        entries = []
        for file in files:
            path, sha256, size = file["path"], file["sha256"], file["size"]
            if not _SHA256.match(sha256) or type(size) is not int or size < 0 or sizes[sha256] != size:
                raise ValueError(path)
            text = partial(BytesIO, read.pop(path, b""))
            entries.append(Entry(checked_path(path), size, text, sha256=sha256))
        # What is left is not kept, but says something: git's own files, an ignore file that leaves itself out.
        for path, data in read.items():
            digest = hashlib.sha256(data).hexdigest()
            entries.append(Entry(checked_path(path), len(data), partial(BytesIO, data), sha256=digest))
    except (TypeError, KeyError, ValueError, AttributeError) as exc:
        raise StudioError(_("The list of files cannot be read."), _("Reload the page and choose them again.")) from exc
    return entries


def _missing(workspace: Workspace, manifest: list[ManifestEntry]) -> list[Missing]:
    """Return what the workspace does not hold. Whether another one does is nobody's business here."""
    wanted = {entry["sha256"]: entry["size"] for entry in manifest}
    hashes = list(wanted)
    for start in range(0, len(hashes), HASHES_A_QUERY):
        some = KnownFile.objects.filter(workspace=workspace, sha256__in=hashes[start : start + HASHES_A_QUERY])
        for sha256, size in some.values_list("sha256", "size"):
            if wanted[sha256] == size and store().exists(sha256):  # a wrong size would slip under the limits
                del wanted[sha256]
    return [Missing(sha256, size) for sha256, size in wanted.items()]


def _pieces(data: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := data.read(min(PIECE, size))):
        size -= len(piece)
        yield piece


def _sweep(own: Path) -> None:
    """Remove uploads that nobody went on with for a day, anybody's, and all but the last few of one person."""
    found: list[tuple[float, Path]] = []
    for person in _root().iterdir() if _root().is_dir() else []:
        for folder in person.iterdir():
            with contextlib.suppress(FileNotFoundError):
                data = folder / "data"
                touched = max(folder.stat().st_mtime, data.stat().st_mtime if data.exists() else 0)
                if time.time() - touched > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                elif person == own:
                    found.append((touched, folder))
    for _touched, folder in sorted(found)[: -(MOST_UNFINISHED - 1)]:
        shutil.rmtree(folder, ignore_errors=True)
