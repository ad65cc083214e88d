"""`manage.py test`: formats, lint, types, the import contract, migrations and every test, each with its seconds."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from studio.paths import CHECKOUT

BIN = Path(sys.prefix) / "bin"
GROUPS = ("lint", "types", "unit", "integration", "browser")
ENDS = ("passed", "failed", "error", "errors", "skipped")
CLOSING = re.compile(r"\b(passed|failed|error|errors|no tests ran|skipped)\b.* in [\d.]+s")
FOLDERS = {"integration": "tests/integration", "browser": "tests/browser"}


class CannotTest(Exception):
    """Something the tests need is not here and cannot be fetched. The message names it."""


@dataclass(frozen=True)
class Check:
    name: str
    group: str
    command: list[str]


def checks() -> list[Check]:
    """Return what comes before the tests, in order."""
    python = sys.executable
    return [
        Check("ruff format", "lint", [str(BIN / "ruff"), "format", "--check", "."]),
        Check("ruff check", "lint", [str(BIN / "ruff"), "check", "."]),
        Check("djlint", "lint", [str(BIN / "djlint"), "templates", "--lint", "--quiet"]),
        Check("import contract", "lint", [str(BIN / "lint-imports")]),
        Check("mypy", "types", [str(BIN / "mypy"), "."]),
        Check("migrations", "types", [python, "manage.py", "makemigrations", "--check", "--dry-run"]),
    ]


def main(arguments: list[str]) -> int:
    left_out, to_pytest = parse(arguments)
    in_ci = os.environ.get("CI", "").lower() == "true"
    if in_ci and left_out:
        print(f"In CI nothing is left out, and --without {' '.join(sorted(left_out))} was asked for.", file=sys.stderr)
        return 2
    if to_pytest and not in_ci:  # somebody works on these tests
        left_out |= {"lint", "types"}
    environ = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "SECRET_KEY": "only-for-tests", "PYTHONUNBUFFERED": "1"}
    for name in ("STUDIO_DATA", "STUDIO_URL", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS", "STUDIO_HOST_NAME"):
        environ.pop(name, None)  # of a studio that runs here
    try:
        if "browser" not in left_out:
            environ["STUDIO_CHROMIUM"] = chromium()
        if "integration" not in left_out:
            environ["STUDIO_POSTGRESQL"] = postgresql()
            java()
            shells()
            nginx()
        if not {"integration", "browser"} <= left_out:
            openssh()
    except CannotTest as problem:
        print(problem, file=sys.stderr)
        return 2
    failed = []
    for check in checks():
        if check.group not in left_out and not _passes(check, environ):
            failed.append(check.name)
    closing = ""
    if not {"unit", "integration", "browser"} <= left_out:
        started = time.monotonic()
        code, closing = side_by_side(parts(left_out, to_pytest), environ)
        if code:
            failed.append("pytest")
        _tell("pytest", not code, time.monotonic() - started)
    if failed:
        print(f"Failed: {', '.join(failed)}")
    if closing:  # the last word, for people and for machines that look for it
        print(closing)
    if left_out:
        print(f"Left out: {', '.join(group for group in GROUPS if group in left_out)}")
    return 1 if failed else 0


def parse(arguments: list[str]) -> tuple[set[str], list[str]]:
    """Return the groups to leave out, and what is for pytest."""
    parser = argparse.ArgumentParser(
        prog="manage.py test",
        description="Check everything. Other arguments go to pytest, and then lint and types are left out.",
        epilog="Groups: " + ", ".join(GROUPS),
    )
    parser.add_argument("--without", action="append", choices=GROUPS, default=[], metavar="GROUP", help="leave one out")
    known, rest = parser.parse_known_args(arguments)
    return set(known.without), rest


def selection(left_out: set[str]) -> list[str]:
    """Return pytest's arguments for the groups that are wanted."""
    if "unit" in left_out:
        return [folder for group, folder in FOLDERS.items() if group not in left_out]
    return [f"--ignore={folder}" for group, folder in FOLDERS.items() if group in left_out]


def parts(left_out: set[str], to_pytest: list[str]) -> list[list[str]]:
    """Return the arguments of each pytest. Integration tests wait most of the time, so they run beside the others."""
    if to_pytest or "integration" in left_out or {"unit", "browser"} <= left_out:
        return [[*selection(left_out), *to_pytest]]
    return [selection(left_out | {"integration"}), [FOLDERS["integration"]]]


def side_by_side(those: list[list[str]], environ: dict[str, str]) -> tuple[int, str]:
    """Run a pytest for each, show the first as it goes and the others behind it; return the worst code and a closing.

    The closing is pytest's own where one ran, else "N passed, N failed" of all of them.
    """
    with ThreadPoolExecutor(len(those)) as others:
        said: list[list[str]] = [[] for _ in those[1:]]
        beside = [others.submit(pytest, those[n + 1], environ, kept.append) for n, kept in enumerate(said)]
        code, closing = pytest(those[0], environ)
        closings = [closing]
        for one, kept in zip(beside, said, strict=True):
            other, closing = one.result()
            code, closings = code or other, [*closings, closing]
            _show("".join(kept))
    if not beside:
        return code, closing
    numbers = {word: sum(map(int, re.findall(rf"\b(\d+) {word}", " ".join(closings)))) for word in ENDS}
    failed = sum(numbers[word] for word in ("failed", "error", "errors")) or int(bool(code))
    skipped = f", {numbers['skipped']} skipped" if numbers["skipped"] else ""
    return code, f"{numbers['passed']} passed, {failed} failed{skipped}"


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def pytest(arguments: list[str], environ: dict[str, str], show: Callable[[str], object] = _show) -> tuple[int, str]:
    """Run pytest, showing each line as it says it; return its code and its closing line."""
    color = ["--color=yes"] if sys.stdout.isatty() else []
    command = [sys.executable, "-m", "pytest", *color, *arguments]
    closing = ""
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=CHECKOUT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            show(line)
            if CLOSING.search(line):
                closing = line.rstrip("\n")
    return process.returncode, closing


def _passes(check: Check, environ: dict[str, str]) -> bool:
    started = time.monotonic()
    result = subprocess.run(  # noqa: S603
        check.command,
        cwd=CHECKOUT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    _tell(check.name, not result.returncode, time.monotonic() - started)
    if result.returncode:
        print(result.stdout.rstrip(), flush=True)
    return not result.returncode


def _tell(name: str, passed: bool, seconds: float) -> None:
    print(f"{'ok    ' if passed else 'FAILED'}  {name:<16} {seconds:6.1f} s", flush=True)


# What tests and measurements need of the machine


def chromium() -> str:
    """Return a Chromium's path, fetching one when that is possible. Raises CannotTest, naming the package."""
    ways: list[Callable[[], None]] = [_apt_chromium] if os.geteuid() == 0 and shutil.which("apt-get") else []
    for way in [lambda: None, *ways, _playwright_chromium]:
        way()
        if found := find_chromium():
            return found
    raise CannotTest(
        "The browser tests need Chromium, and none could be fetched. Install the package “chromium” (on Debian: "
        "apt-get install chromium), or name a Chromium in STUDIO_CHROMIUM, or use --without browser."
    )


def find_chromium() -> str | None:
    for name in (os.environ.get("STUDIO_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and (there := shutil.which(name)):
            return there
    ask = "from playwright.sync_api import sync_playwright as p\nwith p() as it: print(it.chromium.executable_path)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)  # noqa: S603
    own = answer.stdout.strip()
    return own if own and Path(own).exists() else None


def postgresql() -> str:
    """Return the folder of a PostgreSQL's programs, fetching one when that is possible. Raises CannotTest."""
    found = find_postgresql()
    if not found and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt("postgresql")
        found = find_postgresql()
    if not found:
        raise CannotTest(
            "The integration tests need PostgreSQL's server, and none could be fetched. Install the package "
            "“postgresql” (on Debian: apt-get install postgresql), or name the folder of initdb in STUDIO_POSTGRESQL, "
            "or use --without integration."
        )
    return found


def openssh() -> None:
    """Have OpenSSH's server and its keys' program at hand, installed where we may. Raises CannotTest."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if not shutil.which("sshd", path=path) and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt("openssh-server")
    if not shutil.which("sshd", path=path) or not shutil.which("ssh-keygen"):
        raise CannotTest(
            "The integration and browser tests need OpenSSH's server, which is not here. Install the package "
            "“openssh-server” (on Debian: apt-get install openssh-server), or use --without integration "
            "--without browser."
        )


def java() -> None:
    """Have the Java at hand that Spark runs on, installed where we may. Raises CannotTest."""
    if not shutil.which("java") and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt("openjdk-17-jre-headless")
    if not shutil.which("java"):
        raise CannotTest(
            "The integration tests need Java for Spark, and there is none. Install the package "
            "“openjdk-17-jre-headless” (on Debian: apt-get install openjdk-17-jre-headless), or use "
            "--without integration."
        )


def nginx() -> None:
    """Have the proxy at hand that README's text is for, installed where we may. Raises CannotTest."""
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
    if not shutil.which("nginx", path=path) and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt("nginx-light")
    if not shutil.which("nginx", path=path):
        raise CannotTest(
            "The integration tests put nginx in front, and there is none. Install the package “nginx-light” "
            "(on Debian: apt-get install nginx-light), or use --without integration."
        )


def shells() -> None:
    """Have the login shells at hand that are not of sh's kind, installed where we may. Raises CannotTest."""
    for name in ("tcsh", "fish"):
        if not shutil.which(name) and os.geteuid() == 0 and shutil.which("apt-get"):
            _apt(name)
        if not shutil.which(name):
            raise CannotTest(
                f"The integration tests sign in to {name}, and there is none. Install the package “{name}” "
                f"(on Debian: apt-get install {name}), or use --without integration."
            )


def find_postgresql() -> str | None:
    """Return the folder that holds initdb: Debian keeps it off the path, a version beside the other."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    on_path = [Path(there).resolve().parent for there in [shutil.which("initdb")] if there]
    asked = [Path(there) for there in [os.environ.get("STUDIO_POSTGRESQL")] if there]
    return next((str(f) for f in [*asked, *on_path, *reversed(debian)] if os.access(f / "initdb", os.X_OK)), None)


def _apt_chromium() -> None:
    _apt("chromium")


def _apt(package: str) -> None:
    print(f"Installing {package} with apt-get …", flush=True)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        subprocess.run(  # noqa: S603
            ["apt-get", "-qq", *command],  # noqa: S607
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )


def _playwright_chromium() -> None:
    print("Fetching Playwright's Chromium …", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)  # noqa: S603
