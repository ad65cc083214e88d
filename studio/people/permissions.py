"""Who may do what: one table, asked by pages, websockets, tasks and downloads alike.

Source: Azure ML's built-in roles (how-to-assign-roles, 2021 to 2026), condensed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studio.errors import NeedsRight

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from studio.people.models import User, Workspace


class Role(TextChoices):
    """The roles of a workspace, the least first."""

    READER = "Reader", gettext_lazy("Reader")
    DATA_SCIENTIST = "DataScientist", gettext_lazy("Data Scientist")
    COMPUTE_OPERATOR = "ComputeOperator", gettext_lazy("Compute Operator")
    CONTRIBUTOR = "Contributor", gettext_lazy("Contributor")
    OWNER = "Owner", gettext_lazy("Owner")


class Right(StrEnum):
    """What a role can allow. Templates name these by their value."""

    VIEW = "view"
    SUBMIT_RUN = "run.submit"  # also resubmit, tag and archive runs and experiments
    CANCEL_RUN = "run.cancel"
    CREATE_COMPUTE = "compute.create"
    RESIZE_COMPUTE = "compute.resize"  # scale settings, identity, preempting a node by hand
    DELETE_COMPUTE = "compute.delete"
    ATTACH_COMPUTE = "compute.attach"
    START_COMPUTE = "compute.start"  # start and stop an instance
    EDIT_WORKSPACE = "workspace.edit"
    ASSIGN_ROLES = "members.edit"
    EDIT_SAFETY = "workspace.safety"  # what may be attached at all; with which identity the workspace signs in
    ASK_QUOTA = "quota.ask"  # ask for more
    EDIT_QUOTA = "quota.edit"  # limits, budgets and prices, and the answers to who asked for more
    ORDER_QUEUE = "queue.order"  # of everybody's runs; one's own need no right of their own
    EDIT_DASHBOARDS = "dashboards.edit"
    SHARE_DASHBOARDS = "dashboards.share"  # by a link that needs no sign-in
    VIEW_ACTIVITY = "activity.view"  # everybody's changes, and from where
    VIEW_USAGE = "usage.view"  # of everybody; one's own needs no right of its own
    EDIT_NOTIFICATIONS = "notifications.edit"  # the workspace's; one's own need no right of their own


_RUNS = {Right.SUBMIT_RUN, Right.CANCEL_RUN}
_COMPUTE = {
    Right.CREATE_COMPUTE,
    Right.RESIZE_COMPUTE,
    Right.DELETE_COMPUTE,
    Right.ATTACH_COMPUTE,
    Right.START_COMPUTE,
}
_TEAM = {
    Right.ASK_QUOTA,
    Right.EDIT_DASHBOARDS,
    Right.SHARE_DASHBOARDS,
    Right.VIEW_ACTIVITY,
    Right.VIEW_USAGE,
}
TABLE: dict[Role, frozenset[Right]] = {
    Role.READER: frozenset({Right.VIEW}),
    Role.DATA_SCIENTIST: frozenset({Right.VIEW, Right.START_COMPUTE, Right.ASK_QUOTA, Right.EDIT_DASHBOARDS, *_RUNS}),
    Role.COMPUTE_OPERATOR: frozenset({Right.VIEW, Right.ASK_QUOTA, *_COMPUTE}),
    Role.CONTRIBUTOR: frozenset({Right.VIEW, Right.EDIT_WORKSPACE, *_RUNS, *_COMPUTE, *_TEAM}),
    Role.OWNER: frozenset(Right),
}


# What an API token may carry; a right that is new is not here until somebody has thought of it. Who belongs to a
# workspace, how safe it is, what it may spend, and to whom it speaks outside, a signed-in person decides.
GRANTABLE = frozenset(
    {
        Right.VIEW,
        Right.EDIT_WORKSPACE,
        Right.ASK_QUOTA,
        Right.ORDER_QUEUE,
        Right.EDIT_DASHBOARDS,
        Right.VIEW_ACTIVITY,
        Right.VIEW_USAGE,
        *_RUNS,
        *_COMPUTE,
    }
)


@dataclass(frozen=True)
class Scope:
    """What an API token leaves of its person's rights: some of them, in one workspace."""

    workspace_id: int
    rights: frozenset[Right]
    token: str = ""  # its name, for the activity
    token_id: int = 0

    def allows(self, right: Right, workspace_id: int) -> bool:
        return workspace_id == self.workspace_id and right in self.rights & GRANTABLE


def may(user: "User | AnonymousUser", right: Right, workspace: "Workspace") -> bool:
    """Say whether `user` has `right` in `workspace`. Inactive and unknown people have none.

    Who comes by an API token has what both the token's scope and the role allow.
    """
    if not user.is_authenticated or not user.is_active:
        return False
    if user.scope is not None and not user.scope.allows(right, workspace.pk):
        return False
    role = workspace.role_of(user)
    return role is not None and right in TABLE[role]


def require(user: "User | AnonymousUser", right: Right, workspace: "Workspace") -> None:
    """Raise NeedsRight, naming the roles that would do, unless `user` has `right` in `workspace`."""
    if not may(user, right, workspace):
        if user.is_authenticated and user.scope is not None and not user.scope.allows(right, workspace.pk):
            hint = _("Use a token that does.") if right in GRANTABLE else _("None does: somebody signs in for this.")
            said = _("This API token does not carry the right “%(right)s”.") % {"right": right}
            raise NeedsRight(said, f"{hint} {needed(right)}")
        raise NeedsRight(
            _("Your role in %(workspace)s does not allow this.") % {"workspace": workspace.name},
            needed(right),
        )


def require_administrator(user: "User | AnonymousUser") -> None:
    """Raise NeedsRight unless `user` looks after the whole studio, and is signed in themselves."""
    if not (user.is_authenticated and user.is_active and user.is_superuser and user.scope is None):
        raise NeedsRight(
            _("Only an administrator of this studio may do that."),
            _("Whoever runs it is one: python3 manage.py signinlink admin signs them in."),
        )


def roles_with(right: Right) -> list[Role]:
    """Return the roles that carry `right`, the least first."""
    return [role for role in Role if right in TABLE[role]]


def needed(right: Right) -> str:
    """Return one sentence that names the roles that carry `right`, for tooltips and errors."""
    roles = [str(role.label) for role in roles_with(right)]
    names = roles[0] if len(roles) == 1 else _(" or ").join([", ".join(roles[:-1]), roles[-1]])
    return _("This needs the role %(roles)s. An Owner of the workspace can give it to you.") % {"roles": names}
