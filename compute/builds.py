"""How an environment is built: the program that does it, what it sees and may reach, and why it failed.

A build works in three places: the environment's own folder, its workshop beside it, and a cache that all builds share.
The rows, and when a build is to be, are `compute.environments`'s; what the program itself does is `compute.builder`'s.
"""

import hashlib
import json
import os
import platform
import re
import sys
import threading
from pathlib import Path
from typing import Any

import uv
import yaml
from django.conf import settings
from django.utils.translation import gettext as _

from compute import builder, isolation, logs
from compute.drivers.base import Handle
from compute.isolation import host_python
from compute.models import Environment
from compute.processes import Confinement, ProcessSpec, start
from compute.requirements import conda_tool

LONGEST_BUILD_SECONDS = 3600

# What the world outside may tell a build: how to reach package indexes, and nothing about the studio.
_PASSED_ON = re.compile(
    r"(PIP|UV)_\w+|(HTTP|HTTPS|ALL|NO|FTP)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO",
    re.IGNORECASE,
)
# … but not where packages go, or with which Python: that is decided here.
_NOT_PASSED_ON = re.compile(
    r"(PIP|UV)_(USER|TARGET|PREFIX|ROOT|PYTHON|SYSTEM_PYTHON|REQUIREMENTS?|CONSTRAINTS?|REQUIRE_VIRTUALENV|LOG"
    r"|CACHE_DIR|LINK_MODE|PROJECT\w*|ENV_FILE|OVERRIDES?|EXCLUDES?|BUILD_CONSTRAINTS?|WORKING_DIR\w*)",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def interpreter_of(environment: Environment) -> Path:
    """Return the environment's Python."""
    return environment.folder / "bin" / "python"


def workshop_of(environment: Environment) -> Path:
    """Return the folder of a build's own files: requirements, plan, control folder, home."""
    return Path(settings.ENVIRONMENT_DIR) / "builds" / environment.folder.name


def begin(environment: Environment) -> Handle:
    """Start the build of an environment; repeated, it is started once, as its folder says. Raises OSError."""
    root, workshop = Path(settings.ENVIRONMENT_DIR), workshop_of(environment)
    for name in ("home", "tmp"):
        (workshop / name).mkdir(parents=True, exist_ok=True)
    _write(workshop / "requirements.txt", environment.definition.get("text", ""))
    _write(workshop / "environment.yml", _conda_file(environment.definition))
    _write(workshop / "plan.json", json.dumps(_plan(environment)))
    confinement = _confinement(environment)
    return start(
        ProcessSpec(
            argv=[
                os.fspath(host_python()),
                "-I",
                os.fspath(Path(builder.__file__).absolute()),
                f"{workshop}/plan.json",
            ],
            cwd=root,
            env=surroundings(workshop),
            log=logs.path(environment.log_key),
            folder=workshop / "control",
            tag=f"environment-{environment.folder.name}-{_mark(environment.folder)}",
            confinement=confinement,
            most_processes=settings.RUN_PROCESSES,
            max_seconds=LONGEST_BUILD_SECONDS,
            grace_seconds=settings.GRACE_SECONDS,
        )
    )


def _mark(folder: Path) -> str:
    """Return what tells the builds of this studio from those of others on the machine, which may be of the same."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]


def _confinement(environment: Environment) -> Confinement:
    """Let a build write into its environment, its own folders and what all builds share; make those ready."""
    root, workshop, tool = Path(settings.ENVIRONMENT_DIR), workshop_of(environment), Path(_uv())
    own = [root / "cache", workshop / "home", workshop / "tmp"]
    if environment.definition.get("packages") or environment.definition.get("conda_python"):
        # conda wants to make its folder itself; nobody but a folder's owner can take it away from there
        if user := isolation.user_of_builds():
            os.chown(root, -1, user)
            root.chmod(0o1775)
        own.append(root)
    else:
        own.append(environment.folder)
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
        if folder != root:
            isolation.give(folder, isolation.user_of_builds(), 0o755)
    for name in ("requirements.txt", "environment.yml", "plan.json"):
        (workshop / name).chmod(0o644)
    needed = [root, Path(builder.__file__).absolute(), tool, *map(Path, filter(None, [conda_tool()]))]
    needed += [Path(value) for name, value in os.environ.items() if name.startswith("SSL_CERT_")]
    return isolation.of_build(own, needed, host_python())


def _plan(environment: Environment) -> dict[str, Any]:
    """Return what `compute.builder` is to do, with paths below the folder of all environments."""
    definition, here = environment.definition, environment.folder.name
    requirements, tool = f"builds/{here}/requirements.txt", _uv()
    install = ["install", "-r", requirements]
    uses_conda = definition.get("packages") or definition.get("conda_python")
    if uses_conda:
        conda = conda_tool()
        verb = ["create", "--yes"] if Path(conda).name == "micromamba" else ["env", "create"]
        make = {name: [conda, *verb, "-p", here, "-f", f"builds/{here}/environment.yml"] for name in ("uv", "pip")}
    else:
        python = definition["python"]
        bare = [] if definition.get("text") else ["--without-pip"]
        make = {
            "uv": [tool, "venv", "--no-project", "--python", python, here],
            "pip": [python, "-m", "venv", *bare, here],
        }
    steps = {"uv": [make["uv"]], "pip": [make["pip"]]}
    if definition.get("text"):
        steps["uv"].append([tool, "pip", *install[:1], "--python", f"{here}/bin/python", *install[1:]])
        steps["pip"].append([f"{here}/bin/python", "-m", "pip", *install])
    return {"uv": tool, "steps": steps, "python": f"{here}/bin/python"}


def _conda_file(definition: dict[str, Any]) -> str:
    """Return the conda part of a definition as a file for the tool, with a Python in it."""
    asked = definition.get("conda_python") or "=" + ".".join(platform.python_version_tuple()[:2])
    python = f"python{asked}" if asked[0] in "<>=!~" else f"python={asked}"
    file = {"channels": definition.get("channels") or ["conda-forge"], "dependencies": [python]}
    file["dependencies"] += ["pip", *definition.get("packages", [])]
    return yaml.safe_dump(file, sort_keys=False)


def _write(file: Path, text: str) -> None:
    """Write a file whole: two who build the same write the same, and neither must see half of it."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    scratch.write_text(text)
    scratch.replace(file)


def _uv() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        return "uv"


def surroundings(workshop: Path) -> dict[str, str]:
    """Return all the variables a build sees."""
    own = os.fspath(Path(sys.prefix) / "bin")
    passed = {
        name: value
        for name, value in os.environ.items()
        if _PASSED_ON.fullmatch(name) and not _NOT_PASSED_ON.fullmatch(name)
    }
    cache = Path(settings.ENVIRONMENT_DIR) / "cache"
    return (
        {"UV_SYSTEM_CERTS": "1"}
        | passed
        | {
            "PATH": os.pathsep.join(f for f in os.environ.get("PATH", os.defpath).split(os.pathsep) if f != own),
            "LANG": "C.UTF-8",
            "HOME": os.fspath(workshop / "home"),
            "TMPDIR": os.fspath(workshop / "tmp"),
            "UV_CACHE_DIR": f"{cache}/uv",
            # Copies: a run that writes into its environment must not change the cache, and with it the next one's.
            "UV_LINK_MODE": "copy",
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_CACHE_DIR": f"{cache}/pip",
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "MAMBA_ROOT_PREFIX": f"{cache}/mamba",
            "CONDA_PKGS_DIRS": f"{cache}/conda",
        }
    )


def why_failed(environment: Environment, detail: str) -> str:
    """Return why a build failed: a sentence with what to do, then the tool's own words."""
    size = logs.size(environment.log_key)
    tail = logs.read(environment.log_key, max(0, size - 16_384), 16_384).decode(errors="replace")
    lines = [line.rstrip() for line in _ESCAPE.sub("", tail).replace("\r", "\n").split("\n") if line.strip()]
    commands = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    lines = lines[commands[-1] + 1 :] if commands else lines
    errors = [at for at, line in enumerate(lines) if re.match(r"\s*(error|×)", line, re.IGNORECASE)]
    lines = [line if len(line) <= 300 else f"{line[:299]}…" for line in (lines[errors[0] :] if errors else lines[-12:])]
    words = "\n".join(lines if len(lines) <= 12 else [*lines[:4], "…", *lines[-7:]])
    return f"{advice(words, detail)}\n{words}".strip()[:2000]


def advice(words: str, detail: str) -> str:
    """Return one sentence that says in plain words what the tool says, and what to do."""
    missing = re.search(r"Because ([\w.-]+) was not found|requirement ([\w.-]+)\S* \(from versions: none\)", words)
    version = re.search(r"(?:there is no version of |satisfies the requirement )([^\s,]+)", words, re.IGNORECASE)
    if re.search(
        r"dns error|name resolution|tcp connect|tunnel error|Failed to fetch|NewConnectionError|timed out", words
    ):
        return _("The package index cannot be reached: check the machine's network and proxy, then resubmit.")
    if missing:
        return _("The package index has no package “%(name)s”: check its name.") % {"name": missing[1] or missing[2]}
    if version:
        return _("There is no %(name)s for Python %(version)s: choose another version.") % {
            "name": version[1],
            "version": platform.python_version(),
        }
    if re.search(r"unsatisfiable|incompatible|conflict|ResolutionImpossible", words):
        return _("The packages ask for versions that exclude one another: loosen one of them.")
    if re.search(r"No space left", words):
        return _("The disk is full: make room, then resubmit.")
    if re.search(r"Failed to build|build backend|gcc|compil", words, re.IGNORECASE):
        return _("A package has to be compiled here and could not be: choose a version with a wheel for this machine.")
    if detail:
        return _("The build ended early: %(detail)s.") % {"detail": detail.rstrip(".")}
    return _("The build failed: its log has the rest.")
