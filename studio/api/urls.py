"""The operations below /api/v1/, a router for each noun. Resolved by studio/api/answers.py, and imported by no page."""

import re
from functools import cache
from typing import Any, NoReturn

from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from studio.api.document import complete
from studio.api.routers import (
    activity,
    attempts,
    connections,
    dashboards,
    experiments,
    files,
    holders,
    logs,
    notifications,
    people,
    prices,
    quotas,
    requests,
    runs,
    snapshots,
    studio,
    targets,
    tokens,
    work,
    you,
)


class Api(NinjaAPI):
    """Ninja's, which leaves errors to studio/api/answers.py, and whose document is whole."""

    def on_exception(self, request: HttpRequest, exc: Any) -> NoReturn:
        raise exc

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **how: Any) -> OpenAPISchema:
        return document()


api = Api(title="Compute Studio", version="1", urls_namespace="v1", docs_url=None, openapi_url="openapi.json")
api.add_router("", you.router, tags=["you"])
api.add_router("w/{workspace}", people.router, tags=["workspace"])
api.add_router("w/{workspace}/targets", targets.router, tags=["targets"])
api.add_router("w/{workspace}/targets", connections.router, tags=["targets"])
api.add_router("w/{workspace}/runs", runs.router, tags=["runs"])
api.add_router("w/{workspace}/runs", attempts.router, tags=["runs"])
api.add_router("w/{workspace}/runs", logs.router, tags=["logs"])
api.add_router("w/{workspace}/runs", files.router, tags=["outputs"])
api.add_router("w/{workspace}", snapshots.router, tags=["snapshots"])
api.add_router("w/{workspace}/experiments", experiments.router, tags=["experiments"])
api.add_router("w/{workspace}", work.router, tags=["work"])
api.add_router("w/{workspace}/quotas", quotas.router, tags=["quotas"])
api.add_router("w/{workspace}/quotas", holders.router, tags=["quotas"])
api.add_router("w/{workspace}/quotas/requests", requests.router, tags=["quotas"])
api.add_router("w/{workspace}/prices", prices.router, tags=["quotas"])
api.add_router("w/{workspace}/activity", activity.router, tags=["activity"])
api.add_router("w/{workspace}/dashboards", dashboards.router, tags=["dashboards"])
api.add_router("w/{workspace}/notifications", notifications.router, tags=["notifications"])
api.add_router("w/{workspace}/tokens", tokens.router, tags=["tokens"])
api.add_router("w/{workspace}", studio.router, tags=["studio"])

urlpatterns = [path("api/v1/", api.urls)]


@cache
def document() -> OpenAPISchema:
    """Return the OpenAPI document."""
    whole = NinjaAPI.get_openapi_schema(api, path_prefix="api/v1/")
    complete(whole)
    return whole


def operations_at(route: str) -> dict[str, Any]:
    """Return what the document says of the methods of a route: "api/v1/w/<workspace>/runs"."""
    found: dict[str, Any] = document()["paths"].get("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route), {})
    return found
