"""Azure Resource Manager: what there is in a subscription, and what the workspace's identity may do with it."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.utils.translation import gettext as _

from compute import azure
from studio.errors import TargetUnreachable
from studio.people.models import Workspace

if TYPE_CHECKING:
    from azure.core import PipelineClient

PERMISSIONS = "2022-04-01"  # version of Microsoft.Authorization


def client_for(workspace: Workspace, base_url: str, scope: str) -> "PipelineClient[Any, Any]":
    """Return a client that signs in for `scope`, follows no redirect, and takes bounded time. Close it."""
    from azure.core import PipelineClient
    from azure.core.pipeline import policies

    azure.places(workspace, base_url)
    return PipelineClient(
        base_url,
        policies=[
            policies.UserAgentPolicy("compute-studio"),
            policies.RetryPolicy(**azure.LIMITS),
            policies.BearerTokenCredentialPolicy(azure.credential_for(workspace), scope),
        ],
        connection_timeout=azure.LIMITS["connection_timeout"],
        read_timeout=azure.LIMITS["read_timeout"],
    )


def get(workspace: Workspace, path: str, version: str) -> dict[str, Any]:
    """Return what Resource Manager says of `path`, of that version of its provider. Raises StudioError."""
    return ask(workspace, "GET", path, version)


def ask(workspace: Workspace, method: str, path: str, version: str) -> dict[str, Any]:
    """Ask Resource Manager; see `get`."""
    from azure.core.exceptions import HttpResponseError
    from azure.core.rest import HttpRequest

    base = azure.endpoints_for(workspace).resource_manager
    name = _("Azure")
    with azure.speaking(name), client_for(workspace, base, azure.scope_of(base)) as client:
        answer = client.send_request(HttpRequest(method, f"{base}{path}", params={"api-version": version}))
        if answer.status_code >= 300:
            raise HttpResponseError(message=_sentence(answer), response=answer)
        told = answer.json()
    if not isinstance(told, dict):
        raise TargetUnreachable(_("%(name)s does not answer as it should.") % {"name": name}, _("Try again later."))
    return told


def _sentence(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def path_of(subscription: str, group: str, provider: str, kind: str, name: str) -> str:
    """Return the path of a resource: "/subscriptions/…/providers/Microsoft.Batch/batchAccounts/crunch"."""
    parts = ("subscriptions", subscription, "resourceGroups", group, "providers", provider, kind, name)
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def may(workspace: Workspace, path: str) -> list[str]:
    """Return the actions that the workspace's identity may take on `path`, such as "*" or "Microsoft.Batch/*"."""
    told = get(workspace, f"{path}/providers/Microsoft.Authorization/permissions", PERMISSIONS)
    found: dict[str, None] = {}
    for one in told.get("value") or []:
        for action in [*(one.get("actions") or []), *(one.get("dataActions") or [])]:
            found[str(action)[:200]] = None
    return list(found)
