"""The embedded engine: this machine, cut into the nodes of clusters."""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute.engines.plan import Capacity, Room, Slice
from compute.models import Host, Node
from compute.sizes import GB, VmSize

logger = logging.getLogger(__name__)
KEPT: dict[str, int] = {}  # {"pk": of this machine's row}; what it has does not change while this process lives
CGROUPS = Path("/sys/fs/cgroup")


def this_host() -> Host:
    """Return this machine's row, made or brought up to date when this process first asks."""
    name = socket.gethostname()
    found: Host | None = Host.objects.filter(pk=KEPT["pk"], name=name).first() if KEPT else None
    if found is not None:
        return found
    facts = {
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "cpus": cpus(),
        "memory_bytes": memory_bytes(),
        "gpus": gpus(),
        "seen_at": timezone.now(),
    }
    host, _made = Host.objects.update_or_create(name=name, defaults=facts)
    KEPT["pk"] = host.pk
    return host


def cpus() -> int:
    """Return how many CPUs this process may use: its affinity, or the quota of a control group above it if less."""
    most = len(os.sched_getaffinity(0))
    for limit in _limits("cpu.max"):
        quota, _space, period = limit.partition(" ")
        if quota != "max":
            most = min(most, max(1, int(quota) // int(period)))
    return most


def memory_bytes() -> int:
    """Return this machine's memory, or the limit of a control group above this process, whichever is less."""
    limits = [
        int(limit) for limit in [*_limits("memory.max"), *_limits("memory/memory.limit_in_bytes")] if limit != "max"
    ]
    return min([int(psutil.virtual_memory().total), *limits])


def _limits(name: str) -> list[str]:
    """Return what the file `name` says in every control group this process is in, from the root to its own."""
    own = next((line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/")), "0::/")
    group, texts = CGROUPS, []
    for part in ["", *own.removeprefix("0::/").split("/")]:
        group = group / part
        with suppress(OSError):
            texts.append((group / name).read_text().strip())
    return texts


def gpus() -> list[dict[str, Any]]:
    """Return this machine's GPUs through NVML: [{"uuid", "name", "memory_bytes"}]; none without its library."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
                "name": _text(pynvml.nvmlDeviceGetName(handle)),
                "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
            }
            for handle in handles
        ]
    except pynvml.NVMLError:
        logger.warning("NVML is there and does not answer; no GPU is used.", exc_info=True)
        return []
    finally:
        pynvml.nvmlShutdown()


def capacity(host: Host) -> Capacity:
    """Return what the nodes of all clusters may take together: CPUs times the overcommit, memory and GPUs."""
    return Capacity(int(host.cpus * settings.OVERCOMMIT), host.memory_bytes, len(host.gpus))


def slice_of(size: VmSize) -> Slice:
    """Return what one node of that size takes."""
    return Slice(size.vcpus, size.memory_bytes, size.gpus)


def how_many(host: Host, size: VmSize) -> int:
    """Return how many nodes of that size this machine holds at once, when it holds nothing else."""
    return min(have // need for have, need in zip(capacity(host), slice_of(size), strict=True) if need)


def carve(host: Host, need: Room, taken: Iterable[Node]) -> tuple[list[int], list[str]]:
    """Choose CPUs and GPUs for a node beside the nodes in `taken`.

    Returns (CPU numbers, GPU UUIDs). A node that is smaller than the machine is pinned to the CPUs that fewest
    nodes are pinned to; one that is not, to none. GPUs belong to one node alone.
    """
    nodes = list(taken)
    pinned = Counter(cpu for node in nodes for cpu in node.cpus)
    cpus = sorted(os.sched_getaffinity(0), key=lambda cpu: (pinned[cpu], cpu))
    in_use = {uuid for node in nodes for uuid in node.gpus}
    free = [gpu["uuid"] for gpu in host.gpus if gpu["uuid"] not in in_use]
    return sorted(cpus[: need.cpus]) if need.cpus < len(cpus) else [], free[: need.gpus]


def host_verdict(size: VmSize) -> str:
    """Return in one sentence why this machine cannot host a node of that size; empty when it can."""
    host = this_host()
    missing = capacity(host).gap(slice_of(size))
    if missing.gpus:
        return ngettext(
            "needs %(need)d GPU; this machine has %(have)s", "needs %(need)d GPUs; this machine has %(have)s", size.gpus
        ) % {"need": size.gpus, "have": len(host.gpus) or _("none")}
    if missing.memory_bytes:
        return _("needs %(need)s GB of memory; this machine has %(have)s GB") % {
            "need": number_format(Decimal(f"{size.memory_bytes / GB:g}")),
            "have": number_format(Decimal(f"{host.memory_bytes / GB:.1f}")),
        }
    if missing.cpus:
        return _("needs %(need)d vCPUs; this machine gives %(have)d") % {
            "need": size.vcpus,
            "have": capacity(host).cpus,
        }
    return ""


def default_size() -> VmSize:
    """Return a small size of which four nodes fit on this machine, the largest of those; else the smallest of all."""
    from compute import sizes

    room = capacity(this_host())
    offered = [
        sizes.by_name(name) for name in ("Standard_DS2_v2", "Standard_D2_v2", "Standard_F2s_v2", "Standard_D1_v2")
    ]
    return next((size for size in offered if room.holds(slice_of(size) * 4)), offered[-1])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
