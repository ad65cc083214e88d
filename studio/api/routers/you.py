"""Who asks, and which workspaces they belong to."""

from typing import Any

from django.utils.translation import gettext as _
from ninja import Field, Router, Schema
from pydantic import StrictInt

from studio.api.kit import Asked, not_valid
from studio.errors import NeedsRight
from studio.http import StudioRequest
from studio.notifications import actions, mail
from studio.notifications.events import Event
from studio.notifications.forms import MailForm
from studio.notifications.models import MailChoice
from studio.people.models import User, Workspace
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


class MailFacts(Schema):
    events: list[str] = Field(description="What you are told of by e-mail, of what is yours.")
    least_minutes: int = Field(description="Of runs, only those that took as long.")
    address: str = Field(description="Empty: you have none here, and are told nothing.")
    sends_mail: bool = Field(description="Whether this studio sends e-mail.")


class MailWanted(Asked):
    events: list[Event] = Field(max_length=50)
    least_minutes: StrictInt = Field(description="One of 0, 1, 10 and 60.")


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


@router.get("me/mail", response=MailFacts)
def get_mail(request: StudioRequest) -> dict[str, Any]:
    """What is mailed to you."""
    return _mail(request.user)


def _mail(person: User) -> dict[str, Any]:
    chosen = MailChoice.of(person)
    facts = {"events": chosen.events, "least_minutes": chosen.least_minutes}
    return facts | {"address": person.email, "sends_mail": mail.is_set_up()}


@router.put("me/mail", response=MailFacts)
def set_mail(request: StudioRequest, asked: MailWanted) -> dict[str, Any]:
    """Choose what is mailed to you; signed in, for no token speaks of a person's own matters."""
    if request.user.scope is not None:
        raise NeedsRight(_("No API token changes what is mailed to you."), _("Sign in to do that."))
    form = MailForm({"events": [one.value for one in asked.events], "least_minutes": asked.least_minutes})
    if not form.is_valid():
        raise not_valid(form)
    actions.choose_mail(request.user, asked.events, form.cleaned_data["least_minutes"])
    return _mail(User.objects.get(pk=request.user.pk))
