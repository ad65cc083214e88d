"""A program that shows a token, and what it is answered."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from studio.people.actions import issue_token
from studio.people.models import User, Workspace
from studio.people.permissions import GRANTABLE, Right, may


class Program:
    """A program with a token of somebody, in a workspace; it has no cookies."""

    def __init__(self, workspace: str, word: str) -> None:
        self.base, self.client = f"/api/v1/w/{workspace}", Client()
        self.headers = {"Authorization": f"Bearer {word}"} if word else {}

    def ask(self, method: str, path: str, sent: Any = None, **headers: str) -> Any:
        """Ask for `path` below the workspace, or for an address that begins with /."""
        address = path if path.startswith(("/api", "/metrics", "http")) else f"{self.base}{path and '/' + path}"
        body = sent if isinstance(sent, bytes) else b"" if sent is None else json.dumps(sent).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(method, address, body, "application/json", headers=self.headers | named)

    def get(self, path: str = "", **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, sent: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, sent, **headers)


@pytest.fixture
def program(workspace: Workspace) -> Callable[..., Program]:
    """Return who makes programs: with all rights of a person, or with those that are named."""

    def make(person: User, *rights: Right, name: str = "") -> Program:
        wanted = set(rights) or {right for right in GRANTABLE if may(person, right, workspace)}
        return Program(name or workspace.name, issue_token(workspace, person, "program", wanted, days=1)[1])

    return make
