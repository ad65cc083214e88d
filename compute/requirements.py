"""What a person's text may say about packages: a requirements file, and a conda file, read with suspicion."""

import platform
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.utils.translation import gettext as _
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from studio.errors import CannotEverRun, StudioError

MOST_BRACKETS = 1000  # of a conda file: reading it takes time with the square of its depth
CONDA_TOOLS = ("micromamba", "mamba", "conda")
_OPTION_WITH_ADDRESS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links")
_OPTION_WITH_VALUE = ("--no-binary", "--only-binary", "--trusted-host")
_OPTION = ("--no-index", "--pre", "--prefer-binary", "--require-hashes")
_REMOTE = re.compile(r"(git\+)?https?://[^\s/]+\S*\Z")
_HASH = re.compile(r"\s+--hash[= ]\w+:[0-9a-fA-F]+")
_CONDA_PACKAGE = re.compile(r"(?:(?P<channel>[A-Za-z0-9][\w./-]*)::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<version>.*)\Z")
_DEEP_LIST = re.compile(r"(?:[-?:][ \t]+){20}")


# Requirements


def requirements_of(lines: Iterable[str], *, of: str = "") -> list[str]:
    """Return requirements without comments and blanks, each checked.

    What would read a file of the studio's machine is refused: includes, paths, `file:`, and variables.
    """
    kept, carried, first = [], "", 0
    for number, raw in enumerate(lines, start=1):
        first = first if carried else number
        line = carried + raw.rstrip("\r")
        if line.endswith("\\"):
            carried = line[:-1] + " "
            continue
        carried = ""
        line = re.sub(r"(^|\s+)#.*", "", line).strip()
        if not line:
            continue
        if problem := _problem_of(line):
            raise StudioError(
                _("%(where)s, “%(line)s”: %(problem)s.")
                % {
                    "where": of or _("Line %(n)d of the requirements") % {"n": first},
                    "line": repr(line)[1:-1][:120],
                    "problem": problem,
                },
                _("Write one package a line, such as scikit-learn==1.7.2. Files of a project belong in its snapshot."),
            )
        kept.append(line)
    return kept


def _problem_of(line: str) -> str:
    """Say what is wrong with one line of requirements, or nothing."""
    if "${" in line or not line.isprintable():
        return _("variables and control characters are not read here")
    if line.startswith("-"):
        return _problem_of_option(line)
    requirement = _HASH.sub("", line)
    if _REMOTE.match(requirement):
        return ""
    try:
        parsed = Requirement(requirement)
    except InvalidRequirement as exc:
        if re.match(r"[./~\\]|file:|[A-Za-z]:\\", line) or re.match(r"[^\s@;<>=\[]+/", line):
            return _("paths of the studio's machine are not read")
        return _("it is not a requirement (%(why)s)") % {"why": str(exc).splitlines()[0].rstrip(".")[:200]}
    if parsed.url and not _REMOTE.match(parsed.url):
        return _("only http and https addresses are read")
    return ""


def _problem_of_option(line: str) -> str:
    name, separator, value = line.partition("=")
    if not separator or " " in name:
        name, _space, value = line.partition(" ")
    value = value.strip()
    if name in _OPTION and not value:
        return ""
    if name in _OPTION_WITH_VALUE:
        return "" if re.fullmatch(r"[\w.:,*-]+", value) else _("the option needs one value")
    if name in _OPTION_WITH_ADDRESS:
        return (
            "" if _REMOTE.match(value) and not value.startswith("git") else _("only http and https addresses are read")
        )
    if name.startswith(("-r", "-c", "--requirement", "--constraint")):
        return _("other files are not read; copy their lines here")
    if name.startswith(("-e", "--editable")):
        return _("editable installs are not made here")
    return _("the option is not known here")


# Conda files


@dataclass
class _CondaFile:
    channels: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)  # without python and pip
    python: str = ""  # the version asked for, in conda's words
    pip: list[str] = field(default_factory=list)


def conda_asks(text: str) -> dict[str, Any]:
    """Return what a conda file asks for. Raises CannotEverRun when it needs conda and the machine has none."""
    asked = _read_conda(text)
    foreign_python = bool(asked.python) and not python_matches(asked.python)
    if (asked.packages or foreign_python) and not conda_tool():
        wanted = list(asked.packages)
        if foreign_python:
            wanted.insert(0, f"python{asked.python if asked.python[0] in '<>=!~' else '=' + asked.python}")
        raise CannotEverRun(
            _("The conda file needs %(packages)s, and this machine has no conda, mamba or micromamba.")
            % {"packages": ", ".join(wanted[:20])},
            _("Name them below “pip:” in the file (this machine has Python %(version)s), or install micromamba.")
            % {"version": platform.python_version()},
        )
    return {
        "text": "\n".join(asked.pip) + "\n" if asked.pip else "",
        "channels": asked.channels,
        "packages": asked.packages,
        "conda_python": asked.python if asked.packages or foreign_python else "",
    }


def _read_conda(text: str) -> _CondaFile:
    if len(re.findall(r"[\[{]", text)) > MOST_BRACKETS or _DEEP_LIST.search(text):
        raise _bad_conda(_("it has values that no conda file has"))
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        problem = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        where = _("line %(n)d") % {"n": mark.line + 1} if mark else _("its beginning")
        raise _bad_conda(_("%(problem)s (%(where)s)") % {"problem": problem[:200], "where": where}) from exc
    except (ValueError, RecursionError, OverflowError) as exc:
        raise _bad_conda(_("it has values that no conda file has")) from exc
    if not isinstance(loaded, dict) or not isinstance(loaded.get("dependencies"), list):
        raise _bad_conda(_("it has no list “dependencies”"))
    channels = loaded.get("channels") or []
    if not isinstance(channels, list):
        raise _bad_conda(_("“channels” is no list"))
    file = _CondaFile()
    for channel in channels:
        if not isinstance(channel, str) or not (
            re.fullmatch(r"[A-Za-z0-9][\w./-]*", channel) or (_REMOTE.match(channel) and not channel.startswith("git"))
        ):
            raise _bad_conda(_("the channel %(name)s is no name and no https address") % {"name": repr(channel)[:100]})
        file.channels.append(channel)
    for item in loaded["dependencies"]:
        if isinstance(item, dict) and list(item) == ["pip"] and isinstance(item["pip"] or [], list):
            lines = item["pip"] or []
            if not all(isinstance(line, str) for line in lines):
                raise _bad_conda(_("“pip” lists something that is no text"))
            file.pip += requirements_of(lines, of=_("The pip part of the conda file"))
        elif isinstance(item, str):
            _add_conda_package(file, item.strip())
        else:
            raise _bad_conda(_("the dependency %(item)s is no text") % {"item": repr(item)[:100]})
    return file


def _add_conda_package(file: _CondaFile, item: str) -> None:
    package = _CONDA_PACKAGE.match(item)
    if package is None or not item.isprintable() or "/" in package["version"]:
        raise _bad_conda(_("the dependency %(item)s cannot be read") % {"item": repr(item)[:100]})
    name = package["name"].lower()
    if name == "python":
        file.python = package["version"].strip()
    elif name != "pip":  # every environment can install with pip or without
        file.packages.append(item)


def _bad_conda(problem: str) -> StudioError:
    return StudioError(
        _("The conda file cannot be used: %(problem)s.") % {"problem": problem},
        _("It is YAML with “channels” and “dependencies”; packages for pip stand in a list below “pip:” in there."),
    )


def python_matches(asked: str) -> bool:
    """Say whether the host's Python is one that conda would take for `asked`: "=3.11", "3.11.*", ">=3.9,<3.12"."""

    def clause(text: str) -> str:
        text = text.strip()
        number = re.fullmatch(r"={0,2}\s*(\d+(?:\.\d+)*)(?:\.\*)?(?:=\S*)?", text)
        if not number:
            return text
        return f"=={number[1]}" if number[1].count(".") > 1 else f"=={number[1]}.*"

    try:
        return any(
            SpecifierSet(",".join(map(clause, choice.split(",")))).contains(platform.python_version(), prereleases=True)
            for choice in asked.split("|")
        )
    except InvalidSpecifier:
        return False


def conda_tool() -> str:
    """Return the path of a conda-compatible tool, or "" when the machine has none."""
    return next((found for name in CONDA_TOOLS if (found := shutil.which(name))), "")
