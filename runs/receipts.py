"""How the processes of an attempt were ended, for people: who was signalled when, what was left, when all was over.

A receipt may have been written on another machine, by programs that nobody here vouches for: what is not as
`compute.ending` writes it is passed over.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from studio.templatetags.studio import duration

MOST = 1000  # entries that are looked at


@dataclass(frozen=True)
class Ended:
    """A process that was signalled, or that was left."""

    pid: int
    command: str
    signals: str = ""


@dataclass(frozen=True)
class Part:
    """What became of one rank's processes."""

    rank: int
    steps: list[tuple[datetime | None, str]] = field(default_factory=list)
    processes: list[Ended] = field(default_factory=list)
    more: int = 0  # signalled, too, and too many to be named
    left: list[Ended] = field(default_factory=list)
    took: float | None = None  # seconds from the first signal until nothing was left


def parts_of(receipt: dict[str, Any]) -> list[Part]:
    """Return the parts of a receipt, a part for each rank, in their order."""
    ranks = [one if isinstance(one, dict) else {} for one in _list(receipt.get("ranks"))] or [receipt]
    for key in ("containers", "containers_left"):  # of a run that was lost, its containers alone
        if _list(receipt.get(key)):
            ranks[0] = ranks[0] | {key: receipt[key]}
    parts = [_part(number, one) for number, one in enumerate(ranks)]
    return [part for part in parts if part.steps]


def summary_of(parts: list[Part]) -> str:
    """Say in one sentence what was signalled and left; nothing where no process had to be."""
    signalled = sum(len(part.processes) + part.more for part in parts)
    if left := sum(len(part.left) for part in parts):
        return ngettext(
            "%(n)d process could not be ended, and is still there.",
            "%(n)d processes could not be ended, and are still there.",
            left,
        ) % {"n": left}
    took = [part.took for part in parts if part.took is not None]
    if not signalled or not took:
        return ""
    return ngettext(
        "%(n)d process was ended; nothing was left after %(time)s.",
        "%(n)d processes were ended; nothing was left after %(time)s.",
        signalled,
    ) % {"n": signalled, "time": duration(max(took))}


def _part(number: int, told: dict[str, Any]) -> Part:
    entries = [one for one in _list(told.get("signalled")) if isinstance(one, dict)]
    by_signal = {name: sum(one.get("signal") == name for one in entries) for name in ("SIGTERM", "SIGKILL")}
    term, kill, empty = (_moment(told.get(key)) for key in ("term_at", "kill_at", "empty_at"))
    more = told["more"] if isinstance(told.get("more"), int) else 0
    left = list(_processes(_list(told.get("left"))))
    began = min((at for at in (term, kill) if at), default=None)
    steps: list[tuple[datetime | None, str]] = []
    if term:
        steps.append((term, _sent("SIGTERM", by_signal["SIGTERM"], more)))
    if kill:
        steps.append((kill, _sent("SIGKILL", by_signal["SIGKILL"], more)))
    steps += [(None, text) for text in _of_containers(told)]
    if left:
        said = ngettext("%(n)d process was left.", "%(n)d processes were left.", len(left)) % {"n": len(left)}
        steps.append((None, said))
    elif empty:
        steps.append((empty, _("Nothing was left.")))
    took = max(0.0, (empty - began).total_seconds()) if empty and began and not left else None
    return Part(number, steps, list(_processes(entries)), more, left, took)


def _sent(signal: str, count: int, more: int) -> str:
    if more:
        return _("%(signal)s was sent to more than %(n)d processes.") % {"signal": signal, "n": count}
    return ngettext("%(signal)s was sent to %(n)d process.", "%(signal)s was sent to %(n)d processes.", count) % {
        "signal": signal,
        "n": count,
    }


def _of_containers(told: dict[str, Any]) -> Iterator[str]:
    for name in _list(told.get("containers")):
        yield _("The container %(name)s was removed.") % {"name": str(name)[:200]}
    for name in _list(told.get("containers_left")):
        yield _("A container could not be removed: %(why)s") % {"why": str(name)[:500]}


def _processes(entries: Iterable[Any]) -> Iterator[Ended]:
    """Yield each process once, with all the signals it was sent."""
    found: dict[int, tuple[str, list[str]]] = {}
    for one in entries:
        if isinstance(one, dict) and isinstance(pid := one.get("pid"), int):
            signals = found.setdefault(pid, (str(one.get("command", ""))[:300], []))[1]
            signals += [str(one["signal"])[:20]] if "signal" in one else []
    for pid, (command, signals) in found.items():
        yield Ended(pid, command, ", ".join(signals))


def _list(value: object) -> list[Any]:
    return value[:MOST] if isinstance(value, list) else []


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return timezone.localtime(moment) if moment and moment.tzinfo else None
