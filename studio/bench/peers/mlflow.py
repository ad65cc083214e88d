"""MLflow Projects, which run where they are submitted: `mlflow run`, and what it prints. It has no log elsewhere."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = 'name: bench\nentry_points:\n  main:\n    command: "python -u train.py"\n'


def start(folder: str, script: str) -> "subprocess.Popen[str]":
    Path(folder, "MLproject").write_text(PROJECT)
    Path(folder, "train.py").write_text(script)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = ["mlflow", "run", folder, "--env-manager=local"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ)


def first() -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        with start(folder, "print('the first line')\n") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "the first line" in line:
                    return time.monotonic() - started
    raise RuntimeError("mlflow printed no line")


def many(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        places = [tempfile.mkdtemp(dir=folder) for _n in range(count)]
        for process in [start(place, "print('done')\n") for place in places]:
            process.communicate()
        return time.monotonic() - started


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    name, _space, count = line.strip().partition(" ")
    print(json.dumps({"seconds": first() if name == "first" else many(int(count))}), flush=True)
