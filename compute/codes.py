"""A cluster as code: what the form asks for, written for the provider's own tools, to copy."""

import json
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _

from compute.models import ComputeTarget
from compute.states import Priority

SCOPE = "/subscriptions/<subscription>/resourceGroups"


@dataclass(frozen=True)
class ClusterSpec:
    """What a cluster is made of, as the wizard collects it."""

    name: str
    size: str
    priority: str = Priority.DEDICATED
    min_nodes: int = 0
    max_nodes: int = 1
    idle_seconds: int = 120
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)  # as ComputeTarget.identity
    ssh: dict[str, Any] = field(default_factory=dict)  # {"enabled", "admin_user", "public_key"}
    subnet: dict[str, str] = field(default_factory=dict)  # {"resource_group", "vnet", "subnet"}

    @classmethod
    def of(cls, target: ComputeTarget) -> "ClusterSpec":
        """Return what an existing cluster is made of."""
        return cls(
            name=target.name,
            size=target.vm_size,
            priority=target.vm_priority,
            min_nodes=target.min_nodes,
            max_nodes=target.max_nodes,
            idle_seconds=target.idle_seconds,
            description=target.description,
            tags=target.tags,
            identity=target.identity,
            ssh=target.config.get("ssh", {}),
            subnet=target.config.get("subnet", {}),
        )

    @property
    def is_low_priority(self) -> bool:
        return self.priority == Priority.LOW_PRIORITY

    @property
    def has_ssh(self) -> bool:
        return bool(self.ssh.get("enabled"))

    @property
    def identity_ids(self) -> list[str]:
        return list(self.identity.get("ids", []))

    @property
    def is_system_assigned(self) -> bool:
        return self.identity.get("type") == "SystemAssigned"

    @property
    def subnet_id(self) -> str:
        """Return the resource id of the subnet; the subscription is the reader's to fill in."""
        s = self.subnet
        return (
            f"{SCOPE}/{s['resource_group']}/providers/Microsoft.Network"
            f"/virtualNetworks/{s['vnet']}/subnets/{s['subnet']}"
        )


def _command(start: str, options: Iterable[tuple[str, Iterable[Any]]]) -> str:
    """Write a shell command, an option a line; every value is quoted for the shell."""
    lines = [start, *(f"  {name} {' '.join(shlex.quote(str(v)) for v in values)}".rstrip() for name, values in options)]
    return " \\\n".join(lines) + "\n"


def cli_v2(spec: ClusterSpec) -> str:
    """Write the `az ml compute create` of the CLI extension `ml`."""
    options: list[tuple[str, Iterable[Any]]] = [
        ("--name", [spec.name]),
        ("--type", ["AmlCompute"]),
        ("--size", [spec.size]),
        ("--tier", ["low_priority" if spec.is_low_priority else "dedicated"]),
        ("--min-instances", [spec.min_nodes]),
        ("--max-instances", [spec.max_nodes]),
        ("--idle-time-before-scale-down", [spec.idle_seconds]),
    ]
    if spec.description:
        options.append(("--description", [spec.description]))
    if spec.tags:
        options.append(("--tags", [f"{key}={value}" for key, value in spec.tags.items()]))
    if spec.is_system_assigned:
        options.append(("--identity-type", ["SystemAssigned"]))
    elif spec.identity_ids:
        options.append(("--identity-type", ["UserAssigned"]))
        options.append(("--user-assigned-identities", [",".join(spec.identity_ids)]))
    if spec.has_ssh:
        options.append(("--ssh-public-access-enabled", ["true"]))
        options.append(("--admin-username", [spec.ssh["admin_user"]]))
        options.append(("--ssh-key-value", [spec.ssh["public_key"]]))
    if spec.subnet:
        options.append(("--vnet-name", [spec.subnet["vnet"]]))
        options.append(("--subnet", [spec.subnet_id]))
    return _command("az ml compute create", options)


def cli_v1(spec: ClusterSpec) -> str:
    """Write the `az ml computetarget create amlcompute` of the CLI extension `azure-cli-ml`."""
    options: list[tuple[str, Iterable[Any]]] = [
        ("--name", [spec.name]),
        ("--vm-size", [spec.size]),
        ("--vm-priority", ["lowpriority" if spec.is_low_priority else "dedicated"]),
        ("--min-nodes", [spec.min_nodes]),
        ("--max-nodes", [spec.max_nodes]),
        ("--idle-seconds-before-scaledown", [spec.idle_seconds]),
    ]
    if spec.description:
        options.append(("--description", [spec.description]))
    options += [("--tag", [f"{key}={value}"]) for key, value in spec.tags.items()]
    if spec.is_system_assigned:
        options.append(("--assign-identity", ["[system]"]))
    elif spec.identity_ids:
        options.append(("--assign-identity", [",".join(spec.identity_ids)]))
    if spec.has_ssh:
        options.append(("--remote-login-port-public-access", ["Enabled"]))
        options.append(("--admin-username", [spec.ssh["admin_user"]]))
        options.append(("--admin-user-ssh-key", [spec.ssh["public_key"]]))
    if spec.subnet:
        options.append(("--vnet-resourcegroup-name", [spec.subnet["resource_group"]]))
        options.append(("--vnet-name", [spec.subnet["vnet"]]))
        options.append(("--subnet-name", [spec.subnet["subnet"]]))
    return _command("az ml computetarget create amlcompute", options)


def _call(name: str, arguments: dict[str, str]) -> str:
    """Write a Python call, a keyword a line; the values are Python already."""
    return f"{name}(\n" + "".join(f"    {key}={value},\n" for key, value in arguments.items()) + ")"


def sdk_v1(spec: ClusterSpec) -> str:
    """Write Python for azureml-core."""
    arguments = {
        "vm_size": repr(spec.size),
        "vm_priority": repr("lowpriority" if spec.is_low_priority else "dedicated"),
        "min_nodes": repr(spec.min_nodes),
        "max_nodes": repr(spec.max_nodes),
        "idle_seconds_before_scaledown": repr(spec.idle_seconds),
    }
    if spec.description:
        arguments["description"] = repr(spec.description)
    if spec.tags:
        arguments["tags"] = repr(spec.tags)
    if spec.is_system_assigned:
        arguments["identity_type"] = repr("SystemAssigned")
    elif spec.identity_ids:
        arguments["identity_type"] = repr("UserAssigned")
        arguments["identity_id"] = repr(spec.identity_ids)  # a list, also for one
    if spec.has_ssh:
        arguments["remote_login_port_public_access"] = repr("Enabled")
        arguments["admin_username"] = repr(spec.ssh["admin_user"])
        arguments["admin_user_ssh_key"] = repr(spec.ssh["public_key"])
    if spec.subnet:
        arguments["vnet_resourcegroup_name"] = repr(spec.subnet["resource_group"])
        arguments["vnet_name"] = repr(spec.subnet["vnet"])
        arguments["subnet_name"] = repr(spec.subnet["subnet"])
    return (
        "from azureml.core import Workspace\n"
        "from azureml.core.compute import AmlCompute, ComputeTarget\n\n"
        "workspace = Workspace.from_config()\n"
        f"config = {_call('AmlCompute.provisioning_configuration', arguments)}\n"
        f"cluster = ComputeTarget.create(workspace, {spec.name!r}, config)\n"
        "cluster.wait_for_completion(show_output=True)\n"
    )


def sdk_v2(spec: ClusterSpec) -> str:
    """Write Python for azure-ai-ml."""
    imports = ["AmlCompute"]
    arguments = {
        "name": repr(spec.name),
        "size": repr(spec.size),
        "tier": repr("low_priority" if spec.is_low_priority else "dedicated"),
        "min_instances": repr(spec.min_nodes),
        "max_instances": repr(spec.max_nodes),
        "idle_time_before_scale_down": repr(spec.idle_seconds),
    }
    if spec.description:
        arguments["description"] = repr(spec.description)
    if spec.tags:
        arguments["tags"] = repr(spec.tags)
    if spec.is_system_assigned:
        imports.append("IdentityConfiguration")
        arguments["identity"] = "IdentityConfiguration(type='system_assigned')"
    elif spec.identity_ids:
        imports += ["IdentityConfiguration", "ManagedIdentityConfiguration"]
        ids = ", ".join(f"ManagedIdentityConfiguration(resource_id={i!r})" for i in spec.identity_ids)
        arguments["identity"] = f"IdentityConfiguration(type='user_assigned', user_assigned_identities=[{ids}])"
    if spec.has_ssh:
        imports.append("AmlComputeSshSettings")
        arguments["ssh_public_access_enabled"] = "True"
        user, key = spec.ssh["admin_user"], spec.ssh["public_key"]
        arguments["ssh_settings"] = f"AmlComputeSshSettings(admin_username={user!r}, ssh_key_value={key!r})"
    if spec.subnet:
        imports.append("NetworkSettings")
        where = f"vnet_name={spec.subnet['vnet']!r}, subnet={spec.subnet_id!r}"
        arguments["network_settings"] = f"NetworkSettings({where})"
    return (
        "from azure.ai.ml import MLClient\n"
        f"from azure.ai.ml.entities import {', '.join(sorted(imports))}\n"
        "from azure.identity import DefaultAzureCredential\n\n"
        "client = MLClient.from_config(DefaultAzureCredential())\n"
        f"cluster = {_call('AmlCompute', arguments)}\n"
        "client.compute.begin_create_or_update(cluster).result()\n"
    )


def arm(spec: ClusterSpec) -> str:
    """Write the body of the provider's PUT …/computes/<name>, api-version 2020-08-01; the idle time is ISO 8601."""
    inner: dict[str, Any] = {
        "osType": "Linux",
        "vmSize": spec.size,
        "vmPriority": str(spec.priority),
        "scaleSettings": {
            "minNodeCount": spec.min_nodes,
            "maxNodeCount": spec.max_nodes,
            "nodeIdleTimeBeforeScaleDown": f"PT{spec.idle_seconds}S",
        },
        "remoteLoginPortPublicAccess": "Enabled" if spec.has_ssh else "Disabled",
    }
    if spec.has_ssh:
        inner["userAccountCredentials"] = {
            "adminUserName": spec.ssh["admin_user"],
            "adminUserSshPublicKey": spec.ssh["public_key"],
        }
    if spec.subnet:
        inner["subnet"] = {"id": spec.subnet_id}
    properties: dict[str, Any] = {"computeType": "AmlCompute"}
    if spec.description:
        properties["description"] = spec.description
    body: dict[str, Any] = {"location": "<region>"}
    if spec.tags:
        body["tags"] = spec.tags
    if spec.is_system_assigned:
        body["identity"] = {"type": "SystemAssigned"}
    elif spec.identity_ids:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {i: {} for i in spec.identity_ids}}
    body["properties"] = properties | {"properties": inner}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Code:
    """One way to write a cluster down."""

    key: str
    label: str
    text: str


_WAYS: list[tuple[str, Any, Callable[[ClusterSpec], str]]] = [
    ("cli-v2", _("CLI v2"), cli_v2),
    ("cli-v1", _("CLI v1"), cli_v1),
    ("sdk-v2", _("Python SDK v2"), sdk_v2),
    ("sdk-v1", _("Python SDK v1"), sdk_v1),
    ("arm", _("JSON (ARM)"), arm),
]


def every(spec: ClusterSpec) -> list[Code]:
    """Return a cluster in every way there is, the current tools first."""
    return [Code(key, str(label), write(spec)) for key, label, write in _WAYS]
