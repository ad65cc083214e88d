"""What an hour of one node costs, and on what the figure rests: currency, region, date and who says so."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property

from django.db.models import Case, DecimalField, OuterRef, QuerySet, Subquery, TextChoices, Value, When
from django.db.models.functions import Coalesce
from django.utils import formats
from django.utils.translation import gettext_lazy

from compute import sizes
from compute.models import ComputeTarget
from compute.prices.models import GivenPrice, Unit
from compute.sizes import VmSize
from studio.people.models import Workspace

LIST_REGION = "eastus"  # of the prices in vm_sizes.csv
NOTHING = Decimal(0)


class Source(TextChoices):
    """Who says what something costs."""

    LIST = "list", gettext_lazy("list price")
    OWNER = "owner", gettext_lazy("set by an Owner")
    MACHINE = "machine", gettext_lazy("price of the machine")
    TARGET = "target", gettext_lazy("price of the target")
    UNSET = "unset", gettext_lazy("nobody has set a price")


@dataclass(frozen=True)
class Price:
    """What an hour of one node costs."""

    amount: Decimal
    region: str
    as_of: date | None  # None: nobody has set it
    source: Source
    currency: str = "USD"

    @property
    def said(self) -> str:
        """Return what the figure rests on: "USD, list price, eastus, 2024"."""
        day = ""
        if self.as_of:
            day = str(self.as_of.year) if self.source == Source.LIST else formats.date_format(self.as_of)
        return ", ".join(filter(None, [self.currency, str(self.source.label), self.region, day]))

    def __str__(self) -> str:
        return f"{self.amount} {self.said}"


class Prices:
    """The prices of a workspace: what its people set is read once, when it is first asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @cached_property
    def given(self) -> list[GivenPrice]:
        return list(GivenPrice.objects.filter(workspace=self.workspace).select_related("host", "target", "set_by"))

    def in_azure(self, vm_size: str, priority: str) -> Price | None:
        """Return what a node of that size costs in Azure: as an Owner says, else as listed; None: neither is known."""
        for row in self.given:
            if row.vm_size and row.vm_size == vm_size and row.priority == priority:
                return Price(row.usd_per_hour, row.region, row.as_of, Source.OWNER)
        size = sizes.find(vm_size)
        listed = size.price(priority) if size else None
        if size is None or listed is None:
            return None
        return Price(listed, LIST_REGION, date(size.price_as_of, 1, 1), Source.LIST)

    def here(self, host_id: int | None, vm_size: str, priority: str) -> Price:
        """Return what a node of that size costs on one of the studio's machines: nothing, unless somebody priced it."""
        row = next((row for row in self.given if row.host_id and row.host_id == host_id), None)
        if row is None or row.host is None:
            return Price(NOTHING, "", None, Source.UNSET)
        if row.unit == Unit.AZURE:
            return self.in_azure(vm_size, priority) or Price(NOTHING, row.host.name, row.as_of, Source.MACHINE)
        size: VmSize | None = sizes.find(vm_size)
        cores = (size.vcpus if size else 1) if row.unit == Unit.CORE else 1
        return Price(row.usd_per_hour * cores, row.host.name, row.as_of, Source.MACHINE)

    def of(self, target: ComputeTarget) -> Price:
        """Return what an hour of a node of `target` costs this workspace."""
        for row in self.given:
            if row.target_id == target.pk:
                return Price(row.usd_per_hour, row.region, row.as_of, Source.TARGET)
        if not target.vm_size:
            return Price(NOTHING, "", None, Source.UNSET)
        return self.here(target.host_id, target.vm_size, target.vm_priority)

    def listed(self, target: ComputeTarget) -> Price | None:
        """Return what a node of `target` would cost in Azure; None for what Azure has no size of."""
        return self.in_azure(target.vm_size, target.vm_priority) if target.vm_size else None


def price_of(target: ComputeTarget) -> Price:
    """Return what an hour of a node of `target` costs now."""
    return Prices(target.workspace).of(target)


def price_here(targets: QuerySet[ComputeTarget]) -> Coalesce:
    """Return the SQL expression of what an hour of a node of each costs: what `Prices.of` says, for sorting many.

    The rule is asked once for each machine and size, of which there are few; the database does it for the targets.
    """
    priced = GivenPrice.objects.filter(host__isnull=False).values("host")
    spots = targets.order_by().exclude(vm_size="").filter(host__in=priced)
    kinds = set(spots.values_list("workspace", "host", "vm_size", "vm_priority"))
    prices = {space.pk: Prices(space) for space in Workspace.objects.filter(pk__in={kind[0] for kind in kinds})}
    whens = [
        When(
            workspace=space,
            host=host,
            vm_size=size,
            vm_priority=priority,
            then=Value(prices[space].here(host, size, priority).amount, DecimalField()),
        )
        for space, host, size, priority in sorted(kinds)
    ]
    own = GivenPrice.objects.filter(target=OuterRef("pk")).values("usd_per_hour")[:1]
    return Coalesce(Subquery(own), Case(*whens, default=Value(NOTHING, DecimalField())), output_field=DecimalField())
