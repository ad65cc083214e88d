"""How a workspace signs in to Azure, and what Azure's own libraries raise, in words for people.

The libraries are imported when they are needed: most studios attach nothing of Azure's.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from compute.models import AzureSignIn
from studio import addresses
from studio.errors import CredentialsRejected, NotAllowedNow, StudioError, TargetUnreachable
from studio.people.models import Allowance, Workspace

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
PUBLIC_RESOURCE_MANAGER = "https://management.azure.com"
# Source: the authorities of Azure's clouds. Another is one's own, which that of Microsoft knows nothing of.
AUTHORITIES = {PUBLIC_AUTHORITY, "https://login.microsoftonline.us", "https://login.partner.microsoftonline.cn"}
# One request may take this long, and is tried twice: a page waits for some of them. In seconds.
TIMES: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 15}
LIMITS: dict[str, Any] = {
    **TIMES,
    **{"retry_total": 1, "retry_backoff_max": 5},
    "permit_redirects": False,  # only the address that is asked was checked
}


@dataclass(frozen=True)
class Endpoints:
    """Where a workspace's Azure answers; each an https URL without a path."""

    authority: str
    resource_manager: str


@dataclass(frozen=True)
class Answer:
    """What signing in came to."""

    by: str  # the credential that answered: "ClientSecretCredential"
    tenant: str
    who: str  # application or object id
    until: datetime


def sign_in_of(workspace: Workspace) -> AzureSignIn:
    """Return how `workspace` signs in. Raises NotAllowedNow when nobody has said."""
    found = AzureSignIn.objects.select_related("workspace").filter(workspace=workspace).first()
    if found is None:
        raise NotAllowedNow(
            _("This workspace does not sign in to Azure yet."),
            _("An Owner says how, under Studio, Azure sign-in."),
        )
    return found


def endpoints_for(workspace: Workspace) -> Endpoints:
    """Return where the workspace's Azure answers."""
    found = sign_in_of(workspace)
    return Endpoints(found.authority or PUBLIC_AUTHORITY, found.resource_manager or PUBLIC_RESOURCE_MANAGER)


def subscription_of(workspace: Workspace) -> str:
    """Return the id of the subscription in which accounts are looked for."""
    return sign_in_of(workspace).subscription_id


def credential_for(workspace: Workspace) -> "TokenCredential":
    """Return the credential by which the workspace asks for tokens; nothing is asked yet."""
    found = sign_in_of(workspace)
    if found.way != AzureSignIn.Way.SERVICE_PRINCIPAL:
        return _of_this_machine(found.way, found.client_id)
    authority = endpoints_for(workspace).authority
    places(workspace, authority)
    inside = workspace.allows(Allowance.THIS_MACHINE)
    return _of_principal(found.tenant_id, found.client_id, found.secret("client_secret"), authority, inside)


@lru_cache(maxsize=64)  # a credential keeps its tokens: one an hour is asked for, not one a request
def _of_principal(tenant: str, client: str, secret: str, authority: str, inside: bool) -> "TokenCredential":
    from azure import identity

    from compute import pinned

    return identity.ClientSecretCredential(
        tenant,
        client,
        secret,
        authority=authority,
        disable_instance_discovery=authority not in AUTHORITIES,
        transport=pinned.transport(inside=inside, **TIMES),
        **LIMITS,
    )


@lru_cache(maxsize=16)
def _of_this_machine(way: str, client: str) -> "TokenCredential":
    from azure import identity

    if way == AzureSignIn.Way.MANAGED_IDENTITY:
        return identity.ManagedIdentityCredential(client_id=client or None, **LIMITS)
    return identity.DefaultAzureCredential(process_timeout=10, **LIMITS)


def test(workspace: Workspace) -> Answer:
    """Sign in, and say who answered. Raises StudioError."""
    import jwt

    with speaking(_("Azure")):
        credential = credential_for(workspace)
        token = credential.get_token(scope_of(endpoints_for(workspace).resource_manager))
        chain = getattr(credential, "credentials", ())
        by = next((one for one in chain if _answers(one, workspace)), credential)
    try:
        claims = jwt.decode(token.token, options={"verify_signature": False})  # read for people; nothing rests on it
    except jwt.PyJWTError:
        claims = {}
    who = claims.get("appid") or claims.get("upn") or claims.get("oid") or ""
    until = datetime.fromtimestamp(token.expires_on, UTC)
    return Answer(type(by).__name__, str(claims.get("tid", ""))[:100], str(who)[:200], until)


def _answers(credential: "TokenCredential", workspace: Workspace) -> bool:
    from azure.core.exceptions import AzureError

    try:
        return bool(credential.get_token(scope_of(endpoints_for(workspace).resource_manager)))
    except (AzureError, ValueError):
        return False


def scope_of(url: str) -> str:
    """Return the scope of tokens for the service at `url`."""
    return f"{url.rstrip('/')}/.default"


def places(workspace: Workspace, url: str) -> list[addresses.Place]:
    """Return where `url` answers. Raises NotAllowedNow for an address that nobody allowed."""
    parts = urlsplit(url)
    inside = workspace.allows(Allowance.THIS_MACHINE)
    return addresses.places_of(parts.hostname or "", parts.port or 443, inside=inside)


def limits_for(workspace: Workspace) -> dict[str, Any]:
    """Return how one client of Azure's goes about it: in bounded time, and connected as checked."""
    from compute import pinned

    inside = workspace.allows(Allowance.THIS_MACHINE)
    return {**LIMITS, "transport": pinned.transport(inside=inside, **TIMES)}


@contextlib.contextmanager
def speaking(name: str) -> Iterator[None]:
    """Have what Azure's libraries raise leave as a StudioError that names who answered so."""
    import requests
    from azure.core.exceptions import AzureError

    try:
        yield
    except (AzureError, requests.RequestException, ValueError, TimeoutError) as exc:
        raise said(exc, name) from exc


def said(exc: Exception, name: str = "Azure") -> StudioError:
    """Return in words for people what one of Azure's libraries raised."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    words = {"name": name, "why": why(exc)}
    status = getattr(exc, "status_code", None) if isinstance(exc, HttpResponseError) else None
    if status == 403:
        return CredentialsRejected(
            _("%(name)s does not let this identity do it: %(why)s") % words,
            _("Ask its administrator for the permission, or sign in with another identity."),
        )
    if isinstance(exc, ClientAuthenticationError) or status == 401:
        return CredentialsRejected(
            _("%(name)s refuses the identity: %(why)s") % words,
            _("Look at tenant, client and secret under Studio, Azure sign-in; the secret may have expired."),
        )
    if status is not None and 400 <= status < 500 and status not in {408, 429}:
        return StudioError(_("%(name)s refuses it: %(why)s") % words)
    return TargetUnreachable(_("%(name)s does not answer as it should: %(why)s") % words, _("Try again later."))


def why(exc: Exception) -> str:
    """Return the service's own sentence, without the ids that only its support can read."""
    error = getattr(exc, "error", None)  # azure-batch's and azure-core's own shapes
    text = getattr(error, "message", None) or getattr(exc, "message", None) or str(exc)
    text = getattr(text, "value", text)
    lines = " ".join(str(text).partition("\nContent:")[0].split())
    for mark in (" Trace ID:", " RequestId:", " Correlation ID:"):
        lines = lines.partition(mark)[0]
    return lines[:300] or type(exc).__name__
