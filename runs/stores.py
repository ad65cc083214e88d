"""Where the bytes of snapshots lie: each content once, under its SHA-256."""

import contextlib
import hashlib
import itertools
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

PIECE = 1024 * 1024  # bytes read and written at once
ABANDONED_SECONDS = 24 * 3600  # a batch this old belongs to a process that died


@dataclass(frozen=True)
class Blob:
    """Bytes that are stored: their SHA-256, and how many they are."""

    sha256: str
    size: int


class Batch(ABC):
    """Blobs on their way in. They are stored together when all have arrived, and none of them otherwise."""

    @abstractmethod
    def put(self, pieces: Iterable[bytes]) -> Blob:
        """Take the pieces of one blob. What `pieces` raises ends the batch."""


class Store(ABC):
    """Keeps blobs. Whoever knows a hash may read it, so the hash is only ever taken from a snapshot."""

    @abstractmethod
    def batch(self) -> contextlib.AbstractContextManager[Batch]:
        """Open a batch; leaving the `with` block normally makes its blobs durable."""

    @abstractmethod
    def exists(self, sha256: str) -> bool: ...

    @abstractmethod
    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading. Raises FileNotFoundError when it is not stored."""

    @abstractmethod
    def path(self, sha256: str) -> Path | None:
        """Return the blob's file where the store has files, else None."""


class FileStore(Store):
    """Blobs as files `blobs/ab/abcdef…` below `root`, each written beside, synced, and renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def open(self, sha256: str) -> BinaryIO:
        return self.path(sha256).open("rb")

    @contextlib.contextmanager
    def batch(self) -> Iterator["FileBatch"]:
        incoming = self.root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(incoming)
        folder = Path(tempfile.mkdtemp(dir=incoming))
        try:
            batch = FileBatch(self, folder)
            yield batch
            batch.keep()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class FileBatch(Batch):
    """Blobs in a folder of their own, until they are kept."""

    def __init__(self, store: FileStore, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.new: set[str] = set()

    def put(self, pieces: Iterable[bytes]) -> Blob:
        pieces = iter(pieces)
        first, second = next(pieces, b""), next(pieces, None)
        if second is None:  # most files: what is known already is not written again
            blob = Blob(hashlib.sha256(first).hexdigest(), len(first))
            if self._is_new(blob.sha256):
                (self.folder / blob.sha256).write_bytes(first)
            return blob
        digest, size = hashlib.sha256(), 0
        arriving = self.folder / "arriving"
        with arriving.open("wb") as file:
            for piece in itertools.chain((first, second), pieces):
                digest.update(piece)
                size += file.write(piece)
        blob = Blob(digest.hexdigest(), size)
        if self._is_new(blob.sha256):
            arriving.rename(self.folder / blob.sha256)
        return blob

    def _is_new(self, sha256: str) -> bool:
        """Say whether neither the store nor this batch has the blob, and note that this batch has it now."""
        if sha256 in self.new or self.store.exists(sha256):
            return False
        self.new.add(sha256)
        return True

    def keep(self) -> None:
        """Sync the new blobs, move them into place, and sync the folders they went to."""
        folders = {self.store.path(sha256).parent for sha256 in self.new}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for sha256 in self.new:
            _sync(self.folder / sha256)
        for sha256 in self.new:
            (self.folder / sha256).replace(self.store.path(sha256))
        for folder in folders:
            _sync(folder)


def _sync(path: Path) -> None:
    """Wait until the disk has a file's bytes, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(incoming: Path) -> None:
    """Remove the batches that a crash left behind."""
    for folder in incoming.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def store() -> Store:
    """Return the store of this studio's snapshots."""
    return FileStore(Path(settings.SNAPSHOT_DIR))
