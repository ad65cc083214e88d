"""What a compute target may be called, clause by clause, and the resource ids of identities.

Source: the several rules of the provider (azure-ml facts A5 and I), of which this one satisfies all for clusters.
"""

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from studio.errors import NotAllowedNow

RESERVED = frozenset({"amlcompute", "local", "containerinstance"})
SHORTEST, LONGEST = 3, 24
IDENTITY_ID = re.compile(
    r"\A/subscriptions/[0-9a-f-]{36}/resourcegroups/[-\w._()]{1,90}"
    r"/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[A-Za-z0-9][-\w]{2,127}\Z",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Clause:
    """One part of the rule, and whether a name keeps it."""

    text: str
    ok: bool


def check_name(name: str) -> list[Clause]:
    """Return every clause of the rule for names, in the order they are shown."""
    return [
        Clause(_("%(a)d to %(b)d characters") % {"a": SHORTEST, "b": LONGEST}, SHORTEST <= len(name) <= LONGEST),
        Clause(_("Only letters, digits and “-”"), bool(re.fullmatch(r"[A-Za-z0-9-]+", name, re.ASCII))),
        Clause(_("A letter first"), bool(re.match(r"[A-Za-z]", name, re.ASCII))),
        Clause(_("A letter or a digit last"), bool(re.search(r"[A-Za-z0-9]\Z", name, re.ASCII))),
        Clause(_("A letter somewhere after each “-”"), not re.search(r"-[0-9]*\Z", name, re.ASCII)),
        Clause(_("Not a reserved word"), name.casefold() not in RESERVED),
    ]


def validate(name: str) -> None:
    """Raise NotAllowedNow with the clause that `name` fails, if any."""
    failed = [clause.text for clause in check_name(name) if not clause.ok]
    if failed:
        raise NotAllowedNow(
            _("“%(name)s” cannot be the name of a compute target.") % {"name": name[:40]},
            _("It needs: %(clauses)s.") % {"clauses": "; ".join(failed)},
        )


def suggest(name: str, taken: set[str]) -> str:
    """Return a name near to `name` that keeps the rule and is not in `taken` (compared without case)."""
    used = {other.casefold() for other in taken} | RESERVED
    words = re.sub(r"[^A-Za-z0-9-]+", "-", name, flags=re.ASCII)
    words = re.sub(r"-+", "-", re.sub(r"\A[^A-Za-z]+", "", words)).strip("-")
    words = re.sub(r"-([0-9]+)\Z", r"\1", words)[:LONGEST].rstrip("-") or "cluster"
    if len(words) < SHORTEST:
        words = f"{words}-cluster"
    words = re.sub(r"-([0-9]*)\Z", r"\1", words)
    candidate, number = words, 2
    while candidate.casefold() in used or any(not clause.ok for clause in check_name(candidate)):
        tail = str(number)
        candidate, number = words[: LONGEST - len(tail)].rstrip("-") + tail, number + 1
        if any(not clause.ok for clause in check_name(candidate)):
            candidate = f"cluster{tail}"
    return candidate


def check_identity_id(resource_id: str) -> str:
    """Return what is wrong with the resource id of a user-assigned identity, or an empty string."""
    if IDENTITY_ID.match(resource_id):
        return ""
    return _("“%(id)s” is not the resource id of a user-assigned identity.") % {"id": resource_id[:200]}
