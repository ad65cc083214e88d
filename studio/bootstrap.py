"""Makes the studio's environment, keeps it fresh, and hands each command to it. Standard library only."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from studio.paths import CHECKOUT

VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "studio.json"  # what is installed; written last, so a half-made environment has none
REQUIREMENTS = CHECKOUT / "requirements.txt"
OURS = ("up", "test", "bench")
USAGE = """\
Compute Studio

  python3 manage.py up      start the studio on this machine [--host] [--port] [--data DIR] [--no-sample]
  python3 manage.py test    check everything [PYTEST ARGUMENTS] [--without GROUP]
  python3 manage.py bench   measure [KEY …] [--json FILE]
"""
NO_NETWORK = (  # what pip and uv say when nothing answers
    "Failed to establish a new connection",
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Could not connect",
    "dns error",
    "Connection refused",
    "Network is unreachable",
    "ConnectTimeout",
    "timed out",
)


class CannotMake(Exception):
    """The environment cannot be made here. The message says what to do."""


def main(argv: list[str]) -> None:
    """Run a command of manage.py, in the studio's environment."""
    command = argv[1] if len(argv) > 1 else ""
    if command in OURS:
        try:
            ensure(test=command != "up")
        except CannotMake as problem:
            sys.exit(str(problem))
        except KeyboardInterrupt:
            sys.exit(130)
        enter(argv)
        _ours(command, argv[2:])
    elif PYTHON.exists():
        enter(argv)
    if find_spec("django") is None:
        sys.exit("The studio's environment is not made yet. Make and start it with: python3 manage.py up")
    if command in {"", "help", "-h", "--help"} and len(argv) < 3:
        print(USAGE)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    _django(argv)


def _ours(command: str, arguments: list[str]) -> None:
    module = import_module({"up": "studio.up", "test": "studio.checks", "bench": "studio.bench"}[command])
    sys.exit(module.main(arguments))


def _django(argv: list[str]) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from studio.people.origin import at_the_command_line

    at_the_command_line()
    try:
        execute_from_command_line(argv)
    except ImproperlyConfigured as problem:
        if "SECRET_KEY" not in str(problem):
            raise
        sys.exit("SECRET_KEY is not set: `python3 manage.py up` makes one, or set SECRET_KEY or SECRET_KEY_FILE.")


def enter(argv: list[str]) -> None:
    """Go on in the environment's Python, unless this is it."""
    if Path(sys.prefix).resolve() != VENV.resolve():
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), str(CHECKOUT / "manage.py"), *argv[1:]])  # noqa: S606


def wanted(*, test: bool) -> list[str]:
    """Return the requirements of the studio, and with `test` those of its tests and measurements."""
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    if test:
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
        lines += project["dependency-groups"]["test"]
    return [line for line in lines if line]


def digest(requirements: list[str]) -> str:
    """Return the stamp of an environment with `requirements` under this version of Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256("\n".join([version, *requirements]).encode()).hexdigest()


def is_fresh(*, test: bool) -> bool:
    """Say whether the environment holds what is wanted."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return stamp.get("test" if test else "run") == digest(wanted(test=test)) and PYTHON.exists()


def ensure(*, test: bool = False) -> None:
    """Make the environment, or mend it, unless it is as wanted. Raises CannotMake with what to do."""
    if is_fresh(test=test):
        return
    with _alone():
        if is_fresh(test=test):  # another start made it while this one waited
            return
        started = time.monotonic()
        whole = test or _has("test")  # what was there before stays at its version
        if not _works():
            _say(f"Making the studio's environment in {VENV} …")
            _make()
        requirements = wanted(test=whole)
        _say(f"Installing {len(requirements)} packages …")
        _install(requirements)
        stamp = {"run": digest(wanted(test=False))} | ({"test": digest(requirements)} if whole else {})
        fresh = STAMP.with_suffix(".new")
        fresh.write_text(json.dumps(stamp))
        fresh.replace(STAMP)
        _say(f"The environment is ready after {time.monotonic() - started:.0f} s.")


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other starts of this checkout waiting meanwhile. The lock is on the folder itself and leaves no file."""
    folder = os.open(CHECKOUT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another command makes the environment; waiting for it …")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _has(group: str) -> bool:
    try:
        return group in json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False


def _works() -> bool:
    """Say whether there is an environment whose Python starts, has pip, and is of the version at hand."""
    ask = "import sys, pip; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.split() == [str(n) for n in sys.version_info[:2]]


def _make() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    missing = (
        f"This Python has no working venv module. On Debian and Ubuntu: apt-get install python{version}-venv "
        "(elsewhere, the package that brings Python's venv and pip). Then start this again."
    )
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise CannotMake(missing)
    try:
        result = _call([sys.executable, "-m", "venv", "--clear", str(VENV)])
    except OSError as problem:
        raise CannotMake(f"{VENV} cannot be made: {problem.strerror}.") from problem
    if result.returncode:
        if "ensurepip" in result.stdout:
            raise CannotMake(missing)
        if not os.access(CHECKOUT, os.W_OK):
            raise CannotMake(f"{CHECKOUT} cannot be written to by this user, and the environment is made in it.")
        raise CannotMake(f"{VENV} cannot be made:\n{_last_lines(result.stdout)}")


def _install(requirements: list[str]) -> None:
    """Install with uv, which takes seconds, else with pip. Raises CannotMake with what to do."""
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    uv = next(line for line in requirements if line.startswith("uv=="))
    result = _call([*pip, uv])
    if not result.returncode:
        result = _call([str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON), *requirements])
    if result.returncode and not _nothing_answers(result.stdout):
        result = _call([*pip, *requirements])  # pip may know a mirror or a certificate that uv does not
    if not result.returncode:
        return
    if _nothing_answers(result.stdout):
        raise CannotMake(
            "The first start installs the studio's packages, and the package index cannot be reached. Connect this "
            "machine to the network, or name a mirror in PIP_INDEX_URL and UV_INDEX_URL, and start this again."
        )
    if shutil.disk_usage(CHECKOUT).free < 500_000_000:
        raise CannotMake(
            f"The disk that holds {CHECKOUT} is full: the environment needs 500 MB. Make room and try again."
        )
    raise CannotMake(f"The studio's packages could not be installed:\n{_last_lines(result.stdout)}")


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"}}
    environ.setdefault("UV_SYSTEM_CERTS", "1")  # as pip does: a company's own certificates are in the system's store
    return subprocess.run(  # noqa: S603
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _nothing_answers(output: str) -> bool:
    return any(words in output for words in NO_NETWORK)


def _last_lines(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-15:])


def _say(line: str) -> None:
    print(line, flush=True)
