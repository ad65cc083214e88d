"""A fresh clone to the completed sample run, as a person does it, with nothing of an earlier one cached."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.product import OF_A_STUDIO, start, stop, wait_for
from studio.paths import CHECKOUT

if TYPE_CHECKING:
    from studio.bench import Bench

PATIENCE = 900.0  # seconds


def measure(bench: "Bench") -> Samples:
    """Measure once. It clones what is committed."""
    git = shutil.which("git")
    if git is None or not (CHECKOUT / ".git").exists():
        raise RuntimeError("This key clones the checkout: it needs git, and a checkout that git made.")
    with tempfile.TemporaryDirectory(prefix="studio-clone-") as folder:
        clone, output = Path(folder) / "studio", Path(folder) / "up.txt"
        environ = {name: value for name, value in os.environ.items() if name not in OF_A_STUDIO}
        environ |= {"UV_CACHE_DIR": f"{folder}/uv", "PIP_CACHE_DIR": f"{folder}/pip"}
        environ.pop("VIRTUAL_ENV", None)
        started = time.monotonic()
        subprocess.run([git, "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)  # noqa: S603
        command = [os.path.realpath(sys.executable), "manage.py", "up", "--port", "0"]
        process = start(command, output, environ, clone)
        try:
            ready = wait_for(output, process, r"is ready after ([\d.]+) s", PATIENCE)
            how = wait_for(output, process, r"sample \| \S+ is (\w+) after", PATIENCE)
            took = time.monotonic() - started
        finally:
            stop(process)
        if how != "completed":
            raise RuntimeError(f"The sample run is {how}:\n{output.read_text()}")
    return Samples([took], [f"of which {ready} s from the made environment to the first page"])
