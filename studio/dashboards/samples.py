"""Samples for charts over time: one a minute, thinned to hours and days as they get older."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, Count, Min, Value
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from compute.models import Node
from runs.models import Run
from studio.dashboards.models import Every, Sample
from studio.live import nudge
from studio.people.models import Workspace

KEPT = {Every.MINUTE: timedelta(days=1), Every.HOUR: timedelta(days=31), Every.DAY: timedelta(days=731)}
COARSER = {Every.MINUTE: Every.HOUR, Every.HOUR: Every.DAY}


def take(now: datetime | None = None) -> None:
    """Write down how each workspace stands; within a minute once. Asks the database one question."""
    now = now or timezone.now()
    at = Sample.begins(now, Every.MINUTE)
    found = defaultdict[int, Sample](Sample)
    for workspace, target, state, count, oldest in _standing():
        sample = found[workspace]
        if target is None:
            sample.waiting, sample.oldest_seconds = count, max(0.0, (now - _aware(oldest)).total_seconds())
        else:
            sample.nodes.setdefault(str(target), {})[state] = count
    spaces = {space.pk: space for space in Workspace.objects.all()}
    for pk in spaces:
        found[pk].workspace_id, found[pk].at, found[pk].every = pk, at, Every.MINUTE
    with transaction.atomic():
        Sample.objects.bulk_create([found[pk] for pk in spaces], ignore_conflicts=True)
        for space in spaces.values():
            nudge(space.group, "sample:moved")


def _standing() -> Iterable[tuple[int, int | None, str, int, Any]]:
    """Return nodes by cluster and state, and with them, without a target, what waits in each workspace."""
    nodes = (
        Node.objects.filter(target__deleted_at=None)
        .order_by()
        .values_list("target__workspace_id", "target_id", "state")
        .annotate(n=Count("pk"), oldest=Coalesce(Min("created_at"), Now()))
    )
    waiting = (
        Run.objects.waiting()
        .order_by()
        .values("workspace_id")
        .annotate(no_target=Value(None, output_field=BigIntegerField()), word=Value("waiting"))
        .values_list("workspace_id", "no_target", "word")
        .annotate(n=Count("pk"), oldest=Coalesce(Min("created_at"), Now()))
    )
    return list(nodes.union(waiting, all=True))


def _aware(at: datetime) -> datetime:
    return at if timezone.is_aware(at) else timezone.make_aware(at, timezone.get_default_timezone())


def thin(now: datetime | None = None) -> None:
    """Make a sample of each hour and each day that is over, and let go of what is older than it is kept."""
    now = now or timezone.now()
    for fine, coarse in COARSER.items():
        until = Sample.begins(now, coarse)
        since = Sample.begins(now - KEPT[fine], coarse) + timedelta(
            seconds=coarse
        )  # whole ones, as far back as there are
        groups = defaultdict[tuple[int, datetime], list[Sample]](list)
        for sample in Sample.objects.filter(every=fine, at__gte=since, at__lt=until):
            groups[sample.workspace_id, Sample.begins(sample.at, coarse)].append(sample)
        made = [merged(group, workspace, at, coarse) for (workspace, at), group in groups.items()]
        Sample.objects.bulk_create(made, ignore_conflicts=True)
    for every, span in KEPT.items():
        Sample.objects.filter(every=every, at__lt=now - span).delete()


def merged(samples: list[Sample], workspace_id: int, at: datetime, every: Every) -> Sample:
    """Return the mean of the nodes, and the worst of the waits."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for sample in samples:
        for target, states in sample.nodes.items():
            for state, count in states.items():
                sums[target][state] += count
    nodes = {target: {s: round(n / len(samples), 2) for s, n in states.items()} for target, states in sums.items()}
    return Sample(
        workspace_id=workspace_id,
        every=every,
        at=at,
        nodes=nodes,
        waiting=max(s.waiting for s in samples),
        oldest_seconds=max(s.oldest_seconds for s in samples),
    )
