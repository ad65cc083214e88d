"""The wizard that creates clusters: every step is checked again when everything is sent."""

import re
import uuid
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from compute.create_views import like
from compute.engines import embedded
from compute.forms import ClusterForm, nodes_that_fit, parse_tags
from compute.models import ComputeTarget
from compute.sizes import by_name
from studio.people.models import User, Workspace
from studio.people.permissions import Role
from studio.templatetags.studio import usd
from tests.compute.clusters import make_cluster

TOKEN = "6f1e8e0c-7d1c-4b58-9d0e-1f1b1e0d3c11"
IDENTITY = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourcegroups/rg"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ana"
)
KEY = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " a@b"


@pytest.fixture
def url(workspace: Workspace) -> str:
    return reverse("compute:create", args=[workspace.name])


def asked(**answers: str) -> dict[str, str]:
    return {"name": "cpu-cluster", "token": TOKEN, "vm_size": "Standard_D1_v2"} | answers


def form(workspace: Workspace, **answers: str) -> ClusterForm:
    query = QueryDict(mutable=True)
    query.update(asked(**answers))
    return ClusterForm(workspace, query)


def test_the_wizard_opens_with_a_token_in_its_address(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    answer = as_user(ana).get(f"{url}?name=abc")
    assert answer.status_code == 302
    query = QueryDict(answer["Location"].partition("?")[2])
    assert uuid.UUID(query["token"])
    assert query["name"] == "abc"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_going_on_keeps_every_answer_in_the_address(
    ana: User, url: str, as_user: Callable[[User], Client], step: int
) -> None:
    answers = asked(step=str(step), go="next", tags="team=vision", idle_seconds="300", identity="system")
    answer = as_user(ana).get(url, answers)
    assert answer.status_code == 302
    query = QueryDict(answer["Location"].partition("?")[2])
    assert query.dict() == {k: v for k, v in answers.items() if k != "go"} | {"step": str(step + 1)}


def test_a_step_that_fails_is_shown_again_with_what_is_wrong(
    ana: User, url: str, as_user: Callable[[User], Client]
) -> None:
    answer = as_user(ana).get(url, asked(step="2", go="next", name="1-"))
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "The name does not keep the clauses marked below." in page
    assert 'value="1-"' in page
    assert "not kept:" in page
    assert re.search(r'name="fix" value="[A-Za-z][A-Za-z0-9-]+"', page)


def test_back_needs_no_valid_step(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    answer = as_user(ana).get(url, asked(step="2", go="back", name="1-"))
    assert answer.status_code == 302
    assert QueryDict(answer["Location"].partition("?")[2])["name"] == "1-"


def test_nobody_jumps_over_a_step_that_fails(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    page = as_user(ana).get(url, asked(step="4", name="")).content.decode()
    assert 'aria-current="step"' in page
    assert 'id="name-check"' in page  # step 2, not the review


def test_what_is_typed_is_answered_with_parts_alone(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    make_cluster(ana.workspaces.get(), "CPU-cluster")
    answer = as_user(ana).get(url, asked(step="2", min_nodes="2"), headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "<html" not in page
    assert "This workspace has a compute target of this name already" in page
    a_month = 2 * 730 * (by_name("Standard_D1_v2").price("Dedicated") or 0)
    assert f"{usd(a_month)} in Azure" in page
    assert "$0.00 a month" in page


def test_the_proposed_name_can_be_taken_without_scripts(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    answer = as_user(ana).get(url, asked(step="2", name="cpu-cluster-1", fix="cpu-cluster1"))
    assert QueryDict(answer["Location"].partition("?")[2])["name"] == "cpu-cluster1"


def test_create_stores_everything_that_was_asked_for(
    ana: User, url: str, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    answers = asked(
        priority="LowPriority",
        min_nodes="0",
        max_nodes="6",
        idle_seconds="300",
        ssh="on",
        admin_user="ana",
        public_key=KEY,
        tags="team=vision\n\ncost = low",
        description="For everyone",
        identity="user",
        identity_id=IDENTITY,
        vnet_group="net-rg",
        vnet="lab",
        subnet="nodes",
    )
    answer = as_user(ana).post(url, answers)
    assert answer["Location"] == reverse("compute:detail", args=[workspace.name, "cpu-cluster"])
    made = ComputeTarget.objects.get(name="cpu-cluster")
    assert (made.vm_size, made.vm_priority, made.created_by) == ("Standard_D1_v2", "LowPriority", ana)
    assert (made.min_nodes, made.max_nodes, made.idle_seconds) == (0, 6, 300)
    assert made.tags == {"team": "vision", "cost": "low"}
    assert made.identity == {"type": "UserAssigned", "ids": [IDENTITY]}
    assert made.config["ssh"] == {"enabled": True, "admin_user": "ana", "public_key": KEY}
    assert made.config["subnet"] == {"resource_group": "net-rg", "vnet": "lab", "subnet": "nodes"}


def test_the_same_form_twice_is_one_cluster(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    client = as_user(ana)
    first, second = client.post(url, asked()), client.post(url, asked())
    assert first["Location"] == second["Location"]
    assert ComputeTarget.objects.filter(kind="AmlCompute").count() == 1


def test_going_back_and_changing_the_name_is_another_cluster(
    ana: User, url: str, as_user: Callable[[User], Client]
) -> None:
    client = as_user(ana)
    client.post(url, asked())
    client.post(url, asked(name="second"))
    assert set(ComputeTarget.objects.filter(kind="AmlCompute").values_list("name", flat=True)) == {
        "cpu-cluster",
        "second",
    }


def test_the_same_form_makes_a_new_cluster_when_the_first_is_deleted(
    ana: User, url: str, as_user: Callable[[User], Client]
) -> None:
    client = as_user(ana)
    client.post(url, asked())
    ComputeTarget.objects.filter(name="cpu-cluster").update(deleted_at=timezone.now())
    client.post(url, asked())
    assert ComputeTarget.objects.existing().filter(name="cpu-cluster").exists()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"vm_size": "Standard_NC6"}, "VM size"),  # no GPU here: falls back to the type's own, or says why
        ({"vm_size": "Standard_Imaginary"}, "There is no size"),
        ({"priority": "Spot"}, "Priority"),
        ({"name": "local"}, "Not a reserved word"),
        ({"min_nodes": "5", "max_nodes": "4"}, "The minimum cannot be above the maximum of 4."),
        ({"min_nodes": "-1"}, "greater than or equal to 0"),
        ({"max_nodes": "many"}, "Enter a whole number."),
        ({"ssh": "on"}, "SSH access needs a public key."),
        ({"ssh": "on", "public_key": "ssh-rsa nonsense"}, "not an OpenSSH public key"),
        ({"ssh": "on", "public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "This is a private key"),
        ({"ssh": "on", "public_key": KEY, "admin_user": "root"}, "not root"),
        ({"tags": "=x"}, "Line 1 has no key"),
        ({"identity": "user"}, "needs its resource id"),
        ({"identity": "user", "identity_id": "/subscriptions/x"}, "is not the resource id"),
        ({"vnet": "lab"}, "A virtual network needs all three"),
    ],
)
def test_a_forged_post_is_checked_like_the_steps(
    ana: User, url: str, as_user: Callable[[User], Client], answers: dict[str, str], said: str
) -> None:
    answer = as_user(ana).post(url, asked(**answers, type="GPU" if "NC6" in answers.get("vm_size", "") else "CPU"))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not ComputeTarget.objects.filter(kind="AmlCompute").exists()


@pytest.mark.parametrize("role", [Role.READER, Role.DATA_SCIENTIST])
def test_who_may_not_create_sees_the_wizard_and_cannot_press_create(
    member: Callable[[str, Role], User], url: str, as_user: Callable[[User], Client], role: Role
) -> None:
    client = as_user(member("mia", role))
    page = client.get(url, asked(step="4")).content.decode()
    assert re.search(r'<button type="submit" class="btn primary" disabled[^>]*>Create</button>', page)
    assert client.post(url, asked()).status_code == 403
    assert not ComputeTarget.objects.filter(kind="AmlCompute").exists()


def test_a_stranger_finds_no_wizard(cleo: User, url: str, as_user: Callable[[User], Client]) -> None:
    assert as_user(cleo).get(url).status_code == 404
    assert as_user(cleo).post(url, asked()).status_code == 404


def test_a_size_this_machine_cannot_host_is_shown_with_the_reason_and_cannot_be_chosen(
    ana: User, url: str, as_user: Callable[[User], Client]
) -> None:
    page = as_user(ana).get(url, asked(step="1", q="Standard_M128")).content.decode()
    row = next(part for part in page.split("<tr") if 'value="Standard_M128ms"' in part or "Standard_M128s" in part)
    assert "disabled" in row
    assert "needs" in row


def test_a_chosen_size_survives_a_filter_that_hides_it(ana: User, url: str, as_user: Callable[[User], Client]) -> None:
    page = as_user(ana).get(url, asked(step="1", q="nothing-like-it")).content.decode()
    assert '<input type="hidden" name="vm_size" value="Standard_D1_v2">' in page
    assert "No size matches the filter." in page


def test_a_minimum_this_machine_can_never_keep_is_refused(workspace: Workspace) -> None:
    fits = nodes_that_fit(by_name("Standard_D1_v2"))
    assert not form(workspace, min_nodes=str(fits), max_nodes="100").errors
    refused = form(workspace, min_nodes=str(fits + 1), max_nodes="100").errors["min_nodes"][0]
    assert f"This machine holds {fits} nodes" in refused


def test_another_cluster_like_one_begins_with_everything_but_its_name(workspace: Workspace) -> None:
    config = {"ssh": {"enabled": True, "admin_user": "ana", "public_key": KEY}, "subnet": {}}
    cluster = make_cluster(
        workspace,
        vm_size="Standard_D1_v2",
        max_nodes=7,
        tags={"a": "b"},
        identity={"type": "SystemAssigned"},
        config=config,
    )
    again = ClusterForm(workspace, QueryDict(like(cluster) + "&name=other"))
    assert not again.errors
    spec = again.spec()
    assert (spec.size, spec.max_nodes, spec.tags, spec.is_system_assigned) == ("Standard_D1_v2", 7, {"a": "b"}, True)
    assert spec.ssh == config["ssh"]


def test_the_first_size_offered_is_one_this_machine_can_host(workspace: Workspace) -> None:
    size = by_name(form(workspace, vm_size="").data["vm_size"] or ClusterForm(workspace, QueryDict()).data["vm_size"])
    assert embedded.host_verdict(size) == ""


@pytest.mark.parametrize("text", ["=x", "a=1\na=2", "k" * 101 + "=v", "\n".join(f"k{n}=v" for n in range(51))])
def test_tags_that_cannot_be_kept_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"no key|twice|too long|50 are the most"):
        parse_tags(text)
