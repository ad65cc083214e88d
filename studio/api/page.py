"""The API's own page: every operation, what it takes and answers, and a form that tries it."""

import json
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from studio.http import StudioRequest
from studio.people.models import Workspace
from studio.people.views import keep_the_frame

DEEPEST = 4  # schemas in schemas, in an example
TAGS = (
    *("you", "workspace", "targets", "runs", "logs", "outputs", "snapshots", "experiments", "work", "quotas"),
    *("dashboards", "notifications", "activity", "tokens", "studio"),
)


@require_safe
@gzip_page  # every operation with its schemas: a tenth of it on the wire; its one secret is masked anew each time
def api_page(request: StudioRequest) -> HttpResponse:
    """Show the operations by what they are about. They are tried with the page's session, in one's own name."""
    from studio.api.urls import document  # what the API is made of is imported when somebody asks for it

    keep_the_frame(request)
    whole: dict[str, Any] = document()
    spaces = list(Workspace.objects.for_user(request.user).order_by("name").values_list("name", flat=True))
    last = request.session.get("workspace", "")
    groups: dict[str, list[dict[str, Any]]] = {tag: [] for tag in TAGS}
    for path, methods in whole["paths"].items():
        for method, said in methods.items():
            groups.setdefault(said["tags"][0], []).append(_operation(whole, path, method, said))
    context = {
        "nav": "api",
        "groups": [(tag, operations) for tag, operations in groups.items() if operations],
        "workspaces": spaces,
        "workspace": last if last in spaces else spaces[0] if spaces else "",
        "count": sum(map(len, groups.values())),
    }
    return render(request, "api/api.html", context)


def _operation(whole: dict[str, Any], path: str, method: str, said: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of one operation."""
    body = said.get("requestBody", {}).get("content", {})
    kind = next(iter(body), "")
    sent = ""
    if kind == "application/json":
        sent = json.dumps(_example(whole, body[kind]["schema"]), indent=2, ensure_ascii=False)
    return {
        "id": said["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": said["summary"],
        "description": said.get("description", ""),
        "parameters": [_parameter(whole, one) for one in said["parameters"]],
        "kind": kind,
        "body": sent,
        "answers": [(status, _words(whole, answer)) for status, answer in sorted(said["responses"].items())],
    }


def _parameter(whole: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    schema = _resolved(whole, one["schema"])
    options: list[Any] = next((s["enum"] for s in [schema, *_branches(whole, schema)] if "enum" in s), [])
    usual = schema.get("default")
    return {
        "name": one["name"],
        "where": one["in"],
        "required": one.get("required", False),
        "description": one.get("description", ""),
        "options": options,
        "default": str(usual).lower() if isinstance(usual, bool) else usual or "",
    }


def _words(whole: dict[str, Any], answer: dict[str, Any]) -> str:
    return str(_resolved(whole, answer).get("description", ""))


def _resolved(whole: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found: Any = schema
    while "$ref" in found:
        place: Any = whole
        for part in found["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        found = place
    return dict(found)


def _branches(whole: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _resolved(whole, one) for one in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    ]


def _example(whole: dict[str, Any], asked: dict[str, Any], depth: int = 0) -> Any:
    """Return something to begin with: what is required, and nothing else."""
    schema = _resolved(whole, asked)
    if "default" in schema or depth > DEEPEST:
        return schema.get("default")
    if "anyOf" in schema:
        return _example(whole, schema["anyOf"][0], depth + 1)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            needed = schema.get("required", [])
            names = needed or list(schema.get("properties", {}))[:1]
            return {name: _example(whole, schema["properties"][name], depth + 1) for name in names}
        case "array":
            return [_example(whole, schema["items"], depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return ""
