"""Parts of pages that travel with the nudge of what they show: made once a language, for every page that has them open.

A part made so shows the same to every member of its workspace: nothing in it depends on the person.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.utils import translation

if TYPE_CHECKING:
    from studio.people.models import Workspace

logger = logging.getLogger(__name__)
Make = Callable[["Workspace", int], "str | None"]  # of what has this id there; None: it is gone
Key = tuple[int, str, int, int, str]  # workspace, kind, id, the count of nudges, language
MOST_KEPT = 256

_made_by: dict[str, Make] = {}
_made: WeakKeyDictionary[asyncio.AbstractEventLoop, OrderedDict[Key, "asyncio.Future[str | None]"]]
_made = WeakKeyDictionary()


def register(kind: str, make: Make) -> None:
    """Have `make` write the part with the id "<kind>-<id>", which goes out with each nudge "<kind>:moved"."""
    _made_by[kind] = make


async def part_of(workspace: "Workspace", kind: str, pk: int, count: int, language: str) -> str | None:
    """Return the part as it is after nudge number `count`; None when there is none, and the page has to ask."""
    if kind not in _made_by:
        return None
    made = _made.setdefault(asyncio.get_running_loop(), OrderedDict())
    key = (workspace.pk, kind, pk, count, language)
    if key not in made:
        made[key] = asyncio.ensure_future(database_sync_to_async(_make, thread_sensitive=False)(workspace, *key[1:]))
        while len(made) > MOST_KEPT:
            made.popitem(last=False)
    return await asyncio.shield(made[key])  # one page that leaves takes it from no other


def _make(workspace: "Workspace", kind: str, pk: int, _count: int, language: str) -> str | None:
    try:
        with translation.override(language):
            return _made_by[kind](workspace, pk)
    except Exception:  # the page asks for it itself, and is told what is wrong
        logger.warning("The part %s-%s was not made.", kind, pk, exc_info=True)
        return None
