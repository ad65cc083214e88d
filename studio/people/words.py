"""What was done, in words, for whatever page tells of it. What is said of each verb stands in verbs.py."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import formats, timezone
from django.utils.translation import gettext as _

from studio.people.permissions import Right, Role
from studio.people.verbs import NAMES, UNKNOWN, VERBS

LONGEST = 160  # characters of one value
NOTHING = "—"
EMPTY: tuple[Any, ...] = (None, "", [], {})
INSTANT = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00\Z")
Detail = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One thing of the detail: what it is called, and what it was and became; `before` is None for a mere fact."""

    name: str
    after: str
    before: str | None = None


@dataclass(frozen=True)
class Said:
    """One entry in words. `text` follows who did it: "changed maximum nodes 4 → 6"."""

    icon: str  # a name of the icon set
    text: str
    changes: list[Change] = field(default_factory=list)  # what the text does not tell


def said(verb: str, detail: Detail) -> Said:
    """Return an entry in words: its icon, a text that follows who did it, and what else changed."""
    key = f"{verb}.new" if detail.get("before", 0) is None and f"{verb}.new" in VERBS else verb
    known = VERBS.get(key)
    if known is None:
        return Said(UNKNOWN, verb, list(changes(detail)))
    facts = _facts(verb, detail)
    if known.tells and "" in facts.values():  # it tells of something else than its verb usually does
        return Said(known.icon, _("changed it"), list(changes(detail)))
    return Said(known.icon, str(known.text) % _Facts(facts), [] if known.tells else list(changes(detail)))


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return NOTHING


def _facts(verb: str, detail: Detail) -> dict[str, str]:
    """Return what the text of a verb may name."""
    before, after = detail.get("before"), detail.get("after")
    if make := _FACTS.get(verb):
        return make(before if before is not None else {}, after if after is not None else {})
    if verb.startswith("member.") and verb != "member.team":
        before, after = _role(before), _role(after)
    facts = detail | {"before": before, "after": after}
    return {key: shown(_role(value) if key == "role" else value) for key, value in facts.items()}


def _role(value: Any) -> Any:
    return Role(value).label if value in Role.values else value


def _scale(before: Detail, after: Detail) -> dict[str, str]:
    return {"what": ", ".join(_scale_changes(before, after))}


def _scale_changes(before: Detail, after: Detail) -> Iterator[str]:
    (low, high), (new_low, new_high) = before.get("nodes", [0, 0]), after.get("nodes", [0, 0])
    if low != new_low:
        yield _("minimum nodes %(before)s → %(after)s") % {"before": low, "after": new_low}
    if high != new_high:
        yield _("maximum nodes %(before)s → %(after)s") % {"before": high, "after": new_high}
    idle, new_idle = before.get("idle_seconds"), after.get("idle_seconds")
    if idle != new_idle:
        yield _("idle time %(before)s s → %(after)s s") % {"before": idle, "after": new_idle}


def _identities(before: Detail, after: Detail) -> dict[str, str]:
    return {"before": _identity(before), "after": _identity(after)}


def _identity(identity: Detail) -> str:
    match identity.get("type"):
        case "SystemAssigned":
            return _("system-assigned")
        case "UserAssigned":
            return ", ".join(i.rsplit("/", 1)[-1] for i in identity.get("ids", []))
        case _:
            return _("none")


def _keys(before: Detail, after: Detail) -> dict[str, str]:
    was, now = shown(before.get("sha256")), shown(after.get("sha256"))
    return {"before": was, "after": now, "key": now}


_FACTS: dict[str, Callable[[Detail, Detail], dict[str, str]]] = {
    "target.resize": _scale,
    "target.identity": _identities,
    "target.hostkey.changed": _keys,
    "target.hostkey.accept": _keys,
}


def changes(detail: Detail) -> Iterator[Change]:
    """Yield what a detail tells: what differs between before and after, then its other facts."""
    before, after = detail.get("before"), detail.get("after")
    if "before" in detail and "after" in detail:
        yield from _differences(before, after)
    elif before or after:
        facts = after if after is not None else before
        yield from _mere_facts(facts) if isinstance(facts, dict) else [Change("", shown(facts))]
    yield from _mere_facts({key: value for key, value in detail.items() if key not in {"before", "after"}})


def _differences(before: Any, after: Any) -> Iterator[Change]:
    if not (isinstance(before, dict | None) and isinstance(after, dict | None)):
        yield Change("", shown(after), shown(before))
        return
    was, now = before or {}, after or {}
    for key in [*was, *(key for key in now if key not in was)]:
        if key not in was or key not in now or was[key] != now[key]:
            yield Change(name_of(key), _left(now, key), _left(was, key))


def _left(facts: Detail, key: str) -> str:
    return (shown(facts[key]) if facts[key] != "" else _("empty")) if key in facts else NOTHING


def _mere_facts(facts: Detail) -> Iterator[Change]:
    for key, value in facts.items():
        if value not in EMPTY:
            yield Change(name_of(key), shown(_role(value) if key == "role" else value))


def name_of(key: str) -> str:
    """Return what a key of a detail is called; one that nobody named, as it is written."""
    return str(NAMES.get(key) or key.replace("_", " "))


def shown(value: Any) -> str:
    """Write a value of a detail for people, not longer than they read."""
    if value in EMPTY:
        return NOTHING
    match value:
        case bool():
            return _("yes") if value else _("no")
        case dict():
            said = ", ".join(f"{key}: {shown(one)}" if one != "" else str(key) for key, one in value.items())
        case list():
            said = ", ".join(shown(one) for one in value)
        case str() if INSTANT.match(value):
            said = formats.date_format(timezone.localtime(datetime.fromisoformat(value)), "DATETIME_FORMAT")
        case _:
            said = str(value)
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def rights_in_words() -> dict[Right, str]:
    """Return every right as the table of roles names it."""
    return {
        Right.VIEW: _("See compute, experiments, runs, logs and outputs"),
        Right.SUBMIT_RUN: _("Submit runs; tag and archive runs and experiments"),
        Right.CANCEL_RUN: _("Cancel runs"),
        Right.START_COMPUTE: _("Start and stop compute instances"),
        Right.CREATE_COMPUTE: _("Create compute"),
        Right.RESIZE_COMPUTE: _("Change scale and identity of compute, preempt nodes"),
        Right.DELETE_COMPUTE: _("Delete compute"),
        Right.ATTACH_COMPUTE: _("Attach and detach compute"),
        Right.EDIT_WORKSPACE: _("Change the workspace"),
        Right.ASSIGN_ROLES: _("Add and remove members, give roles"),
        Right.EDIT_SAFETY: _("Decide what may be attached, and how the workspace signs in elsewhere"),
        Right.ASK_QUOTA: _("Ask for more quota"),
        Right.EDIT_QUOTA: _("Set limits, budgets and prices, and answer who asks for more"),
        Right.ORDER_QUEUE: _("Set the priority of everybody’s runs"),
        Right.EDIT_DASHBOARDS: _("Make and change dashboards"),
        Right.SHARE_DASHBOARDS: _("Share dashboards by a link"),
        Right.VIEW_ACTIVITY: _("See who changed what, and from where"),
        Right.VIEW_USAGE: _("See everybody’s usage and cost"),
        Right.EDIT_NOTIFICATIONS: _("Decide whom the workspace notifies"),
    }
