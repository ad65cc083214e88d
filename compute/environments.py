"""What a script needs around it: an existing interpreter, or packages, built once on this machine and shared.

A definition says all that makes an environment what it is; its digest is the environment's identity. A build is a
detached program (`compute.builds`); rows move by compare-and-set, so that however many ask, one build runs.
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
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from compute.builds import begin, interpreter_of, why_failed, workshop_of
from compute.drivers.base import Attaches, Phase
from compute.isolation import host_python
from compute.models import ComputeTarget, Environment, EnvironmentState, Job
from compute.processes import look
from compute.requirements import conda_asks, requirements_of
from compute.states import EndReason
from studio.errors import CannotEverRun, StudioError

logger = logging.getLogger(__name__)

LONGEST_TEXT = 64 * 1024  # bytes of a requirements or conda file
MOST_LOST_BUILDS = 2  # a build that a restart of the machine cut off begins again this often

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
        "python": os.fspath(host_python()),
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


def digest_of(definition: dict[str, Any]) -> str:
    """Return the identity of what `definition` describes."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _machine() -> str:
    return f"{sys.platform}-{platform.machine()}-{''.join(platform.libc_ver())}"


def _interpreter(asked: str) -> Path:
    """Return the absolute path of an existing Python. A virtual environment's link to its Python is not followed."""
    if not asked:
        return host_python()
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
    elif _change(environment, state=EnvironmentState.FAILED, reason=why_failed(environment, report.detail)):
        logger.info("Environment %s failed: %s", environment, environment.reason)
        shutil.rmtree(environment.folder, ignore_errors=True)
    for name in ("home", "tmp"):
        shutil.rmtree(workshop_of(environment) / name, ignore_errors=True)
    environment.refresh_from_db()
    return environment


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


def _build(environment: Environment) -> Environment:
    """Start the build of an environment, or note why that could not be."""
    try:
        handle = begin(environment)
    except OSError as exc:
        reason = _("The build could not be started: %(why)s.") % {"why": exc.strerror or exc}
        _change(environment, state=EnvironmentState.FAILED, reason=reason[:2000])
        return environment
    _change(environment, handle=environment.handle | handle)
    return environment


def _size_of(folder: Path) -> int:
    """Return how many bytes a folder's files have."""
    return sum(
        os.lstat(os.path.join(top, name)).st_size  # noqa: PTH118
        for top, _folders, files in os.walk(folder)
        for name in files
    )
