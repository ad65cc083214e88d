"""SSH where it is hard: keys of every form, other shells, jump hosts, cut and slow wires, full disks, lies."""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compute import attaching, remote, ssh, tasks
from compute.drivers.virtualmachine import VirtualMachineForm
from compute.examining import examine
from compute.models import ComputeTarget, Examination
from compute.states import JobState, ProvisioningState
from runs.models import Run
from runs.states import RunStatus
from studio.errors import CredentialsRejected, HostKeyChanged, NotAllowedNow, StudioError, TargetUnreachable
from studio.people.models import User, Workspace
from studio.seal import seal
from tests.elsewhere import again, ended, job_of, log_of, submitted, until
from tests.sshd import Sshd, key_pair, scratch_user
from tests.wires import Wire

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def username() -> Iterator[str]:
    with scratch_user(password=PASSWORD) as name:
        yield name


@pytest.fixture(scope="module")
def server(username: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    options = {"PasswordAuthentication": "yes"}
    server = Sshd(tmp_path_factory.mktemp("sshd"), username, **options).start()
    yield server
    remote.close_all()
    server.close()


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    remote.close_all()


def account(server: Sshd, **changes: Any) -> ssh.Account:
    facts = {"address": "127.0.0.1", "port": server.port, "username": server.username, "host_key": server.host_key}
    return ssh.Account(**{**facts, "inside": True, **changes})


def attached(
    workspace: Workspace, server: Sshd, private: str = "", *, port: int = 0, name: str = "far", **more: Any
) -> ComputeTarget:
    workspace.allowances = ["this-machine", "other-linux"]
    workspace.save()
    config = {
        "address": "127.0.0.1",
        "ssh_port": port or server.port,
        "username": server.username,
        "authentication": "key" if private else "password",
        "environment": "system",
        "python": "python3",
        "host_key": server.host_key,
    }
    target = ComputeTarget.objects.create(
        workspace=workspace,
        name=name,
        kind="VirtualMachine",
        provisioning_state=ProvisioningState.SUCCEEDED,
        config=config | more,
    )
    what, secret = ("private_key", private) if private else ("password", PASSWORD)
    target.sealed = {what: seal(secret, where=target.place_of(what))}
    target.save()
    return target


# ----- keys


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
@pytest.mark.parametrize(
    "form",
    [
        ("ed25519",),
        ("rsa", "-b", "2048"),
        ("rsa", "-b", "2048", "-m", "PEM"),
        ("rsa", "-b", "2048", "-m", "PKCS8"),
        ("ecdsa", "-b", "256"),
        ("ecdsa", "-b", "384", "-m", "PEM"),
        ("ecdsa", "-b", "521", "-m", "PKCS8"),
    ],
    ids=" ".join,
)
def test_keys_of_every_kind_and_form_sign_in(
    server: Sshd, tmp_path: Path, form: tuple[str, ...], passphrase: str
) -> None:
    private, public = key_pair(tmp_path, form[0], passphrase, *form[1:])
    server.let_in(public)
    machine = ssh.connect(account(server, private_key=private, passphrase=passphrase))
    assert machine.is_open
    machine.close()
    assert " ".join(public.split()[:2]) == ssh.public_line_of(private, passphrase)


def test_an_ed25519_key_in_pkcs8_signs_in(server: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True)
    private = file.read_text()
    server.let_in(ssh.public_line_of(private))
    ssh.connect(account(server, private_key=private)).close()


def _short(folder: Path) -> str:
    return key_pair(folder, "rsa", "", "-b", "1024")[0]


def _cut(folder: Path) -> str:
    lines = key_pair(folder)[0].splitlines()
    return "\n".join([*lines[:3], lines[-1]])


@pytest.mark.parametrize(
    ("make", "passphrase", "words"),
    [
        (_short, "", "An RSA key of 1024 bits is too short"),
        (lambda folder: key_pair(folder)[1], "", "This is the public half of a key"),
        (_cut, "", "damaged, or cut short"),
        (lambda folder: key_pair(folder)[0][:150], "", "no whole private key"),
        (lambda folder: key_pair(folder, "ed25519", "right")[0], "wrong", "The passphrase does not open"),
        (lambda folder: key_pair(folder, "rsa", "right", "-m", "PEM")[0], "wrong", "The passphrase does not open"),
        (lambda folder: key_pair(folder, "ecdsa", "right", "-m", "PKCS8")[0], "", "has a passphrase"),
        (lambda _folder: "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "", "This is a PuTTY key"),
        (lambda _folder: "correct horse", "", "no whole private key"),
    ],
)
def test_what_is_no_usable_key_is_said_before_anybody_is_asked(
    tmp_path: Path, make: Callable[[Path], str], passphrase: str, words: str
) -> None:
    nowhere = ssh.Account("192.0.2.1", username="ana", host_key={"type": "ssh-ed25519", "key": "", "sha256": ""})
    text = make(tmp_path)
    with pytest.raises(CredentialsRejected, match=words) as caught:
        ssh.connect(ssh.Account(**(vars(nowhere) | {"private_key": text, "passphrase": passphrase})))
    assert caught.value.hint
    assert "puttygen" in caught.value.hint or "PuTTY" not in caught.value.message
    assert text[:40] not in caught.value.message + caught.value.hint


# ----- other ways in


def test_a_run_with_a_password_alone(server: Sshd, workspace: Workspace, ana: User) -> None:
    run = ended(submitted(attached(workspace, server), ana, {"train.py": "print('in')\n"}))
    assert (run.status, log_of(run)) == (RunStatus.COMPLETED, "in\n")


def test_a_machine_that_allows_one_session_a_connection_will_do(
    username: str, workspace: Workspace, ana: User, tmp_path: Path
) -> None:
    private, public = key_pair(tmp_path)
    narrow = Sshd(tmp_path / "narrow", username, MaxSessions="1").start()
    narrow.let_in(public)
    try:
        target = attached(workspace, narrow, private)
        runs = [submitted(target, ana, {"train.py": f"print({n})\n"}) for n in range(2)]
        assert [log_of(ended(run)) for run in runs] == ["0\n", "1\n"]
        assert {check.state for check in target.driver.checks() if check.needed} <= {"ok", "warn"}  # type: ignore[attr-defined]
    finally:
        remote.close_all()
        narrow.close()


def test_a_wrong_password_and_a_key_that_nobody_let_in_are_refused(server: Sshd, tmp_path: Path) -> None:
    for credentials in ({"password": "wrong"}, {"private_key": key_pair(tmp_path)[0]}):
        with pytest.raises(CredentialsRejected, match="refuses the credentials"):
            ssh.connect(account(server, **credentials))


def test_a_server_that_takes_keys_alone_says_so(username: str, tmp_path: Path) -> None:
    strict = Sshd(tmp_path / "strict", username).start()
    try:
        with pytest.raises(CredentialsRejected, match="it takes: publickey"):
            ssh.connect(account(strict, password=PASSWORD))
    finally:
        strict.close()


def test_a_run_behind_a_jump_host(server: Sshd, workspace: Workspace, ana: User, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    inner = Sshd(tmp_path / "inner", server.username).start()
    try:
        inner.let_in(public)
        attached(workspace, server, name="gate")
        target = attached(workspace, inner, private, jump_host="gate")
        run = ended(submitted(target, ana, {"train.py": "print('behind')\n"}))
        assert run.status == RunStatus.COMPLETED, run.reason
        inner.stop()
        remote.close_all()
        with pytest.raises(TargetUnreachable, match=rf"cannot reach 127.0.0.1 on port {inner.port}: Connect failed\."):
            target.driver.link()  # type: ignore[attr-defined]
        remote.close_all()
        server.stop()  # the gate falls: what is behind it cannot be reached either
        remote.close_all()
        with pytest.raises(TargetUnreachable):
            target.driver.link()  # type: ignore[attr-defined]
    finally:
        server.start()
        inner.close()


def test_a_jump_host_of_its_own_is_asked_for_trusted_and_gone_through(
    server: Sshd, workspace: Workspace, ana: User, tmp_path: Path
) -> None:
    private, public = key_pair(tmp_path)
    gate_private, gate_public = key_pair(tmp_path, "ecdsa", "open sesame")
    server.let_in(gate_public)
    inner = Sshd(tmp_path / "inner", server.username).start()
    inner.let_in(public)
    workspace.allowances = ["this-machine", "other-linux"]
    workspace.save()
    typed = {
        "name": "behind",
        "address": "127.0.0.1",
        "ssh_port": inner.port,
        "username": inner.username,
        "authentication": "key",
        "private_key": private,
        "jump_address": "127.0.0.1",
        "jump_port": server.port,
        "jump_username": server.username,
        "jump_private_key": gate_private,
        "jump_passphrase": "open sesame",
        "environment": "system",
        "python": "python3",
    }
    try:
        form = VirtualMachineForm(workspace, typed)
        assert form.is_valid(), form.errors
        draft = attaching.begin(workspace, "VirtualMachine", by=ana)
        attaching.keep(draft, typed={}, config=form.config(), secrets=form.secrets(), unused=form.unused())
        for key, machine in (("jump_host_key", server), ("host_key", inner)):
            checks = _looked(draft)
            assert checks[key]["state"] == "ask", checks
            assert checks["sign_in"]["state"] == "skipped"
            attaching.trust(draft, machine.host_key["sha256"])
            draft.refresh_from_db()
        assert draft.config["jump_host_key"]["sha256"] == server.host_key["sha256"]
        assert attaching.says_the_same(draft, form.config())
        checks = _looked(draft)
        assert (checks["jump_host_key"]["state"], checks["sign_in"]["state"]) == ("ok", "ok")
        assert attaching.has_passed(draft)
        target = attaching.attach(draft, by=ana, name="behind", description="", tags={})
        run = ended(submitted(target, ana, {"train.py": "print('behind')\n"}))
        assert (run.status, log_of(run)) == (RunStatus.COMPLETED, "behind\n")
        remote.close_all()
        old = server.host_key["sha256"]
        server.stop()
        server.make_host_key()
        server.start()
        with pytest.raises(HostKeyChanged):
            target.driver.link()  # type: ignore[attr-defined]
        target.refresh_from_db()
        assert "changed_host_key" not in target.config  # the gate's key is not to be pinned for what is behind it
        again_asked = {check.key: check for check in target.driver.checks()}["jump_host_key"]  # type: ignore[attr-defined]
        assert again_asked.state == "ask"
        assert old in again_asked.remedy
    finally:
        inner.close()


def _looked(draft: Examination) -> dict[str, dict[str, Any]]:
    attaching.look(draft)
    examine(draft.pk, draft.round)
    draft.refresh_from_db()
    return {check["key"]: check for check in draft.checks}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"jump_host": "gate"}, "jump_host"),
        ({"jump_host": "*", "jump_address": ""}, "jump_address"),
        ({"jump_username": ""}, "jump_username"),
        ({"jump_password": ""}, "jump_private_key"),
        ({"jump_private_key": "ssh-ed25519 AAAA"}, "jump_private_key"),
        ({"jump_address": "$(id)"}, "jump_address"),
        ({"jump_username": "a b"}, "jump_username"),
    ],
)
def test_half_a_jump_host_is_refused(workspace: Workspace, change: dict[str, str], wrong: str) -> None:
    typed = {
        "name": "behind",
        "address": "far.example.org",
        "ssh_port": 22,
        "username": "ana",
        "authentication": "password",
        "password": PASSWORD,
        "understood": "on",
        "jump_address": "gate.example.org",
        "jump_port": 22,
        "jump_username": "ana",
        "jump_password": PASSWORD,
        "environment": "system",
    }
    assert VirtualMachineForm(workspace, typed).is_valid()
    assert wrong in VirtualMachineForm(workspace, typed | change).errors


def test_jump_hosts_are_chosen_among_the_machines_that_can_be_one(server: Sshd, workspace: Workspace) -> None:
    attached(workspace, server, name="gate")
    attached(workspace, server, name="behind", jump_host="gate")
    attached(workspace, server, name="edited")

    def offered(form: VirtualMachineForm) -> list[str]:
        return [value for value, _label in form["jump_host"].field.widget.choices]

    assert offered(VirtualMachineForm(workspace, name="edited")) == ["", "gate", "*"]
    known = {"jump_host": "was-detached"}
    assert offered(VirtualMachineForm(workspace, initial=known)) == ["", "edited", "gate", "was-detached", "*"]
    described = VirtualMachineForm(workspace, initial={"jump_host": "", "jump_address": "gate.example.org"})
    assert described["jump_host"].value() == "*"
    assert "jump_address" in VirtualMachineForm(workspace, {"jump_host": "*"}).errors
    assert not VirtualMachineForm.is_of_use("jump_port", {"jump_host": "gate", "jump_port": 22})
    assert VirtualMachineForm.is_of_use("jump_port", {"jump_address": "gate.example.org", "jump_port": 22})
    assert not VirtualMachineForm.is_of_use("docker_image", {"environment": "system"})


NOISY = """#!/bin/sh
# A login shell that speaks before it does anything, as start-up files with "echo" in them make one.
echo 'Welcome! $(reboot) `reboot`'
printf 'no newline at the end of this'
echo 'a warning' >&2
exec /bin/sh "$@"
"""


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", "tcsh", "fish", "noisy"])
def test_any_login_shell_will_do(
    shell: str, workspace: Workspace, ana: User, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if shell == "noisy":
        folder = Path(tempfile.mkdtemp(prefix="shell-"))  # where the user, too, gets to
        request.addfinalizer(lambda: shutil.rmtree(folder))
        folder.chmod(0o755)
        file = folder / "noisy"
        file.write_text(NOISY)
        file.chmod(0o755)
        path = str(file)
    else:
        path = subprocess.run(["which", shell], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    banner = tmp_path / "banner"
    banner.write_text("Authorized use only.\n" * 50)
    private, public = key_pair(tmp_path)
    with scratch_user(shell=path) as name:
        server = Sshd(tmp_path / "sshd", name, Banner=banner).start()
        try:
            server.let_in(public)
            target = attached(workspace, server, private)
            run = ended(submitted(target, ana, {"train.py": "import sys\nprint(sys.argv[1:])\n"}, "$HOME", "a'b", "!x"))
            assert run.status == RunStatus.COMPLETED, (run.reason, log_of(run))
            assert log_of(run) == """['$HOME', "a'b", '!x']\n"""
        finally:
            remote.close_all()
            server.close()


def test_a_login_shell_that_does_nothing_is_told_apart(workspace: Workspace, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    with scratch_user(shell="/bin/false") as name:
        server = Sshd(tmp_path / "sshd", name).start()
        try:
            server.let_in(public)
            with pytest.raises(TargetUnreachable, match="login shell"):
                remote.begin(account(server, private_key=private))
        finally:
            server.close()


# ----- wires


LINES = 40_000
WRITES = (
    f"import hashlib, sys, time\nseen = hashlib.sha256()\nfor n in range({LINES}):\n"
    "    line = f'{n:08d} ' + 'x' * 40\n    print(line)\n    seen.update(line.encode() + b'\\n')\n"
    "    if n % 2000 == 0: time.sleep(0.05)\n"
    "open('outputs/sha256', 'w').write(seen.hexdigest())\n"
)


def test_a_log_is_whole_over_a_wire_that_is_cut_again_and_again(
    server: Sshd, workspace: Workspace, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.1)
    wire = Wire(server.port, cut_after=200_000)  # less than a whole piece of a log
    try:
        target = attached(workspace, server, port=wire.port)
        run = submitted(target, ana, {"train.py": WRITES})
        run = _whatever_happens(run)
    finally:
        wire.close()
    assert run.status == RunStatus.COMPLETED, run.reason
    assert wire.cuts >= 3
    _is_whole(run)


def test_a_log_is_whole_over_a_slow_wire(server: Sshd, workspace: Workspace, ana: User) -> None:
    wire = Wire(server.port, rate=1_000_000)
    try:
        run = ended(submitted(attached(workspace, server, port=wire.port), ana, {"train.py": WRITES}), 60)
    finally:
        wire.close()
    assert run.status == RunStatus.COMPLETED, run.reason
    _is_whole(run)


def _whatever_happens(run: Run, seconds: float = 60) -> Run:
    """Follow a run as the worker's task does: what cannot be asked now is asked again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(StudioError):
            tasks.follow_job(job_of(run).pk)
        if job_of(run).state == JobState.ENDED:
            return again(run)
        time.sleep(0.05)
    raise AssertionError("it never ended")


def _is_whole(run: Run) -> None:
    job = job_of(run)
    text = log_of(run).encode()
    assert len(text) == LINES * 50
    assert hashlib.sha256(text).hexdigest() == (job.folder / "rank-0/outputs/sha256").read_text()


# ----- hosts that mean no good


@contextlib.contextmanager
def host_that(speaks: Callable[[socket.socket], None]) -> Iterator[int]:
    """Give the port of a host that does what `speaks` does with each connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def one(wire: socket.socket) -> None:
        with contextlib.suppress(OSError):
            speaks(wire)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                wire, _where = listening.accept()
                threading.Thread(target=one, args=(wire,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def _silent(wire: socket.socket) -> None:
    wire.recv(1)
    time.sleep(30)


def _endless_lines(wire: socket.socket) -> None:
    while True:
        wire.sendall(b"please wait\r\n" * 1000)


def _endless_line(wire: socket.socket) -> None:
    while True:
        wire.sendall(b"x" * 65536)


def _drips(wire: socket.socket) -> None:
    while True:
        wire.sendall(b"x")
        time.sleep(0.05)


def _hangs_up(wire: socket.socket) -> None:
    wire.close()


def _another_service(wire: socket.socket) -> None:
    wire.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    wire.close()


def _garbled(wire: socket.socket) -> None:
    wire.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + os.urandom(100_000))
    time.sleep(30)


@pytest.mark.parametrize(
    "speaks", [_silent, _endless_lines, _endless_line, _drips, _hangs_up, _another_service, _garbled]
)
def test_a_host_that_means_no_good_is_left_in_bounded_time(
    speaks: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_WITHIN", 1.0)
    with host_that(speaks) as port:
        before, threads = time.monotonic(), threading.active_count()
        with pytest.raises(TargetUnreachable) as caught:
            ssh.host_key_of(ssh.Account("127.0.0.1", port, "ana", inside=True))
        assert time.monotonic() - before < 8
        assert caught.value.hint
        assert not {"Error", "Errno", "banner"} & set(re.findall(r"[A-Z]?[a-z]+", caught.value.message))
        until(lambda: threading.active_count() <= threads + 2, 10)  # nothing goes on listening to it


@pytest.mark.parametrize("answer", ["127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_name_that_leads_inside_later_is_refused_at_the_next_connection(
    server: Sshd, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    target = attached(workspace, server, address="gpu.example.org")
    workspace.allowances = ["other-linux"]
    workspace.save()
    family = socket.AF_INET6 if ":" in answer else socket.AF_INET
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [(family, 1, 6, "", (answer, 22))])
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _wire, where: connected.append(where))
    with pytest.raises(NotAllowedNow, match="own machine, or a link-local"):
        ComputeTarget.objects.get(pk=target.pk).driver.link()  # type: ignore[attr-defined]
    assert "own machine" in ComputeTarget.objects.get(pk=target.pk).driver.refresh().reason
    assert connected == []


# ----- a full disk


@pytest.fixture
def small_home(server: Sshd) -> Iterator[Path]:
    """Give the user a folder of the studio's on a disk of its own, of 400 kB."""
    place = Path(f"~{server.username}").expanduser() / ".compute-studio"
    place.mkdir(exist_ok=True)
    options = f"size=400k,mode=700,uid={place.parent.stat().st_uid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
    yield place
    remote.close_all()
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_told_apart_and_nothing_is_left_half_done(
    server: Sshd, workspace: Workspace, ana: User, small_home: Path
) -> None:
    target = attached(workspace, server)
    run = submitted(target, ana, {"train.py": "print(1)\n", "large.bin": "x" * 500_000})
    assert run.status == RunStatus.FAILED
    assert "The disk of" in run.reason
    assert "is full" in run.reason
    assert not list(small_home.glob("runs/*/*/control-0/pid.json"))
    run = ended(submitted(target, ana, {"train.py": "print('there is room for this')\n"}))
    assert run.status == RunStatus.COMPLETED, run.reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_run_that_fills_the_disk_ends_and_says_so(
    server: Sshd, workspace: Workspace, ana: User, small_home: Path
) -> None:
    go_on = small_home / "go-on"
    script = (
        f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n"
        "with open('outputs/big', 'wb', 0) as big:\n    while True: big.write(b'x' * 4096)\n"
    )
    run = submitted(attached(workspace, server), ana, {"train.py": script})
    until(lambda: list(small_home.glob("runs/*/*/control-0/usage.json")))
    go_on.touch()
    run = ended(run)
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 1)
    assert "The disk of far is full." in run.reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_machine_without_any_room_says_so_when_it_is_asked(
    server: Sshd, workspace: Workspace, small_home: Path
) -> None:
    with contextlib.suppress(OSError), (small_home / "filler").open("wb") as filler:
        while True:
            filler.write(b"x" * 4096)
            filler.flush()
    with pytest.raises(TargetUnreachable, match="is full"):
        remote.begin(account(server, password=PASSWORD))


# ----- names


def test_names_of_files_that_a_shell_would_obey_arrive_as_they_are(
    server: Sshd, workspace: Workspace, ana: User
) -> None:
    names = [
        "a b.txt",
        "$(touch owned).txt",
        "`id`.txt",
        "-rf.txt",
        "it's.txt",
        'q".txt',
        "ñandú.txt",
        "semi;colon.txt",
    ]
    script = "import os\nfor n in sorted(os.listdir('.')): print(n)\n"
    run = ended(submitted(attached(workspace, server), ana, {"train.py": script, **dict.fromkeys(names, "x")}))
    assert run.status == RunStatus.COMPLETED, run.reason
    assert log_of(run).splitlines() == sorted([*names, "train.py", "outputs", "logs"])
