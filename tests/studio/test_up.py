"""What stands in the way of a start is said in one sentence; what is there already is kept."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import kombu
import pytest
import redis

from studio import bootstrap, checks, own_queue, settings, supervisor, up
from studio.paths import CHECKOUT, own_queue_url, socket_path

ANYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("STUDIO_URL", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "STUDIO_DATA"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    return monkeypatch


def test_without_options_it_serves_this_machine_alone():
    assert up.parse([]) == up.Options("127.0.0.1", 8000, None, sample=True)


def test_options_are_read():
    options = up.parse(["--host", ANYWHERE, "--port", "0", "--data", "/d", "--no-sample"])
    assert options == up.Options(ANYWHERE, 0, Path("/d"), sample=False)


@pytest.mark.parametrize("port", ["65536", "-1", "x"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        up.parse([f"--port={port}"])
    assert "a port is a number from 0 to 65535" in capsys.readouterr().err


def test_a_port_in_use_is_said_with_another_to_try():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(supervisor.Refused, match=rf"Port {port} of 127.0.0.1 is in use.*--port {port + 1}"):
            up.listen("127.0.0.1", port)


def test_a_host_that_is_not_this_machine_is_said():
    with pytest.raises(supervisor.Refused, match="no address of this machine"):
        up.listen("192.0.2.1", 0)


def test_a_file_in_the_place_of_the_data_directory_is_said(tmp_path: Path):
    file = tmp_path / "data"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(supervisor.Refused, match=r"is a file where a directory is needed\. Name another"):
            up.prepare_data_dir(path)


def test_the_data_directory_is_for_its_owner_alone(tmp_path: Path):
    data = up.prepare_data_dir(tmp_path / "deep" / "data")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_second_start_is_told_who_has_the_data_directory(tmp_path: Path):
    lock = up.take_lock(tmp_path)
    (tmp_path / "url").write_text("http://127.0.0.1:8000/")
    with pytest.raises(supervisor.Refused, match=rf"runs already at http://127.0.0.1:8000/ \(process {os.getpid()}\)"):
        up.take_lock(tmp_path)
    os.close(lock)
    os.close(up.take_lock(tmp_path))


def test_the_secret_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.delenv("SEAL_KEYS", raising=False)
    up.make_keys(tmp_path)
    key = tmp_path / "secret_key"
    first = key.read_text()
    assert len(first) > 50
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    up.make_keys(tmp_path)
    assert key.read_text() == first


def test_the_own_queue_lets_in_who_knows_its_password_alone(environment: pytest.MonkeyPatch, tmp_path: Path):
    """A run of the same user finds the socket, and not the password: Landlock hides the data directory's files."""
    up.make_keys(tmp_path)
    child = own_queue.valkey(tmp_path, tmp_path)
    pid = os.fork()
    if pid == 0:
        child.run()
    try:
        queue = redis.Redis.from_url(own_queue_url(tmp_path))
        until = time.monotonic() + 20
        while not _answers(queue):
            assert time.monotonic() < until, "Valkey does not answer"
            time.sleep(0.05)
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(unix_socket_path=str(socket_path(tmp_path))).ping()
        environment.setattr(settings, "REDIS_URL", own_queue_url(tmp_path))
        with kombu.Connection(settings.redis_url(0, celery=True)) as broker:
            broker.ensure_connection(max_retries=1)
        password = (tmp_path / "queue_password").read_text()
        assert password not in Path(f"/proc/{pid}/cmdline").read_text()
        assert stat.S_IMODE((tmp_path / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answers(queue: redis.Redis) -> bool:
    try:
        return bool(queue.ping())
    except redis.ConnectionError:
        return False


def test_the_address_follows_host_and_port(environment: pytest.MonkeyPatch, tmp_path: Path):
    assert up.set_environment("::1", 9000, tmp_path) == "http://[::1]:9000/"
    assert "[::1]" in os.environ["ALLOWED_HOSTS"].split(",")


def test_a_host_that_means_anywhere_allows_the_names_of_this_machine(environment: pytest.MonkeyPatch, tmp_path: Path):
    up.set_environment(ANYWHERE, 9000, tmp_path)
    assert socket.gethostname().lower() in os.environ["ALLOWED_HOSTS"].split(",")
    assert ANYWHERE not in os.environ["STUDIO_URL"]


def test_an_address_behind_a_proxy_is_kept_and_trusted(environment: pytest.MonkeyPatch, tmp_path: Path):
    environment.setenv("STUDIO_URL", "https://studio.example.org")
    assert up.set_environment("127.0.0.1", 8000, tmp_path) == "https://studio.example.org/"
    assert os.environ["CSRF_TRUSTED_ORIGINS"] == "https://studio.example.org"
    assert "studio.example.org" in os.environ["ALLOWED_HOSTS"].split(",")


def test_the_queue_comes_in_a_wheel():
    answer = subprocess.run([own_queue.valkey_binary(), "--version"], capture_output=True, text=True, check=True)
    assert "v=9." in answer.stdout


def test_without_a_queue_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own_queue, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(supervisor.Refused, match="apt-get install valkey-server"):
        own_queue.valkey_binary()


def test_errors_in_a_log_are_shown_from_the_first_look_on(tmp_path: Path):
    log, seen = tmp_path / "web.log", dict[Path, int]()
    log.write_text("2026-11-22 10:00:00,000 ERROR old: before\n")
    assert up.new_errors(log, seen) == []
    with log.open("a") as file:
        file.write("2026-11-22 10:00:01,000 INFO a: fine\n2026-11-22 10:00:02,000 ERROR b: broken\n  a traceback\n")
    assert up.new_errors(log, seen) == ["2026-11-22 10:00:02,000 ERROR b: broken"]
    assert up.new_errors(log, seen) == []


def test_many_errors_at_once_are_counted(tmp_path: Path):
    log, seen = tmp_path / "web.log", {tmp_path / "web.log": 0}
    log.write_text("x ERROR y\n" * 8)
    assert up.new_errors(log, seen)[-1] == f"and 3 more, in {log}"


def test_a_large_log_is_put_aside_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "LOG_BYTES", 3)
    log = tmp_path / "web.log"
    assert supervisor.make_room(log) == 0
    log.write_text("abc")
    assert supervisor.make_room(log) == 3
    log.write_text("abcd")
    assert supervisor.make_room(log) == 0
    assert (tmp_path / "web.log.1").read_text() == "abcd"


# The environment


@pytest.fixture
def stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("")
    monkeypatch.setattr(bootstrap, "PYTHON", python)
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "studio.json")
    return tmp_path / "studio.json"


def test_an_environment_is_fresh_while_requirements_and_python_stay(stamp: Path, monkeypatch: pytest.MonkeyPatch):
    assert not bootstrap.is_fresh(test=False)
    stamp.write_text(json.dumps({"run": bootstrap.digest(bootstrap.wanted(test=False))}))
    assert bootstrap.is_fresh(test=False)
    assert not bootstrap.is_fresh(test=True)
    monkeypatch.setattr(bootstrap, "wanted", lambda *, test: ["django==6.0"])
    assert not bootstrap.is_fresh(test=False)


def test_a_half_written_stamp_means_not_fresh(stamp: Path):
    stamp.write_text('{"run": ')
    assert not bootstrap.is_fresh(test=False)


def test_the_tests_want_what_the_studio_wants_and_more():
    run, test = bootstrap.wanted(test=False), bootstrap.wanted(test=True)
    assert test[: len(run)] == run
    assert any(line.startswith("playwright==") for line in test)
    assert all("==" in line for line in test)


def test_no_network_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    answer = subprocess.CompletedProcess([], 1, stdout="WARNING: … Failed to establish a new connection: [Errno -3]")
    monkeypatch.setattr(bootstrap, "_call", lambda command: answer)
    with pytest.raises(bootstrap.CannotMake, match=r"package index cannot be reached\. Connect .* or name a mirror"):
        bootstrap._install(["uv==1", "django==5.2"])


def test_a_package_that_cannot_be_installed_is_shown_in_the_tools_words(monkeypatch: pytest.MonkeyPatch):
    answer = subprocess.CompletedProcess([], 1, stdout="first\nerror: no such version")
    monkeypatch.setattr(bootstrap, "_call", lambda command: answer)
    with pytest.raises(bootstrap.CannotMake, match="error: no such version"):
        bootstrap._install(["uv==1", "django==99"])


def test_a_python_without_venv_is_told_which_package_brings_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "find_spec", lambda name: None)
    with pytest.raises(bootstrap.CannotMake, match=r"apt-get install python3\.\d+-venv"):
        bootstrap._make()


def test_any_python_can_read_manage_py():
    """The one file that says that another Python is needed has no syntax that is younger than Python 2."""
    text = (CHECKOUT / "manage.py").read_text()
    assert 'f"' not in text
    assert ":=" not in text
    compile(text, "manage.py", "exec", flags=0)


# The test command


def test_other_arguments_go_to_pytest():
    assert checks.parse(["-k", "lock", "tests/studio", "--without", "browser"]) == (
        {"browser"}, ["-k", "lock", "tests/studio"],
    )  # fmt: skip


def test_groups_choose_what_pytest_runs():
    assert checks.selection(set()) == []
    assert checks.selection({"browser"}) == ["--ignore=tests/browser"]
    assert checks.selection({"unit", "integration"}) == ["tests/browser"]


def test_integration_tests_run_beside_the_others_unless_somebody_works_on_some():
    assert checks.parts(set(), []) == [["--ignore=tests/integration"], ["tests/integration"]]
    assert checks.parts({"browser"}, []) == [
        ["--ignore=tests/integration", "--ignore=tests/browser"],
        ["tests/integration"],
    ]
    assert checks.parts({"unit"}, []) == [["tests/browser"], ["tests/integration"]]
    assert checks.parts({"integration"}, []) == [["--ignore=tests/integration"]]
    assert checks.parts({"unit", "browser"}, []) == [["tests/integration"]]
    assert checks.parts(set(), ["-k", "lock"]) == [["-k", "lock"]]


def test_what_ran_side_by_side_closes_with_one_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(checks, "CHECKOUT", tmp_path)
    (tmp_path / "test_good.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_three(): pass\ndef test_four(): assert False, 'so it is'\n")
    environ = {"PATH": os.environ["PATH"]}
    assert checks.side_by_side([["test_good.py"]], environ)[1].startswith("====")
    assert checks.side_by_side([["test_good.py"], ["test_bad.py"]], environ) == (1, "3 passed, 1 failed")
    assert "so it is" in capsys.readouterr().out
    (tmp_path / "test_worse.py").write_text("import nowhere\n")
    assert checks.side_by_side([["test_good.py"], ["test_worse.py"]], environ) == (2, "2 passed, 1 failed")


def test_in_ci_nothing_may_be_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("CI", "true")
    assert checks.main(["--without", "browser"]) == 2
    assert "In CI nothing is left out" in capsys.readouterr().err


def test_pytests_closing_line_is_found():
    code, closing = checks.pytest(["--version"], {"PATH": os.environ["PATH"]})
    assert (code, closing) == (0, "")
    assert checks.CLOSING.search("======= 3 passed, 1 skipped in 0.52s =======")
    assert checks.CLOSING.search("1 failed, 2 passed in 61.20s (0:01:01)")
    assert not checks.CLOSING.search("tests/studio/test_up.py::test_passed PASSED")


def test_the_supervisor_and_the_bootstrap_need_the_standard_library_alone():
    ask = "import sys, studio.up, studio.bootstrap; print('django' in sys.modules, 'celery' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
