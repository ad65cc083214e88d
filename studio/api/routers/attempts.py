"""What became of a run's attempts, what it used and cost, and what it measured."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ninja import Field, Query, Router, Schema

from compute.models import Job
from compute.quotas.guarantees import can_be_stopped
from compute.states import EndReason, JobState
from runs import metrics, receipts, usage
from runs.detail_views import SERVICE_FACTS, run_of
from runs.metrics import Curve
from runs.models import Attempt
from runs.receipts import Ended, Part
from studio.api.kit import Asked, Listed, Text
from studio.http import StudioRequest
from studio.said import said

router = Router()


class ProcessFacts(Schema):
    pid: int
    command: str
    signals: str = Field(description="That it was sent, in their order.")


class Step(Schema):
    at: datetime | None
    what: str


class ReceiptFacts(Schema):
    """How the processes of one rank were ended."""

    rank: int
    steps: list[Step]
    processes: list[ProcessFacts] = Field(description="Those that were signalled.")
    more: int = Field(description="Signalled, too, and too many to be named.")
    left: list[ProcessFacts] = Field(description="Those that could not be ended.")
    seconds: float | None = Field(description="From the first signal until nothing was left.")


class AttemptFacts(Schema):
    number: int
    state: JobState
    nodes: list[str] = Field(description="On which it ran or runs, by rank.")
    node_count: int = Field(description="How many it asks for.")
    enqueued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None = Field(description="From start to end; null: it has not ended, or never started.")
    end_reason: EndReason | None
    reason: str = Field(description="Why it ended, or why it waits, in words.")
    exit_code: int | None
    can_be_stopped: bool = Field(description="Whether it runs on borrowed cores, which their owner may take back.")
    service: dict[str, str] = Field(
        description="What the service that runs it says of it; “page” is its own page there."
    )
    ended_how: str = Field(description="The receipt in one sentence; empty where no process had to be ended.")
    receipt: list[ReceiptFacts]


class LostFacts(Schema):
    """What was lost with an attempt whose node was taken."""

    attempt: int
    seconds: float
    usd: Decimal


class UsageFacts(Schema):
    """What a run used until now, all its attempts and children together."""

    node_hours: Decimal
    core_hours: Decimal
    usd: Decimal
    rests_on: str = Field(description="On what the cost rests: currency, who says so, region and date.")
    azure_usd: Decimal = Field(description="What the same would cost in Azure.")
    azure_rests_on: str
    jobs: int = Field(description="Attempts that ran, or run.")
    lost: list[LostFacts]


class Measured(Schema):
    step: float
    value: float


class CurveFacts(Schema):
    name: str
    count: int = Field(description="Values that were written.")
    last: float
    points: list[Measured] = Field(description="Of a long series a part, the extremes of each stretch among them.")


class MetricsFacts(Schema):
    attempt: int | None = Field(description="The newest, whose metrics these are; null: none has begun.")
    skipped: int = Field(description="Lines of the file that were none.")
    series: list[CurveFacts]


class MetricsAsked(Asked):
    name: list[Text] = Field([], max_length=50, description="Any of these; none: all.")


@router.get("/{run_id}/attempts", response=Listed[AttemptFacts])
def list_attempts(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """The attempts of a run, the newest first: where each ran, how it ended, and how its processes were ended."""
    attempts = run_of(request, run_id).attempts.select_related("job").order_by("-number")
    return {"items": [_attempt(one) for one in attempts], "next": None}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    job = attempt.job
    parts = receipts.parts_of(job.receipt)
    end = EndReason(job.end_reason) if job.end_reason else None
    why = job.end_detail if job.state == JobState.ENDED else job.wait_reason
    kept = ("state", "node_count", "enqueued_at", "started_at", "ended_at", "exit_code")
    return {name: getattr(job, name) for name in kept} | {
        "number": attempt.number,
        "nodes": job.placed_on,
        "seconds": (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else None,
        "end_reason": end,
        "reason": said(why) or (str(end.label) if end else ""),
        "can_be_stopped": job.state == JobState.RUNNING and can_be_stopped(job),
        "service": _service(job),
        "ended_how": receipts.summary_of(parts),
        "receipt": [_part(part) for part in parts],
    }


def _service(job: Job) -> dict[str, str]:
    """Return what the page shows of a service's words, and the address of its own page where that is safe."""
    page = str(job.facts.get("page") or "")
    told = {name: str(job.facts[name]) for name in SERVICE_FACTS if job.facts.get(name)}
    return told | ({"page": page} if page.startswith(("https://", "http://")) else {})


def _part(part: Part) -> dict[str, Any]:
    return {
        "rank": part.rank,
        "steps": [{"at": at, "what": text} for at, text in part.steps],
        "processes": _processes(part.processes),
        "more": part.more,
        "left": _processes(part.left),
        "seconds": part.took,
    }


def _processes(found: list[Ended]) -> list[dict[str, Any]]:
    return [{"pid": one.pid, "command": one.command, "signals": one.signals} for one in found]


@router.get("/{run_id}/usage", response=UsageFacts)
def run_usage(request: StudioRequest, run_id: str) -> dict[str, Any]:
    """What a run used and cost until now, with its children, and what preemptions lost."""
    found = usage.of_run(run_of(request, run_id), with_children=True)
    lost = [{"attempt": one.attempt, "seconds": one.time.total_seconds(), "usd": one.usd} for one in found.lost]
    return {name: getattr(found, name) for name in UsageFacts.model_fields if name != "lost"} | {"lost": lost}


@router.get("/{run_id}/metrics", response=MetricsFacts)
def run_metrics(request: StudioRequest, run_id: str, asked: Query[MetricsAsked]) -> dict[str, Any]:
    """What a run measures, as its newest attempt wrote it to outputs/metrics.jsonl, also while it still does."""
    job = metrics.last_job(run_of(request, run_id))
    if job is None:
        return {"attempt": None, "skipped": 0, "series": []}
    found = metrics.of_job(job)
    series = [_curve(one) for one in found.curves if not asked.name or one.name in asked.name]
    return {"attempt": job.attempt, "skipped": found.skipped, "series": series}


def _curve(curve: Curve) -> dict[str, Any]:
    points = [{"step": point.step, "value": point.value} for point in curve.points]
    return {"name": curve.name, "count": curve.count, "last": curve.last, "points": points}
