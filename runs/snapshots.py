"""A run's files as they were at submission: taken from an upload or a folder, looked at, and laid out for a job.

A snapshot is a manifest of hashed files. What arrives is hostile until it stands in a manifest: paths are checked,
links and devices refused, bytes counted while they are read, and nothing is written anywhere but in the store.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import struct
import subprocess
import time
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO, RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, cast
from urllib.parse import urlsplit, urlunsplit

import pathspec
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from runs.models import Snapshot
from runs.stores import PIECE, store
from studio.errors import NotThere, StudioError, TooLarge
from studio.people.models import Workspace

MOST_ENTRIES = 50_000  # names an upload may hold before the ignore file leaves some out
LONGEST_DIRECTORY = 16 * 1024 * 1024  # bytes of a zip's table of contents
LONGEST_PATH, LONGEST_NAME = 1024, 255  # bytes
DEEPEST = 32  # folders
LONGEST_IGNORE_FILE = 64 * 1024  # bytes
MOST_STARS = re.compile(r"(?:\*+[^*/]+){4}|(?:\*+[^*]+){7}")  # matching is exponential in the stars of a pattern
SLOWEST_IGNORE_SECONDS = 5.0
LONGEST_GIT_FILE = 4 * 1024 * 1024  # bytes; packed-refs of a big repository
COLLECTED = {"outputs", "logs"}  # folders that every run has
UNIX, UTF8_FLAG = 3, 0x800  # of a zip's entry: made on Unix, so it has a mode; its name is in UTF-8
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)

# Left out whatever the ignore file says: git's own folder, and what macOS adds.
ALWAYS_LEFT_OUT = [".git", "__MACOSX/", ".DS_Store"]
# Left out unless there is an .amlignore, which then decides alone. Source: the .amlignore that azureml-core writes,
# less `docs`, which a script may read; `outputs` at the root alone, where a run collects its own. Bytecode and
# virtual environments of another machine are of no use to a run.
LEFT_OUT_BY_DEFAULT = [
    ".ipynb_checkpoints/",
    "__pycache__/",
    ".azureml/",
    "azureml-logs/",
    "azureml-setup/",
    "/outputs/",
    ".venv/",
]
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class ManifestEntry(TypedDict):
    """One file of a manifest."""

    path: str
    sha256: str
    size: int
    executable: bool


@dataclass(frozen=True)
class Entry:
    """A file on its way into a snapshot. Its path has been checked."""

    path: str
    size: int  # bytes, as declared; what is read is counted again
    open: Callable[[], AbstractContextManager[BinaryIO]]
    executable: bool = False
    trouble: str = ""  # why it cannot be kept, should the ignore file not leave it out


Taken = tuple[Snapshot, dict[str, str]]  # and what git says of the files, as properties of a run


# Taking files in


def from_files(workspace: Workspace, files: Iterable[tuple[str, BinaryIO]]) -> Taken:
    """Take uploaded files, each with its path. A folder that all of them share is left off."""
    entries: list[Entry] = []
    for name, file in files:
        path = checked_path(name)
        file.seek(0, os.SEEK_END)
        entries.append(Entry(path, file.tell(), _from_the_start(file)))
        _expect_few(len(entries))
    return _take(workspace, _without_common_folder(entries))


def from_zip(workspace: Workspace, file: BinaryIO) -> Taken:
    """Take the files of a zip. A folder that all of them share is left off."""
    _expect_short_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [_entry_of(archive, info) for info in archive.infolist()]
            return _take(workspace, _without_common_folder([e for e in entries if e is not None]))
    except UnicodeDecodeError as exc:
        raise _unknown_encoding() from exc
    except (*DAMAGES, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno != errno.EINVAL:  # that one: its figures lead to nowhere
            raise
        raise StudioError(
            _("The zip is damaged: %(why)s.") % {"why": str(exc).rstrip(".")[:200] or type(exc).__name__},
            _("Make the zip again, or drop the folder itself."),
        ) from exc


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
                        _expect_few(len(entries))
                    elif found.name != ".git":
                        folders.append(Path(found.path))
    except OSError as exc:
        raise StudioError(
            _("The folder %(path)s cannot be read: %(why)s.") % {"path": path, "why": exc.strerror},
            _("Check that it exists and that the studio may read it."),
        ) from exc
    snapshot, _none = _take(workspace, entries)
    return snapshot, _ask_git(path)


# Looking at them, laying them out


def open_file(snapshot: Snapshot, path: str) -> BinaryIO:
    """Open a file of a snapshot. Raises NotThere when the snapshot has no such file."""
    for entry in snapshot.manifest:
        if entry["path"] == path:
            return store().open(entry["sha256"])
    raise NotThere(_("The snapshot has no file “%(path)s”.") % {"path": _shown(path)}, _("Pick a file from its list."))


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
            _("The file name “%(name)s” cannot be taken: %(problem)s.") % {"name": _shown(name), "problem": problem},
            _("Rename it, or leave it out of the upload."),
        )
    return path


def _shown(name: str) -> str:
    """Return a name so that it does no harm in a sentence: unprintables escaped, 120 characters at most."""
    text = repr(name)[1:-1]
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]}"


def _without_common_folder(entries: list[Entry]) -> list[Entry]:
    """Return the entries without the one folder that holds all of them, as a zip of a folder has it."""
    entries = [e for e in entries if not e.path.startswith("__MACOSX/") and e.path != ".DS_Store"]
    tops = {e.path.partition("/")[0] for e in entries}
    if len(tops) != 1 or any("/" not in e.path for e in entries) or tops == {".git"}:
        return entries
    return [replace(e, path=e.path.partition("/")[2]) for e in entries]


def _expect_no_collision(entries: Iterable[Entry]) -> None:
    """Raise StudioError when two names are one on some machine, or one is both a file and a folder."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        key = _folded(entry.path)
        if key in files:
            same = files[key] == entry.path
            raise StudioError(
                _("The file “%(path)s” is there twice.") % {"path": _shown(entry.path)}
                if same
                else _("“%(one)s” and “%(two)s” are one name where case does not count.")
                % {"one": _shown(files[key]), "two": _shown(entry.path)},
                _("Rename or remove one of the two."),
            )
        files[key] = entry.path
        parts = key.split("/")
        for end in range(1, len(parts)):
            folders.setdefault("/".join(parts[:end]), entry.path)
    for key in files.keys() & folders.keys():
        raise StudioError(
            _("“%(path)s” is a file and a folder at once.") % {"path": _shown(files[key])},
            _("Rename or remove one of the two."),
        )
    for name in COLLECTED & files.keys():
        raise StudioError(
            _("“%(path)s” is a file, and every run has a folder of that name.") % {"path": _shown(files[name])},
            _("Rename the file."),
        )


def _folded(path: str) -> str:
    """Return what a path is on a disk that ignores case and composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


# What is left out


def _kept(entries: list[Entry]) -> list[Entry]:
    """Return the entries that the ignore file leaves: .amlignore at the root, else the defaults and .gitignore there.

    Source: Azure ML, "machine-learning-amlignore-gitignore": .amlignore replaces .gitignore, and only the root's are
    read. As in git, nothing comes back from a folder that is left out.
    """
    roots = {e.path: e for e in entries if e.path in {".amlignore", ".gitignore"}}
    lines = [] if ".amlignore" in roots else list(LEFT_OUT_BY_DEFAULT)
    name = ".amlignore" if ".amlignore" in roots else ".gitignore"
    if name in roots:
        lines += _lines_of(roots[name])
    try:
        spec = pathspec.GitIgnoreSpec.from_lines([*lines, *ALWAYS_LEFT_OUT])
    except (ValueError, TypeError, re.error) as exc:
        raise StudioError(
            _("%(name)s has a pattern that cannot be read: %(why)s") % {"name": name, "why": str(exc)[:200]},
            _("Correct the pattern; it is written as for git."),
        ) from exc
    deadline = time.monotonic() + SLOWEST_IGNORE_SECONDS
    folders: dict[str, bool] = {"": False}

    def left_out(folder: str) -> bool:
        if folder not in folders:
            folders[folder] = left_out(folder.rpartition("/")[0]) or spec.match_file(f"{folder}/")
        return folders[folder]

    kept = []
    for entry in entries:
        if time.monotonic() > deadline:
            raise StudioError(
                _("The patterns of %(name)s take too long to match.") % {"name": name},
                _("Write them with fewer stars."),
            )
        if not left_out(entry.path.rpartition("/")[0]) and not spec.match_file(entry.path):
            kept.append(entry)
    return kept


def _lines_of(entry: Entry) -> list[str]:
    """Return an ignore file's lines. Raises StudioError for patterns that could take for ever to match."""
    if entry.trouble:  # it is refused later, or leaves itself out
        return []
    with entry.open() as file:
        data = file.read(LONGEST_IGNORE_FILE + 1)
    lines = data.decode("utf-8-sig", "replace").splitlines()
    if len(data) > LONGEST_IGNORE_FILE:
        problem = _("is longer than %(n)d bytes") % {"n": LONGEST_IGNORE_FILE}
    elif any(MOST_STARS.search(line) for line in lines if not line.startswith("#")):
        problem = _("has a pattern with too many stars")
    else:
        return lines
    raise StudioError(
        _("%(name)s %(problem)s.") % {"name": entry.path, "problem": problem}, _("Write fewer and simpler patterns.")
    )


# Counting and keeping


def _take(workspace: Workspace, entries: list[Entry]) -> Taken:
    """Store what is to be kept of `entries`, and return its snapshot: the same files are the same snapshot."""
    kept = sorted(_kept(entries), key=lambda e: e.path)
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
                _("“%(path)s” cannot be taken: %(why)s.") % {"path": _shown(entry.path), "why": entry.trouble},
                _("Put the file itself in its place, or name it in .amlignore."),
            )
    _expect_no_collision(kept)
    sizes = {e.path: e.size for e in kept}
    _expect_within_limits(sizes)
    manifest: list[ManifestEntry] = []
    with store().batch() as batch:
        for entry in kept:
            blob = batch.put(_pieces(entry, sizes))
            manifest.append(
                {"path": entry.path, "sha256": blob.sha256, "size": blob.size, "executable": entry.executable}
            )
    facts = git_facts({e.path: partial(_text_of, e) for e in entries if e.path.startswith(".git/")})
    return _snapshot_of(workspace, manifest), facts


def _snapshot_of(workspace: Workspace, manifest: list[ManifestEntry]) -> Snapshot:
    written = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    snapshot, _is_new = Snapshot.objects.get_or_create(
        workspace=workspace,
        digest=hashlib.sha256(written.encode()).hexdigest(),
        defaults={
            "manifest": manifest,
            "file_count": len(manifest),
            "size_bytes": sum(entry["size"] for entry in manifest),
        },
    )
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
                _expect_within_limits(sizes)
            yield piece


def _expect_within_limits(sizes: dict[str, int]) -> None:
    """Raise TooLarge, with the figures and with what is largest, when files are too many or too big."""
    total, most = sum(sizes.values()), settings.SNAPSHOT_MAX_BYTES
    if total <= most and len(sizes) <= settings.SNAPSHOT_MAX_FILES:
        return
    by_top = Counter[str]()
    for path, size in sizes.items():
        top, slash, _rest = path.partition("/")
        by_top[top + slash] += size if total > most else 1
    top, share = by_top.most_common(1)[0]
    largest = _megabytes(share) if total > most else _files(share)
    raise TooLarge(
        _("The upload has %(files)s and %(size)s; a snapshot may have %(most_files)s and %(most)s.")
        % {
            "files": _files(len(sizes)),
            "size": _megabytes(total),
            "most_files": _files(settings.SNAPSHOT_MAX_FILES),
            "most": _megabytes(most),
        },
        _("Name what the run does not need in a file .amlignore. Most is in “%(top)s”: %(share)s.")
        % {"top": _shown(top), "share": largest},
    )


def _megabytes(count: int) -> str:
    """Write bytes in the MB in which the limit is given (1,048,576 bytes), rounded up."""
    tenths = math.ceil(count * 10 / (1024 * 1024))
    return _("%(n)s MB") % {"n": f"{tenths / 10:,.1f}".removesuffix(".0")}


def _files(count: int) -> str:
    return ngettext("%(n)s file", "%(n)s files", count) % {"n": f"{count:,}"}


def _expect_few(count: int) -> None:
    """Raise TooLarge when an upload has more names than anybody should have to look at."""
    if count > MOST_ENTRIES:
        raise TooLarge(
            _("The upload has more than %(n)s names; a snapshot may have %(most)s.")
            % {"n": f"{MOST_ENTRIES:,}", "most": _files(settings.SNAPSHOT_MAX_FILES)},
            _("Choose the folder that holds the script and what it reads, without data and environments."),
        )


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
    _expect_few(count)
    if length > LONGEST_DIRECTORY:
        _expect_few(MOST_ENTRIES + 1)
    file.seek(max(0, end - length))
    _expect_few(file.read(length).count(b"PK\x01\x02"))  # the count above may lie
    file.seek(0)


# What git knows


def git_facts(files: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """Return branch, commit and address of a repository, from the files below its `.git/`, as properties of a run."""

    def read(name: str) -> str:
        return files[name]() if name in files else ""

    head = read(".git/HEAD").strip()
    branch, commit = "", head
    if head.startswith("ref: "):
        reference = head.removeprefix("ref: ").strip()
        branch = reference.removeprefix("refs/heads/")
        commit = read(f".git/{reference}").strip()
        if not commit:
            packed = re.search(rf"^([0-9a-f]{{40,64}}) {re.escape(reference)}$", read(".git/packed-refs"), re.MULTILINE)
            commit = packed[1] if packed else ""
    address = ""
    section = ""
    for line in read(".git/config").splitlines():
        if title := re.match(r"""\s*\[\s*(\w+)(?:\s+"([^"]*)")?\s*\]""", line):
            section = f"{title[1].lower()} {title[2] or ''}".strip()
        elif section == "remote origin" and (value := re.match(r"\s*url\s*=\s*(\S.*)", line)):
            address = address or value[1].strip().strip('"')
    return _as_properties(branch, commit, address)


def _as_properties(branch: str, commit: str, address: str) -> dict[str, str]:
    """Return git facts under the names that Azure ML and MLflow give them; a value that cannot be one is left out."""
    commit = commit if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit) else ""
    branch = branch if re.fullmatch(r"[^\s\x00-\x1f\x7f~^:?*\[\\]{1,255}", branch) else ""
    address = without_credentials(address)
    facts = {
        "azureml.git.branch": branch,
        "azureml.git.commit": commit,
        "azureml.git.repository_uri": address,
        "mlflow.source.git.branch": branch,
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.repoURL": address,
    }
    return {name: value for name, value in facts.items() if value}


def without_credentials(address: str) -> str:
    """Return a repository's address without user, password and query; "" when it cannot be told apart.

    The user stays in ssh addresses, where it is no secret: git@github.com.
    """
    if not address.isprintable() or len(address) > 1000:
        return ""
    if "://" not in address:
        return address.partition("?")[0]
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme in {"ssh", "git+ssh"} and parts.username:
            host = f"{parts.username}@{host}"
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return ""


def _ask_git(folder: Path) -> dict[str, str]:
    """Return what git says of a folder on this machine, or nothing when it is in no checkout or git is not here."""
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", ".")
    if status is None:
        return {}
    heads = dict(re.findall(r"^# branch\.(oid|head) (.*)$", status, re.MULTILINE))
    branch = heads.get("head", "")
    address = _git(folder, "config", "--get", "remote.origin.url") or ""
    facts = _as_properties("" if branch == "(detached)" else branch, heads.get("oid", ""), address.strip())
    is_dirty = any(not line.startswith("#") for line in status.splitlines())
    return facts | {"azureml.git.dirty": str(is_dirty)}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None when it fails. A repository's own hooks and monitors are not run."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    variables = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _text_of(entry: Entry) -> str:
    """Return the beginning of a small text file, or nothing when it cannot be read as one."""
    if entry.trouble:
        return ""
    with entry.open() as file:
        return file.read(LONGEST_GIT_FILE).decode(errors="replace")
