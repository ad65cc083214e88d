"""Which targets the list shows, in which order, and what each row says."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import override

from compute import listing
from compute.engines import embedded
from compute.glance import glance
from compute.listing import Filter, Row, Shown, Tab
from compute.models import ComputeTarget, Node
from compute.prices.models import GivenPrice
from compute.prices.price import Prices
from compute.states import AllocationState, JobState, NodeState, ProvisioningState
from studio.people.actions import create_workspace
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster, make_job, make_node


def found(workspace: Workspace, query: str) -> list[str]:
    page = listing.page_of(Filter.from_query(QueryDict(query)), workspace)
    return [row.target.name for row in listing.rows(list(page))]


def row_of(target: ComputeTarget) -> Row:
    return listing.rows([target.pk])[0]


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({}, Shown.IDLE),  # no node and ready is fine, and not a fault
        ({"provisioning_state": ProvisioningState.CREATING}, Shown.CREATING),
        ({"provisioning_state": ProvisioningState.FAILED}, Shown.FAILED),
        ({"provisioning_state": ProvisioningState.DELETING}, Shown.DELETING),
        ({"allocation_state": AllocationState.RESIZING}, Shown.RESIZING),
    ],
)
def test_one_word_says_how_a_cluster_is(workspace: Workspace, columns: dict[str, str], word: Shown) -> None:
    assert row_of(make_cluster(workspace, **columns)).state is word


def test_a_cluster_with_a_running_job_is_running(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    make_job(cluster, JobState.RUNNING)
    make_job(cluster, JobState.WAITING)
    row = row_of(cluster)
    assert (row.state, row.running, row.queued, row.reason) == (Shown.RUNNING, 1, 1, "1 running, 1 queued")


def test_an_idle_cluster_says_that_it_is_scaled_to_zero_and_when_it_last_ran(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    make_job(cluster, JobState.ENDED, ended_at=timezone.now() - timedelta(hours=6))
    row = row_of(cluster)
    assert row.reason == "scaled to zero"
    assert row.says_last_run
    assert row.last_end is not None


def test_idle_nodes_are_said_to_be_released_or_kept(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    make_node(cluster)
    assert row_of(cluster).reason == "1 idle node, released after 120 s without a run"
    ComputeTarget.objects.update(min_nodes=1)
    assert row_of(cluster).reason == "1 idle node, kept as the minimum"


def test_the_cost_now_counts_nodes_that_are_up_and_no_others(workspace: Workspace) -> None:
    cluster = make_cluster(workspace, host=embedded.this_host())
    for state in NodeState:
        make_node(cluster, state)
    row = row_of(cluster)
    assert (row.cost_now, row.azure_price) == (Decimal(0), Prices(workspace).listed(cluster))
    GivenPrice.objects.create(
        workspace=workspace, host=cluster.host, unit="node", usd_per_hour=Decimal("0.114"), as_of="2026-01-01"
    )
    assert row_of(cluster).cost_now == Decimal("0.114") * 4  # not the preempted, not the unusable


def test_the_cost_sorts_by_what_it_shows_and_not_by_what_it_were_in_azure(workspace: Workspace) -> None:
    host = embedded.this_host()
    small = make_cluster(workspace, "small", host=host, vm_size="Standard_D1_v2", price_usd_per_hour=Decimal("0.07"))
    large = make_cluster(workspace, "large", host=host, vm_size="Standard_D4_v2", price_usd_per_hour=Decimal("0.58"))
    for cluster, count in ((small, 3), (large, 1)):
        for _n in range(count):
            make_node(cluster)

    def dearest_first() -> list[tuple[str, Decimal | None]]:
        page = listing.page_of(Filter.from_query(QueryDict("sort=-cost")), workspace)
        return [(row.target.name, row.cost_now) for row in listing.rows(list(page))]

    assert dearest_first() == [("large", Decimal(0)), ("small", Decimal(0))], "nobody set a price: by name"
    price = GivenPrice.objects.create(
        workspace=workspace, host=host, unit="node", usd_per_hour=Decimal("0.1"), as_of="2026-01-01"
    )
    assert dearest_first() == [("small", Decimal("0.3")), ("large", Decimal("0.1"))]
    GivenPrice.objects.filter(pk=price.pk).update(unit="core")
    assert dearest_first() == [("large", Decimal("0.8")), ("small", Decimal("0.3"))]
    GivenPrice.objects.create(workspace=workspace, target=small, usd_per_hour=Decimal("2"), as_of="2026-01-01")
    assert dearest_first() == [("small", Decimal(6)), ("large", Decimal("0.8"))]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["alpha", "Beta", "gamma"]),
        ("sort=-name", ["gamma", "Beta", "alpha"]),
        ("sort=-nodes", ["gamma", "alpha", "Beta"]),
        ("sort=cost", ["alpha", "Beta", "gamma"]),
        ("sort=state", ["alpha", "Beta", "gamma"]),
        ("sort=nonsense", ["alpha", "Beta", "gamma"]),
        ("q=bet", ["Beta"]),
        ("q=nc6", ["gamma"]),
        ("q=vision", ["Beta"]),
        ("q=größe", ["gamma"]),
        ("q=standard+al", ["alpha"]),
        ("tag=team", ["Beta"]),
        ("tag=team=vision", ["Beta"]),
        ("tag=team=audio", []),
        ("tag=größe=xl", ["gamma"]),
        ("priority=LowPriority", ["gamma"]),
        ("state=idle", ["alpha", "Beta"]),
        ("state=running", ["gamma"]),
        ("state=nonsense", ["alpha", "Beta", "gamma"]),
        ("page=99", ["alpha", "Beta", "gamma"]),
        ("tab=local", []),
        ("tab=instances", []),
        ("tab=attached", []),
    ],
)
def test_the_url_narrows_and_sorts_the_list(workspace: Workspace, query: str, names: list[str]) -> None:
    make_cluster(workspace, "alpha")
    make_cluster(workspace, "Beta", tags={"team": "vision"})
    gamma = make_cluster(workspace, "gamma", vm_size="Standard_NC6", vm_priority="LowPriority", tags={"größe": "xl"})
    make_node(gamma, NodeState.RUNNING)
    make_job(gamma)
    make_cluster(workspace, "gone", deleted_at=timezone.now())
    assert found(workspace, query) == names


def test_another_workspaces_targets_are_neither_listed_nor_counted(workspace: Workspace, ana: User) -> None:
    other = create_workspace("other-team", ana)
    cluster = make_cluster(other)
    make_node(cluster)
    make_job(cluster, JobState.WAITING)
    assert found(workspace, "") == []
    assert listing.counts(workspace)[Tab.CLUSTERS] == 0
    figures = glance(workspace, cores_capacity=8)
    assert (figures.nodes_up, figures.nodes_at_most, figures.queue, figures.spend_usd_per_hour) == (0, 0, 0, Decimal(0))
    assert figures.cores_used == 2  # the machine is one


def test_the_figures_over_the_list_are_what_is_there(workspace: Workspace) -> None:
    cluster = make_cluster(workspace, max_nodes=6, host=embedded.this_host())
    GivenPrice.objects.create(
        workspace=workspace, host=cluster.host, unit="node", usd_per_hour=Decimal("0.114"), as_of="2026-01-01"
    )
    make_node(cluster, NodeState.RUNNING)
    make_node(cluster, NodeState.IDLE)
    make_node(cluster, NodeState.PREEMPTED)
    came = timezone.now() - timedelta(minutes=6)
    make_job(cluster, JobState.WAITING, enqueued_at=came)
    make_job(cluster, JobState.PREPARING)
    figures = glance(workspace, cores_capacity=8)
    assert (figures.nodes_up, figures.nodes_busy, figures.nodes_free, figures.nodes_at_most) == (2, 1, 1, 6)
    assert (figures.queue, figures.oldest, figures.cores_used) == (1, came, 4)
    assert figures.spend_usd_per_hour == Decimal("0.23")  # 2 × 0.114


def test_rows_take_as_many_queries_for_fifty_targets_as_for_one(
    workspace: Workspace, django_assert_num_queries: object
) -> None:
    targets = [make_cluster(workspace, f"cluster{n}x").pk for n in range(50)]
    for pk in targets:
        target = ComputeTarget.objects.get(pk=pk)
        make_node(target)
        make_job(target)
    for some in (targets[:1], targets):
        with django_assert_num_queries(4):  # type: ignore[operator]
            for row in listing.rows(some):
                assert row.state
                assert row.reason
                assert row.what
                assert row.can_be_deleted
                assert row.cost_now is not None


def test_pages_of_equal_rows_never_show_one_twice(workspace: Workspace) -> None:
    for n in range(120):
        make_cluster(workspace, f"c{n:03}x")
    seen = [name for page in (1, 2, 3) for name in found(workspace, f"sort=priority&page={page}")]
    assert len(seen) == len(set(seen)) == 120


def test_a_row_speaks_the_language_of_its_reader(workspace: Workspace) -> None:
    cluster = make_cluster(workspace)
    with override("en"):
        assert row_of(cluster).what == "Standard_D2_v2 · 2 vCPU, 7 GB"


def test_newest_id_counts_deleted_ones_too(workspace: Workspace) -> None:
    cluster = make_cluster(workspace, deleted_at=timezone.now())
    assert listing.newest_id(workspace) == cluster.pk
    assert Node.objects.count() == 0


def test_a_tag_of_any_alphabet_is_found_and_asked_for(workspace):
    make_cluster(workspace, "smiles", tags={"mood 😀": "día \\u0041"})
    for tag in ("mood 😀", "mood 😀=día \\u0041"):
        assert [t.name for t in Filter(tag=tag).of(workspace)] == ["smiles"]
    for tag in ("😀\\ud83d", "\\", "\U0001f600=\x07"):
        assert not Filter(tag=tag).of(workspace).exists()
