"""The connection to an Azure Databricks workspace, through Databricks' own SDK, and the files that go over it."""

import contextlib
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from compute import azure
from compute.drivers.databricks_form import AZURE
from compute.models import ComputeTarget
from compute.remote import safe_path
from studio import addresses
from studio.errors import CredentialsRejected, StudioError, TargetUnreachable
from studio.people.models import Allowance

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"  # Source: Azure's id of Databricks as a resource
PATIENCE, TRY_FOR = 20, 20  # seconds for an answer, and for trying again what is too busy
MOST_OUTPUTS = 10_000  # files that come back


def places(target: ComputeTarget) -> list[addresses.Place]:
    """Return where the workspace answers. Raises NotAllowedNow for an address that nobody allowed."""
    parts = urlsplit(target.config["url"])
    inside = target.workspace.allows(Allowance.THIS_MACHINE)
    return addresses.places_of(parts.hostname or "", parts.port or 443, inside=inside)


@contextlib.contextmanager
def client_of(target: ComputeTarget) -> "Iterator[WorkspaceClient]":
    """Give the workspace's client; what it raises leaves here as a StudioError, without the token in it."""
    import requests
    from databricks.sdk import errors
    from databricks.sdk.errors.base import DatabricksError

    places(target)
    token = _token(target)
    name = {"name": target.name or urlsplit(target.config["url"]).hostname}
    try:
        yield _client(target.config["url"], token, inside=target.workspace.allows(Allowance.THIS_MACHINE))
    except errors.Unauthenticated as exc:
        raise _refused(name) from exc
    except errors.PermissionDenied as exc:
        if "invalid access token" in str(exc).lower():  # Source: the workspace's own words, with the status 403
            raise _refused(name) from exc
        raise CredentialsRejected(
            _("%(name)s does not let the token do this: %(why)s") % {**name, "why": _words(exc)},
            _("Ask its administrator for the permission, or use another user’s token."),
        ) from exc
    except (errors.InvalidParameterValue, errors.BadRequest, errors.NotFound) as exc:
        raise StudioError(_("%(name)s refuses it: %(why)s") % {**name, "why": _words(exc)}) from exc
    except requests.TooManyRedirects as exc:
        where = urlsplit(exc.response.headers.get("Location", "")).hostname if exc.response is not None else ""
        raise TargetUnreachable(
            _("%(name)s sends whoever asks on to another address, which is not followed: %(where)s.")
            % {**name, "where": (where or "?")[:255]},
            _("Give the workspace’s own address, as in the browser once it has opened."),
        ) from exc
    except (DatabricksError, requests.RequestException, TimeoutError, ValueError) as exc:
        raise TargetUnreachable(
            _("%(name)s does not answer as it should: %(why)s") % {**name, "why": _words(exc)},
            _("Try again later."),
        ) from exc


def _client(url: str, token: str, *, inside: bool) -> "WorkspaceClient":
    """Return a client that stays at `url`, and connects to it as it was checked."""
    from databricks.sdk import WorkspaceClient

    from compute import pinned

    client = WorkspaceClient(
        config=_configuration()(
            host=url,
            token=token,
            auth_type="pat",
            config_file="/dev/null",
            http_timeout_seconds=PATIENCE,
            retry_timeout_seconds=TRY_FOR,
        )
    )
    session = client.api_client._api_client._session  # the SDK offers no door to it; tests watch this one
    pinned.pin(session, inside=inside).max_redirects = 0
    return client


@lru_cache(maxsize=1)
def _configuration() -> Any:
    """Return the SDK's configuration, imported when it is needed, which asks nobody anything while it is made."""
    from databricks.sdk.config import Config

    class Configuration(Config):
        attributes = Config.attributes  # it looks at what a class says itself, and not at what that inherits

        def _resolve_host_metadata(self) -> None:
            """Look nothing up: it would be asked with another session, which follows wherever it is sent."""

    return Configuration


def _token(target: ComputeTarget) -> str:
    """Return what opens the service. Raises StudioError."""
    if target.config.get("authentication") != AZURE:
        return target.secret("access_token")
    with azure.speaking("Azure"):
        return azure.credential_for(target.workspace).get_token(SCOPE).token


def _refused(name: dict[str, Any]) -> CredentialsRejected:
    return CredentialsRejected(
        _("%(name)s refuses the token.") % name, _("It may have expired: make another one, and replace it.")
    )


def _words(exc: Exception) -> str:
    """Return what the service said, without what the SDK says of itself behind it."""
    words = " ".join(str(exc).split())
    for mark in (" Config: ", " This is likely a bug in the Databricks SDK"):
        words = words.partition(mark)[0]
    return words[:300] or type(exc).__name__


def is_there(service: "WorkspaceClient", path: str) -> bool:
    from databricks.sdk.errors import NotFound

    try:
        service.workspace.get_status(path)
    except NotFound:
        return False
    return True


def put(service: "WorkspaceClient", path: str, content: bytes) -> None:
    from databricks.sdk.service.workspace import ImportFormat

    service.workspace.upload(path, content, format=ImportFormat.RAW, overwrite=True)


def bring_back(service: "WorkspaceClient", there: str, into: Path) -> None:
    """Fetch what a run left for its folders. A name that leads elsewhere stays there, and so does what is too large."""
    from databricks.sdk.service.workspace import ObjectType

    for _n, one in zip(range(MOST_OUTPUTS), service.workspace.list(there, recursive=True), strict=False):
        path = safe_path(into, str(one.path or "").removeprefix(f"{there}/"))
        if path is None or one.object_type not in {ObjectType.FILE, ObjectType.NOTEBOOK}:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name[:200]}.coming")
        with service.workspace.download(str(one.path)) as source, scratch.open("wb") as file:
            shutil.copyfileobj(source, file)
        scratch.replace(path)
