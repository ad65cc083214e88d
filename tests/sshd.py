"""Real OpenSSH servers on loopback, each with its own configuration, keys and user."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


class Sshd:
    """One server. `start` it, `stop` it, give it other keys; its port stays the same."""

    def __init__(self, folder: Path, username: str, *, host_key: str = "ed25519", **options: object) -> None:
        """`options`: lines of its configuration, such as MaxSessions=1."""
        self.folder, self.username, self.options = folder, username, options
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.open = Path(tempfile.mkdtemp(prefix="sshd-"))  # where the user, too, gets to
        self.open.chmod(0o755)
        self.authorized = self.open / "authorized_keys"
        self.authorized.touch(0o644)
        self.make_host_key(host_key)

    def make_host_key(self, kind: str = "ed25519") -> None:
        """Make the key that it shows from its next start on."""
        key = self.folder / "host_key"
        for file in (key, key.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)

    @property
    def host_key(self) -> dict[str, str]:
        """Return its key as a target pins it."""
        kind, key, *_comment = (self.folder / "host_key.pub").read_text().split()
        told = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / "host_key.pub"], stdout=subprocess.PIPE, text=True, check=True
        )
        return {"type": kind, "key": key, "sha256": told.stdout.split()[1]}

    def let_in(self, line: str) -> None:
        with self.authorized.open("a") as file:
            file.write(line.strip() + "\n")

    def start(self) -> "Sshd":
        defaults: dict[str, object] = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host_key",
            "PidFile": "none",
            "AuthorizedKeysFile": self.authorized,
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": "200:30:400",
            "LogLevel": "ERROR",
            "PrintMotd": "no",
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in (defaults | self.options).items()))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self.open)

    def stop(self) -> None:
        """End it with every connection it has; what people started in them stays."""
        if self.process is None:
            return
        for pid in processes_below(self.process.pid):
            with contextlib.suppress(OSError):  # it went by itself meanwhile
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith((b"sshd", SSHD.encode())):
                    os.kill(pid, 9)
        self.process.kill()
        self.process.wait()
        self.process = None


def processes_below(pid: int) -> list[int]:
    """Return the processes below one, the deepest first."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it went by itself meanwhile
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                found += [*processes_below(child), child]
    return found


@contextmanager
def scratch_user(shell: str = "/bin/bash", password: str = "") -> Iterator[str]:
    """Give a user of its own with an empty home folder, as root; else whoever runs the tests."""
    if os.geteuid() != 0:
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    name = f"studio-{secrets.token_hex(4)}"
    subprocess.run(["useradd", "--create-home", "--skel", "/dev/null", "--shell", shell, name], check=True)
    try:
        secret = password or secrets.token_hex(16)  # an account without one is locked for keys, too
        subprocess.run(["chpasswd"], input=f"{name}:{secret}\n".encode(), check=True)
        yield name
    finally:
        subprocess.run(["pkill", "-KILL", "-u", name], check=False)
        for _try in range(50):
            if (
                subprocess.run(["userdel", "--remove", "--force", name], capture_output=True, check=False).returncode
                == 0
            ):
                break
            time.sleep(0.1)


def key_pair(folder: Path, kind: str = "ed25519", passphrase: str = "", *more: str) -> tuple[str, str]:
    """Return a private key and its public line, made by ssh-keygen."""
    file = folder / f"key-{secrets.token_hex(4)}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", file, *more], check=True)
    return file.read_text(), file.with_suffix(".pub").read_text()
