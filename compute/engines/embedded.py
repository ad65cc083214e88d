"""The embedded engine: this machine, cut into the nodes of clusters."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from compute.engines.facts import Capacity, Room, Slice
from compute.models import ComputeTarget, Host, Node
from compute.sizes import GB, VmSize, by_name

logger = logging.getLogger(__name__)
KEPT: dict[str, int] = {}  # {"pk": of this machine's row}; what it has does not change while this process lives
IS_GONE_AFTER = timedelta(minutes=2)  # a machine that was not seen for so long is not asked any more
CGROUPS = Path("/sys/fs/cgroup")


def this_host() -> Host:
    """Return this machine's row, made or brought up to date when this process first asks: a worker's alone."""
    name = settings.HOST_NAME
    found: Host | None = Host.objects.filter(pk=KEPT["pk"], name=name).first() if KEPT else None
    if found is not None:
        return found
    host, _made = Host.objects.update_or_create(name=name, defaults=_facts())
    KEPT["pk"] = host.pk
    return host


def _facts() -> dict[str, Any]:
    return {
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "cpus": cpus(),
        "memory_bytes": memory_bytes(),
        "gpus": gpus(),
        "seen_at": timezone.now(),
    }


def hosts() -> list[Host]:
    """Return the machines that have had a worker, the roomiest first; before there was one, this machine, unsaved."""
    known = sorted(Host.objects.all(), key=lambda host: (len(host.gpus), host.memory_bytes, host.cpus), reverse=True)
    return known or [Host(name=settings.HOST_NAME, **_facts())]


def host_of(target: ComputeTarget) -> Host:
    """Return the machine that has a target's nodes, or for one that has none yet, the roomiest."""
    return target.host or hosts()[0]


def choose(size: VmSize) -> Host | None:
    """Return the machine for a new cluster: of those that can host it, one that was seen of late and has few others."""
    able = [host for host in hosts() if host.pk and not host_verdict(size, host)]
    counts = {host.pk: host.targets.filter(deleted_at=None).count() for host in able} if len(able) > 1 else {}
    lately = timezone.now() - IS_GONE_AFTER
    able.sort(key=lambda host: (host.seen_at < lately, counts.get(host.pk, 0)))
    return able[0] if able else None


def is_here(host_id: int) -> bool:
    """Say whether a machine is the one of this process."""
    return host_id == KEPT.get("pk") or Host.objects.filter(pk=host_id, name=settings.HOST_NAME).exists()


def adopt(targets: Iterable[ComputeTarget]) -> None:
    """Make this machine the one of those targets that have none and that it can host."""
    host = this_host()
    for target in targets:
        if not target.vm_size or not host_verdict(by_name(target.vm_size), host):
            ComputeTarget.objects.filter(pk=target.pk, host=None).update(host=host)


def note_presence(host: Host) -> None:
    """Let the others know that this machine's worker is there."""
    now = timezone.now()
    Host.objects.filter(pk=host.pk, seen_at__lt=now - IS_GONE_AFTER / 6).update(seen_at=now)


def others() -> list[str]:
    """Return the names of the other machines whose workers were there of late."""
    lately = timezone.now() - IS_GONE_AFTER
    names = Host.objects.exclude(name=settings.HOST_NAME).filter(seen_at__gt=lately)
    return list(names.values_list("name", flat=True))


def gone() -> list[Host]:
    """Return the other machines, whose workers were not there of late."""
    return list(Host.objects.exclude(name=settings.HOST_NAME).filter(seen_at__lt=timezone.now() - IS_GONE_AFTER))


def why_gone(host: Host) -> str:
    """Return in one sentence that a machine does not answer; empty: it does, or it is this one."""
    if host.name == settings.HOST_NAME or host.seen_at > timezone.now() - IS_GONE_AFTER:
        return ""
    said = gettext_noop("Its machine, %(name)s, does not answer: the worker there is stopped or cut off.")
    return said % {"name": host.name}


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


def host_verdict(size: VmSize, *machines: Host) -> str:
    """Return in one sentence why none of those machines (none given: of all) can host such a node; empty: one can."""
    verdicts = [_verdict(size, host) for host in machines or hosts()]
    return "" if "" in verdicts else verdicts[0]


def _verdict(size: VmSize, host: Host) -> str:
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

    room = capacity(hosts()[0])
    offered = [
        sizes.by_name(name) for name in ("Standard_DS2_v2", "Standard_D2_v2", "Standard_F2s_v2", "Standard_D1_v2")
    ]
    return next((size for size in offered if room.holds(slice_of(size) * 4)), offered[-1])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
