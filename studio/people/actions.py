"""Verbs over people and workspaces; each writes down who did it."""

import re
from typing import Any

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils.translation import gettext as _

from studio.errors import NotAllowedNow
from studio.live import nudge
from studio.people.models import Activity, Membership, SignInLink, User, Workspace
from studio.people.permissions import Role

INVITED_HOURS = 7 * 24


def note(
    workspace: Workspace | None,
    actor: User | None,
    verb: str,
    obj: Any,
    *,
    kind: str,
    name: str,
    detail: dict[str, Any] | None = None,
) -> Activity:
    """Write down that `actor` (None: the studio itself) did `verb` to `obj`. `detail` is small JSON without secrets."""
    return Activity.objects.create(
        workspace=workspace,
        actor=actor,
        actor_name=actor.username if actor else "studio",
        verb=verb,
        object_kind=kind,
        object_id=str(obj.pk),
        object_name=name,
        detail=detail or {},
    )


@transaction.atomic
def create_workspace(name: str, owner: User) -> Workspace:
    """Create a workspace with its first Owner."""
    workspace = Workspace.objects.create(name=name)
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    note(workspace, owner, "workspace.create", workspace, kind="workspace", name=name)
    return workspace


@transaction.atomic
def set_role(workspace: Workspace, user: User, role: Role, *, by: User) -> Membership:
    """Give `user` a role in `workspace`, adding them when needed. Raises NotAllowedNow for the last Owner."""
    old = workspace.role_of(user)
    if old == Role.OWNER and role != Role.OWNER:
        _keep_an_owner(workspace, user)
    membership, _created = Membership.objects.update_or_create(workspace=workspace, user=user, defaults={"role": role})
    note(workspace, by, "member.role", user, kind="member", name=user.username, detail={"before": old, "after": role})
    nudge(workspace.group, "members:moved", user=user.pk)
    return membership


@transaction.atomic
def remove_member(workspace: Workspace, user: User, *, by: User) -> None:
    """Take `user` out of `workspace`; their open pages close. Raises NotAllowedNow for the last Owner."""
    old = workspace.role_of(user)
    if old == Role.OWNER:
        _keep_an_owner(workspace, user)
    Membership.objects.filter(workspace=workspace, user=user).delete()
    note(workspace, by, "member.remove", user, kind="member", name=user.username, detail={"before": old})
    nudge(workspace.group, "members:moved", user=user.pk)


@transaction.atomic
def invite(workspace: Workspace, who: str, role: Role, *, by: User) -> tuple[User, str]:
    """Make an account for `who`, a user name or an e-mail address, as a member; return it and its link's token."""
    email = who if "@" in who else ""
    person = User(username=_free_name(who.partition("@")[0]), email=email)
    person.set_unusable_password()
    person.save()
    set_role(workspace, person, role, by=by)
    return person, SignInLink.issue(person, hours=INVITED_HOURS)


@transaction.atomic
def invite_again(workspace: Workspace, person: User, *, by: User) -> str:
    """Make a new link for one who never came, and end the older ones; return its token.

    Raises NotAllowedNow for anybody else: an Owner must not become another person by a link.
    """
    if not person.was_invited_here(workspace):
        raise NotAllowedNow(
            _("%(user)s has signed in already.") % {"user": person.username},
            _("Whoever runs the studio can make a link on its machine: python3 manage.py signinlink %(user)s")
            % {"user": person.username},
        )
    SignInLink.objects.filter(user=person, used_at=None).delete()
    note(workspace, by, "member.link", person, kind="member", name=person.username)
    return SignInLink.issue(person, hours=INVITED_HOURS)


def change_profile(person: User) -> None:
    """Store what a person changed of their own account; a former address no longer signs in."""
    with transaction.atomic():
        person.save()
        EmailAddress.objects.filter(user=person).exclude(email__iexact=person.email).delete()


def _free_name(wanted: str) -> str:
    """Return a user name like `wanted` that nobody has."""
    base = re.sub(r"[^\w.+-]", "", wanted)[:140] or "member"
    name, n = base, 1
    while User.objects.filter(username__iexact=name).exists():
        n += 1
        name = f"{base}{n}"
    return name


def _keep_an_owner(workspace: Workspace, user: User) -> None:
    Workspace.objects.select_for_update().get(pk=workspace.pk)  # two Owners may demote each other at once
    others = workspace.memberships.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
    if not others.exists():
        raise NotAllowedNow(
            _("%(user)s is the last Owner of %(workspace)s.") % {"user": user.username, "workspace": workspace.name},
            _("Make somebody else an Owner first."),
        )
