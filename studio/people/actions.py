"""Verbs over people and workspaces; each writes down who did it."""

import secrets
from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from studio.errors import NeedsRight, NotAllowedNow
from studio.live import SIGNED_OUT, nudge
from studio.people.chain import link_on_commit
from studio.people.models import (
    Activity,
    Allowance,
    ApiToken,
    BrowserSession,
    Invitation,
    Membership,
    SignInLink,
    Team,
    User,
    Workspace,
    hash_of,
)
from studio.people.origin import origin_of
from studio.people.permissions import GRANTABLE, Right, Role, may, needed, require

INVITED = timedelta(days=7)
TOKEN_DAYS = range(1, 366)  # how long an API token may work


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
    origin = origin_of(actor)
    entry = Activity.objects.create(
        workspace=workspace,
        actor=actor,
        actor_name=actor.username if actor else "studio",
        verb=verb,
        object_kind=kind,
        object_id=str(obj.pk),
        object_name=name,
        detail=detail or {},
        way=origin.way,
        token=origin.token,
        address=origin.address,
    )
    link_on_commit(entry.workspace_id)
    return entry


def team_of(workspace: Workspace, user: User | None) -> Team | None:
    """Return the team that `user` works in here, or None."""
    return Team.objects.filter(workspace=workspace, memberships__user=user).first() if user else None


@transaction.atomic
def make_team(workspace: Workspace, name: str, *, by: User) -> Team:
    """Make a team of nobody yet. Raises NotAllowedNow when there is one of that name."""
    _lock(workspace)
    _keep_names_apart(workspace, name)
    team = Team.objects.create(workspace=workspace, name=name)
    note(workspace, by, "team.make", team, kind="team", name=name)
    nudge(workspace.group, "members:moved")
    return team


@transaction.atomic
def rename_team(team: Team, name: str, *, by: User) -> None:
    """Give a team another name. Raises NotAllowedNow when another has it."""
    _lock(team.workspace)
    _keep_names_apart(team.workspace, name, but=team)
    before, team.name = team.name, name
    if before == name:
        return
    team.save(update_fields=["name"])
    note(team.workspace, by, "team.rename", team, kind="team", name=name, detail={"before": before, "after": name})
    nudge(team.workspace.group, "members:moved")


@transaction.atomic
def delete_team(team: Team, *, by: User) -> None:
    """Delete a team. Its members stay in the workspace; limits and budgets of the team go with it."""
    _lock(team.workspace)
    members = sorted(team.memberships.values_list("user__username", flat=True))
    note(team.workspace, by, "team.delete", team, kind="team", name=team.name, detail={"members": members})
    team.delete()
    nudge(team.workspace.group, "members:moved")


@transaction.atomic
def set_team(workspace: Workspace, user: User, team: Team | None, *, by: User) -> None:
    """Put a member into a team and out of the one they were in. Raises NotAllowedNow for who is no member any more."""
    _lock(workspace)
    if team is not None and not Team.objects.filter(pk=team.pk, workspace=workspace).exists():
        raise NotAllowedNow(_("The team %(team)s is not there any more.") % {"team": team.name})
    membership = workspace.memberships.filter(user=user).select_related("team").first()
    if membership is None:
        raise NotAllowedNow(_("%(user)s is no longer a member.") % {"user": user.username})
    before = membership.team
    if before == team:
        return
    membership.team = team
    membership.save(update_fields=["team"])
    names = {"before": before.name if before else None, "after": team.name if team else None}
    note(workspace, by, "member.team", user, kind="member", name=user.username, detail=names)
    nudge(workspace.group, "members:moved", user=user.pk)


def _keep_names_apart(workspace: Workspace, name: str, *, but: Team | None = None) -> None:
    same = workspace.teams.filter(name__iexact=name)
    if (same.exclude(pk=but.pk) if but else same).exists():
        raise NotAllowedNow(_("There is a team “%(name)s” already.") % {"name": name}, _("Choose another name."))


@transaction.atomic
def create_workspace(name: str, owner: User) -> Workspace:
    """Create a workspace with its first Owner."""
    workspace = Workspace.objects.create(name=name)
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    note(workspace, owner, "workspace.create", workspace, kind="workspace", name=name)
    return workspace


@transaction.atomic
def set_role(
    workspace: Workspace, user: User, role: Role, *, by: User | None, came: dict[str, str] | None = None
) -> Membership:
    """Give `user` a role in `workspace`, adding them when needed. Raises NotAllowedNow for the last Owner.

    `came`: `by_provider` and `by_group`, where a group of a sign-in provider brings it; else it is given by hand.
    """
    _lock(workspace)
    old = workspace.role_of(user)
    if old == Role.OWNER and role != Role.OWNER:
        _keep_an_owner(workspace, user)
        _forget_invitations_of(user, workspace)
    origin = came or {"by_provider": "", "by_group": ""}
    membership, _created = Membership.objects.update_or_create(
        workspace=workspace, user=user, defaults={"role": role, **origin}
    )
    detail = {"before": old, "after": role} | ({"group": origin["by_group"]} if came else {})
    note(workspace, by, "member.role", user, kind="member", name=user.username, detail=detail)
    nudge(workspace.group, "members:moved", user=user.pk)
    return membership


@transaction.atomic
def remove_member(workspace: Workspace, user: User, *, by: User | None, why: dict[str, str] | None = None) -> None:
    """Take `user` out of `workspace`; their open pages close. Raises NotAllowedNow for the last Owner."""
    _lock(workspace)
    old = workspace.role_of(user)
    if old == Role.OWNER:
        _keep_an_owner(workspace, user)
    Membership.objects.filter(workspace=workspace, user=user).delete()
    _forget_invitations_of(user, workspace)
    ApiToken.objects.working().filter(workspace=workspace, user=user).update(revoked_at=timezone.now())
    detail = {"before": old, **(why or {})}
    note(workspace, by, "member.remove", user, kind="member", name=user.username, detail=detail)
    nudge(workspace.group, "members:moved", user=user.pk)


@transaction.atomic
def switch_off(user: User, *, by: User | None) -> None:
    """Switch an account off: it is signed out everywhere, and nobody signs in to it. What the person made stays.

    Raises NotAllowedNow where the person is the last Owner of a workspace.
    """
    owned = Workspace.objects.filter(memberships__user=user, memberships__role=Role.OWNER).order_by("pk")
    for workspace in owned:
        _lock(workspace)
        _keep_an_owner(workspace, user)
    ApiToken.objects.working().filter(user=user).update(revoked_at=timezone.now())
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.is_active = False
    Invitation.objects.pending().filter(made_by=user).delete()
    SignInLink.objects.filter(user=user, used_at=None).delete()
    end_sessions(user)
    for workspace in Workspace.objects.filter(memberships__user=user):
        note(workspace, by, "member.off", user, kind="member", name=user.username)
        nudge(workspace.group, "members:moved", user=user.pk)


@transaction.atomic
def allow(workspace: Workspace, what: set[Allowance], *, by: User) -> None:
    """Decide what may be attached to a workspace that is refused otherwise."""
    _lock(workspace)
    before, after = sorted(workspace.allowances), sorted(what)
    if before == after:
        return
    Workspace.objects.filter(pk=workspace.pk).update(allowances=after)
    workspace.allowances = after
    changes = {"before": {"allowances": before}, "after": {"allowances": after}}
    note(workspace, by, "workspace.allow", workspace, kind="workspace", name=workspace.name, detail=changes)


def switch_on(user: User, *, by: User | None) -> None:
    """Switch an account on again; the person signs in as before."""
    User.objects.filter(pk=user.pk).update(is_active=True)
    user.is_active = True
    for workspace in Workspace.objects.filter(memberships__user=user):
        note(workspace, by, "member.on", user, kind="member", name=user.username)
        nudge(workspace.group, "members:moved", user=user.pk)


@transaction.atomic
def invite(workspace: Workspace, who: str, role: Role, *, by: User) -> tuple[Invitation, str]:
    """Invite `who`, a name or an e-mail address; return the invitation and its link's token, which is never stored."""
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        workspace=workspace,
        who=who,
        role=role,
        token_sha256=hash_of(token),
        made_by=by,
        expires_at=timezone.now() + INVITED,
    )
    note(workspace, by, "member.invite", invitation, kind="member", name=who, detail={"role": role})
    nudge(workspace.group, "members:moved")
    return invitation, token


@transaction.atomic
def invite_again(invitation: Invitation, *, by: User) -> str:
    """Make a new link for an invitation nobody accepted, in place of the old one; return its token."""
    token, now = secrets.token_urlsafe(32), timezone.now()
    fresh = {"token_sha256": hash_of(token), "made_by": by, "created_at": now, "expires_at": now + INVITED}
    if not Invitation.objects.pending().filter(pk=invitation.pk).update(**fresh):
        raise NotAllowedNow(_("%(who)s has accepted already.") % {"who": invitation.who})
    invitation.refresh_from_db()
    note(invitation.workspace, by, "member.invite", invitation, kind="member", name=invitation.who)
    nudge(invitation.workspace.group, "members:moved")
    return token


@transaction.atomic
def revoke(invitation: Invitation, *, by: User) -> None:
    """End an invitation nobody accepted; its link no longer works."""
    gone, _by_model = Invitation.objects.pending().filter(pk=invitation.pk).delete()
    if not gone:
        raise NotAllowedNow(_("%(who)s has accepted already.") % {"who": invitation.who})
    note(invitation.workspace, by, "member.revoke", invitation, kind="member", name=invitation.who)
    nudge(invitation.workspace.group, "members:moved")


@transaction.atomic
def join(invitation: Invitation, user: User) -> Membership:
    """Use an invitation up: `user` becomes a member. Raises NotAllowedNow when somebody was faster, or it was revoked.

    The role of one who is a member already stays as it is, and so does the invitation.
    """
    workspace = invitation.workspace
    _lock(workspace)
    if workspace.role_of(user):
        raise NotAllowedNow(_("You are a member of %(workspace)s already.") % {"workspace": workspace.name})
    now = timezone.now()
    fresh = Invitation.objects.pending().filter(pk=invitation.pk, expires_at__gt=now)
    if not fresh.update(used_at=now, used_by=user):
        raise NotAllowedNow(_("This invitation no longer works."), _("Ask an Owner of the workspace for a new one."))
    membership = Membership.objects.create(workspace=workspace, user=user, role=invitation.role)
    facts = {"before": None, "after": invitation.role, "invited_by": invitation.made_by.username}
    note(workspace, user, "member.join", user, kind="member", name=user.username, detail=facts)
    nudge(workspace.group, "members:moved", user=user.pk)
    return membership


@transaction.atomic
def join_as_new(invitation: Invitation, person: User, password: str) -> Membership:
    """Make the account of `person`, who is not stored yet, and let them join."""
    person.set_password(password)
    person.save()
    return join(invitation, person)


@transaction.atomic
def issue_token(
    workspace: Workspace, person: User, name: str, rights: set[Right], *, days: int
) -> tuple[ApiToken, str]:
    """Make an API token of `person` with some of their rights; return it and its word, which is never stored.

    It always lets see. Raises NeedsRight for what the person's role lacks and for what no token may carry.
    """
    if person.scope is not None or days not in TOKEN_DAYS:
        raise ValueError("Signed-in people make tokens, of so many days.")
    _lock(workspace)
    for right in sorted({Right.VIEW, *rights}):
        require(person, right, workspace)
        if right not in GRANTABLE:
            raise NeedsRight(_("Your role in %(workspace)s does not allow this.") % {"workspace": workspace.name})
    word = f"studio_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        workspace=workspace,
        user=person,
        name=name,
        rights=sorted({Right.VIEW, *rights}),
        token_sha256=hash_of(word),
        expires_at=timezone.now() + timedelta(days=days),
    )
    facts = {"rights": token.rights, "expires_at": token.expires_at.isoformat()}
    note(workspace, person, "token.make", token, kind="token", name=name, detail=facts)
    return token, word


@transaction.atomic
def revoke_token(token: ApiToken, *, by: User) -> None:
    """End an API token: one's own, or as an Owner anybody's. Once is enough. Raises NeedsRight for others'.

    Who comes by a token ends that one alone: whoever found it must not lock out its person's other programs.
    """
    is_theirs = by == token.user if by.scope is None else by.scope.token_id == token.pk
    if not is_theirs and not may(by, Right.ASSIGN_ROLES, token.workspace):
        raise NeedsRight(
            _("Your role in %(workspace)s does not allow this.") % {"workspace": token.workspace.name},
            needed(Right.ASSIGN_ROLES),
        )
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        facts = {"of": token.user.username}
        note(token.workspace, by, "token.revoke", token, kind="token", name=token.name, detail=facts)
        nudge(token.user.group, SIGNED_OUT)  # sockets that programs opened with it


@transaction.atomic
def end_sessions(user: User, *, only: int | None = None, but: str | None = None) -> int:
    """Sign a person out: everywhere, or of the session with the id `only`, or of all `but` that key. Return how many.

    Open pages of the sessions that ended hear of it and close their sockets.
    """
    found = BrowserSession.objects.filter(user=user)
    if only is not None:
        found = found.filter(pk=only)
    if but is not None:
        found = found.exclude(session_key=but)
    keys = list(found.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    found.delete()
    nudge(user.group, SIGNED_OUT)
    return len(keys)


def session_ended(user: User, key: str) -> None:
    """Forget a session that its person ended; its other open pages hear of it."""
    BrowserSession.objects.filter(user=user, session_key=key).delete()
    nudge(user.group, SIGNED_OUT)


def sessions_of(user: User) -> list[BrowserSession]:
    """Return where a person is signed in, the latest first; what ended by itself is forgotten."""
    goes_on = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=timezone.now())
    known = BrowserSession.objects.filter(user=user).alias(goes_on=Exists(goes_on))
    known.filter(goes_on=False).delete()
    return list(known.filter(goes_on=True))


def change_profile(person: User) -> None:
    """Store what a person changed of their own account; a former address no longer signs in."""
    with transaction.atomic():
        person.save()
        EmailAddress.objects.filter(user=person).exclude(email__iexact=person.email).delete()


def _lock(workspace: Workspace) -> None:
    """Let nobody else change who belongs to the workspace meanwhile: two Owners may remove each other at once."""
    Workspace.objects.select_for_update().get(pk=workspace.pk)


def _keep_an_owner(workspace: Workspace, user: User) -> None:
    others = workspace.memberships.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
    if not others.exists():
        raise NotAllowedNow(
            _("%(user)s is the last Owner of %(workspace)s.") % {"user": user.username, "workspace": workspace.name},
            _("Make somebody else an Owner first."),
        )


def _forget_invitations_of(user: User, workspace: Workspace) -> None:
    """End what a former Owner handed out, lest it lets them in again."""
    Invitation.objects.pending().filter(workspace=workspace, made_by=user).delete()
