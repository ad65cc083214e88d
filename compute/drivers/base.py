"""What a driver is, what it can be able to do, and what passes between it and the studio."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from django.forms import BaseForm, Form
from django.utils.translation import gettext as _

from compute.states import EndReason, ProvisioningState

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from compute.models import ComputeTarget, Job

Handle = dict[str, Any]  # JSON; enough to find a job again after a restart


class JobSpec(TypedDict):
    """What `Job.spec` holds: how to start one process a rank, whatever the target."""

    script: str  # path of the script below the source folder
    arguments: list[str]
    interpreter: str  # path or name of a Python; empty: the environment's, else the studio machine's
    variables: dict[str, str]  # asked for by the person; the studio's own are added at the start
    experiment: str
    options: dict[str, Any]  # of the kind's own run form; empty for a kind without one
    environment: dict[str, str]  # as it was asked for: {"kind", "interpreter", "text"}; for kinds that run elsewhere


class Phase(StrEnum):
    STARTING = "starting"
    QUEUED = "queued"  # a service has taken it, and no process of it runs yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class JobReport:
    """What a driver says of a job now."""

    phase: Phase
    output: bytes = b""  # new bytes of its log since `after`; empty where the log is a file of the studio's already
    exit_code: int | None = None
    reason: EndReason = EndReason.EXITED
    detail: str = ""  # a sentence for people, with an end that is not plain
    receipt: dict[str, Any] = field(default_factory=dict)
    waits: str = ""  # a sentence for people, while it is queued: what for
    ask_again_in: float = 5.0  # seconds, for a kind that can only be polled
    facts: dict[str, Any] = field(default_factory=dict)  # what a service says of it: {"page": URL, "application": id}
    started_at: datetime | None = None  # on a service's clock, where it says so
    ended_at: datetime | None = None


@dataclass(frozen=True)
class TargetReport:
    """What a driver says of its target now."""

    state: ProvisioningState
    reason: str = ""


class CheckState(StrEnum):
    """How one check of the connection doctor went."""

    OK = "ok"
    WARN = "warn"  # attaching is possible; something will be missing
    BAD = "bad"
    ASK = "ask"  # a person has to look and say yes: a host key not seen before
    SKIPPED = "skipped"  # an earlier one has to be well first


@dataclass(frozen=True)
class Check:
    """One finding of the connection doctor, with its evidence and its remedy."""

    key: str  # "host_key"; the same for the same question in every kind
    title: "StrOrPromise"
    state: CheckState
    evidence: str = ""  # what was seen, in the other side's words
    remedy: str = ""  # what to do next; a sentence, and a command where one helps
    needed: bool = True  # nothing can be attached while it is bad
    facts: dict[str, Any] = field(default_factory=dict)  # JSON for whoever goes on: {"host_key": {...}}


@dataclass(frozen=True)
class Need:
    """One thing to have at hand before attaching: what it is, where it is found, the command that prints it."""

    title: "StrOrPromise"
    text: "StrOrPromise"
    command: str = ""


class RunForm(Form):
    """What one run may say to a kind. What is cleaned is JSON, and is kept with the run."""

    shown_with: ClassVar[dict[str, tuple[str, str]]] = {}  # field → (another field, its value that makes it of use)
    needed: ClassVar[frozenset[str]] = frozenset()  # of those: what has to be said while it is shown

    def clean(self) -> dict[str, Any]:
        """Hold that what is needed is said, where it is of use."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.needed & cleaned.keys():
            on, value = self.shown_with[name]
            if cleaned.get(on) == value and cleaned[name] in (None, ""):
                self.add_error(name, _("It is needed."))
        return cleaned


class Driver(ABC):
    """One kind of compute target, bound to one target of that kind.

    A verb starts something and returns at once; how it went is asked later, by a task, with
    `refresh` or `follow`, as often as needed. A driver keeps nothing and never writes to the
    database; whatever a provider raises leaves here as a StudioError.
    """

    label: "ClassVar[StrOrPromise]"  # as in the Create and Attach menus
    form: ClassVar[type[BaseForm]]  # its fields, their validation, the help beside them
    do_not_call_in_templates = True  # Django templates call a class they meet, and print nothing

    def __init__(self, target: "ComputeTarget") -> None:
        self.target, self.config = target, target.config

    @abstractmethod
    def refresh(self) -> TargetReport:
        """Ask how the target is."""

    @classmethod
    def verbs(cls) -> frozenset[str]:
        """Return everything this kind can do, for buttons and checks: {"submit", "follow", "cancel"}."""
        return frozenset().union(*(a.__abstractmethods__ for a in ABILITIES if issubclass(cls, a)))


class Provisions(ABC):
    """Is created and deleted here, rather than attached and detached."""

    @abstractmethod
    def create(self) -> TargetReport:
        """Begin to create it. Raises CannotEverRun when the provider can never host it."""

    @abstractmethod
    def delete(self) -> TargetReport:
        """Begin to delete it, once no node and no job is left."""


class Attaches(ABC):
    """Stands elsewhere already: is attached and detached here, and its jobs run there.

    The files of a job lie ready below `job.folder / "rank-0"` of this machine when it is submitted; what it
    leaves in `outputs` and `logs` there is brought back to the same folders here.
    """

    notice: "ClassVar[StrOrPromise]" = ""  # what has to be said of this kind before anything else
    needs: ClassVar[tuple[Need, ...]] = ()  # beside the form
    host_key_tells: ClassVar[bool] = False  # the same host key is the same machine, whatever its address
    run_form: ClassVar[type[RunForm] | None] = None  # what one run may say to this kind; kept as spec["options"]
    environments: ClassVar[frozenset[str]] = frozenset({"interpreter", "pip", "conda"})  # what can be asked for
    scripts: ClassVar[str] = ""  # how the name of a script has to end there; empty: in any way

    @classmethod
    @abstractmethod
    def address_of(cls, config: dict[str, Any]) -> str:
        """Return what tells this target from every other of its kind: the same twice is refused."""

    @abstractmethod
    def checks(self) -> Iterator[Check]:
        """Look at the connection, one thing after another; never raises, and ends within a bounded time."""

    @classmethod
    def needed_checks(cls, config: dict[str, Any]) -> frozenset[str]:
        """Return the keys of the checks that have to be well, where nothing else need be waited for; empty: all."""
        return frozenset()

    def why_not_now(self) -> str:
        """Return in one sentence why a job cannot start there at the moment; empty: it can."""
        return ""

    def queues(self, job: "Job") -> bool:
        """Say whether a job that was submitted waits there until a report says that it runs."""
        return False


class Resizes(ABC):
    """Has nodes whose number changes."""

    @abstractmethod
    def resize(self, nodes: range) -> None:
        """Keep at least `nodes.start` and at most `nodes.stop - 1` nodes. Raises CannotEverRun for too many."""


class Starts(ABC):
    """Can be stopped and started again."""

    @abstractmethod
    def start(self) -> None: ...
    @abstractmethod
    def stop(self) -> None: ...


class Executes(ABC):
    """Runs jobs."""

    @abstractmethod
    def submit(self, job: "Job") -> Handle:
        """Start the job's processes, detached, and return at once. Raises StudioError when it cannot."""

    @abstractmethod
    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        """Yield one or more reports, with output from byte `after` on; is called again until one says ENDED."""

    @abstractmethod
    def cancel(self, handle: Handle, because: EndReason) -> None:
        """Begin to end the job's processes; a job that is gone already is fine."""


class Streams(ABC):
    """Sends what a job prints by itself, so that nobody has to ask."""

    @abstractmethod
    def listen(self, job: "Job", call: Callable[[], object]) -> None:
        """Have a running job's output come into its log as it is written; call `call` when it has ended.

        Twice is once. Raises StudioError when the machine does not answer.
        """


class Queues(ABC):
    """Jobs wait here for nodes; the scheduler says when they start."""

    @abstractmethod
    def node_count_limit(self) -> int:
        """Return how many nodes one job can ever have."""


ABILITIES = (Provisions, Attaches, Resizes, Starts, Executes, Queues)
