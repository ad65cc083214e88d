"""Prices that people set; list prices lie in compute/vm_sizes.csv."""

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from compute.models import ComputeTarget, Host
from compute.states import Priority
from studio.people.models import User, Workspace


class Unit(models.TextChoices):
    """What a price is of."""

    NODE = "node", _("an hour of a node")
    CORE = "core", _("an hour of a core")
    AZURE = "azure", _("as much as the size costs in Azure")


class GivenPrice(models.Model):
    """A price that a workspace's people set: of a size in Azure, of a machine's nodes, or of one attached target."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="prices")
    vm_size = models.CharField(max_length=40, blank=True)  # with `priority`; else one of the two below is given
    priority = models.CharField(max_length=12, choices=Priority, blank=True)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, null=True, related_name="+")
    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, null=True, related_name="+")
    unit = models.CharField(max_length=8, choices=Unit, default=Unit.NODE)
    usd_per_hour = models.DecimalField(max_digits=9, decimal_places=4)  # of the unit; 0 with Unit.AZURE
    region = models.CharField(max_length=40, blank=True)
    as_of = models.DateField()  # the day it is of
    set_at = models.DateTimeField(default=timezone.now)
    set_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["vm_size", "priority", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "vm_size", "priority"], condition=~Q(vm_size=""), name="one_price_of_a_size"
            ),
            models.UniqueConstraint(
                fields=["workspace", "host"], condition=Q(host__isnull=False), name="one_price_of_a_machine"
            ),
            models.UniqueConstraint(fields=["target"], name="one_price_of_a_target"),
            models.CheckConstraint(condition=Q(usd_per_hour__gte=0), name="no_price_below_nothing"),
        ]

    def __str__(self) -> str:
        return f"{self.usd_per_hour} USD for {self.unit} of {self.vm_size or self.host or self.target}"
