"""Verbs over people and workspaces; each writes down who did it."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from studio.errors import NotAllowedNow
from studio.live import nudge
from studio.people.models import Activity, Membership, User, Workspace
from studio.people.permissions import Role


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


def _keep_an_owner(workspace: Workspace, user: User) -> None:
    others = workspace.memberships.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
    if not others.exists():
        raise NotAllowedNow(
            _("%(user)s is the last Owner of %(workspace)s.") % {"user": user.username, "workspace": workspace.name},
            _("Make somebody else an Owner first."),
        )
