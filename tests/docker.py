"""Plays Docker where there is no engine: a client for a machine's PATH, and a daemon whose containers are processes.

As with the real one, a container is the daemon's child and not the client's: it goes on without the client, and sees of
the client's environment what it is told to.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

CLIENT = r"""#!/usr/bin/python3
import json, os, pathlib, signal, socket, sys
there = str(pathlib.Path(__file__).parent / "docker.sock")
def ask(**facts):
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(there)
    wire.sendall(json.dumps(facts).encode() + b"\n")
    return wire
def hear(wire):
    return json.loads(wire.makefile().read())
if sys.argv[1] == "rm":
    name = sys.argv[-1]
    if not hear(ask(do="rm", name=name)):
        sys.exit("Error response from daemon: No such container: " + name)
    sys.exit(print(name))
value = lambda option: sys.argv[sys.argv.index(option) + 1]
name = value("--name")
signal.signal(signal.SIGTERM, lambda *_: ask(do="signal", name=name))
shown = {sys.argv[n + 1] for n, word in enumerate(sys.argv) if word == "-e"}
env = {key: text for key, text in os.environ.items() if key in shown}
output = ask(do="run", name=name, argv=sys.argv[2:], work=value("-w"), env=env)
while piece := output.recv(65536):
    os.write(1, piece)
sys.exit(hear(ask(do="wait", name=name)))
"""


class Docker:
    """The engine of one machine. `programs` goes on its PATH; containers: name → process, `asked`: name → arguments."""

    def __init__(self) -> None:
        self.programs = Path(tempfile.mkdtemp(prefix="docker-"))  # where the user, too, gets to
        self.programs.chmod(0o755)
        client = self.programs / "docker"
        client.write_text(CLIENT)
        client.chmod(0o755)
        self.asked: dict[str, list[str]] = {}
        self.containers: dict[str, subprocess.Popen[bytes]] = {}
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.programs / "docker.sock"))
        (self.programs / "docker.sock").chmod(0o666)
        self.socket.listen(20)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.socket.close()
        for name in list(self.containers):
            self._remove(name)
        shutil.rmtree(self.programs)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                wire, _who = self.socket.accept()
                threading.Thread(target=self._answer, args=(wire,), daemon=True).start()

    def _answer(self, wire: socket.socket) -> None:
        with wire, suppress(OSError):
            asked = json.loads(wire.makefile().readline())
            name = asked["name"]
            if asked["do"] == "run":
                self._run(name, asked, wire)
                return
            process = self.containers.get(name)
            if asked["do"] == "signal" and process:
                process.terminate()
            elif asked["do"] == "rm":
                wire.sendall(json.dumps(self._remove(name)).encode())
            elif asked["do"] == "wait" and process:
                code = process.wait()
                self.containers.pop(name, None)  # --rm
                wire.sendall(json.dumps(code).encode())

    def _run(self, name: str, asked: dict[str, Any], wire: socket.socket) -> None:
        argv = asked["argv"]
        command = [sys.executable, *argv[argv.index("python") + 1 :]]
        self.asked[name] = argv
        self.containers[name] = subprocess.Popen(
            command,
            cwd=asked["work"],
            env=asked["env"],
            stdout=wire.fileno(),
            stderr=wire.fileno(),
            start_new_session=True,
        )

    def _remove(self, name: str) -> bool:
        process = self.containers.pop(name, None)
        if process is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
