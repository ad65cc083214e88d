"""Submitting a run from the browser: what may be typed, how files come in, and what is said when something is wrong."""

import io
import re
import zipfile
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from compute.actions import ensure_local
from compute.models import ComputeTarget
from runs.forms import likeliest_script, seconds_of, span_of
from runs.models import Run
from studio.people.actions import create_workspace

JSON = {"Accept": "application/json"}


@pytest.fixture
def url(workspace):
    ensure_local(workspace)
    return reverse("runs:submit", args=[workspace.name])


def typed(**changes):
    return {
        "token": str(uuid4()),
        "experiment": "digits",
        "target": "local",
        "node_count": "1",
        "source": "paste",
        "code": "print('hello')\n",
        "code_name": "train.py",
        "environment": "interpreter",
        "interpreter": "",
        "max_duration": "30 d",
        "restarts": "3",
    } | changes


def file(name, content=b"print(1)\n"):
    return SimpleUploadedFile(name, content)


def manifest_of(run):
    assert run.snapshot is not None
    return run.snapshot.manifest


def errors(response):
    assert response.status_code == 422, response.content[:2000]
    return {field: [e["message"] for e in said] for field, said in response.json()["errors"].items()}


def test_a_pasted_script_becomes_a_run(as_user, ben, url, workspace):
    answer = as_user(ben).post(
        url,
        typed(
            arguments="--name 'a b' \\\n --n 3",
            description="first try",
            max_duration="2 h 30 min",
            variable_key=["EPOCHS", ""],
            variable_value=["3", ""],
            tag_key=["kernel"],
            tag_value=["rbf"],
        ),
    )
    run = Run.objects.get()
    assert answer["Location"] == reverse("runs:detail", args=[workspace.name, run.run_id])
    assert run.submitted_by == ben
    assert run.experiment.name == "digits"
    assert run.tags == {"kernel": "rbf"}
    assert run.config["script"] == "train.py"
    assert run.config["arguments"] == ["--name", "a b", "--n", "3"]
    assert run.config["variables"] == {"EPOCHS": "3"}
    assert run.config["max_seconds"] == 9000
    assert [e["path"] for e in manifest_of(run)] == ["train.py"]


def test_a_folder_becomes_a_snapshot_and_its_likeliest_script_is_run(as_user, ben, url):
    answer = as_user(ben).post(
        url,
        typed(
            source="upload",
            files=[file("train.py"), file("data.csv", b"1,2\n"), file("util.py")],
            paths=["proj/train.py", "proj/data/data.csv", "proj/util.py"],
        ),
        headers=JSON,
    )
    assert answer.status_code == 201, answer.content
    run = Run.objects.get()
    assert answer.json()["location"].endswith(f"/{run.run_id}/")
    assert run.config["script"] == "train.py"
    # The page comes with the answer, as whoever asks for it gets it.
    page = as_user(ben).get(answer.json()["location"], headers={"HX-Request": "true", "HX-Target": "main"})
    changing = re.compile(r'name="(csrfmiddlewaretoken|token)" value="[^"]*"|\d+ s\b')
    assert changing.sub("", answer.json()["page"]) == changing.sub("", page.content.decode())
    assert [e["path"] for e in manifest_of(run)] == ["data/data.csv", "train.py", "util.py"]


def test_a_zip_becomes_a_snapshot(as_user, ben, url):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("proj/run_me.py", "print(1)")
    answer = as_user(ben).post(url, typed(source="upload", archive=file("p.zip", packed.getvalue())), headers=JSON)
    assert answer.status_code == 201, answer.content
    assert Run.objects.get().config["script"] == "run_me.py"


def test_the_same_form_sent_twice_is_one_run(as_user, ben, url):
    form = typed()
    first = as_user(ben).post(url, form)
    second = as_user(ben).post(url, form)
    assert Run.objects.count() == 1
    assert first["Location"] == second["Location"]


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"experiment": ""}, "experiment", "required"),
        ({"experiment": "-x"}, "experiment", "Letters"),
        ({"target": ""}, "target", "Choose"),
        ({"target": "nowhere"}, "target", "nowhere"),
        ({"node_count": "0"}, "node_count", "1"),
        ({"node_count": "2"}, "node_count", "one"),
        ({"node_count": "9" * 30}, "node_count", ""),
        ({"code": "  "}, "code", "Paste"),
        ({"source": "upload"}, "files", "no files"),
        ({"source": "same"}, "source", "no run"),
        ({"source": "magic"}, "source", ""),
        ({"arguments": "--a 'b"}, "arguments", "quote"),
        ({"environment": "pip", "pip_text": " "}, "pip_text", "package"),
        ({"environment": "conda", "conda_text": ""}, "conda_text", "environment"),
        ({"environment": "conda", "conda_text": "dependencies: [pip: ["}, "conda_text", ""),
        ({"environment": "docker"}, "environment", ""),
        ({"interpreter": "no/such"}, "interpreter", ""),
        ({"interpreter": "/no/such/python"}, "interpreter", "/no/such/python"),
        ({"max_duration": "soon"}, "max_duration", "soon"),
        ({"max_duration": "30"}, "max_duration", "unit"),
        ({"max_duration": "9999 d"}, "max_duration", "year"),
        ({"restarts": "-1"}, "restarts", ""),
        ({"restarts": "101"}, "restarts", ""),
        ({"description": "x" * 5001}, "description", ""),
        ({"variable_key": "1A", "variable_value": "x"}, "variables", "1A"),
        ({"variable_key": "A=B", "variable_value": "x"}, "variables", "A=B"),
        ({"variable_key": "AZUREML_RUN_ID", "variable_value": "x"}, "variables", "AZUREML_RUN_ID"),
        ({"variable_key": "studio_x", "variable_value": "x"}, "variables", "studio_x"),
        ({"variable_key": ["A", "A"], "variable_value": ["1", "2"]}, "variables", "twice"),
        ({"variable_key": "", "variable_value": "orphan"}, "variables", ""),
        ({"tag_key": "", "tag_value": "orphan"}, "tags", "orphan"),
        ({"tag_key": "k" * 101, "tag_value": "v"}, "tags", "100"),
        ({"tag_key": "k", "tag_value": "v" * 1001}, "tags", "1000"),
        ({"tag_key": ["a", "a"], "tag_value": ["1", "2"]}, "tags", "twice"),
        ({"tag_key": [f"k{n}" for n in range(51)], "tag_value": ["v"] * 51}, "tags", "51"),
    ],
)
def test_what_is_wrong_stands_by_its_field(as_user, ben, url, changes, field, word):
    said = errors(as_user(ben).post(url, typed(**changes), headers=JSON))
    assert word in " ".join(said[field])
    assert not Run.objects.exists()


def test_a_plain_form_answers_with_itself_and_loses_nothing(as_user, ben, url):
    answer = as_user(ben).post(
        url,
        typed(
            max_duration="soon",
            arguments="--keep 'this one'",
            code="print('kept')",
            variable_key=["KEEP"],
            variable_value=["me"],
            tag_key=["kept_tag"],
            tag_value=["yes"],
            description="kept words",
        ),
    )
    assert answer.status_code == 422
    page = answer.content.decode()
    for kept in ("--keep &#x27;this one&#x27;", "print(&#x27;kept&#x27;)", "KEEP", "kept_tag", "kept words", "soon"):
        assert kept in page


@pytest.mark.parametrize(
    ("paths", "script", "field"),
    [
        (["a.py", "b.py"], "", "script"),
        (["a.py"], "c.py", "script"),
        (["notes.txt"], "", "script"),
        (["../evil.py"], "", "files"),
        (["/abs.py"], "", "files"),
        (["a\\b.py"], "", "files"),
        (["a.py", "a.py"], "", "files"),
    ],
)
def test_files_that_cannot_be_run_or_taken_are_refused_by_their_field(as_user, ben, url, paths, script, field):
    form = typed(source="upload", script=script, files=[file(f"f{n}.py") for n in range(len(paths))], paths=paths)
    assert field in errors(as_user(ben).post(url, form, headers=JSON))
    assert not Run.objects.exists()


def test_a_zip_that_is_none_is_refused_by_its_field(as_user, ben, url):
    said = errors(as_user(ben).post(url, typed(source="upload", archive=file("x.zip", b"no zip")), headers=JSON))
    assert "zip" in " ".join(said["files"]).lower()


def test_readers_see_the_form_with_its_button_disabled_and_may_not_send_it(as_user, rita, url):
    client = as_user(rita)
    assert b"data-needs" in client.get(url).content
    assert client.post(url, typed()).status_code == 403
    assert not Run.objects.exists()


def test_strangers_learn_nothing(as_user, cleo, url):
    assert as_user(cleo).get(url).status_code == 404
    assert as_user(cleo).post(url, typed()).status_code == 404


def test_a_run_is_the_start_of_another(as_user, ben, rita, url, workspace):
    client = as_user(ben)
    client.post(url, typed(arguments="--a 1", variable_key=["TOKEN"], variable_value=["s3cret"], max_duration="1 h"))
    run = Run.objects.get()
    page = client.get(url, {"like": run.run_id}).content.decode()
    assert "--a 1" in page
    assert "s3cret" in page
    assert "1 h" in page
    seen = as_user(rita).get(url, {"like": run.run_id}).content.decode()
    assert "TOKEN" in seen
    assert "s3cret" not in seen
    again = typed(source="same", like=run.run_id, script="train.py", arguments="--a 2")
    assert client.post(url, again).status_code == 302
    newest = Run.objects.latest("pk")
    assert newest.snapshot == run.snapshot
    assert newest.config["arguments"] == ["--a", "2"]


def test_a_run_of_another_workspace_cannot_be_taken_as_a_start(as_user, ben, cleo, url):
    as_user(ben).post(url, typed())
    run = Run.objects.get()
    other = create_workspace("others", cleo)
    theirs = reverse("runs:submit", args=[other.name])
    assert as_user(cleo).get(theirs, {"like": run.run_id}).status_code == 404
    assert as_user(cleo).post(theirs, typed(source="same", like=run.run_id)).status_code == 404


def test_a_target_that_takes_no_runs_is_shown_with_its_reason_and_cannot_be_chosen(as_user, ben, url, workspace):
    ComputeTarget.objects.create(
        workspace=workspace, name="broken", kind="local", provisioning_state="Failed", state_reason="No disk."
    )
    page = as_user(ben).get(url).content.decode()
    assert "No disk." in page
    said = errors(as_user(ben).post(url, typed(target="broken"), headers=JSON))
    assert "No disk." in said["target"][0]


def test_what_could_never_run_is_said_before_the_form_is_sent(as_user, ben, url, workspace):
    check = reverse("runs:submit_check", args=[workspace.name])
    client = as_user(ben)
    assert b"could never run" in client.get(check, {"target": "local", "node_count": "5"}).content
    assert b"could never run" not in client.get(check, {"target": "local", "node_count": "1"}).content
    read = client.get(check, {"target": "local", "node_count": "x", "arguments": "--a '<b c>'"}).content
    assert b"&lt;b c&gt;" in read
    assert b"not closed" in client.get(check, {"arguments": "'"}).content


def test_resubmitting_twice_with_one_token_is_one_run(as_user, ben, rita, url, workspace):
    as_user(ben).post(url, typed())
    run = Run.objects.get()
    again = reverse("runs:resubmit", args=[workspace.name, run.run_id])
    assert as_user(rita).post(again).status_code == 403
    assert as_user(ben).get(again).status_code == 405
    token = {"token": str(uuid4())}
    first, second = as_user(ben).post(again, token), as_user(ben).post(again, token)
    assert first["Location"] == second["Location"]
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90 s", 90),
        ("45min", 2700),
        ("2 h 30 min", 9000),
        ("1:30:00", 5400),
        ("30 d", 2592000),
        ("1,5 h", 5400),
        ("1 week", 604800),
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds
    assert seconds_of(span_of(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "30", "soon", "-1 h", "1 h x", "0 s", "1 parsec", "1 h 30"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  its message is the text
        seconds_of(text)


@pytest.mark.parametrize(
    ("paths", "script"),
    [
        (["a.py", "train.py", "main.py"], "train.py"),
        (["a.py", "main.py"], "main.py"),
        (["src/train.py", "util.py"], "src/train.py"),
        (["only.py", "x.txt"], "only.py"),
        (["a.py", "b.py"], ""),
        ([], ""),
    ],
)
def test_the_likeliest_script_is_found(paths, script):
    assert likeliest_script(paths) == script
