"""A cluster as code: each text is what its tool reads."""

import ast
import json
import shlex
from typing import Any

import pytest

from compute import codes
from compute.codes import ClusterSpec

IDENTITY = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ana"
)
PLAIN = ClusterSpec(name="cpu-cluster", size="Standard_D2_v2", max_nodes=4)
FULL = ClusterSpec(
    name="gpu-lowpri",
    size="Standard_NC6",
    priority="LowPriority",
    min_nodes=1,
    max_nodes=8,
    idle_seconds=300,
    description='Ana\'s "big" one; $(rm -rf ~) `ls`',
    tags={"team": "vision & sound", "größe": "xl"},
    identity={"type": "UserAssigned", "ids": [IDENTITY]},
    ssh={"enabled": True, "admin_user": "azureuser", "public_key": "ssh-ed25519 AAAA ana@host"},
    subnet={"resource_group": "net-rg", "vnet": "lab", "subnet": "nodes"},
)


def options(command: str) -> dict[str, list[str]]:
    """Read a shell command as a shell does: option → values."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in shlex.split(command.replace("\\\n", " ")):
        if word.startswith("--"):
            name = word
            found.setdefault(name, [])
        elif name:
            found[name].append(word)
    return found


def keywords(program: str, function: str) -> dict[str, Any]:
    """Read the literal keyword arguments of one call of a Python program."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(function):
            return {k.arg or "": _value(k.value) for k in node.keywords}
    raise AssertionError(f"{function} is not called")


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def test_the_cli_v2_command_survives_the_shell() -> None:
    asked = options(codes.cli_v2(FULL))
    assert asked["--description"] == [FULL.description]
    assert asked["--tags"] == ["team=vision & sound", "größe=xl"]
    assert asked["--tier"] == ["low_priority"]
    assert asked["--idle-time-before-scale-down"] == ["300"]
    assert asked["--user-assigned-identities"] == [IDENTITY]
    assert asked["--ssh-key-value"] == ["ssh-ed25519 AAAA ana@host"]
    assert asked["--subnet"][0].endswith("/net-rg/providers/Microsoft.Network/virtualNetworks/lab/subnets/nodes")


def test_a_plain_cluster_asks_for_nothing_it_does_not_need() -> None:
    assert set(options(codes.cli_v2(PLAIN))) == {
        "--name",
        "--type",
        "--size",
        "--tier",
        "--min-instances",
        "--max-instances",
        "--idle-time-before-scale-down",
    }


def test_the_cli_v1_command_uses_its_own_words() -> None:
    asked = options(codes.cli_v1(FULL))
    assert asked["--vm-priority"] == ["lowpriority"]
    assert asked["--assign-identity"] == [IDENTITY]
    assert asked["--vnet-resourcegroup-name"] == ["net-rg"]
    system = ClusterSpec(name="abc", size="Standard_D2_v2", identity={"type": "SystemAssigned"})
    assert options(codes.cli_v1(system))["--assign-identity"] == ["[system]"]


def test_the_sdk_v1_takes_identity_ids_as_a_list() -> None:
    asked = keywords(codes.sdk_v1(FULL), "provisioning_configuration")
    assert asked["identity_id"] == [IDENTITY]
    assert asked["description"] == FULL.description
    assert (asked["min_nodes"], asked["max_nodes"], asked["idle_seconds_before_scaledown"]) == (1, 8, 300)


def test_the_sdk_v2_program_imports_what_it_uses() -> None:
    program = codes.sdk_v2(FULL)
    imported = {a.name for n in ast.walk(ast.parse(program)) if isinstance(n, ast.ImportFrom) for a in n.names}
    used = {n.func.id for n in ast.walk(ast.parse(program)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert used <= imported
    asked = keywords(program, "AmlCompute")
    assert (asked["tier"], asked["tags"]) == ("low_priority", FULL.tags)


def test_the_json_has_the_provider_shape_and_an_iso_idle_time() -> None:
    body = json.loads(codes.arm(FULL))
    inner = body["properties"]["properties"]
    assert inner["scaleSettings"] == {"minNodeCount": 1, "maxNodeCount": 8, "nodeIdleTimeBeforeScaleDown": "PT300S"}
    assert inner["vmPriority"] == "LowPriority"
    assert inner["remoteLoginPortPublicAccess"] == "Enabled"
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    assert body["properties"]["computeType"] == "AmlCompute"


@pytest.mark.parametrize("spec", [PLAIN, FULL])
def test_every_way_names_the_cluster_and_its_size(spec: ClusterSpec) -> None:
    for code in codes.every(spec):
        assert spec.size in code.text
        assert spec.name in code.text or code.key == "arm"  # there the name is in the address
