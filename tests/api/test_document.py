"""The OpenAPI document: valid, whole, and of the version that is promised."""

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from studio.api.urls import document

WHOLE = json.loads(json.dumps(document(), default=str))
OPERATIONS = {
    said["operationId"]: (path, method, said) for path, on in WHOLE["paths"].items() for method, said in on.items()
}


def test_it_is_valid_openapi_3_1():
    assert WHOLE["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(WHOLE).validate()
    assert set(WHOLE["components"]["securitySchemes"]) == {"token", "session"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_it_is_what_it_takes_and_how_it_refuses(name):
    path, method, said = OPERATIONS[name]
    assert said["summary"]
    assert said["tags"]
    assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == {
        one["name"] for one in said["parameters"] if one["in"] == "path"
    }
    refusals = {"401", "403", "404", "422", "429"} | (set() if method == "get" else {"409", "413"})
    assert refusals <= set(said["responses"])
    for status in refusals:
        part = WHOLE["components"]["responses"][said["responses"][status]["$ref"].rsplit("/")[-1]]
        assert part["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert any(status.startswith("2") for status in said["responses"])
