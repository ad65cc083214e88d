"""What an attempt wrote to `outputs` and `logs`: listed, opened and zipped, never outside its own folder.

The script may still run, and may swap a folder for a link at any moment: what is opened is opened part by part
below the attempt's folder, and no part may be a link.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote_from_bytes, unquote_to_bytes

from compute.models import Job
from runs.files import shown, zipped
from studio.errors import NotThere

FOLDERS = ("outputs", "logs")  # Source: only ./outputs and ./logs are collected
MOST_LISTED = 2000
DEEPEST = 32


@dataclass(frozen=True)
class OutputFile:
    """One file below an attempt's folder. `path` begins with outputs/ or logs/."""

    path: str
    size: int
    modified: float  # seconds since 1970

    @property
    def address(self) -> str:
        """Return the path as a URL can carry it; one with characters that no URL may have goes percent-encoded."""
        return self.path if self.path.isprintable() else quote_from_bytes(os.fsencode(self.path), safe="/")

    @property
    def name(self) -> str:
        return shown(self.path.rpartition("/")[2])


def folder_of(job: Job) -> Path:
    """Return where the first rank of a job works; the other ranks' outputs are links to it."""
    return job.folder / "rank-0"


def files_of(job: Job, *, at_most: int = MOST_LISTED) -> tuple[list[OutputFile], bool]:
    """Return what the job wrote, by path, and whether there is more than `at_most`. Links are left out."""
    found: list[OutputFile] = []
    for file in _walk(folder_of(job)):
        if len(found) == at_most:
            return sorted(found, key=lambda f: f.path), True
        found.append(file)
    return sorted(found, key=lambda f: f.path), False


def _walk(root: Path) -> Iterator[OutputFile]:
    for name in FOLDERS:
        try:
            top = os.open(root / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # not made yet, or a link
        try:
            for folder, folders, names, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                below = name if folder == "." else f"{name}/{folder[2:]}"
                folders.sort()
                if below.count("/") >= DEEPEST:
                    folders.clear()
                for leaf in sorted(names):
                    try:
                        facts = os.stat(leaf, dir_fd=fd, follow_symlinks=False)
                    except OSError:
                        continue  # gone meanwhile
                    if stat.S_ISREG(facts.st_mode):
                        yield OutputFile(f"{below}/{leaf}", facts.st_size, facts.st_mtime)
        finally:
            os.close(top)


def open_output(job: Job, path: str) -> tuple[IO[bytes], int]:
    """Open a file that the job wrote and return it with its size.

    Raises NotThere for what is no plain file below outputs or logs: a path that climbs out, a link that leads
    out, a device, a pipe.
    """
    for candidate in (path, os.fsdecode(unquote_to_bytes(path))):
        parts = candidate.split("/")
        if parts[0] in FOLDERS and len(parts) > 1 and not {"", ".", ".."} & set(parts) and "\0" not in candidate:
            try:
                return _open_below(folder_of(job), parts)
            except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
                continue
    raise NotThere


def _open_below(root: Path, parts: list[str]) -> tuple[IO[bytes], int]:
    """Open root/parts. A link is followed when it leads to a place below outputs or logs, and then is none any more."""
    root = root.resolve(strict=True)
    real = root.joinpath(*parts).resolve(strict=True).relative_to(root).parts
    if len(real) < 2 or real[0] not in FOLDERS:
        raise ValueError(real)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in real[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        leaf = os.open(real[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
    finally:
        os.close(fd)
    facts = os.fstat(leaf)
    if not stat.S_ISREG(facts.st_mode):
        os.close(leaf)
        raise ValueError(real)
    return os.fdopen(leaf, "rb"), facts.st_size


def zip_of(jobs: list[Job]) -> Iterator[bytes]:
    """Yield one zip of what the jobs wrote, an attempt a folder, while it is made."""

    def entries() -> Iterator[tuple[str, IO[bytes]]]:
        for job in jobs:
            for file in _walk(folder_of(job)):
                try:
                    opened, _size = open_output(job, file.address)
                except NotThere:
                    continue  # gone meanwhile
                yield f"attempt-{job.attempt}/{shown(file.path)}", opened

    return zipped(entries())
