"""The figures over the list of targets: nodes, cores, queue, and what it costs now."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Min, Q, Sum

from compute.listing import UP
from compute.models import ComputeTarget, Job, Node
from compute.prices.price import Price, Prices
from compute.states import JobState, NodeState
from studio.people.models import Workspace


@dataclass(frozen=True)
class Glance:
    """The figures over the list."""

    nodes_up: int
    nodes_busy: int
    nodes_at_most: int
    cores_used: int
    cores_capacity: int
    queue: int
    oldest: datetime | None  # since when the longest waiting one waits
    spend_usd_per_hour: Decimal
    spend_at_most: Decimal  # with every node of every cluster up
    azure_usd_per_hour: Decimal  # what the nodes that are up would cost there
    rests_on: str  # of the prices: "USD, price of the machine, …"

    @property
    def nodes_free(self) -> int:
        return self.nodes_up - self.nodes_busy


def glance(workspace: Workspace, *, cores_capacity: int) -> Glance:
    """Return the figures of a workspace now. The cores are the host's: every workspace takes from the same ones."""
    up = Node.objects.filter(state__in=UP)
    targets = ComputeTarget.objects.existing().filter(workspace=workspace)
    ours = up.filter(target__workspace=workspace).aggregate(
        n=Count("pk"),
        busy=Count("pk", filter=Q(state=NodeState.RUNNING)),
    )
    prices = Prices(workspace)
    by_size = ("host", "vm_size", "vm_priority")
    most = list(targets.filter(max_nodes__gt=0).order_by().values_list(*by_size).annotate(n=Sum("max_nodes")))
    now = up.filter(target__workspace=workspace).order_by().values_list(*(f"target__{f}" for f in by_size))
    nodes_now = list(now.annotate(n=Count("pk")))
    rests_on = {prices.here(host, size, priority).said for host, size, priority, _n in nodes_now or most}
    waiting = Job.objects.filter(state__in=[JobState.WAITING, JobState.QUEUED], target__workspace=workspace).aggregate(
        n=Count("pk"), oldest=Min("enqueued_at")
    )
    return Glance(
        nodes_up=ours["n"],
        nodes_busy=ours["busy"],
        nodes_at_most=sum(n for *_size, n in most),
        cores_used=up.aggregate(n=Sum("virtual_cpus"))["n"] or 0,
        cores_capacity=cores_capacity,
        queue=waiting["n"],
        oldest=waiting["oldest"],
        spend_usd_per_hour=round(_spend(prices.here, nodes_now), 2),
        spend_at_most=round(_spend(prices.here, most), 2),
        azure_usd_per_hour=round(_spend(lambda _host, *size: prices.in_azure(*size), nodes_now), 2),
        rests_on="; ".join(sorted(rests_on)),
    )


def _spend(price: Callable[[int | None, str, str], Price | None], nodes: list[tuple[Any, ...]]) -> Decimal:
    """Return the US dollars an hour of so many nodes: [(machine, size, priority, how many)]."""
    known = ((price(host, size, priority), n) for host, size, priority, n in nodes)
    return sum((each.amount * n for each, n in known if each), Decimal(0))
