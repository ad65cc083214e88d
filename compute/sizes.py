"""VM sizes: what one node of each has, and its list price. The facts lie in vm_sizes.csv.

Source: Azure's contract example ListVMSizesResult.json (2020-08-01) for sizes and 2020 prices, the SkyPilot
catalogue v5 (eastus) for 2024 prices. Low priority is taken at its fixed discount of 2020 where both are known.
"""

import csv
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute.states import Priority
from studio.errors import NotAllowedNow

GB = 1_000_000_000
LOW_PRIORITY_SHARE = Decimal("0.2")  # of the dedicated Linux price. Source: azure-ml facts C7


@dataclass(frozen=True)
class VmSize:
    """One size of virtual machine."""

    name: str
    family: str  # as the size's own contract spells it: "standardDSv2Family"
    category: str
    is_gpu: bool
    vcpus: int
    memory_bytes: int
    disk_bytes: int  # temporary storage
    gpus: int
    gpu_type: str
    gpu_memory_bytes: int  # of each; 0: not known
    low_priority_capable: bool
    price_usd_per_hour: Decimal | None  # dedicated, Linux, eastus
    low_priority_price_usd_per_hour: Decimal | None
    price_as_of: int  # year; 0: not known
    recommended: bool
    retired_on: date | None

    def price(self, priority: Priority | str) -> Decimal | None:
        """Return the US dollars an hour of one node, or None when no list price is known."""
        low = priority == Priority.LOW_PRIORITY
        return self.low_priority_price_usd_per_hour if low else self.price_usd_per_hour

    @property
    def family_key(self) -> str:
        """Return the family in the one spelling by which sizes and quotas are joined.

        Quotas say StandardNCv3Family where sizes say standardNCSv3Family. Source: azure-ml facts C5.
        """
        return family_key(self.family)

    @property
    def is_retired(self) -> bool:
        return self.retired_on is not None and self.retired_on <= date.today()  # noqa: DTZ011  a calendar day


CATEGORIES = (  # as the catalogue of sizes calls them
    gettext_noop("General purpose"),
    gettext_noop("Compute optimized"),
    gettext_noop("Memory optimized"),
)
_SAME_FAMILY = {"standardncsv3family": "standardncv3family"}


def family_key(family: str) -> str:
    """Return a VM family's name in the spelling that quotas and sizes share.

    It takes what people and providers write: "standardNCSv3Family", "StandardNCv3Family", "Standard NCSv3 family",
    "NCsv3". Source: azure-ml facts C5.
    """
    folded = "".join(family.split()).casefold()
    if folded in {"", "*"}:
        return folded
    key = f"standard{folded.removeprefix('standard').removesuffix('family')}family"
    return _SAME_FAMILY.get(key, key)


def family_name(key: str) -> str:
    """Return how people call the family of that key: "NCsv3". One that no size has is named by its key."""
    return families().get(key, key)


@cache
def families() -> dict[str, str]:
    """Return every family by its key, with its short name, in the catalogue's order."""
    return {size.family_key: _short(size.family) for size in all_sizes()}


def _short(family: str) -> str:
    name = re.sub(r"(?i)^standard\s*|\s*family$", "", family)
    return re.sub(r"^(N[CDV])S(?=v)", r"\1s", name)


@cache
def all_sizes() -> tuple[VmSize, ...]:
    """Return every size, in the catalogue's order."""
    with (Path(__file__).parent / "vm_sizes.csv").open(newline="", encoding="utf-8") as file:
        return tuple(_size(row) for row in csv.DictReader(file) if row["compute_cluster"] == "yes")


@cache
def _by_folded_name() -> dict[str, VmSize]:
    return {size.name.casefold(): size for size in all_sizes()}


def find(name: str) -> VmSize | None:
    """Return the size of that name, in any case, or None."""
    return _by_folded_name().get(name.casefold())


def by_name(name: str) -> VmSize:
    """Return the size of that name, in any case: STANDARD_D2_V2 is Standard_D2_v2. Raises NotAllowedNow."""
    size = find(name)
    if size is None:
        raise NotAllowedNow(
            _("VM size “%(name)s” is not available.") % {"name": name[:80]}, _("Choose one of the sizes in the list.")
        )
    return size


def recommended(*, gpu: bool) -> list[VmSize]:
    """Return the sizes to offer first: those the provider recommends, or the smallest GPU sizes still in service."""
    if not gpu:
        return [size for size in all_sizes() if size.recommended]
    current = [size for size in all_sizes() if size.is_gpu and not size.is_retired]
    return sorted(current, key=lambda size: (size.gpus, size.price_usd_per_hour or Decimal(999)))[:3]


def _size(row: dict[str, str]) -> VmSize:
    year = 2024 if row["paygo_linux_usd_h_2024"] else 2020 if row["paygo_linux_usd_h_2020"] else 0
    price = _money(row["paygo_linux_usd_h_2024"]) or _money(row["paygo_linux_usd_h_2020"])
    return VmSize(
        name=row["name"],
        family=row["family"],
        category=row["category"],
        is_gpu=row["vm_type"] == "GPU",
        vcpus=int(row["vcpus"]),
        memory_bytes=int(float(row["memory_gb"]) * GB),
        disk_bytes=int(float(row["temp_storage_gb"] or 0) * GB),
        gpus=int(row["gpus"] or 0),
        gpu_type=row["gpu_type"],
        gpu_memory_bytes=int(float(row["gpu_mem_gb_each"] or 0) * GB),
        low_priority_capable=row["low_priority_capable"] == "yes",
        price_usd_per_hour=price,
        low_priority_price_usd_per_hour=None if price is None else price * LOW_PRIORITY_SHARE,
        price_as_of=year,
        recommended=row["recommended_2020"].startswith("yes"),
        retired_on=date.fromisoformat(row["retirement_date"]) if row["retirement_date"] else None,
    )


def _money(text: str) -> Decimal | None:
    return Decimal(text) if text else None
