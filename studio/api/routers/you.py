"""Who asks, and which workspaces they belong to."""

from typing import Any

from ninja import Router, Schema

from studio.http import StudioRequest
from studio.people.models import Workspace
from studio.people.permissions import Right, may

router = Router()


class Space(Schema):
    name: str
    role: str
    rights: list[str]


class You(Schema):
    username: str
    name: str
    email: str
    by_token: bool
    workspaces: list[Space]


@router.get("me", response=You)
def me(request: StudioRequest) -> dict[str, Any]:
    """Who you are, and what you may do in each of your workspaces.

    With an API token, its workspace alone, and what both the token and the role allow.
    """
    person = request.user
    spaces = []
    for space in Workspace.objects.for_user(person).order_by("name"):
        rights = [right.value for right in Right if may(person, right, space)]
        spaces.append({"name": space.name, "role": space.role_of(person), "rights": rights})
    return {
        "username": person.username,
        "name": person.get_full_name(),
        "email": person.email,
        "by_token": person.scope is not None,
        "workspaces": spaces,
    }
