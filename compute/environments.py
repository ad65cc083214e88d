"""What a script needs around it: an existing interpreter, or packages, built once on this machine and shared.

A definition says all that makes an environment what it is; its digest is the environment's identity. A build is a
detached program that writes its own log; rows move by compare-and-set, so that however many ask, one build runs.
"""

import hashlib
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import uv
import yaml
from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from compute import builder, isolation, logs
from compute.drivers.base import Attaches, Phase
from compute.models import ComputeTarget, Environment, EnvironmentState, Job
from compute.processes import Confinement, ProcessSpec, look, start
from compute.requirements import conda_asks, conda_tool, requirements_of
from compute.states import EndReason
from studio.errors import CannotEverRun, StudioError

logger = logging.getLogger(__name__)

LONGEST_TEXT = 64 * 1024  # bytes of a requirements or conda file
LONGEST_BUILD_SECONDS = 3600
MOST_LOST_BUILDS = 2  # a build that a restart of the machine cut off begins again this often

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
_FOLDER = re.compile(r"[0-9a-f]{16}-\d+\Z")


# Definitions


def definition_of(kind: str, text: str) -> dict[str, Any]:
    """Return what an environment is, as JSON, from what a person asked for.

    `text` is a path or name of a Python for the kind "interpreter" ("" is the studio machine's own), a requirements
    file for "pip", and an environment file for "conda". Raises StudioError for text that cannot be read or must not
    be, CannotEverRun for what this machine has not got. {"python"} of the result is a path.
    """
    if len(text.encode(errors="replace")) > LONGEST_TEXT:
        raise StudioError(
            _("The environment's text is longer than %(n)d bytes.") % {"n": LONGEST_TEXT}, _("Name fewer packages.")
        )
    if kind == "interpreter":
        python = _interpreter(text.strip())
        return {"kind": kind, "text": text.strip(), "python": str(python), "version": _version_of(python)}
    here = {
        "host": settings.HOST_NAME,
        "python": host_python(),
        "version": platform.python_version(),
        "machine": _machine(),
    }
    if kind == "pip":
        lines = requirements_of(text.splitlines())
        if not any(not line.startswith("-") for line in lines):
            raise StudioError(
                _("The requirements name no package."), _("Name one a line, or choose an existing interpreter.")
            )
        return {"kind": kind, "text": "\n".join(lines) + "\n", **here}
    if kind == "conda":
        return {"kind": kind, **conda_asks(text), **here}
    raise StudioError(_("There is no kind of environment “%(kind)s”.") % {"kind": kind[:40]})


def definition_for(target: ComputeTarget, kind: str, text: str) -> dict[str, Any]:
    """Return what a run on `target` has around it: see `definition_of`, for the studio's own machines.

    What another machine makes of it is known there; here is refused what its kind has no use for, and text that no
    machine could make an environment of.
    """
    driver = target.driver
    if not isinstance(driver, Attaches):
        return definition_of(kind, text)
    if kind == "interpreter":
        if text.startswith("-") or not text.isprintable():
            raise StudioError(_("“%(path)s” is no Python.") % {"path": text[:200]}, _("Write its path, or its name."))
        return {"kind": kind, "python": text}
    if kind not in driver.environments:
        raise CannotEverRun(
            _("%(kind)s cannot make such an environment.") % {"kind": driver.label}, _("Choose an existing Python.")
        )
    return definition_of(kind, text)


def host_python() -> str:
    """Return the Python from which environments are made: the one that the studio's own was made from."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def digest_of(definition: dict[str, Any]) -> str:
    """Return the identity of what `definition` describes."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _machine() -> str:
    return f"{sys.platform}-{platform.machine()}-{''.join(platform.libc_ver())}"


def _interpreter(asked: str) -> Path:
    """Return the absolute path of an existing Python. A virtual environment's link to its Python is not followed."""
    if not asked:
        return Path(host_python())
    own = os.fspath(Path(sys.prefix) / "bin")
    folders = [f for f in os.environ.get("PATH", os.defpath).split(os.pathsep) if f and f != own]
    if "/" in asked and not asked.startswith("/"):
        raise CannotEverRun(
            _("The interpreter “%(path)s” is not given from the root.") % {"path": asked[:200]},
            _("Write its whole path, such as /usr/bin/python3, or its name."),
        )
    found = shutil.which(asked, path=os.pathsep.join(folders)) if asked.isprintable() else None
    if found is None:
        raise CannotEverRun(
            _("There is no interpreter “%(path)s” on the studio's machine.") % {"path": asked[:200]},
            _("Check its path, or leave it empty for %(python)s.") % {"python": host_python()},
        )
    return Path(found).absolute()


def _version_of(python: Path) -> str:
    """Return the version that an interpreter says it has. Raises CannotEverRun when it is no Python or not safe."""
    known = python.stat()
    if known.st_uid not in {0, os.geteuid()} or known.st_mode & 0o002:
        raise CannotEverRun(
            _("The interpreter %(path)s could be changed by others.") % {"path": python},
            _("Choose one that belongs to the system or to the studio."),
        )
    version = _ask_version(os.fspath(python), known.st_ino, known.st_mtime_ns)
    if not version:
        raise CannotEverRun(
            _("%(path)s does not answer as a Python 3.") % {"path": python},
            _("Choose the interpreter itself, such as /usr/bin/python3."),
        )
    return version


@lru_cache(maxsize=64)
def _ask_version(python: str, inode: int, modified: int) -> str:
    """Return what the interpreter answers, or "" for none; asked anew when its file changes."""
    command = [python, "-I", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(  # noqa: S603
            command, env={"PATH": os.defpath, "LANG": "C.UTF-8"}, cwd="/", capture_output=True, timeout=15, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    answer = done.stdout.decode(errors="replace").strip()
    return answer if re.fullmatch(r"3\.\d+\.\d+\S{0,20}", answer) else ""


# Building


def ensure(definition: dict[str, Any]) -> Environment:
    """Return the environment of a definition, ready or being built. One that failed or is gone is built anew."""
    digest = digest_of(definition)
    while True:
        environment, _is_new = Environment.objects.get_or_create(digest=digest, defaults={"definition": definition})
        state = EnvironmentState(environment.state)
        if state == EnvironmentState.READY and not interpreter_of(environment).exists():
            _change(environment, state=EnvironmentState.EVICTED)
            continue
        if state in {EnvironmentState.FAILED, EnvironmentState.EVICTED}:
            _begin_again(environment)
            continue
        if not _change(environment, last_used_at=timezone.now()):
            continue  # it moved meanwhile
        return _build(environment) if _is_to_be_started(environment) else environment


def check(environment: Environment) -> Environment:
    """Look whether a build has ended, and say what became of it; an environment that is not built stays as it is."""
    environment.refresh_from_db()
    if environment.state != EnvironmentState.BUILDING:
        return environment
    if _is_to_be_started(environment):  # whoever wanted to build it did not come to it
        return _build(environment)
    report = look(environment.handle)
    if report.phase != Phase.ENDED:
        return environment
    if report.reason == EndReason.LOST and environment.handle.get("lost", 0) < MOST_LOST_BUILDS:
        _begin_again(environment, lost=environment.handle.get("lost", 0) + 1)
        return check(environment)
    if report.exit_code == 0 and interpreter_of(environment).exists():
        size = _size_of(environment.folder)
        if _change(environment, state=EnvironmentState.READY, ready_at=timezone.now(), size_bytes=size):
            logger.info("Environment %s is ready, %d bytes.", environment, size)
    elif _change(environment, state=EnvironmentState.FAILED, reason=_why_failed(environment, report.detail)):
        logger.info("Environment %s failed: %s", environment, environment.reason)
        shutil.rmtree(environment.folder, ignore_errors=True)
    for name in ("home", "tmp"):
        shutil.rmtree(_workshop(environment) / name, ignore_errors=True)
    environment.refresh_from_db()
    return environment


def interpreter_of(environment: Environment) -> Path:
    """Return the environment's Python."""
    return environment.folder / "bin" / "python"


def sentence(environment: Environment) -> str:
    """Say in a sentence how an environment is."""
    packages = environment.definition.get("packages", []) + environment.definition.get("text", "").split("\n")
    names = [p for p in packages if p and not p.startswith("-")]
    facts = {"names": ", ".join(names[:3]) + (f" + {len(names) - 3}" if len(names) > 3 else "")}
    match EnvironmentState(environment.state):
        case EnvironmentState.BUILDING:
            return (
                _("Its environment is being built: %(names)s.") % facts
                if names
                else _("Its environment is being built.")
            )
        case EnvironmentState.READY:
            took = (environment.ready_at or environment.started_at) - environment.started_at
            return _("Its environment was built in %(n).1f s.") % {"n": took.total_seconds()}
        case EnvironmentState.FAILED:
            return environment.reason.partition("\n")[0]
        case EnvironmentState.EVICTED:
            return _("Its environment was removed, as nothing used it; it is built again when a run asks for it.")


def of_this_machine() -> QuerySet[Environment]:
    """Return the environments that are built here, not on another machine."""
    mine = Q(definition__host=settings.HOST_NAME) | Q(definition__host__isnull=True)  # the first ones did not say
    return Environment.objects.filter(mine)


def evict_unused() -> None:
    """Remove this machine's environments that nothing has used for long, and folders that nothing knows."""
    cutoff = timezone.now() - timedelta(days=settings.ENVIRONMENT_UNUSED_DAYS)
    busy = Job.objects.active().exclude(environment=None).values("environment")
    unused = of_this_machine().filter(state=EnvironmentState.READY, last_used_at__lt=cutoff).exclude(pk__in=busy)
    for environment in unused:
        # Asked again within the update: a job may have come since.
        if unused.filter(pk=environment.pk, attempt=environment.attempt).update(state=EnvironmentState.EVICTED):
            logger.info("Environment %s is evicted, unused since %s.", environment, environment.last_used_at)
    root = Path(settings.ENVIRONMENT_DIR)
    # First the folders, then the rows: a row is older than its folder, so what has none now is nobody's.
    found = [f for home in (root, root / "builds") if home.is_dir() for f in home.iterdir() if _FOLDER.match(f.name)]
    live = Environment.objects.filter(state__in=[EnvironmentState.READY, EnvironmentState.BUILDING])
    known = {environment.folder.name for environment in live}
    for folder in found:
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def _change(environment: Environment, **changes: Any) -> bool:
    """Store `changes` if nobody moved the environment since it was read; say whether they were stored."""
    same = Environment.objects.filter(pk=environment.pk, state=environment.state, attempt=environment.attempt)
    won = same.update(**changes)
    if won:
        for name, value in changes.items():
            setattr(environment, name, value)
    return bool(won)


def _begin_again(environment: Environment, *, lost: int = 0) -> bool:
    """Let an environment be built under its next number, in a fresh folder; say whether this call did it."""
    return _change(
        environment,
        state=EnvironmentState.BUILDING,
        attempt=environment.attempt + 1,
        handle={"lost": lost} if lost else {},
        reason="",
        started_at=timezone.now(),
        ready_at=None,
    )


def _is_to_be_started(environment: Environment) -> bool:
    return environment.state == EnvironmentState.BUILDING and "folder" not in environment.handle


def _workshop(environment: Environment) -> Path:
    """Return the folder of a build's own files: requirements, plan, control folder, home."""
    return Path(settings.ENVIRONMENT_DIR) / "builds" / environment.folder.name


def _build(environment: Environment) -> Environment:
    """Start the build of an environment; repeated, it is started once, as its folder says."""
    root, workshop = Path(settings.ENVIRONMENT_DIR), _workshop(environment)
    for name in ("home", "tmp"):
        (workshop / name).mkdir(parents=True, exist_ok=True)
    try:
        _write(workshop / "requirements.txt", environment.definition.get("text", ""))
        _write(workshop / "environment.yml", _conda_file(environment.definition))
        _write(workshop / "plan.json", json.dumps(_plan(environment)))
        confinement = _confinement(environment)
        handle = start(
            ProcessSpec(
                argv=[host_python(), "-I", os.fspath(Path(builder.__file__).absolute()), f"{workshop}/plan.json"],
                cwd=root,
                env=_surroundings(workshop),
                log=logs.path(environment.log_key),
                folder=workshop / "control",
                tag=f"environment-{environment.folder.name}-{_mark(environment.folder)}",
                confinement=confinement,
                most_processes=settings.RUN_PROCESSES,
                max_seconds=LONGEST_BUILD_SECONDS,
                grace_seconds=settings.GRACE_SECONDS,
            )
        )
    except OSError as exc:
        reason = _("The build could not be started: %(why)s.") % {"why": exc.strerror or exc}
        _change(environment, state=EnvironmentState.FAILED, reason=reason[:2000])
        return environment
    _change(environment, handle=environment.handle | handle)
    return environment


def _mark(folder: Path) -> str:
    """Return what tells the builds of this studio from those of others on the machine, which may be of the same."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]


def _confinement(environment: Environment) -> Confinement:
    """Let a build write into its environment, its own folders and what all builds share; make those ready."""
    root, workshop, tool = Path(settings.ENVIRONMENT_DIR), _workshop(environment), Path(_uv())
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
    return isolation.of_build(own, needed, Path(host_python()))


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


def _surroundings(workshop: Path) -> dict[str, str]:
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


def _size_of(folder: Path) -> int:
    """Return how many bytes a folder's files have."""
    return sum(
        os.lstat(os.path.join(top, name)).st_size  # noqa: PTH118
        for top, _folders, files in os.walk(folder)
        for name in files
    )


def _why_failed(environment: Environment, detail: str) -> str:
    """Return why a build failed: a sentence with what to do, then the tool's own words."""
    size = logs.size(environment.log_key)
    tail = logs.read(environment.log_key, max(0, size - 16_384), 16_384).decode(errors="replace")
    lines = [line.rstrip() for line in _ESCAPE.sub("", tail).replace("\r", "\n").split("\n") if line.strip()]
    commands = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    lines = lines[commands[-1] + 1 :] if commands else lines
    errors = [at for at, line in enumerate(lines) if re.match(r"\s*(error|×)", line, re.IGNORECASE)]
    lines = [line if len(line) <= 300 else f"{line[:299]}…" for line in (lines[errors[0] :] if errors else lines[-12:])]
    words = "\n".join(lines if len(lines) <= 12 else [*lines[:4], "…", *lines[-7:]])
    return f"{_advice(words, detail)}\n{words}".strip()[:2000]


def _advice(words: str, detail: str) -> str:
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
