"""The chain of the activity: each entry's hash holds the one before it, so that a gap, an edit and a cut tail show.

An entry is stored with the change it tells of, in one transaction, and linked right after that has committed, in a
short transaction that holds nothing but the end of its chain. Were it linked within the change, everything that changes
something in a workspace would wait for the commit of whatever else does, and the lock on the chain's end, taken amid
others in every order, would be half of a deadlock. What a crash leaves unlinked is stored all the same: the next entry
of its chain links it, or the clock does. It costs a change some 3 ms on PostgreSQL, and nobody else a lock.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from studio.live import nudge
from studio.people.models import Activity, Chain, Workspace

logger = logging.getLogger(__name__)
OF_NO_WORKSPACE = "studio"
AT_ONCE = 500  # entries that one transaction links
LINKED_WITHIN = timedelta(minutes=1)  # else something keeps it from being linked
HASHED = (
    "seq", "at", "actor_name", "verb", "object_kind", "object_id", "object_name", "detail", "way", "token", "address",
)  # fmt: skip


def canonical(chain: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what is hashed of an entry, in an order and a form that never change: times in UTC, to the microsecond."""
    at = entry["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return {"chain": chain} | {name: entry[name] for name in HASHED} | {"at": at}


def digest(previous: str, facts: dict[str, Any]) -> str:
    """Return the hash of an entry: SHA-256 over the hash before it, a line's end, and its facts as compact JSON."""
    said = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{said}".encode("utf-8", "surrogatepass")).hexdigest()


def group_of(workspace_id: int | None) -> str:
    """Return the name of the channel group that open pages of the activity watch, and no others."""
    return f"activity.{workspace_id or OF_NO_WORKSPACE}"


# Linking


def link_on_commit(workspace_id: int | None) -> None:
    """Link what waits in a workspace's chain, once what is going on has committed."""
    transaction.on_commit(partial(_link_or_leave, workspace_id), robust=True)


def _link_or_leave(workspace_id: int | None) -> None:
    try:
        link(workspace_id)
    except DatabaseError:  # the change has committed: whoever made it is not told of this
        logger.warning("Entries of the activity were not linked yet.", exc_info=True)


def link(workspace_id: int | None) -> int:
    """Link what waits in one chain, oldest first; return how many that were."""
    linked = 0
    while entries_of(workspace_id).filter(seq=None).exists():  # else another process was faster
        linked += _link_some(workspace_id)
    return linked


def _link_some(workspace_id: int | None) -> int:
    with transaction.atomic():
        chain = _locked_end_of(workspace_id)
        entries = list(entries_of(workspace_id).filter(seq=None).order_by("pk")[:AT_ONCE])
        for entry in entries:
            chain.length += 1
            chain.last_hash = digest(chain.last_hash, canonical(chain.name, entry.__dict__ | {"seq": chain.length}))
            Activity.objects.link(entry.pk, chain.length, chain.last_hash)
        if entries:
            chain.save(update_fields=["length", "last_hash"])
            nudge(group_of(workspace_id), "activity:moved")
    return len(entries)


def _locked_end_of(workspace_id: int | None) -> Chain:
    ends = Chain.objects.select_for_update()
    found = ends.filter(Q(workspace=workspace_id) if workspace_id else Q(workspace=None)).first()
    if found is not None:
        return found
    guid = Workspace.objects.values_list("guid", flat=True).get(pk=workspace_id) if workspace_id else OF_NO_WORKSPACE
    Chain.objects.get_or_create(name=str(guid), defaults={"workspace_id": workspace_id})
    return ends.get(name=str(guid))


def entries_of(workspace_id: int | None) -> QuerySet[Activity]:
    """Return what belongs to one chain."""
    return Activity.objects.filter(Q(workspace=workspace_id) if workspace_id else Q(workspace=None))


def link_all() -> int:
    """Link whatever a crash has left; return how many entries that were."""
    left = Activity.objects.filter(seq=None).order_by().values_list("workspace_id", flat=True).distinct()
    return sum(link(workspace_id) for workspace_id in list(left))


# Looking whether it holds


@dataclass(frozen=True)
class Verdict:
    """What looking through a chain found."""

    length: int  # entries that are linked
    last_hash: str
    waiting: int = 0  # entries that are not linked yet
    wrong: int | None = None  # the first entry that does not fit
    why: str = ""  # "gap", "edit", "tail", "end" or "late"
    begins: int = 1  # the first entry that was looked at

    @property
    def is_whole(self) -> bool:
        return not self.why

    @property
    def problem(self) -> str:
        """Say in a sentence, for who operates the studio, what does not fit."""
        match self.why:
            case "gap":
                return f"entry {self.wrong} is missing"
            case "edit":
                return f"entry {self.wrong} is not what was written down, or one before it is not"
            case "tail":
                return f"the end is cut off: entry {self.wrong} and what followed, up to {self.length}, are missing"
            case "end":
                return f"entry {self.wrong} lies beyond the chain's end, which was set back or changed"
            case "late":
                return f"{self.waiting} entries were not linked for more than a minute"
            case _:
                return ""


def verify(chain: Chain, *, newest: int | None = None) -> Verdict:
    """Look through a chain from its first entry, or only through the `newest`; return the first that does not fit."""
    begins = max(1, chain.length - newest + 1) if newest else 1
    entries = entries_of(chain.workspace_id)
    before = entries.filter(seq=begins - 1).values_list("hash", flat=True).first() if begins > 1 else ""
    verdict = partial(Verdict, chain.length, chain.last_hash, begins=begins)
    if before is None:
        return verdict(wrong=begins - 1, why="gap")
    expected, previous = begins, before
    for row in _rows(entries.filter(seq__gte=begins, seq__lte=chain.length)):
        if row["seq"] != expected:
            return verdict(wrong=expected, why="gap")
        if row["hash"] != digest(previous, canonical(chain.name, row)):
            return verdict(wrong=expected, why="edit")
        expected, previous = expected + 1, row["hash"]
    if expected <= chain.length:
        return verdict(wrong=expected, why="tail")
    beyond = entries.filter(seq__gt=chain.length).order_by("seq").values_list("seq", flat=True).first()
    if previous != chain.last_hash or (beyond and not _has_grown(chain)):
        return verdict(wrong=beyond or chain.length, why="end")
    waiting = entries.filter(seq=None)
    late = waiting.filter(at__lt=timezone.now() - LINKED_WITHIN).exists()
    return verdict(waiting=waiting.count(), why="late" if late else "")


def _rows(entries: Any) -> Iterator[dict[str, Any]]:
    return iter(entries.order_by("seq").values(*HASHED, "hash").iterator(chunk_size=2000))


def _has_grown(chain: Chain) -> bool:
    """Say whether entries were linked since `chain` was read."""
    return bool(Chain.objects.filter(pk=chain.pk, length__gt=chain.length).exists())


def verify_all() -> list[tuple[str, Verdict]]:
    """Look through every chain; return each with the name of its workspace, and those whose end is gone."""
    names = dict(Workspace.objects.values_list("pk", "name"))
    found = [
        (
            names.get(chain.workspace_id or 0, OF_NO_WORKSPACE if chain.workspace_id is None else chain.name),
            verify(chain),
        )
        for chain in Chain.objects.order_by("pk")
    ]
    known = set(Chain.objects.values_list("workspace_id", flat=True))
    linked = Activity.objects.exclude(seq=None).order_by().values_list("workspace_id", flat=True).distinct()
    for workspace_id in set(linked) - known:
        found.append((names.get(workspace_id or 0, OF_NO_WORKSPACE), Verdict(0, "", wrong=1, why="end")))
    return found
