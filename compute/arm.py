"""Azure's services over HTTP, Resource Manager first: what there is, and what the workspace's identity may do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.utils.translation import gettext as _

from compute import azure
from studio.errors import TargetUnreachable
from studio.people.models import Workspace

if TYPE_CHECKING:
    from azure.core import PipelineClient

PERMISSIONS = "2022-04-01"  # version of Microsoft.Authorization


@dataclass(frozen=True)
class Service:
    """One service that takes the workspace's tokens of one scope. It is named in what goes wrong there."""

    workspace: Workspace
    name: str
    url: str
    scope: str

    def ask(
        self,
        method: str,
        path: str,
        version: str,
        query: dict[str, Any] | None = None,
        *,
        body: Any = None,
        fine: frozenset[int] = frozenset(),
    ) -> dict[str, Any]:
        """Return what it answers; nothing where it answers nothing, or with one of the statuses that are `fine`.

        Bounded in time, tried again when it is busy, and no redirect is followed. Raises StudioError.
        """
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        request = HttpRequest(method, f"{self.url}{path}", params={**(query or {}), "api-version": version}, json=body)
        with azure.speaking(self.name), self._client() as client:
            answer = client.send_request(request)
            if answer.status_code in fine:
                return {}
            if answer.status_code >= 300:
                raise HttpResponseError(message=_sentence(answer), response=answer)
            told = answer.json() if answer.content else {}
        if not isinstance(told, dict):
            words = _("%(name)s does not answer as it should.") % {"name": self.name}
            raise TargetUnreachable(words, _("Try again later."))
        return told

    def _client(self) -> "PipelineClient[Any, Any]":
        from azure.core import PipelineClient
        from azure.core.pipeline import policies

        azure.places(self.workspace, self.url)
        return PipelineClient(
            self.url,
            policies=[
                policies.UserAgentPolicy("compute-studio"),
                policies.RetryPolicy(**azure.LIMITS),
                policies.BearerTokenCredentialPolicy(azure.credential_for(self.workspace), self.scope),
            ],
            transport=azure.limits_for(self.workspace)["transport"],
        )


def get(workspace: Workspace, path: str, version: str) -> dict[str, Any]:
    """Return what Resource Manager says of `path`, of that version of its provider. Raises StudioError."""
    url = azure.endpoints_for(workspace).resource_manager
    return Service(workspace, _("Azure"), url, azure.scope_of(url)).ask("GET", path, version)


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
