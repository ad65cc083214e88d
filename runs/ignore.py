"""Which files an ignore file leaves out of a snapshot."""

import re
import time

import pathspec
from django.utils.translation import gettext as _

from runs.entries import Entry
from studio.errors import StudioError

LONGEST_IGNORE_FILE = 64 * 1024  # bytes
MOST_STARS = re.compile(r"(?:\*+[^*/]+){4}|(?:\*+[^*]+){7}")  # matching is exponential in the stars of a pattern
SLOWEST_IGNORE_SECONDS = 5.0

# Left out whatever the ignore file says: git's own folder, and what macOS adds.
ALWAYS_LEFT_OUT = [".git", "__MACOSX/", ".DS_Store"]
# Left out unless there is an .amlignore, which then decides alone. Source: the .amlignore that azureml-core writes,
# less `docs`, which a script may read; `outputs` at the root alone, where a run collects its own. Bytecode and
# virtual environments of another machine are of no use to a run.
LEFT_OUT_BY_DEFAULT = [
    ".ipynb_checkpoints/",
    "__pycache__/",
    ".azureml/",
    "azureml-logs/",
    "azureml-setup/",
    "/outputs/",
    ".venv/",
]


def kept_of(entries: list[Entry]) -> list[Entry]:
    """Return the entries that the ignore file leaves: .amlignore at the root, else the defaults and .gitignore there.

    Source: Azure ML, "machine-learning-amlignore-gitignore": .amlignore replaces .gitignore, and only the root's are
    read. As in git, nothing comes back from a folder that is left out.
    """
    roots = {e.path: e for e in entries if e.path in {".amlignore", ".gitignore"}}
    lines = [] if ".amlignore" in roots else list(LEFT_OUT_BY_DEFAULT)
    name = ".amlignore" if ".amlignore" in roots else ".gitignore"
    if name in roots:
        lines += _lines_of(roots[name])
    try:
        spec = pathspec.GitIgnoreSpec.from_lines([*lines, *ALWAYS_LEFT_OUT])
    except (ValueError, TypeError, re.error) as exc:
        raise StudioError(
            _("%(name)s has a pattern that cannot be read: %(why)s") % {"name": name, "why": str(exc)[:200]},
            _("Correct the pattern; it is written as for git."),
        ) from exc
    deadline = time.monotonic() + SLOWEST_IGNORE_SECONDS
    folders: dict[str, bool] = {"": False}

    def left_out(folder: str) -> bool:
        if folder not in folders:
            folders[folder] = left_out(folder.rpartition("/")[0]) or spec.match_file(f"{folder}/")
        return folders[folder]

    kept = []
    for entry in entries:
        if time.monotonic() > deadline:
            raise StudioError(
                _("The patterns of %(name)s take too long to match.") % {"name": name},
                _("Write them with fewer stars."),
            )
        if not left_out(entry.path.rpartition("/")[0]) and not spec.match_file(entry.path):
            kept.append(entry)
    return kept


def _lines_of(entry: Entry) -> list[str]:
    """Return an ignore file's lines. Raises StudioError for patterns that could take for ever to match."""
    if entry.trouble:  # it is refused later, or leaves itself out
        return []
    with entry.open() as file:
        data = file.read(LONGEST_IGNORE_FILE + 1)
    lines = data.decode("utf-8-sig", "replace").splitlines()
    if len(data) > LONGEST_IGNORE_FILE:
        problem = _("is longer than %(n)d bytes") % {"n": LONGEST_IGNORE_FILE}
    elif any(MOST_STARS.search(line) for line in lines if not line.startswith("#")):
        problem = _("has a pattern with too many stars")
    else:
        return lines
    raise StudioError(
        _("%(name)s %(problem)s.") % {"name": entry.path, "problem": problem}, _("Write fewer and simpler patterns.")
    )
