"""What a Prometheus server scrapes: nodes, cores, quota, runs and queue of a workspace, in a fixed number of queries.

The names are the provider's metrics, written as Prometheus writes them:

- Total, Active, Idle, Unusable, Preempted and Leaving Nodes: studio_nodes{workspace, cluster, state}; the total is
  their sum. "active" are those that run a job, "preparing" those that are not ready yet. Likewise Cores: studio_cores.
- Quota Utilization Percentage: studio_quota_utilization_percent{workspace, scope, family, priority}, of every limit
  that is set; studio_quota_cores and studio_quota_used_cores are what it is made of.
- Started, Completed, Failed, Canceled, … Runs, with the dimension RunType: studio_runs{workspace, run_type, status},
  how many are in each status now; studio_runs_started_total, _completed_total, _failed_total and _canceled_total, how
  many ever came there.
- Beyond these: studio_nodes_max, studio_queue_length and studio_queue_oldest_wait_seconds of each cluster.

Source: facts of Azure Monitor's metrics for Microsoft.MachineLearningServices/workspaces.
"""

from collections import defaultdict
from collections.abc import Iterator

from django.db.models import Count, Min, Q, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from compute.models import ComputeTarget, Job, Node
from compute.quotas.bounds import with_use
from compute.quotas.models import Limit
from compute.states import JobState, NodeState
from runs.models import Run
from runs.states import RunStatus
from studio.people.models import Workspace

STATES = {state: "active" if state == NodeState.RUNNING else state.value for state in NodeState}
RUN_TYPE = "Experiment"  # the only type of run so far. Source: the dimension RunType
ENDS = {"completed": RunStatus.COMPLETED, "failed": RunStatus.FAILED, "canceled": RunStatus.CANCELED}
WORDS = {"started": "began to run", "completed": "completed", "failed": "failed", "canceled": "were canceled"}


def exposition(workspace: Workspace, accept: str) -> tuple[bytes, str]:
    """Return the metrics of a workspace and their content type, in the format that `accept` asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Of(workspace))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Of(Collector):
    """Collects the metrics of one workspace, anew whenever it is asked."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: registering asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _nodes(self.workspace)
        yield from _quota(self.workspace)
        yield from _runs(self.workspace)
        yield from _queue(self.workspace)


def _nodes(workspace: Workspace) -> Iterator[Metric]:
    labels = ["workspace", "cluster", "state"]
    nodes = GaugeMetricFamily("studio_nodes", "Nodes of a cluster by state.", labels=labels)
    cores = GaugeMetricFamily("studio_cores", "Cores of the nodes of a cluster by state.", labels=labels)
    most = GaugeMetricFamily("studio_nodes_max", "Nodes a cluster may have.", labels=labels[:2])
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    rows = Node.objects.filter(target__workspace=workspace, target__deleted_at=None).order_by()
    counted = rows.values_list("target__name", "state").annotate(n=Count("pk"), cores=Sum("virtual_cpus"))
    for cluster, state, n, of_them in counted:
        found[cluster][state] = (n, of_them)
    for cluster, by_state in sorted(found.items()):
        for state, name in STATES.items():
            n, of_them = by_state.get(state, (0, 0))
            nodes.add_metric([workspace.name, cluster, name], n)
            cores.add_metric([workspace.name, cluster, name], of_them)
    clusters = ComputeTarget.objects.existing().filter(workspace=workspace, max_nodes__gt=0).order_by("name")
    for cluster, max_nodes in clusters.values_list("name", "max_nodes"):
        most.add_metric([workspace.name, cluster], max_nodes)
    yield from (nodes, cores, most)


def _quota(workspace: Workspace) -> Iterator[Metric]:
    labels = ["workspace", "scope", "family", "priority"]
    limit = GaugeMetricFamily("studio_quota_cores", "Cores that a limit allows.", labels=labels)
    used = GaugeMetricFamily("studio_quota_used_cores", "Cores that are used of a limit.", labels=labels)
    share = GaugeMetricFamily("studio_quota_utilization_percent", "How much of a limit is used.", labels=labels)
    of_no_person = Q(workspace=None) | Q(workspace=workspace, team=None, person=None)
    for bound in with_use(Limit.objects.filter(of_no_person)):
        said = [workspace.name, bound.scope.value, bound.family, bound.priority]
        limit.add_metric(said, bound.limit)
        used.add_metric(said, bound.used)
        share.add_metric(said, 100 * bound.used / bound.limit if bound.limit else 100.0 if bound.used else 0.0)
    yield from (limit, used, share)


def _runs(workspace: Workspace) -> Iterator[Metric]:
    runs = GaugeMetricFamily("studio_runs", "Runs by status.", labels=["workspace", "run_type", "status"])
    rows = Run.objects.filter(workspace=workspace).order_by().values_list("status")
    counted = dict(rows.annotate(n=Count("pk")))
    for status in RunStatus:
        runs.add_metric([workspace.name, RUN_TYPE, status.value], counted.get(status.value, 0))
    yield runs
    started = Run.objects.filter(workspace=workspace, started_at__isnull=False).count()
    ever = {"started": started} | {name: counted.get(status.value, 0) for name, status in ENDS.items()}
    for name, n in ever.items():
        metric = CounterMetricFamily(
            f"studio_runs_{name}", f"Runs that {WORDS[name]}.", None, ["workspace", "run_type"]
        )
        metric.add_metric([workspace.name, RUN_TYPE], n)
        yield metric


def _queue(workspace: Workspace) -> Iterator[Metric]:
    labels = ["workspace", "cluster"]
    length = GaugeMetricFamily("studio_queue_length", "Jobs that wait for nodes.", labels=labels)
    oldest = GaugeMetricFamily(
        "studio_queue_oldest_wait_seconds", "How long the first of them has waited.", labels=labels
    )
    now = timezone.now()
    waiting = Job.objects.filter(state__in=[JobState.WAITING, JobState.QUEUED], target__workspace=workspace).order_by()
    for cluster, n, since in waiting.values_list("target__name").annotate(n=Count("pk"), since=Min("enqueued_at")):
        length.add_metric([workspace.name, cluster], n)
        oldest.add_metric([workspace.name, cluster], max(0.0, (now - since).total_seconds()))
    yield from (length, oldest)
