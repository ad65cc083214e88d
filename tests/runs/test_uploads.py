"""Uploads in pieces: only what is missing is asked for, every byte is checked, and nobody learns what others have."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from compute.actions import ensure_local
from runs import uploads
from runs.models import KnownFile, Run, Snapshot
from runs.snapshots import from_files, open_file
from studio.people.actions import create_workspace, set_role
from studio.people.permissions import Role
from tests.runs.test_snapshots import upload as as_upload
from tests.runs.test_submit import typed

Files = dict[str, bytes]
PROJECT = {"proj/train.py": b"print(1)\n", "proj/data/a.csv": b"1,2\n" * 1000, "proj/util.py": b"x = 1\n"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Person:
    """A browser of one person in one workspace."""

    def __init__(self, client: Any, workspace: Any) -> None:
        self.client, self.workspace = client, workspace
        ensure_local(workspace)

    def begin(self, contents: Files, texts: dict[str, str] | None = None, **changes: Any) -> Any:
        listed = [{"path": path, "sha256": sha(data), "size": len(data)} for path, data in contents.items()]
        said = {"files": listed, "texts": texts or {}} | changes
        url = reverse("runs:begin_upload", args=[self.workspace.name])
        return self.client.post(url, json.dumps(said), content_type="application/json")

    def url(self, upload_id: str) -> str:
        return reverse("runs:upload", args=[self.workspace.name, upload_id])

    def put(self, upload_id: str, offset: object, data: bytes) -> Any:
        url = f"{self.url(upload_id)}?offset={offset}"
        return self.client.put(url, data, content_type="application/octet-stream")

    def send(self, files: Files, **more: Any) -> Any:
        """Send what is missing in small pieces, and return the answer to `begin`."""
        answer = self.begin(files, **more)
        assert answer.status_code == 200, answer.content
        said = answer.json()
        contents = {sha(data): data for data in files.values()}
        stream = b"".join(contents[one] for one in said["missing"])
        assert len(stream) == said["size"]
        for offset in range(said["received"], len(stream), 1000):
            assert self.put(said["id"], offset, stream[offset : offset + 1000]).status_code == 200
        return said

    def submit(self, upload_id: str, **changes: Any) -> Any:
        form = typed(source="upload", upload=upload_id, **changes)
        url = reverse("runs:submit", args=[self.workspace.name])
        return self.client.post(url, form, headers={"Accept": "application/json"})


@pytest.fixture
def person(as_user: Any, ben: Any, workspace: Any) -> Person:
    return Person(as_user(ben), workspace)


def test_files_that_came_in_pieces_are_the_snapshot_that_a_form_would_have_made(person: Person) -> None:
    said = person.send(PROJECT)
    assert person.submit(said["id"]).status_code == 201
    snapshot = Run.objects.get().snapshot
    assert snapshot is not None
    assert {e["path"]: open_file(snapshot, e["path"]).read() for e in snapshot.manifest} == {
        path.removeprefix("proj/"): data for path, data in PROJECT.items()
    }
    assert from_files(person.workspace, as_upload(PROJECT))[0] == snapshot
    assert not list((Path(settings.SNAPSHOT_DIR) / "uploads").glob(f"*/{said['id']}"))


def test_one_changed_file_is_all_that_is_asked_for(person: Person) -> None:
    person.submit(person.send(PROJECT)["id"])
    changed = PROJECT | {"proj/train.py": b"print(2)\n"}
    said = person.begin(changed).json()
    assert said["missing"] == [sha(b"print(2)\n")]
    assert said["size"] == len(b"print(2)\n")
    person.send(changed)
    assert person.submit(said["id"]).status_code == 201
    again = person.begin(changed).json()
    assert (again["missing"], again["size"]) == ([], 0)
    assert person.submit(again["id"]).status_code == 201
    assert Run.objects.count() == 3
    assert Snapshot.objects.count() == 2


def test_an_upload_goes_on_where_a_cut_left_it(person: Person) -> None:
    said = person.begin(PROJECT).json()
    stream = b"".join({sha(data): data for data in PROJECT.values()}[one] for one in said["missing"])
    assert person.put(said["id"], 0, stream[:1500]).json()["received"] == 1500
    gap = person.put(said["id"], 2000, stream[2000:])
    assert (gap.status_code, gap.json()["received"]) == (409, 1500)
    assert person.client.get(person.url(said["id"])).json() == {"received": 1500, "size": len(stream)}
    assert person.begin(PROJECT).json() == said | {"received": 1500}  # also from a page that was opened anew
    unfinished = person.submit(said["id"])
    assert unfinished.status_code == 422
    assert "not complete" in unfinished.json()["errors"]["files"][0]["message"]
    assert person.put(said["id"], 1000, stream[1000:]).json()["received"] == len(stream)  # what is there comes twice
    assert person.submit(said["id"]).status_code == 201


def test_what_does_not_hash_as_promised_is_refused_and_forgotten(person: Person) -> None:
    said = person.begin(PROJECT).json()
    person.put(said["id"], 0, b"?" * said["size"])
    answer = person.submit(said["id"])
    assert answer.status_code == 422
    assert "otherwise than it was sent" in answer.json()["errors"]["files"][0]["message"]
    assert not Run.objects.exists()
    assert not KnownFile.objects.exists()
    assert person.client.get(person.url(said["id"])).status_code == 404
    assert person.begin(PROJECT).json()["received"] == 0


def test_a_known_hash_with_a_wrong_size_is_not_known(person: Person) -> None:
    person.submit(person.send(PROJECT)["id"])
    lie = [{"path": "train.py", "sha256": sha(PROJECT["proj/train.py"]), "size": 3}]
    said = person.begin({}, files=lie).json()
    assert said["size"] == 3
    person.put(said["id"], 0, b"abc")
    assert person.submit(said["id"]).status_code == 422


def test_what_another_workspace_holds_is_asked_for_like_anything_else(
    person: Person, as_user: Any, ana: Any, ben: Any
) -> None:
    other = create_workspace("elsewhere", ana)
    set_role(other, ben, Role.DATA_SCIENTIST, by=ana)
    theirs = Person(as_user(ana), other)
    theirs.submit(theirs.send(PROJECT)["id"])
    assert len(person.begin(PROJECT).json()["missing"]) == 3
    mine = Person(person.client, other)
    assert mine.begin(PROJECT).json()["missing"] == []


def test_an_upload_belongs_to_its_person_and_workspace(person: Person, as_user: Any, ana: Any, cleo: Any) -> None:
    said = person.begin(PROJECT).json()
    other = create_workspace("elsewhere", cleo)
    others = [Person(as_user(ana), person.workspace), Person(as_user(cleo), other), Person(as_user(cleo), other)]
    for stranger in others:
        assert stranger.client.get(stranger.url(said["id"])).status_code == 404
        assert stranger.put(said["id"], 0, b"x").status_code == 404
        assert stranger.submit(said["id"]).status_code == 422
    assert as_user(cleo).get(person.url(said["id"])).status_code == 404
    assert not Run.objects.exists()
    assert person.client.get(person.url("..")).status_code == 404


def test_readers_send_nothing(as_user: Any, rita: Any, workspace: Any) -> None:
    reader = Person(as_user(rita), workspace)
    assert reader.begin(PROJECT).status_code == 403
    assert reader.client.get(reader.url("0" * 32)).status_code == 403


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"files": None}, "cannot be read"),
        ({"files": [{"path": "a.py"}]}, "cannot be read"),
        ({"files": [{"path": "a.py", "sha256": "../x", "size": 1}]}, "cannot be read"),
        ({"files": [{"path": "a.py", "sha256": "0" * 64, "size": -1}]}, "cannot be read"),
        ({"files": [{"path": "a.py", "sha256": "0" * 64, "size": True}]}, "cannot be read"),
        ({"files": [{"path": f"{n}", "sha256": "0" * 64, "size": n} for n in (1, 2)]}, "cannot be read"),
        ({"files": []}, "no file"),
        ({"files": [{"path": "../a.py", "sha256": "0" * 64, "size": 1}]}, "climbs out"),
        ({"files": [{"path": "a.py", "sha256": "0" * 64, "size": 301 * 2**20}]}, "300 MB"),
        ({"files": [{"path": f"{n}.py", "sha256": "0" * 64, "size": 1} for n in range(2001)]}, "2,001 files"),
        ({"files": [{"path": n, "sha256": "0" * 64, "size": 1} for n in ("a.py", "A.py")]}, "case"),
        ({"texts": ["x"]}, "cannot be read"),
        ({"texts": {".gitignore": "a*b*c*d*e*f*g"}}, "too many stars"),
    ],
)
def test_what_could_not_be_a_snapshot_is_refused_before_a_byte_is_sent(
    person: Person, changes: dict[str, Any], word: str
) -> None:
    answer = person.begin({"a.py": b"1"}, **changes) if "texts" in changes else person.begin({}, **changes)
    assert answer.status_code == 422, answer.content
    assert word in answer.json()["errors"]["files"][0]["message"]
    url = reverse("runs:begin_upload", args=[person.workspace.name])
    for body in (b"", b"[" * 100_000):
        assert person.client.post(url, body, content_type="application/json").status_code == 422


def test_the_ignore_file_and_git_are_read_before_anything_is_sent(person: Person) -> None:
    files = {"p/train.py": b"1", "p/big.ckpt": b"2", "p/.gitignore": b"*.ckpt\n"}
    commit = "4be1c07aaaabbbbccccddddeeeeffff000011112"
    texts = {"p/.gitignore": "*.ckpt\n", "p/.git/HEAD": f"{commit}\n"}
    said = person.send(files, texts=texts)
    assert sha(b"2") not in said["missing"]
    person.submit(said["id"])
    run = Run.objects.get()
    assert run.snapshot is not None
    assert [e["path"] for e in run.snapshot.manifest] == [".gitignore", "train.py"]
    assert run.properties["azureml.git.commit"] == commit


@pytest.mark.parametrize(("offset", "size"), [("x", 1), ("-1", 1), ("", 1), ("0", 9_000_000), (4_014, 2)])
def test_a_piece_that_has_no_place_is_refused(person: Person, offset: object, size: int) -> None:
    said = person.begin(PROJECT).json()
    assert person.put(said["id"], offset, b"x" * size).status_code in {400, 409, 413}
    assert person.client.get(person.url(said["id"])).json()["received"] == 0


def test_abandoned_uploads_are_swept_and_one_person_has_few(person: Person) -> None:
    first = person.begin({"a.py": b"first"}).json()["id"]
    folder = next((Path(settings.SNAPSHOT_DIR) / "uploads").glob(f"*/{first}"))
    old = folder.stat().st_mtime - uploads.ABANDONED_SECONDS - 10
    os.utime(folder, (old, old))
    for n in range(uploads.MOST_UNFINISHED + 2):
        person.begin({"a.py": f"{uuid4()} {n}".encode()})
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == uploads.MOST_UNFINISHED


def test_questions_do_not_grow_with_the_files(person: Person) -> None:
    def asked(count: int) -> int:
        files = {f"p/{n}.py": f"{count} {n}".encode() for n in range(count)}
        with CaptureQueriesContext(connection) as queries:
            person.begin(files)
        return len(queries)

    asked(1)
    assert asked(400) == asked(4)
