"""API tokens, without what they are: the list, and the end of one. They are made on the page, by who is signed in."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpResponse
from ninja import Field, Query, Router, Schema, Status

from studio.api.kit import Listed, Paging, listed, place_in
from studio.errors import NotThere
from studio.http import StudioRequest
from studio.people import actions
from studio.people.models import ApiToken
from studio.people.permissions import Right, require

router = Router()


class TokenFacts(Schema):
    id: int
    name: str
    username: str = Field(description="Whose it is.")
    rights: list[str] = Field(description="What it leaves of its person's rights.")
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = Field(description="Within a minute.")
    revoked_at: datetime | None


class TokensAsked(Paging):
    whose: Literal["mine", "all"] = Field("mine", description="“all” is for Owners who are signed in.")


@router.get("", response=Listed[TokenFacts])
def list_tokens(request: StudioRequest, response: HttpResponse, asked: Query[TokensAsked]) -> dict[str, Any]:
    """Your API tokens of the workspace, the newest first; a token is told of itself alone."""
    if asked.whose == "all":
        require(request.user, Right.ASSIGN_ROLES, request.workspace)
        found = request.workspace.api_tokens.all()
    else:
        found = _own(request)
    if (after := place_in(asked.cursor, int)) is not None:
        found = found.filter(pk__lt=after[0])
    rows = list(found.select_related("user").order_by("-pk")[: asked.limit + 1])
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return listed(request, response, [_row(one) for one in rows], *([rows[-1].pk] if more else []))


def _own(request: StudioRequest) -> Any:
    """Return the person's tokens here; of who comes by a token, that one."""
    found = request.workspace.api_tokens.filter(user=request.user)
    return found if request.user.scope is None else found.filter(pk=request.user.scope.token_id)


def _row(one: ApiToken) -> dict[str, Any]:
    kept = {name: getattr(one, name) for name in TokenFacts.model_fields if name not in {"id", "username"}}
    return kept | {"id": one.pk, "username": one.user.username}


@router.delete("/{int:token_id}", response={204: None})
def revoke_token(request: StudioRequest, token_id: int) -> Status[None]:
    """End a token of yours; a token ends itself alone, as a program does that needs it no longer."""
    token = _own(request).select_related("user", "workspace").filter(pk=token_id).first()
    if token is None:
        raise NotThere
    actions.revoke_token(token, by=request.user)
    return Status(204, None)
