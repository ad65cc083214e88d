"""Every verb that is written down, and what is said of it. Whoever notes a new one adds its line here; a test looks."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Verb:
    """How a verb is said. `%(name)s` stands for what the detail calls so; `tells` says that no more is to be told.

    "<verb>.new" is said instead where the detail's `before` is None.
    """

    icon: str
    text: Any
    tells: bool = False


VERBS: dict[str, Verb] = {
    "target.create": Verb("plus", _("created it")),
    "target.attach": Verb("plug", _("attached it")),
    "target.edit": Verb("plug", _("changed its connection")),
    "target.describe": Verb("pencil", _("changed its description or tags")),
    "target.detach": Verb("unplug", _("detached it")),
    "target.delete": Verb("trash-2", _("deleted it")),
    "target.resize": Verb("sliders-horizontal", _("changed %(what)s"), tells=True),
    "target.identity": Verb("key-round", _("changed managed identity %(before)s → %(after)s"), tells=True),
    "target.hostkey.changed": Verb(
        "shield-alert", _("blocked it: its host key was %(before)s and is %(after)s"), tells=True
    ),
    "target.hostkey.accept": Verb("shield-check", _("accepted its host key %(key)s"), tells=True),
    "node.preempt": Verb("zap", _("preempted node %(node)s"), tells=True),
    "run.submit": Verb("play", _("submitted it to %(target)s"), tells=True),
    "run.cancel": Verb("ban", _("canceled it")),
    "queue.move": Verb(
        "arrow-up-down", _("moved it among their own runs that wait, %(before)s → %(after)s"), tells=True
    ),
    "queue.priority": Verb("arrow-up-down", _("changed its priority %(before)s → %(after)s"), tells=True),
    "run.describe": Verb("pencil", _("changed its description")),
    "run.tags": Verb("tag", _("changed its tags")),
    "run.archive": Verb("archive", _("archived it")),
    "run.unarchive": Verb("archive-restore", _("brought it back")),
    "experiment.create": Verb("plus", _("created it")),
    "experiment.edit": Verb("pencil", _("changed its description or tags")),
    "experiment.archive": Verb("archive", _("archived it")),
    "experiment.unarchive": Verb("archive-restore", _("brought it back")),
    "workspace.create": Verb("plus", _("created it")),
    "workspace.azure": Verb("key-round", _("changed how it signs in to Azure")),
    "workspace.allow": Verb("shield-check", _("changed what may be attached")),
    "member.role": Verb("user-cog", _("gave the role %(after)s (before: %(before)s)"), tells=True),
    "member.role.new": Verb("user-plus", _("added them as %(after)s"), tells=True),
    "member.remove": Verb("user-minus", _("took them out; they were %(before)s"), tells=True),
    "member.off": Verb("user-x", _("switched the account off")),
    "member.on": Verb("user-check", _("switched the account on")),
    "member.invite": Verb("mail", _("invited them")),
    "member.revoke": Verb("mail-x", _("revoked the invitation")),
    "member.join": Verb("user-plus", _("joined as %(after)s; %(invited_by)s had invited them"), tells=True),
    "member.team": Verb("users", _("changed the team %(before)s → %(after)s"), tells=True),
    "member.kept": Verb("shield-check", _("left the last Owner in, though the group %(group)s is gone"), tells=True),
    "person.create": Verb("user-plus", _("made the account as %(provider)s vouched for it"), tells=True),
    "person.second_step": Verb("key-round", _("took the second step of signing in away")),
    "signin.provider": Verb("log-in", _("changed the sign-in provider")),
    "signin.provider.new": Verb("log-in", _("added the sign-in provider")),
    "signin.remove": Verb("trash-2", _("removed the sign-in provider")),
    "signin.passwords": Verb("key-round", _("changed whether passwords open the studio")),
    "signin.unlink": Verb("unlink", _("ended the link with %(provider)s"), tells=True),
    "group.map": Verb("users", _("gave the group the role %(role)s"), tells=True),
    "group.forget": Verb("users", _("took the role %(role)s from the group"), tells=True),
    "team.make": Verb("users", _("made it")),
    "team.rename": Verb("pencil", _("renamed it %(before)s → %(after)s"), tells=True),
    "team.delete": Verb("trash-2", _("deleted it")),
    "limit.set": Verb("gauge", _("set the limit")),
    "budget.set": Verb("wallet", _("set the budget")),
    "budget.override": Verb("wallet", _("let runs start although the budget is used up, or no longer")),
    "budget.remove": Verb("wallet", _("removed the budget")),
    "price.set": Verb("badge-dollar-sign", _("set the price")),
    "ledger.rebuild": Verb("wrench", _("rebuilt it; it was wrong in %(n)s places"), tells=True),
    "badge.make": Verb("image", _("made a badge of it")),
    "badge.revoke": Verb("ban", _("revoked a badge of it")),
    "dashboard.make": Verb("layout-dashboard", _("made it")),
    "dashboard.edit": Verb("pencil", _("changed it")),
    "dashboard.delete": Verb("trash-2", _("deleted it")),
    "dashboard.tile.add": Verb("layout-grid", _("added a tile")),
    "dashboard.tile.edit": Verb("layout-grid", _("changed a tile")),
    "dashboard.tile.place": Verb("layout-grid", _("moved a tile")),
    "dashboard.tile.remove": Verb("layout-grid", _("removed a tile")),
    "dashboard.link.make": Verb("link", _("made a link that shows it without signing in")),
    "dashboard.link.revoke": Verb("unlink", _("revoked the link %(link)s"), tells=True),
    "token.make": Verb("key-round", _("made it")),
    "token.revoke": Verb("ban", _("revoked it")),
    "webhook.add": Verb("plus", _("made it")),
    "webhook.change": Verb("pencil", _("changed it")),
    "webhook.secret": Verb("key-round", _("made a new signing secret")),
    "webhook.again": Verb("refresh-cw", _("sent the message %(message)s again"), tells=True),
    "webhook.delete": Verb("trash-2", _("deleted it")),
}
UNKNOWN = "pencil"  # the icon of a verb of a newer studio

# What comes before the first dot of a verb, and of what kind an object is.
FAMILIES: dict[str, Any] = {
    "run": _("Runs"),
    "queue": _("The queue"),
    "experiment": _("Experiments"),
    "target": _("Compute targets"),
    "node": _("Nodes"),
    "member": _("Members"),
    "group": _("Groups of sign-in providers"),
    "person": _("Accounts"),
    "signin": _("Sign-in"),
    "team": _("Teams"),
    "limit": _("Limits"),
    "budget": _("Budgets"),
    "price": _("Prices"),
    "ledger": _("The ledger of cores"),
    "badge": _("Badges"),
    "dashboard": _("Dashboards"),
    "token": _("API tokens"),
    "webhook": _("Webhooks"),
    "workspace": _("The workspace"),
}
KINDS: dict[str, Any] = {
    "run": _("run"),
    "experiment": _("experiment"),
    "target": _("compute target"),
    "member": _("member"),
    "person": _("account"),
    "signin": _("sign-in"),
    "team": _("team"),
    "limit": _("limit"),
    "budget": _("budget"),
    "price": _("price"),
    "ledger": _("ledger of cores"),
    "dashboard": _("dashboard"),
    "token": _("API token"),
    "webhook": _("webhook"),
    "workspace": _("workspace"),
}
NAMES: dict[str, Any] = {
    "as_of": _("as of"),
    "region": _("region"),
    "unit": _("is of"),
    "usd_per_hour": _("US dollars an hour"),
    "address": _("address"),
    "allowances": _("may be attached"),
    "events": _("events"),
    "experiment": _("experiment"),
    "format": _("format"),
    "host": _("host"),
    "is_on": _("turned on"),
    "language": _("language"),
    "new_address": _("new address"),
    "cores": _("cores"),
    "credentials": _("credentials"),
    "description": _("description"),
    "family": _("VM family"),
    "group": _("group"),
    "guaranteed": _("guaranteed cores"),
    "expires_at": _("works until"),
    "idle_seconds": _("idle time in seconds"),
    "members": _("members"),
    "new_secret": _("new secret"),
    "message": _("message"),
    "nodes": _("nodes"),
    "of": _("of"),
    "provider": _("sign-in provider"),
    "priority": _("priority"),
    "rights": _("rights"),
    "role": _("role"),
    "sha256": _("host key"),
    "size": _("size"),
    "tags": _("tags"),
    "target": _("compute target"),
    "way": _("way"),
}
