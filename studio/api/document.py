"""The OpenAPI document: what ninja says of the operations, with everything added that holds for all of them."""

from typing import Any

DESCRIPTION = """Everything that the pages show, for programs.

**Sign in** with an API token: `Authorization: Bearer studio_…`. A token belongs to one workspace and carries some of
its person's rights; another workspace is not there for it (404), a right it lacks is refused (403). The pages' session
works too; whoever changes something with it sends the page's `X-CSRFToken`.

**Errors** are `application/problem+json` (RFC 9457): `detail` says what happened, `hint` what to do next; a 422 names
each wrong field in `errors`. What is not there and what is not yours to see is answered alike, with 404.

**Lists** come in parts of up to `limit` rows. `next`, which is in the header `Link` too, is the address of the next
part; what is made meanwhile shifts nothing.

**ETags.** Every answer has one. `If-None-Match` saves the body (304); `If-Match` on a change refuses it when the thing
is no longer what you read (412).

**Once.** `Idempotency-Key` makes a request that is sent again return what it made the first time.

**Attaching** a machine or a service is done in the browser, where its connection is examined first: credentials are
typed there, kept sealed, and neither taken nor told here. So are answers to requests for quota, limits and roles: no
token carries those rights.

**Logs** are read in pieces here. To follow one, open the websocket `/ws/w/{workspace}/runs/{run_id}/log/?stream=…` with
the same header `Authorization`.

Messages are English, and Spanish where `Accept-Language` asks for it.
"""
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "hint", "instance"],
    "properties": {
        "type": {"type": "string", "description": "What kind of error it is."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened."},
        "hint": {"type": "string", "description": "What to do next."},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
REFUSALS = {
    "400": "The request cannot be read.",
    "401": "No token that works, and no session.",
    "403": "The role, or the token, lacks the right.",
    "404": "It does not exist, or is not yours to see.",
    "409": "Its state, or a limit, forbids it.",
    "412": "It changed since you read it.",
    "413": "The request is too large.",
    "416": "It does not reach that far: see Content-Range.",
    "422": "Something that was sent is not valid; `errors` names each field.",
    "429": "Too many tries; the header Retry-After says how many seconds to wait.",
    "503": "The database does not answer, or takes nothing; Retry-After says when to try again.",
    "502": "What the target runs on does not answer, or refuses.",
}
FOR_ALL = ("400", "401", "403", "404", "412", "422", "429", "503")
FOR_CHANGES = ("409", "413", "502")
MAKES = {"create_cluster", "submit_run", "resubmit_run"}
WORKSPACE = {
    "name": "workspace",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "maxLength": 33},
    "description": "The workspace's name.",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag of what you have: where that still holds, the answer is 304, without a body.",
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag of what you read: where it is another one now, nothing is changed, and the answer is 412.",
}
ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "Sent again with the same key, the request returns what it made the first time.",
}


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Add to `schema` how to sign in, the errors, and the headers that every operation takes and gives."""
    schema["info"]["description"] = DESCRIPTION
    schema.pop("servers", None)
    schema["security"] = [{"token": []}, {"session": []}]
    parts = schema["components"]
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token: studio_…"},
        "session": {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A signed-in person's."},
    }
    parts["schemas"]["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    parts["responses"] = {status: {"description": said, "content": content} for status, said in REFUSALS.items()}
    schema["paths"]["/api/v1/openapi.json"] = {
        "get": {
            "operationId": "openapi",
            "summary": "This document",
            "tags": ["you"],
            "parameters": [],
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {}}}}},
        }
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(operation, path, method, can_be_read="get" in operations)
    return schema


def _complete(operation: dict[str, Any], path: str, method: str, *, can_be_read: bool) -> None:
    words = operation.pop("description", "").strip()
    if words:
        first, _gap, rest = words.partition("\n\n")
        operation["summary"] = " ".join(first.split()).rstrip(".")
        if rest.strip():
            operation["description"] = "\n".join(line.strip() for line in rest.strip().splitlines())
    parameters: list[dict[str, Any]] = operation["parameters"]
    if "{workspace}" in path:
        parameters.insert(0, WORKSPACE)
    if method == "get":
        parameters.append(IF_NONE_MATCH)
        operation["responses"]["304"] = {"description": "What you have still holds."}
    elif can_be_read:
        parameters.append(IF_MATCH)
    if operation["operationId"] in MAKES:
        parameters.append(ONCE)
    answers = {str(status): said for status, said in operation["responses"].items()}
    refusals = FOR_ALL if method == "get" else (*FOR_ALL, *FOR_CHANGES)
    operation["responses"] = answers | {
        s: {"$ref": f"#/components/responses/{s}"} for s in refusals if s not in answers
    }
