"""What git knows of the files of a run: branch, commit and address, as properties."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def git_facts(files: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """Return branch, commit and address of a repository, from the files below its `.git/`, as properties of a run."""

    def read(name: str) -> str:
        return files[name]() if name in files else ""

    head = read(".git/HEAD").strip()
    branch, commit = "", head
    if head.startswith("ref: "):
        reference = head.removeprefix("ref: ").strip()
        branch = reference.removeprefix("refs/heads/")
        commit = read(f".git/{reference}").strip()
        if not commit:
            packed = re.search(rf"^([0-9a-f]{{40,64}}) {re.escape(reference)}$", read(".git/packed-refs"), re.MULTILINE)
            commit = packed[1] if packed else ""
    address = ""
    section = ""
    for line in read(".git/config").splitlines():
        if title := re.match(r"""\s*\[\s*(\w+)(?:\s+"([^"]*)")?\s*\]""", line):
            section = f"{title[1].lower()} {title[2] or ''}".strip()
        elif section == "remote origin" and (value := re.match(r"\s*url\s*=\s*(\S.*)", line)):
            address = address or value[1].strip().strip('"')
    return _as_properties(branch, commit, address)


def _as_properties(branch: str, commit: str, address: str) -> dict[str, str]:
    """Return git facts under the names that Azure ML and MLflow give them; a value that cannot be one is left out."""
    commit = commit if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit) else ""
    branch = branch if re.fullmatch(r"[^\s\x00-\x1f\x7f~^:?*\[\\]{1,255}", branch) else ""
    address = without_credentials(address)
    facts = {
        "azureml.git.branch": branch,
        "azureml.git.commit": commit,
        "azureml.git.repository_uri": address,
        "mlflow.source.git.branch": branch,
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.repoURL": address,
    }
    return {name: value for name, value in facts.items() if value}


def without_credentials(address: str) -> str:
    """Return a repository's address without user, password and query; "" when it cannot be told apart.

    The user stays in ssh addresses, where it is no secret: git@github.com.
    """
    if not address.isprintable() or len(address) > 1000:
        return ""
    if "://" not in address:
        return address.partition("?")[0]
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme in {"ssh", "git+ssh"} and parts.username:
            host = f"{parts.username}@{host}"
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return ""


def facts_of_checkout(folder: Path) -> dict[str, str]:
    """Return what git says of a folder on this machine, or nothing when it is in no checkout or git is not here."""
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", ".")
    if status is None:
        return {}
    heads = dict(re.findall(r"^# branch\.(oid|head) (.*)$", status, re.MULTILINE))
    branch = heads.get("head", "")
    address = _git(folder, "config", "--get", "remote.origin.url") or ""
    facts = _as_properties("" if branch == "(detached)" else branch, heads.get("oid", ""), address.strip())
    is_dirty = any(not line.startswith("#") for line in status.splitlines())
    return facts | {"azureml.git.dirty": str(is_dirty)}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None when it fails. A repository's own hooks and monitors are not run."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    variables = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
