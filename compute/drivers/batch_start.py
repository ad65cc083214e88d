"""Starts a run on a node of Azure Batch, with the Python that is there: sent there as text. Standard library only."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tarfile

NO_ENVIRONMENT = 78  # exit code of a start that could not make its environment
LONGEST = 1800  # seconds for each step of making one


def main():  # type: () -> None
    """Unpack the files, and become the script in a copy of them, with its variables, which no page there shows."""
    home = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(home, "order.json")) as file:
        order = json.load(file)
    os.remove(os.path.join(home, "order.json"))
    os.makedirs("work", exist_ok=True)
    with tarfile.open(order["files"]) as files:
        files.extractall("work")  # noqa: S202 - the studio's own, of files it has checked
    os.remove(order["files"])
    python = order["python"] or sys.executable
    if order["requirements"]:
        python = python_with(order["requirements"], python, os.environ.get("AZ_BATCH_NODE_SHARED_DIR") or home)
    os.chdir("work")
    for name in ("outputs", "logs"):
        os.makedirs(name, exist_ok=True)
    os.environ.update(order["variables"])
    os.environ["PYTHONUNBUFFERED"] = "1"
    sys.stdout.flush()
    os.execvp(python, [python, order["script"], *order["arguments"]])


def python_with(requirements, base, top):  # type: (str, str, str) -> str
    """Return the Python of an environment with these requirements, which the runs on a node share."""
    place = os.path.join(top, "compute-studio-" + hashlib.sha256((base + requirements).encode()).hexdigest()[:16])
    python = os.path.join(place, "bin", "python")
    with open(place + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes first makes it; the others wait
        if not os.path.exists(place + ".ready"):
            print("studio: making the environment, which later runs on this node share", flush=True)
            with open(place + ".txt", "w") as file:
                file.write(requirements)
            make(base, "-m", "venv", "--clear", place)
            make(python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", place + ".txt")
            open(place + ".ready", "w").close()
    return python


def make(*command):  # type: (*str) -> None
    """Take one step; what the tool says of it goes into the run's log, and the run ends with it when it fails."""
    try:
        why = f"exit code {subprocess.run([*command], stdin=subprocess.DEVNULL, timeout=LONGEST).returncode}"
    except subprocess.TimeoutExpired:
        why = f"it took more than {LONGEST // 60} minutes"
    except OSError as exc:
        why = str(exc)
    if why != "exit code 0":
        print(f"studio: the environment could not be made, {why}: {' '.join(command[1:3])}", flush=True)
        sys.exit(NO_ENVIRONMENT)


if __name__ == "__main__":
    main()
