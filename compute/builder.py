"""Builds one environment, as a detached program of its own. Standard library only: it is run by the host's Python.

Usage: builder.py PLAN. The plan is JSON: {"uv": path, "steps": {"uv": [command, …], "pip": [command, …]},
"python": path of the interpreter that must answer in the end}. What the tools print is the log, with each command
before it. The exit code is that of the command that failed.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main(plan: dict[str, Any]) -> int:
    started = time.monotonic()
    tool = "uv" if _answers([plan["uv"], "--version"]) else "pip"
    if tool == "pip":
        print("uv does not start on this machine: pip does the work.", flush=True)
    for command in plan["steps"][tool]:
        print(f"$ {shlex.join([Path(command[0]).name, *command[1:]])}", flush=True)
        code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603
        if code:
            return code if code > 0 else 128 - code
    if not _answers([plan["python"], "-I", "-c", "pass"]):
        print(f"error: {plan['python']} does not start.", flush=True)
        return 1
    print(f"Environment ready in {time.monotonic() - started:.1f} s", flush=True)
    return 0


def _answers(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
