"""The kinds of compute target: a line each, imported on first use."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from studio.errors import NotSupported

if TYPE_CHECKING:
    from compute.drivers.base import Driver

DRIVERS = {  # in the order in which people are offered them
    "AmlCompute": "compute.drivers.amlcompute.AmlComputeDriver",
    "local": "compute.drivers.local.LocalDriver",
    "VirtualMachine": "compute.drivers.virtualmachine.VirtualMachineDriver",
    "HDInsight": "compute.drivers.hdinsight.HDInsightDriver",
    "Databricks": "compute.drivers.databricks.DatabricksDriver",
    "Batch": "compute.drivers.batch.BatchDriver",
    "DataLakeAnalytics": "compute.drivers.datalake.DataLakeDriver",
}


@cache
def driver_class(kind: str) -> "type[Driver]":
    """Return the driver class of `kind`. Raises NotSupported for a kind this studio does not know."""
    try:
        module, name = DRIVERS[kind].rsplit(".", 1)
    except KeyError as exc:
        raise NotSupported(_("This studio has no compute of the kind “%(kind)s”.") % {"kind": kind}) from exc
    found: type[Driver] = getattr(import_module(module), name)
    return found


def kinds_with(ability: type) -> list[str]:
    """Return the kinds whose drivers have `ability`."""
    return [kind for kind in DRIVERS if issubclass(driver_class(kind), ability)]
