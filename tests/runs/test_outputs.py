"""What a script wrote, looked at by people: hostile until shown otherwise."""

import io
import os
import zipfile

import pytest
from django.urls import reverse

from runs import files, outputs
from studio.errors import NotThere

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.fixture
def job(make_run, attempt_of):
    return attempt_of(make_run("wrote"))


@pytest.fixture
def folder(job):
    return job.folder / "rank-0"


@pytest.fixture
def address(workspace, job):
    def of(path, **query):
        url = reverse("runs:output", args=[workspace.name, job.run_id, job.attempt, path])
        return url + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")

    return of


def body(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_files_are_listed_by_path_with_their_sizes(job, folder):
    (folder / "outputs" / "deep" / "er").mkdir(parents=True)
    (folder / "outputs" / "deep" / "er" / "model.bin").write_bytes(b"12345")
    (folder / "logs" / "a.log").write_text("x")
    (folder / "secret.txt").write_text("not collected")
    found, more = outputs.files_of(job)
    assert [(f.path, f.size) for f in found] == [("logs/a.log", 1), ("outputs/deep/er/model.bin", 5)]
    assert not more


def test_a_list_is_bounded(job, folder):
    for n in range(12):
        (folder / "outputs" / f"{n}.txt").touch()
    found, more = outputs.files_of(job, at_most=10)
    assert len(found) == 10
    assert more


def test_links_and_devices_are_not_listed(job, folder, tmp_path):
    (tmp_path / "secret").write_text("s")
    (folder / "outputs" / "out").symlink_to(tmp_path)
    (folder / "outputs" / "file").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "outputs" / "pipe")
    assert outputs.files_of(job) == ([], False)


def test_a_folder_that_was_swapped_for_a_link_shows_nothing(job, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "key").write_text("secret")
    (folder / "outputs").rmdir()
    (folder / "outputs").symlink_to(tmp_path / "elsewhere")
    assert outputs.files_of(job) == ([], False)
    with pytest.raises(NotThere):
        outputs.open_output(job, "outputs/key")
    assert b"".join(outputs.zip_of([job])).count(b"secret") == 0


@pytest.mark.parametrize(
    "path",
    [
        "outputs/../../secret",
        "../rank-0/outputs/a",
        "/etc/passwd",
        "outputs//a",
        "outputs/./a",
        "outputs",
        "outputs/",
        "secret.txt",
        "outputs/%2e%2e/secret.txt",
        "outputs/..%2fsecret.txt",
        "outputs/a\0b",
        "outputs/" + "x" * 5000,
    ],
)
def test_no_path_leads_out(job, folder, path):
    (folder / "outputs" / "a").write_text("a")
    (folder / "secret.txt").write_text("secret")
    with pytest.raises(NotThere):
        outputs.open_output(job, path)


def test_links_are_followed_within_the_outputs_alone(job, folder, tmp_path):
    (tmp_path / "secret").write_text("s")
    (folder / "outputs" / "ckpt-10").write_text("weights")
    (folder / "outputs" / "latest").symlink_to("ckpt-10")
    (folder / "outputs" / "out").symlink_to(tmp_path / "secret")
    (folder / "outputs" / "up").symlink_to("../train.py")
    (folder / "train.py").write_text("x")
    (folder / "outputs" / "loop").symlink_to("loop")
    file, size = outputs.open_output(job, "outputs/latest")
    with file:
        assert (file.read(), size) == (b"weights", 7)
    for name in ("out", "up", "loop"):
        with pytest.raises(NotThere):
            outputs.open_output(job, f"outputs/{name}")


def test_a_pipe_is_not_waited_for(job, folder):
    os.mkfifo(folder / "outputs" / "pipe")
    with pytest.raises(NotThere):
        outputs.open_output(job, "outputs/pipe")


def test_a_page_of_html_is_a_download_of_bytes(as_user, rita, folder, address):
    (folder / "outputs" / "evil.html").write_text("<script>alert(1)</script>")
    response = as_user(rita).get(address("outputs/evil.html"))
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"].startswith("sandbox")
    assert body(response) == b"<script>alert(1)</script>"


def test_names_that_nobody_expects_can_be_listed_and_downloaded(as_user, ana, workspace, job, folder, address):
    odd = ['a"b;c.txt', "na me.txt", "%2e%2e.txt", "ñ 文.txt", "‮cod.exe", "<b>.txt", "a\nb.txt", "#?&.txt"]
    for name in odd:
        (folder / "outputs" / name).write_text(name)
    (folder / "outputs" / os.fsdecode(b"\xff\xfe.bin")).write_bytes(b"bytes")
    client = as_user(ana)
    page = client.get(reverse("runs:detail", args=[workspace.name, job.run_id]) + "?tab=outputs")
    assert page.status_code == 200
    assert "<b>.txt" not in page.content.decode()
    assert "‮" not in page.content.decode()
    found, _more = outputs.files_of(job)
    assert len(found) == len(odd) + 1
    for file in found:
        response = client.get(address(file.address))
        assert response.status_code == 200, file.name
        assert "\n" not in response["Content-Disposition"]
        body(response)
        assert client.get(address(file.address, view="preview")).status_code == 200
    archive = client.get(reverse("runs:outputs_zip", args=[workspace.name, job.run_id]))
    with zipfile.ZipFile(io.BytesIO(body(archive))) as made:
        assert len(made.namelist()) == len(odd) + 1
        assert made.testzip() is None


def test_text_is_shown_as_text_and_only_its_beginning(as_user, ana, folder, address):
    (folder / "outputs" / "big.txt").write_bytes(b"<i>line</i>\n" * 200_000)
    response = as_user(ana).get(address("outputs/big.txt", view="preview"))
    assert b"<i>" not in response.content
    assert b"&lt;i&gt;line" in response.content
    assert response.context["preview"].is_cut
    assert len(response.context["preview"].lines) <= files.PREVIEW_LINES


def test_a_sparse_file_of_many_gigabytes_is_previewed_and_not_read(folder, job):
    with (folder / "outputs" / "huge.txt").open("wb") as file:
        file.write(b"begin\n")
        file.truncate(50_000_000_000)
    file, size = outputs.open_output(job, "outputs/huge.txt")
    with file:
        assert files.preview(file, "huge.txt", size).kind == "binary"
        assert file.tell() <= files.PREVIEW_BYTES


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", b"hello\n", "text"),
        ("a.txt", b"", "empty"),
        ("a.bin", b"\0\1\2", "binary"),
        ("a.txt", b"\xff\xfe\xfd\xfc" * 50, "binary"),
        ("a.png", PNG, "image"),
        ("a.png", b"<svg onload=alert(1)>", "text"),
        ("a.svg", b"<svg onload=alert(1)></svg>", "text"),
        ("a.csv", b"x,y\n1,2\n", "table"),
        ("a.tsv", b"x\ty\n1\t2\n", "table"),
        ("a.csv", b'x,"y\n', "table"),
    ],
)
def test_a_file_is_shown_by_what_it_is(name, content, kind):
    assert files.preview(io.BytesIO(content), name, len(content)).kind == kind


def test_a_table_is_bounded_in_rows_columns_and_cells():
    wide = ",".join(["c" * 1000] * 100) + "\n"
    shown = files.preview(io.BytesIO((wide * 300).encode()), "a.csv", len(wide) * 300)
    assert len(shown.head) == files.TABLE_COLUMNS
    assert len(shown.rows) <= files.TABLE_ROWS
    assert all(len(cell) <= files.CELL_CHARACTERS for row in shown.rows for cell in row)
    assert shown.is_cut


def test_an_image_is_served_as_what_its_bytes_say(as_user, ana, folder, address):
    (folder / "outputs" / "p.png").write_bytes(PNG)
    (folder / "outputs" / "fake.png").write_text("<script>")
    (folder / "outputs" / "v.svg").write_text("<svg><script>1</script></svg>")
    client = as_user(ana)
    good = client.get(address("outputs/p.png", view="image"))
    assert good["Content-Type"] == "image/png"
    assert good["Content-Security-Policy"].startswith("sandbox")
    for name in ("fake.png", "v.svg"):
        assert client.get(address(f"outputs/{name}", view="image")).status_code == 404


def test_control_characters_in_text_are_written_out():
    shown = files.preview(io.BytesIO("a\x1b[31mb‮c\td\r\n".encode()), "a.txt", 20)
    assert shown.lines == ["a\\u{1b}[31mb\\u{202e}c\td"]


def test_a_zip_holds_each_attempt_in_a_folder(as_user, ana, workspace, job, folder, attempt_of):
    from runs.models import Run

    (folder / "outputs" / "m.txt").write_text("first")
    second = attempt_of(Run.objects.get(run_id=job.run_id))
    (second.folder / "rank-0" / "outputs" / "m.txt").write_text("second")
    url = reverse("runs:outputs_zip", args=[workspace.name, job.run_id])
    with zipfile.ZipFile(io.BytesIO(body(as_user(ana).get(url)))) as made:
        assert {name: made.read(name) for name in made.namelist()} == {
            "attempt-1/outputs/m.txt": b"first",
            "attempt-2/outputs/m.txt": b"second",
        }
    with zipfile.ZipFile(io.BytesIO(body(as_user(ana).get(url + "?attempt=2")))) as made:
        assert made.namelist() == ["attempt-2/outputs/m.txt"]
    assert as_user(ana).get(url + "?attempt=9").status_code == 404


def test_strangers_and_other_workspaces_get_nothing(as_user, cleo, folder, address, workspace, job):
    from studio.people.actions import create_workspace

    (folder / "outputs" / "m.txt").write_text("ours")
    client = as_user(cleo)
    assert client.get(address("outputs/m.txt")).status_code == 404
    other = create_workspace("others", cleo)
    assert client.get(reverse("runs:output", args=[other.name, job.run_id, 1, "outputs/m.txt"])).status_code == 404
    assert client.get(reverse("runs:outputs_zip", args=[other.name, job.run_id])).status_code == 404


def test_the_folder_is_gone_and_the_page_says_nothing_yet(as_user, ana, workspace, job):
    import shutil

    shutil.rmtree(job.folder)
    page = as_user(ana).get(reverse("runs:detail", args=[workspace.name, job.run_id]) + "?tab=outputs")
    assert page.status_code == 200
    assert b"Nothing yet" in page.content


async def test_a_download_is_read_piece_by_piece_by_an_asynchronous_server(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 200_000)
    response = files.attachment(files.pieces_of((tmp_path / "f").open("rb")), "f", size=200_000)
    pieces = [piece async for piece in response]
    assert len(pieces) > 1
    assert sum(map(len, pieces)) == 200_000
