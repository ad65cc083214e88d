"""Snapshots: what arrives, however hostile, is kept whole or refused with a reason, and nothing is written outside."""

import io
import os
import stat
import struct
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.db import connection
from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs import snapshots, stores
from runs.entries import checked_path
from runs.git import without_credentials
from runs.models import Snapshot
from runs.snapshots import from_files, from_folder, from_text, from_zip, materialise
from studio.errors import NotThere, StudioError, TooLarge
from studio.people.models import User, Workspace

quick = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.django_db
Files = dict[str, bytes]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty folder of a person's own, away from the studio's."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def upload(files: Files) -> Iterable[tuple[str, BinaryIO]]:
    return [(name, io.BytesIO(data)) for name, data in files.items()]


def zip_of(files: Files, **facts: Any) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would clean it
            for fact, value in facts.items():
                setattr(info, fact, value)
            archive.writestr(info, data)
    made.seek(0)
    return made


def paths_of(snapshot: Snapshot) -> list[str]:
    return [entry["path"] for entry in snapshot.manifest]


def contents(folder: Path) -> Files:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# What is kept


def test_files_come_back_byte_for_byte(workspace: Workspace, tmp_path: Path) -> None:
    files = {"train.py": b"print(1)\r\n", "data/a.bin": bytes(range(256)), "data/empty": b"", "ñandú/日本.txt": b"x"}
    snapshot, _facts = from_files(workspace, upload(files))
    materialise(snapshot, tmp_path / "job")
    assert contents(tmp_path / "job") == files
    assert (snapshot.file_count, snapshot.size_bytes) == (4, sum(map(len, files.values())))
    assert snapshots.open_file(snapshot, "data/a.bin").read() == bytes(range(256))


def test_big_files_come_back_too(workspace: Workspace, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 3 + b"end"
    snapshot, _facts = from_files(workspace, upload({"a": data, "b": data}))
    materialise(snapshot, tmp_path / "job")
    assert contents(tmp_path / "job") == {"a": data, "b": data}


def test_a_folder_that_holds_everything_is_left_off(workspace: Workspace) -> None:
    files = {"project/train.py": b"1", "project/lib/x.py": b"2", "__MACOSX/project/._train.py": b"3", ".DS_Store": b"4"}
    assert paths_of(from_zip(workspace, zip_of(files))[0]) == ["lib/x.py", "train.py"]
    assert paths_of(from_files(workspace, upload(files))[0]) == ["lib/x.py", "train.py"]


def test_the_same_files_are_the_same_snapshot_however_they_came(workspace: Workspace, project: Path) -> None:
    (project / "b.py").write_text("2")
    (project / "a.py").write_text("1")
    files = {"a.py": b"1", "b.py": b"2"}
    made = {
        from_files(workspace, upload(files))[0],
        from_zip(workspace, zip_of(dict(reversed(files.items()))))[0],
        from_folder(workspace, project)[0],
    }
    assert len(made) == 1


def test_another_workspace_has_a_snapshot_of_its_own(workspace: Workspace, cleo: User) -> None:
    from studio.people.actions import create_workspace

    other = create_workspace("elsewhere", cleo)
    mine, theirs = (from_text(w, "train.py", "1")[0] for w in (workspace, other))
    assert mine.digest == theirs.digest
    assert mine.pk != theirs.pk


def test_equal_bytes_are_stored_once(workspace: Workspace, settings: Any) -> None:
    from_files(workspace, upload({"a": b"same", "b": b"same"}))
    from_files(workspace, upload({"c": b"same"}))
    assert len(contents(Path(settings.SNAPSHOT_DIR))) == 1


def test_a_pasted_script_gets_the_line_ends_of_linux(workspace: Workspace) -> None:
    snapshot, facts = from_text(workspace, "train.py", "#!/bin/sh\r\nprint(1)\r\n")
    assert snapshots.open_file(snapshot, "train.py").read() == b"#!/bin/sh\nprint(1)\n"
    assert facts == {}


@pytest.mark.parametrize("text", ["", " \r\n\t", "print('\ud800')"])
def test_a_pasted_script_that_is_none_is_refused(workspace: Workspace, text: str) -> None:
    with pytest.raises(StudioError):
        from_text(workspace, "train.py", text)


def test_the_executable_bit_is_kept_and_copies_are_no_links(workspace: Workspace, tmp_path: Path) -> None:
    mode = {"create_system": 3, "external_attr": (stat.S_IFREG | 0o755) << 16}
    snapshot, _facts = from_zip(workspace, zip_of({"run.sh": b"echo"}, **mode))
    materialise(snapshot, tmp_path / "job")
    run = tmp_path / "job" / "run.sh"
    assert run.stat().st_mode & 0o777 == 0o755
    assert run.stat().st_nlink == 1
    run.write_bytes(b"changed")
    materialise(snapshot, tmp_path / "again")
    assert (tmp_path / "again" / "run.sh").read_bytes() == b"echo"


def test_laying_out_may_be_repeated_and_never_follows_a_link(workspace: Workspace, tmp_path: Path) -> None:
    snapshot, _facts = from_text(workspace, "train.py", "print(1)")
    materialise(snapshot, tmp_path)
    materialise(snapshot, tmp_path)
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    secret.write_text("kept")
    (tmp_path / "train.py").unlink()
    (tmp_path / "train.py").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        materialise(snapshot, tmp_path)
    assert secret.read_text() == "kept"


def test_a_download_is_the_snapshot_again(workspace: Workspace) -> None:
    files = {"train.py": b"print(1)", "data/big": os.urandom(3 << 20)}
    snapshot, _facts = from_files(workspace, upload(files))
    pieces = list(snapshots.zip_stream(snapshot))
    assert max(map(len, pieces)) < 2 << 20
    assert from_zip(workspace, io.BytesIO(b"".join(pieces)))[0] == snapshot


def test_a_file_that_the_snapshot_lacks_is_not_there(workspace: Workspace) -> None:
    snapshot, _facts = from_text(workspace, "train.py", "1")
    for path in ("other.py", "../train.py", "/etc/passwd", ""):
        with pytest.raises(NotThere):
            snapshots.open_file(snapshot, path)


@pytest.mark.django_db(transaction=True)
def test_two_who_send_the_same_at_once_get_one_snapshot(workspace: Workspace) -> None:
    found: list[int] = []

    def send() -> None:
        try:
            found.append(from_files(workspace, upload({f"{n}.py": b"%d" % n for n in range(20)}))[0].pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


# What is left out


def test_defaults_leave_out_what_no_run_needs(workspace: Workspace) -> None:
    wanted = {"train.py": b"", "docs/x.md": b"", "src/outputs/__init__.py": b"", "environment.yml": b""}
    unwanted = [
        ".git/config",
        "outputs/model.pkl",
        "src/__pycache__/x.pyc",
        ".venv/bin/python",
        ".azureml/x",
        "azureml-logs/70.txt",
        ".ipynb_checkpoints/a.ipynb",
        "data/.DS_Store",
    ]
    snapshot, _facts = from_files(workspace, upload(wanted | dict.fromkeys(unwanted, b"x")))
    assert set(paths_of(snapshot)) == set(wanted)


def test_a_gitignore_adds_to_the_defaults(workspace: Workspace) -> None:
    files = {
        ".gitignore": b"*.bin\n/data/\n!keep.bin\n",
        "a.bin": b"",
        "keep.bin": b"",
        "data/x": b"",
        "sub/data/y": b"",
    }
    files |= {"outputs/z": b""}
    assert paths_of(from_files(workspace, upload(files))[0]) == [".gitignore", "keep.bin", "sub/data/y"]


def test_an_amlignore_replaces_the_gitignore_and_the_defaults_but_never_brings_git_back(workspace: Workspace) -> None:
    files = {".gitignore": b"data/\n", ".amlignore": b"*.log\n!.git\n", "data/x": b"", "a.log": b"", "outputs/m": b""}
    files |= {".git/HEAD": b"x"}
    assert paths_of(from_files(workspace, upload(files))[0]) == [".amlignore", ".gitignore", "data/x", "outputs/m"]


def test_only_the_roots_ignore_files_count_and_nothing_returns_from_a_folder_left_out(workspace: Workspace) -> None:
    files = {"sub/.gitignore": b"*\n", "sub/x": b"", ".gitignore": b"gone/\n!gone/x\n", "gone/x": b""}
    assert paths_of(from_files(workspace, upload(files))[0]) == [".gitignore", "sub/.gitignore", "sub/x"]


@pytest.mark.parametrize("line", ["*a*a*a*a*a*b", "**/a/**/a/**/a/**/b/**/c/**/d/**/e", "x" * 70_000])
def test_patterns_that_could_take_for_ever_are_refused(workspace: Workspace, line: str) -> None:
    with pytest.raises(StudioError, match=r"\.gitignore"):
        from_files(workspace, upload({".gitignore": line.encode(), "a" * 200: b""}))


def test_when_all_is_left_out_that_is_said(workspace: Workspace) -> None:
    with pytest.raises(StudioError, match="leaves out all 2 files"):
        from_files(workspace, upload({".amlignore": b"*\n", "train.py": b""}))
    with pytest.raises(StudioError, match="no file in it"):
        from_files(workspace, [])


@quick
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=5))
def test_any_ignore_file_is_read_or_refused_with_a_reason(workspace: Workspace, lines: list[str]) -> None:
    try:
        from_files(workspace, upload({".gitignore": "\n".join(lines).encode(), "train.py": b"", "a/b.txt": b""}))
    except StudioError as exc:
        assert exc.message  # noqa: PT017


# Limits


def test_too_many_files_are_refused_with_the_figures(workspace: Workspace) -> None:
    files = {f"images/{n}.png": b"" for n in range(2001)} | {"train.py": b""}
    with pytest.raises(TooLarge) as refused:
        from_files(workspace, upload(files))
    assert "2,002 files and 0 MB; a snapshot may have 2,000 files and 300 MB" in refused.value.message
    assert "“images/”: 2,001 files" in refused.value.hint
    flat = {f"{n}.png": b"" for n in range(2001)}
    with translation.override("es"), pytest.raises(TooLarge, match="2\xa0001 archivos y 0 MB") as refused:
        from_files(workspace, upload(flat))
    assert ".png" not in refused.value.hint  # no file is most of them


def test_files_left_out_do_not_count(workspace: Workspace, settings: Any) -> None:
    settings.SNAPSHOT_MAX_FILES, settings.SNAPSHOT_MAX_BYTES = 2, 1000
    files = {".amlignore": b"data\n", "train.py": b""} | {f"data/{n}": b"x" * 999 for n in range(50)}
    assert from_files(workspace, upload(files))[0].file_count == 2


def test_too_many_bytes_are_refused_and_nothing_of_them_stays(workspace: Workspace, settings: Any) -> None:
    settings.SNAPSHOT_MAX_BYTES = 1024 * 1024
    with pytest.raises(TooLarge, match=r"1.1 MB; a snapshot may have 2,000 files and 1 MB"):
        from_files(workspace, upload({"data/x": b"x" * (1024 * 1024), "train.py": b"1"}))
    assert not Path(settings.SNAPSHOT_DIR).exists()


def test_a_file_that_grows_while_it_is_read_is_stopped_at_the_limit(workspace: Workspace, settings: Any) -> None:
    settings.SNAPSHOT_MAX_BYTES = 4 * 1024 * 1024
    given = 0

    class Endless(io.RawIOBase):
        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def tell(self) -> int:
            return 0

        def read(self, size: int = -1) -> bytes:
            nonlocal given
            given += size
            return b"\0" * size

    with pytest.raises(TooLarge):
        from_files(workspace, [("zeros", Endless())])  # type: ignore[list-item]
    assert given <= 6 * 1024 * 1024
    assert contents(Path(settings.SNAPSHOT_DIR)) == {}


def test_ten_gigabytes_of_zeros_are_refused_without_reading_them(workspace: Workspace) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", b"\0" * 1_000_000)
    data = bytearray(bomb.getvalue())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 4_000_000_000)  # the size it says it has
    with pytest.raises(TooLarge, match=r"3,814.7 MB"):
        from_zip(workspace, io.BytesIO(data))


def test_a_zip_that_hides_its_size_is_refused_as_damaged(workspace: Workspace, settings: Any) -> None:
    data = bytearray(zip_of({"zeros": b"\0" * 5_000_000}, compress_type=zipfile.ZIP_DEFLATED).getvalue())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 10)
    with pytest.raises(StudioError, match="damaged"):
        from_zip(workspace, io.BytesIO(data))
    assert contents(Path(settings.SNAPSHOT_DIR)) == {}


@pytest.mark.parametrize("lies", [False, True])
def test_a_hundred_thousand_entries_are_refused_quickly(workspace: Workspace, lies: bool) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 100_000
    count = 1 if lies else 0xFFFF
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), 0, 0)
    with pytest.raises(TooLarge, match="more than 50,000 names"):
        from_zip(workspace, io.BytesIO(directory + end))


def test_a_zip64_with_too_many_entries_is_refused_too(workspace: Workspace) -> None:
    made = zip_of({})
    size = len(made.getvalue())
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 90_000, 90_000, 0, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    with pytest.raises(TooLarge):
        from_zip(workspace, io.BytesIO(record + locator + made.getvalue()[-size:]))


# Names

HOSTILE = [
    "",
    "/etc/passwd",
    "../up.py",
    "a/../../up.py",
    "a/..",
    "C:/windows.py",
    "c:evil.py",
    "a\\b.py",
    "..\\up.py",
    "a//b.py",
    "a/./b.py",
    "a\x00.py",
    "a\nb.py",
    "a\x1b[31m.py",
    "gpj.\u202eyp.exe",
    "a\ud800.py",
    "n" * 256,
    "é" * 128,
    "/".join(["a"] * 40),
    "/".join(["a" * 200] * 6),
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_refused(workspace: Workspace, settings: Any, name: str) -> None:
    with pytest.raises(StudioError) as refused:
        from_files(workspace, upload({"train.py": b"", name: b"evil"}))
    assert refused.value.hint
    assert refused.value.message.isprintable()
    with pytest.raises(StudioError):
        from_text(workspace, name, "print(1)")
    assert not Path(settings.SNAPSHOT_DIR).exists()


def test_a_hostile_name_in_a_zip_is_refused_even_as_a_folder_or_behind_a_nul(workspace: Workspace) -> None:
    for name in ("../up.py", "../up/", "/etc/passwd", "a\\b.py", "C:/x"):
        with pytest.raises(StudioError):
            from_zip(workspace, zip_of({"train.py": b"", name: b""}))
    data = zip_of({"train.pyXX": b""}).getvalue().replace(b"train.pyXX", b"train.py\0X")
    with pytest.raises(StudioError, match="NUL"):
        from_zip(workspace, io.BytesIO(data))


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["a.py", "A.PY"], "one name where case does not count"),
        (["caf\u00e9", "cafe\u0301"], "one name"),
        (["a", "a/b"], "a file and a folder at once"),
        (["A/b", "a"], "a file and a folder at once"),
        (["train.py", "outputs"], "every run has a folder of that name"),
        (["train.py", "Logs"], "every run has a folder of that name"),
    ],
)
def test_names_that_collide_are_refused(workspace: Workspace, names: list[str], why: str) -> None:
    with pytest.raises(StudioError, match=why):
        from_files(workspace, upload({"x": b"", **dict.fromkeys(names, b"")}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(workspace: Workspace) -> None:
    with pytest.raises(StudioError, match="there twice"):
        from_files(workspace, [("a", io.BytesIO(b"1")), ("a", io.BytesIO(b"2"))])


def test_names_in_a_zip_may_be_utf8_without_saying_so_and_no_other_encoding(workspace: Workspace) -> None:
    data = zip_of({"xx.py": b"1"}).getvalue()
    assert paths_of(from_zip(workspace, io.BytesIO(data.replace(b"xx.py", "é.py".encode())))[0]) == ["é.py"]
    with pytest.raises(StudioError, match="unknown encoding"):
        from_zip(workspace, io.BytesIO(data.replace(b"xx.py", b"\xe9x.py")))
    said = bytearray(zip_of({"é.py": b"1"}).getvalue().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(StudioError, match="unknown encoding"):
        from_zip(workspace, io.BytesIO(said))


@quick
@given(st.text(max_size=60))
def test_a_checked_path_stays_in_its_folder(name: str) -> None:
    try:
        path = checked_path(name)
    except StudioError as exc:
        assert exc.message.isprintable()  # noqa: PT017
        return
    assert not os.path.isabs(path)  # noqa: PTH117
    assert os.path.normpath(path) == path
    assert ".." not in path.split("/")
    assert path.isascii() or path.encode()


# Hostile zips


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(workspace: Workspace, kind: int) -> None:
    facts = {"create_system": 3, "external_attr": (kind | 0o777) << 16}
    with pytest.raises(StudioError, match=r"“train.py” cannot be taken"):
        from_zip(workspace, zip_of({"train.py": b"/etc/passwd"}, **facts))


def test_links_do_no_harm_where_they_are_left_out(workspace: Workspace) -> None:
    made = zip_of(
        {".venv/bin/python": b"/usr/bin/python3"}, create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16
    )
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("train.py", "1")
    assert paths_of(from_zip(workspace, made)[0]) == ["train.py"]


def test_encrypted_zips_and_rare_compressions_are_refused(workspace: Workspace) -> None:
    data = bytearray(zip_of({"train.py": b"1"}).getvalue())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(StudioError, match="encrypted"):
        from_zip(workspace, io.BytesIO(data))
    with pytest.raises(StudioError, match="compressed in a way"):
        from_zip(workspace, zip_of({"train.py": b"1"}, compress_type=zipfile.ZIP_BZIP2))


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", b"\x1f\x8b" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_is_refused(workspace: Workspace, data: bytes) -> None:
    with pytest.raises(StudioError):
        from_zip(workspace, io.BytesIO(data))


def test_an_empty_zip_is_refused(workspace: Workspace) -> None:
    with pytest.raises(StudioError, match="no file in it"):
        from_zip(workspace, zip_of({}))


GOOD = zip_of(
    {"p/train.py": b"print(1)\n" * 50, "p/.gitignore": b"*.bin\n", "p/é.txt": b"x" * 300, "p/d/": b""}
).getvalue()


@quick
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4)), max_size=6), st.booleans())
def test_a_damaged_zip_is_taken_or_refused_and_never_more(
    workspace: Workspace, damages: list[tuple[int, bytes]], on_disk: bool
) -> None:
    data = bytearray(GOOD)
    for at, change in damages:
        data[at : at + len(change)] = change
    with tempfile.TemporaryFile() as file:
        file.write(data)
        try:
            snapshot, _facts = from_zip(workspace, file if on_disk else io.BytesIO(data))
        except StudioError as exc:
            assert exc.message  # noqa: PT017
            return
    assert all(checked_path(path) == path for path in paths_of(snapshot))


@quick
@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(HOSTILE), st.binary(max_size=20), max_size=6))
def test_a_zip_with_any_names_writes_nothing_outside(workspace: Workspace, files: Files) -> None:
    try:
        packed = zip_of(files)
    except (UnicodeEncodeError, ValueError):
        return  # no zip has such a name
    with tempfile.TemporaryDirectory() as top:
        job = Path(top, "job")
        try:
            materialise(from_zip(workspace, packed)[0], job)
        except StudioError:
            assert not job.exists()
        assert os.listdir(top) in ([], ["job"])  # noqa: PTH208
        assert all(path.is_file() or path.is_dir() for path in job.rglob("*"))


# Folders of this machine


def test_links_and_pipes_in_a_folder_are_refused(workspace: Workspace, project: Path) -> None:
    (project / "train.py").write_text("1")
    (project / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(StudioError, match="it is a link"):
        from_folder(workspace, project)
    (project / ".amlignore").write_text("passwd\n")
    assert paths_of(from_folder(workspace, project)[0]) == [".amlignore", "train.py"]
    os.mkfifo(project / "pipe")
    with pytest.raises(StudioError, match="device, pipe or socket"):
        from_folder(workspace, project)


def test_a_linked_folder_is_not_walked_and_a_missing_one_is_named(workspace: Workspace, project: Path) -> None:
    (project / "etc").symlink_to("/etc", target_is_directory=True)
    with pytest.raises(StudioError, match="it is a link"):
        from_folder(workspace, project)
    with pytest.raises(StudioError, match="cannot be read"):
        from_folder(workspace, project / "missing")


def test_git_is_asked_about_a_checkout(workspace: Workspace, project: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org"]
        return subprocess.run(["git", *who, *arguments], cwd=project, check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "main")
    git("remote", "add", "origin", "https://ana:secret@git.example.org/x.git")
    (project / "train.py").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    commit = git("rev-parse", "HEAD").strip()
    snapshot, facts = from_folder(workspace, project)
    assert paths_of(snapshot) == ["train.py"]
    assert facts == {
        "azureml.git.branch": "main",
        "azureml.git.commit": commit,
        "azureml.git.repository_uri": "https://git.example.org/x.git",
        "azureml.git.dirty": "False",
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.repoURL": "https://git.example.org/x.git",
    }
    (project / "train.py").write_text("2")
    assert from_folder(workspace, project)[1]["azureml.git.dirty"] == "True"
    uploaded = {f"x/{name}": data for name, data in contents(project).items()}
    assert from_files(workspace, upload(uploaded))[1] == {k: v for k, v in facts.items() if "dirty" not in k}
    git("pack-refs", "--all")
    assert from_files(workspace, upload(contents(project)))[1]["azureml.git.commit"] == commit


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://user:token@github.com/x/y.git", "https://github.com/x/y.git"),
        ("https://token@github.com/x/y.git", "https://github.com/x/y.git"),
        ("https://github.com/x/y?private_token=s#t", "https://github.com/x/y"),
        ("git@github.com:x/y.git", "git@github.com:x/y.git"),
        ("ssh://git:pw@host:22/x", "ssh://git@host:22/x"),
        ("http://[bad", ""),
        ("https://a@b@github.com/x", "https://github.com/x"),
        ("/srv/git/x", "/srv/git/x"),
        ("x\n[evil]", ""),
    ],
)
def test_an_address_loses_its_credentials(address: str, kept: str) -> None:
    assert without_credentials(address) == kept


@quick
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_git_folder_is_read_or_passed_over(workspace: Workspace, head: bytes, config: bytes) -> None:
    files = {"train.py": b"", ".git/HEAD": head, ".git/config": b'[remote "origin"]\nurl = ' + config}
    _snapshot, facts = from_files(workspace, upload(files))
    assert all(value and value.isprintable() for value in facts.values())


# The store


def test_what_a_crash_left_in_the_store_is_removed_a_day_later(tmp_path: Path) -> None:
    store = stores.FileStore(tmp_path)
    old, young = tmp_path / "incoming" / "old", tmp_path / "incoming" / "young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    with store.batch() as batch:
        blob = batch.put([b"a", b"b"])
        assert not store.exists(blob.sha256)
    assert store.open(blob.sha256).read() == b"ab"
    assert not old.exists()
    assert young.exists()
