from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from django.test import Client
from django.urls import reverse

from compute.engines import embedded
from compute.prices import actions
from compute.prices.models import GivenPrice, Unit
from compute.prices.price import Prices, Source, price_of
from studio.people.actions import create_workspace
from studio.people.models import Activity, User, Workspace
from tests.compute.clusters import make_cluster
from tests.compute.tiny import make_attached

SignIn = Callable[[User], Client]


def test_a_node_here_costs_nothing_until_its_machine_is_priced_for_this_workspace(
    workspace: Workspace, ana: User
) -> None:
    host = embedded.this_host()
    cluster = make_cluster(workspace, host=host)
    assert (price_of(cluster).amount, price_of(cluster).source) == (Decimal(0), Source.UNSET)
    listed = Prices(workspace).listed(cluster)
    assert listed is not None
    assert listed.said == f"USD, list price, eastus, {listed.as_of and listed.as_of.year}"
    actions.price_machine(workspace, host, Decimal("0.05"), Unit.CORE, by=ana)
    assert price_of(cluster).amount == Decimal("0.10")
    assert host.name in price_of(cluster).said
    actions.price_machine(workspace, host, Decimal("0.07"), Unit.NODE, by=ana)
    assert price_of(cluster).amount == Decimal("0.07")
    actions.price_machine(workspace, host, Decimal(0), Unit.AZURE, by=ana)
    assert price_of(cluster).amount == listed.amount
    actions.price_size(
        workspace, "Standard_D2_v2", "Dedicated", Decimal("0.2"), region="westeurope", as_of=date(2026, 1, 2), by=ana
    )
    assert price_of(cluster).amount == Decimal("0.2")
    assert "westeurope" in price_of(cluster).said
    other = create_workspace("audio-team", ana)
    assert price_of(make_cluster(other, host=host)).amount == 0, "one workspace's Owners say nothing for another"
    actions.price_machine(workspace, host, None, Unit.NODE, by=ana)
    assert price_of(cluster).amount == 0
    assert Activity.objects.filter(verb="price.set", workspace=workspace).count() == 5


def test_the_page_takes_prices_and_says_what_is_wrong_with_them(
    workspace: Workspace, ana: User, rita: User, as_user: SignIn, with_tiny: None
) -> None:
    host = embedded.this_host()
    lab = make_attached(workspace, ana, "lab")
    page = reverse("compute:prices", args=[workspace.name])
    machine = reverse("compute:price_machine", args=[workspace.name, host.name])
    target = reverse("compute:price_target", args=[workspace.name, "lab"])
    size: dict[str, Any] = {"vm_size": "standard_d2_v2", "priority": "Dedicated", "usd": "0.1"}
    size |= {"region": "eastus", "as_of": "2026-01-02"}
    client = as_user(ana)
    for wrong in ({"usd": "-1"}, {"usd": "1e9"}, {"usd": "a"}, {"usd": "0.00001"}, {"usd": "NaN"}, {"usd": ""}):
        assert client.post(page, size | wrong).status_code == 422
        assert client.post(machine, {"unit": "core"} | wrong).status_code == 422
    for wrong in ({"vm_size": "<script>"}, {"as_of": "2999-01-01"}, {"region": "<script>"}, {"priority": "x"}):
        answer = client.post(page, size | wrong)
        assert answer.status_code == 422
        assert "<script>" not in answer.content.decode().partition("<main")[2].partition("</main>")[0]
    assert not GivenPrice.objects.exists()
    assert client.post(page, size).status_code == 302
    assert client.post(machine, {"usd": "0.0125", "unit": "core"}).status_code == 302
    assert client.post(target, {"usd": "3"}).status_code == 302
    assert (price_of(lab).amount, price_of(lab).source) == (Decimal(3), Source.TARGET)
    shown = as_user(rita).get(page).content.decode()
    assert "0.0125" in shown
    row = GivenPrice.objects.get(vm_size="Standard_D2_v2")
    assert client.post(page, {"remove": row.pk}).status_code == 302
    assert client.post(page, {"remove": row.pk}).status_code == 404
    assert client.post(target, {"usd": ""}).status_code == 302
    assert price_of(lab).source == Source.UNSET
