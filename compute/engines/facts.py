"""What a plan is made from, and what it decides: plain values, and what of them can never be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

RESOURCES = ("cpus", "memory_bytes", "gpus")


@dataclass(frozen=True)
class Room:
    """An amount of each thing a node takes."""

    cpus: int  # virtual
    memory_bytes: int
    gpus: int

    def __iter__(self) -> Iterator[int]:
        return iter((self.cpus, self.memory_bytes, self.gpus))

    def __add__(self, other: "Room") -> "Room":
        return Room(self.cpus + other.cpus, self.memory_bytes + other.memory_bytes, self.gpus + other.gpus)

    def __sub__(self, other: "Room") -> "Room":
        return Room(self.cpus - other.cpus, self.memory_bytes - other.memory_bytes, self.gpus - other.gpus)

    def __mul__(self, count: int) -> "Room":
        return Room(self.cpus * count, self.memory_bytes * count, self.gpus * count)

    def gap(self, need: "Room") -> "Room":
        """Return what of `need` is not here; of what is not needed nothing is missed, even below zero."""
        return Room(*(max(0, n - here) if n else 0 for here, n in zip(self, need, strict=True)))

    def holds(self, need: "Room") -> bool:
        return not any(self.gap(need))

    def shares(self, other: "Room") -> bool:
        """Say whether both have something of the same resource."""
        return any(a > 0 and b > 0 for a, b in zip(self, other, strict=True))


NOTHING = Room(0, 0, 0)


@dataclass(frozen=True)
class Slice(Room):
    """What one node takes."""


@dataclass(frozen=True)
class Capacity(Room):
    """What a host has: its CPUs already times the overcommit."""


@dataclass(frozen=True)
class NodeView:
    id: int
    cluster: int
    state: str  # a value of compute.states.NodeState
    job: int | None
    since: float  # Unix seconds of the last change of state
    created: float
    borrowed: bool = False  # its job runs above what its people are guaranteed, and can be stopped for those who are


@dataclass(frozen=True)
class ClusterView:
    id: int
    name: str
    slice: Slice
    min_nodes: int
    max_nodes: int
    idle_seconds: float
    low_priority: bool
    takes_work: bool  # False while it is being deleted

    @property
    def keeps(self) -> int:
        """Return how many nodes it keeps without work."""
        return self.min_nodes if self.takes_work else 0


@dataclass(frozen=True)
class JobView:
    """A job that waits for nodes."""

    id: int
    name: str
    cluster: int
    nodes: int
    ready: bool  # False while its environment is being built
    priority: int
    order: float
    guaranteed: bool = False  # its people are guaranteed the cores it asks for
    takes_from: frozenset[int] = frozenset()  # the clusters whose borrowed nodes are there for it

    @property
    def turn(self) -> tuple[bool, bool, int, float, int]:
        """Return its place in the queue; the smaller goes first."""
        return (not self.ready, not self.guaranteed, -self.priority, self.order, self.id)


class Cause(StrEnum):
    """Why the number of a cluster's nodes changes."""

    JOB = "job"
    MINIMUM = "minimum"
    IDLE = "idle"
    ROOM = "room"  # another job or cluster needs the room
    MAXIMUM = "maximum"  # it was lowered
    CLOSED = "closed"  # the cluster is being deleted
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class Placement:
    job: int
    nodes: tuple[int, ...]  # by rank


@dataclass(frozen=True)
class Create:
    cluster: int
    count: int
    job: int | None
    cause: Cause


@dataclass(frozen=True)
class Release:
    node: int
    cause: Cause
    for_job: int | None = None  # with Cause.ROOM; None: for a minimum
    for_cluster: int | None = None


@dataclass(frozen=True)
class Preempt:
    node: int
    for_job: int | None  # None: for the minimum of `for_cluster`
    for_cluster: int
    borrowed: bool = False  # it is taken because its job runs on what the others are guaranteed


class RefusalKind(StrEnum):
    TOO_MANY_NODES = "too_many_nodes"  # more than the cluster's maximum
    NODE_TOO_BIG = "node_too_big"  # one node is bigger than the host
    TOGETHER_TOO_BIG = "together_too_big"  # the nodes asked for are


@dataclass(frozen=True)
class Refusal:
    """Why something can never be."""

    kind: RefusalKind
    nodes: int
    asked: int  # of `resource`; of nodes where that is empty
    available: int
    resource: str = ""  # one of RESOURCES


class WaitKind(StrEnum):
    NODES_BUSY = "nodes_busy"  # `busy` of `maximum` nodes run `jobs`
    NODES_STARTING = "nodes_starting"  # all it needs are there or on their way
    HOST_FULL = "host_full"  # `missing` is held by `clusters`, or waited for by the earlier job `behind`
    BEHIND = "behind"  # the earlier job `behind` of its cluster
    ROOM_BEING_MADE = "room_being_made"  # nodes are leaving
    KEPT = "kept"  # `missing` is kept by the minimums of `clusters`; it lasts until one is lowered
    ENVIRONMENT = "environment"  # its environment is being built
    CLUSTER_CLOSED = "cluster_closed"
    QUOTA = "quota"  # `ceiling` leaves too few cores; `clusters` hold them
    NEVER = "never"  # the cluster was changed after the job came: see `refusal`


@dataclass(frozen=True)
class Wait:
    """Why a job waits, with everything a sentence about it needs."""

    kind: WaitKind
    nodes: int  # the job asks for
    lacking: int = 0  # of them, not yet its own
    busy: int = 0  # nodes of its cluster that run something
    maximum: int = 0  # of its cluster
    jobs: tuple[int, ...] = ()  # what runs on the nodes that hold it up
    missing: tuple[str, ...] = ()  # of RESOURCES
    clusters: tuple[int, ...] = ()  # that hold what is missing, the one that holds most first
    behind: int | None = None
    refusal: Refusal | None = None
    ceiling: int | None = None  # with QUOTA, and with NEVER where it is the limit


@dataclass(frozen=True)
class Plan:
    place: tuple[Placement, ...] = ()
    create: tuple[Create, ...] = ()
    release: tuple[Release, ...] = ()
    preempt: tuple[Preempt, ...] = ()
    waits: dict[int, Wait] = field(default_factory=dict)  # by job; everyone who waits and is not placed has one

    def __bool__(self) -> bool:
        """Say whether there is something to do."""
        return bool(self.place or self.create or self.release or self.preempt)


def fits(capacity: Capacity, slice: Slice) -> Refusal | None:
    """Say why a host can never have a node of this slice, or None when it can."""
    return _beyond(capacity, slice, 1, RefusalKind.NODE_TOO_BIG)


def can_ever_run(capacity: Capacity, cluster: ClusterView, nodes: int) -> Refusal | None:
    """Say why a job of so many nodes can never run on this cluster, or None when it can."""
    if nodes > cluster.max_nodes:
        return Refusal(RefusalKind.TOO_MANY_NODES, nodes, nodes, cluster.max_nodes)
    return fits(capacity, cluster.slice) or _beyond(capacity, cluster.slice, nodes, RefusalKind.TOGETHER_TOO_BIG)


def _beyond(capacity: Capacity, slice: Slice, nodes: int, kind: RefusalKind) -> Refusal | None:
    for resource, asked, available in zip(RESOURCES, slice * nodes, capacity, strict=True):
        if asked > available:
            return Refusal(kind, nodes, asked, available, resource)
    return None
