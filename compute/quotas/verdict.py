"""What becomes of a request before it is made: a bar, and one sentence with the way out."""

from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute.models import ComputeTarget
from compute.quotas.bounds import Bound, Headroom, headrooms, promised_in_all
from compute.quotas.models import Reservation
from compute.sizes import VmSize, family_name
from compute.states import Priority
from studio.errors import QuotaExceeded
from studio.people.models import Team, User, Workspace


class Level(StrEnum):
    FITS = "fits"
    WARNS = "warns"  # it can be made, and will wait for cores, or grow less far
    REFUSES = "refuses"


@dataclass(frozen=True)
class Verdict:
    """What a bar shows of a request, in cores: `used` and `asked` of `limit`, and the rest is left."""

    level: Level
    asked: int
    used: int  # by others
    limit: int | None  # None: there is none
    left: int | None  # before this request
    most_nodes: int | None  # that what is left has room for
    sentence: str
    hint: str  # how to mend it; empty when it fits
    bound: Bound | None = None  # the limit that decides
    needed: int = 0  # cores that must be there for it not to be refused

    @property
    def text(self) -> str:
        """Return sentence and hint together."""
        return f"{self.sentence} {self.hint}".strip()

    @property
    def refuses(self) -> bool:
        return self.level == Level.REFUSES

    @property
    def fitting(self) -> int:
        """Return the cores of the request that there is room for."""
        return self.asked if self.left is None else min(self.asked, self.left)

    @property
    def lacking(self) -> int:
        return self.asked - self.fitting

    @property
    def remaining(self) -> int | None:
        """Return the cores that are left after this request."""
        return None if self.left is None else self.left - self.fitting

    def enforce(self) -> None:
        """Raise QuotaExceeded when it refuses."""
        if self.refuses and self.bound:
            raise QuotaExceeded(
                self.sentence, self.hint, asked=self.needed, used=self.used, limit=self.limit or 0,
                scope=self.bound.scope.value,
            )  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """A request in cores."""

    size: VmSize
    priority: str
    most: int  # it may take at most
    least: int  # that must be left for it
    minimum: int  # of a cluster, kept for as long as it stands
    is_run: bool


def verdict(
    workspace: Workspace,
    size: VmSize,
    priority: str,
    *,
    min_nodes: int = 0,
    max_nodes: int = 1,
    node_count: int | None = None,
    person: User | None = None,
    team: Team | None = None,
    target: ComputeTarget | None = None,
) -> Verdict:
    """Say what becomes of a cluster of `min_nodes` to `max_nodes`, or of a run of `node_count` nodes on one.

    A cluster is refused when what is left does not hold its minimum, or the whole limit not one node; a maximum
    above what is left only warns. A run is refused when it is more than a whole limit; else it waits. `target` is the
    cluster that is resized or run on: what it holds itself does not count against it. Source: azure-ml facts A8, C6.
    """
    priority = Priority(priority)
    rooms = headrooms(workspace, size.family_key, person=person, team=team)
    own = _own(target, only_idle=node_count is not None) if target is not None and rooms[priority].bounds else 0
    if node_count is not None:
        cores = node_count * size.vcpus
        asked = _Asked(size, priority, most=cores, least=0, minimum=0, is_run=True)
    else:
        cores = min_nodes * size.vcpus
        asked = _Asked(size, priority, max_nodes * size.vcpus, least=cores, minimum=cores, is_run=False)
    return _judge(workspace, asked, rooms, own, target)


def _judge(
    workspace: Workspace, asked: _Asked, rooms: dict[str, Headroom], own: int, target: ComputeTarget | None
) -> Verdict:
    found = [(bound, _used(bound, asked, own, target)) for bound in rooms[asked.priority].bounds]
    if not found:
        said = _("No limit is set for %(family)s cores; this takes %(asked)d.")
        facts = {"family": family_name(asked.size.family_key), "asked": asked.most}
        return Verdict(Level.FITS, asked.most, 0, None, None, None, said % facts, "")
    bound, used = min(found, key=lambda pair: pair[0].limit - pair[1])
    refusing = [pair for pair in found if _refuses(asked, *pair)]
    if refusing:
        bound, used = min(refusing, key=lambda pair: pair[0].limit - pair[1])
    left = max(0, bound.limit - used)
    never = max(asked.size.vcpus, asked.most if asked.is_run else asked.least)
    level = Level.REFUSES if refusing else Level.WARNS if asked.most > left else Level.FITS
    needed = never if refusing else asked.most
    most = left // asked.size.vcpus
    facts = {"left": left, "limit": bound.limit, "cores": bound.cores, "asked": needed}
    said = _("%(left)d of %(limit)d %(cores)s left; this needs %(asked)d.") % facts
    hint = "" if level == Level.FITS else _way_out(asked, bound, most, level, rooms)
    return Verdict(level, asked.most, used, bound.limit, left, most, said, hint, bound, never)


def _refuses(asked: _Asked, bound: Bound, used: int) -> bool:
    if asked.is_run:
        return asked.most > bound.limit
    return asked.size.vcpus > bound.limit or (asked.minimum > 0 and used + asked.minimum > bound.limit)


def _used(bound: Bound, asked: _Asked, own: int, target: ComputeTarget | None) -> int:
    """Return what others use of a limit: hold, or for a cluster with a minimum, keep for theirs, if that is more."""
    used = bound.used if bound.is_of_runs else bound.used - own
    if asked.minimum:
        used = max(used, promised_in_all(bound.workspace_id, bound.family, bound.priority, but=target))
    return used


def _own(target: ComputeTarget, *, only_idle: bool) -> int:
    held = Reservation.objects.held().filter(target=target)
    if only_idle:
        held = held.filter(job=None)
    return held.aggregate(sum=Sum("cores"))["sum"] or 0


def _way_out(asked: _Asked, bound: Bound, most: int, level: Level, rooms: dict[str, Headroom]) -> str:
    """Return what a person can do, as one sentence."""
    ways = []
    if most and asked.is_run:
        ways.append(ngettext("ask for %(n)d node at most", "ask for %(n)d nodes at most", most) % {"n": most})
    elif most and level == Level.REFUSES:
        ways.append(_("lower minimum nodes to %(n)d") % {"n": most})
    elif most and most * asked.size.vcpus >= asked.minimum:
        ways.append(_("lower maximum nodes to %(n)d") % {"n": most})
    if asked.priority == Priority.DEDICATED and asked.size.low_priority_capable and not asked.is_run:
        low = rooms[Priority.LOW_PRIORITY].left
        if low is None:
            ways.append(_("choose low priority (no limit)"))
        elif low >= (asked.most if level == Level.WARNS else max(asked.least, asked.size.vcpus)):
            ways.append(_("choose low priority (%(n)d left)") % {"n": low})
    ways.append(_("ask for more"))
    said = (
        ways[0] if len(ways) == 1 else _("%(first)s, or %(last)s") % {"first": ", ".join(ways[:-1]), "last": ways[-1]}
    )
    if asked.is_run and level == Level.WARNS:
        said = _("It waits until they are free; or %(ways)s") % {"ways": said}
    return f"{said[:1].upper()}{said[1:]}."
