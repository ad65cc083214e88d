"""What each job used, and the totals. Whole numbers only (milliseconds, millionths of a dollar): sums never drift."""

from django.db import models
from django.db.models import Q

from compute.models import ComputeTarget, Job
from compute.states import Priority
from studio.people.models import Workspace


class Whose(models.Model):
    """What usage is counted by. People and teams are ids alone, 0 for none: what they used outlives them."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    person = models.BigIntegerField(default=0)
    team = models.BigIntegerField(default=0)
    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, related_name="+")
    family = models.CharField(max_length=60, blank=True)  # sizes.family_key; empty for what has no size
    priority = models.CharField(max_length=12, choices=Priority, blank=True)

    class Meta:
        abstract = True


class Amounts(models.Model):
    """How much was used."""

    node_ms = models.BigIntegerField(default=0)
    core_ms = models.BigIntegerField(default=0)
    micro_usd = models.BigIntegerField(default=0)
    azure_micro_usd = models.BigIntegerField(default=0)  # what it would have cost in Azure

    class Meta:
        abstract = True


AMOUNTS = ("node_ms", "core_ms", "micro_usd", "azure_micro_usd")


class JobUsage(Whose, Amounts):
    """What one job uses, from its first process on; the amounts come with its end, at the price of its start."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="usage")
    experiment = models.CharField(max_length=200, blank=True)
    nodes = models.PositiveIntegerField()
    cores = models.PositiveIntegerField()  # of a node; 0 where nobody knows
    price = (
        models.JSONField()
    )  # of a node's hour at its start: {"amount", "region", "as_of", "source", "azure": {the same}}
    micro_usd_per_hour = models.BigIntegerField()  # the same, to reckon with
    azure_micro_usd_per_hour = models.BigIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    was_preempted = models.BooleanField(default=False)  # its work is lost: it is restarted, not resumed
    has_succeeded = models.BooleanField(default=False)

    class Meta:
        indexes = [
            models.Index(fields=["workspace"], condition=Q(ended_at=None), name="usage_going_on"),
            models.Index(
                fields=["workspace", "experiment", "-ended_at"],
                condition=Q(has_succeeded=True),
                name="usage_of_an_experiment",
            ),
        ]

    def __str__(self) -> str:
        return f"usage of {self.job}"


class Total(Whose, Amounts):
    """The sum of what ended jobs used in one span of time."""

    jobs = models.PositiveIntegerField(default=0)  # that ended in it

    class Meta:
        abstract = True


BY_MONTH = ("workspace", "month", "person", "team", "target", "family", "priority")
BY_DAY = ("workspace", "day", "person", "team", "experiment", "target", "family", "priority")


class MonthTotal(Total):
    """Usage of one month (UTC), whatever experiment it was for."""

    month = models.DateField()  # its first day

    class Meta:
        constraints = [models.UniqueConstraint(fields=BY_MONTH, name="one_total_a_month")]

    def __str__(self) -> str:
        return f"usage in {self.month:%Y-%m}"


class DayTotal(Total):
    """Usage of one day (UTC) for one experiment."""

    day = models.DateField()
    experiment = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=BY_DAY, name="one_total_a_day")]

    def __str__(self) -> str:
        return f"usage on {self.day}"
