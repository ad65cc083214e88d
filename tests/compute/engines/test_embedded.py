"""This machine as a host of nodes. Only NVML, which needs a driver and a card, is stood in for."""

import os
import sys
from types import SimpleNamespace

import pytest

from compute import sizes
from compute.engines import embedded
from compute.engines.facts import Slice
from compute.models import Host, Node

GB = sizes.GB


class NvmlError(Exception):
    pass


def nvml(cards: int, *, driver: bool = True, works: bool = True) -> SimpleNamespace:
    """Return what pynvml offers on a machine with so many cards; the old versions of it answer in bytes."""

    def init() -> None:
        if not driver:
            raise NvmlError("NVML Shared Library Not Found")

    def number() -> int:
        if not works:
            raise NvmlError("Driver/library version mismatch")
        return cards

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=number,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetUUID=lambda i: f"GPU-{i}".encode() if i % 2 else f"GPU-{i}",
        nvmlDeviceGetName=lambda i: "NVIDIA A100",
        nvmlDeviceGetMemoryInfo=lambda i: SimpleNamespace(total=80 * GB),
    )


def host(*, cpus=2, memory=32 * GB, gpus=0) -> Host:
    cards = [{"uuid": f"GPU-{i}", "name": "NVIDIA A100", "memory_bytes": 80 * GB} for i in range(gpus)]
    return Host(name="workstation", cpus=cpus, memory_bytes=memory, gpus=cards)


@pytest.fixture
def four_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "CGROUPS", tmp_path)
    return tmp_path


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2, driver=False))
    assert embedded.gpus() == []


def test_a_driver_that_does_not_answer_gives_no_gpu_and_is_logged(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2, works=False))
    assert embedded.gpus() == []
    assert "NVML" in caplog.text


def test_gpus_are_known_by_their_uuid_in_the_order_of_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2))
    assert embedded.gpus() == [
        {"uuid": "GPU-0", "name": "NVIDIA A100", "memory_bytes": 80 * GB},
        {"uuid": "GPU-1", "name": "NVIDIA A100", "memory_bytes": 80 * GB},
    ]


def test_the_real_nvml_answers_or_is_absent():
    assert isinstance(embedded.gpus(), list)


def test_a_control_group_lowers_memory_and_cpus(groups, four_cpus):
    (groups / "memory.max").write_text(f"{GB}\n")
    (groups / "cpu.max").write_text("150000 100000\n")
    assert embedded.memory_bytes() == GB
    assert embedded.cpus() == 1


def test_a_control_group_without_a_limit_changes_nothing(groups, four_cpus):
    (groups / "memory.max").write_text("max\n")
    (groups / "cpu.max").write_text("max 100000\n")
    assert embedded.memory_bytes() > GB
    assert embedded.cpus() == 4


def test_a_limit_above_what_the_machine_has_changes_nothing(groups, four_cpus):
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (groups / "cpu.max").write_text("1600000 100000\n")
    assert embedded.memory_bytes() < 9223372036854771712
    assert embedded.cpus() == 4


@pytest.mark.django_db
def test_this_machine_is_one_row_that_is_kept_up_to_date():
    first = embedded.this_host()
    Host.objects.update(cpus=0, memory_bytes=0)
    embedded.KEPT.clear()
    again = embedded.this_host()
    assert (again.pk, again.cpus) == (first.pk, embedded.cpus())
    assert len(again.boot_id) == 36
    assert Host.objects.count() == 1


def test_the_capacity_is_the_cpus_times_the_overcommit_with_memory_and_gpus_as_they_are(settings):
    settings.OVERCOMMIT = 2.5
    assert tuple(embedded.capacity(host(cpus=3, gpus=2))) == (7, 32 * GB, 2)


def test_how_many_nodes_fit_is_bound_by_what_runs_out_first(settings):
    settings.OVERCOMMIT = 4
    assert embedded.how_many(host(), sizes.by_name("Standard_DS2_v2")) == 4
    assert embedded.how_many(host(memory=15 * GB), sizes.by_name("Standard_DS2_v2")) == 2
    assert embedded.how_many(host(cpus=64, memory=900 * GB, gpus=1), sizes.by_name("Standard_NC6s_v3")) == 1


def test_nodes_get_cpus_of_their_own_while_there_are_some(four_cpus):
    first = Node(cpus=embedded.carve(host(cpus=4), Slice(2, GB, 0), [])[0])
    second = Node(cpus=embedded.carve(host(cpus=4), Slice(2, GB, 0), [first])[0])
    assert (first.cpus, second.cpus) == ([0, 1], [2, 3])


def test_then_they_share_those_that_fewest_nodes_have(four_cpus):
    taken = [Node(cpus=[0, 1]), Node(cpus=[2, 3]), Node(cpus=[0])]
    assert embedded.carve(host(cpus=4), Slice(2, GB, 0), taken)[0] == [1, 2]


def test_a_node_as_big_as_the_machine_is_not_pinned(four_cpus):
    assert embedded.carve(host(cpus=4), Slice(4, GB, 0), [])[0] == []


def test_a_gpu_belongs_to_one_node(four_cpus):
    machine = host(cpus=4, gpus=4)
    first = Node(gpus=embedded.carve(machine, Slice(1, GB, 2), [])[1])
    second = Node(gpus=embedded.carve(machine, Slice(1, GB, 2), [first])[1])
    assert (first.gpus, second.gpus) == (["GPU-0", "GPU-1"], ["GPU-2", "GPU-3"])


@pytest.mark.parametrize(
    ("size", "machine", "verdict"),
    [
        ("Standard_DS2_v2", host(), ""),
        ("Standard_NC24s_v3", host(cpus=64, memory=900 * GB), "needs 4 GPUs; this machine has none"),
        ("Standard_NC6s_v3", host(cpus=64, memory=900 * GB), "needs 1 GPU; this machine has none"),
        ("Standard_NC24s_v3", host(cpus=64, memory=900 * GB, gpus=2), "needs 4 GPUs; this machine has 2"),
        ("Standard_D13_v2", host(), "needs 56 GB of memory; this machine has 32.0 GB"),
        ("Standard_F16s_v2", host(), "needs 16 vCPUs; this machine gives 8"),
    ],
)
def test_what_this_machine_cannot_host_is_told_in_a_sentence(size, machine, verdict, settings, monkeypatch):
    settings.OVERCOMMIT = 4
    monkeypatch.setattr(embedded, "hosts", lambda: [machine])
    assert embedded.host_verdict(sizes.by_name(size)) == verdict


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (host(cpus=2, memory=32 * GB), "Standard_DS2_v2"),
        (host(cpus=2, memory=17 * GB), "Standard_F2s_v2"),
        (host(cpus=1, memory=15 * GB), "Standard_D1_v2"),
        (host(cpus=1, memory=2 * GB), "Standard_D1_v2"),
    ],
)
def test_the_default_size_fits_four_times(machine, name, settings, monkeypatch):
    settings.OVERCOMMIT = 4
    monkeypatch.setattr(embedded, "hosts", lambda: [machine])
    assert embedded.default_size().name == name
