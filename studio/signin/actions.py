"""Verbs over providers, and over the roles that their groups bring; each writes down what it did."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from studio.errors import NotAllowedNow
from studio.people import second_step
from studio.people.actions import end_sessions, note, remove_member, set_role
from studio.people.models import Membership, User
from studio.people.permissions import Role
from studio.seal import seal
from studio.signin.models import SECRET, GroupRole, Provider, SignInRules

FACTS = ("name", "issuer", "client_id", "scopes", "groups_claim", "is_enabled", "makes_accounts", "allows_inside")


@transaction.atomic
def keep_provider(row: Provider, secret: str, *, by: User) -> Provider:
    """Store a provider, new or changed; `secret` is sealed, and an empty one keeps what there is."""
    before = Provider.objects.filter(pk=row.pk).first()
    if not row.slug:
        row.slug = _free_slug(row.name)
    row.save()
    if secret:
        row.sealed = row.sealed | {SECRET: seal(secret, where=row.place_of(SECRET))}
        row.save(update_fields=["sealed"])
    changes = {"before": _facts(before) if before else None, "after": _facts(row) | {"new_secret": bool(secret)}}
    note(None, by, "signin.provider", row, kind="signin", name=row.name, detail=changes)
    return row


@transaction.atomic
def remove_provider(row: Provider, *, by: User) -> None:
    """Take a provider away with every link to it, and with the roles that its groups brought."""
    linked = User.objects.filter(socialaccount__provider=row.slug)
    for person in User.objects.filter(memberships__by_provider=row.slug).distinct() | linked.distinct():
        apply_groups(person, row, frozenset())
    SocialAccount.objects.filter(provider=row.slug).delete()
    Membership.objects.filter(by_provider=row.slug).update(by_provider="", by_group="")  # the last Owners stay
    note(None, by, "signin.remove", row, kind="signin", name=row.name, detail={"before": _facts(row)})
    row.delete()
    if not Provider.objects.filter(is_enabled=True).exists():
        SignInRules.objects.update(passwords_allowed=True)  # or nobody could come in


@transaction.atomic
def map_group(wanted: GroupRole, *, by: User) -> None:
    """Say what a group means in a workspace; it holds from the next sign-in of each of its people."""
    facts = {"role": wanted.role, "team": wanted.team.name if wanted.team else ""}
    values = {"label": wanted.label, "role": wanted.role, "team": wanted.team}
    GroupRole.objects.update_or_create(
        provider=wanted.provider, group=wanted.group, workspace=wanted.workspace, defaults=values
    )
    facts["provider"] = wanted.provider.name
    note(wanted.workspace, by, "group.map", wanted.workspace, kind="workspace", name=wanted.called, detail=facts)


@transaction.atomic
def forget_group(row: GroupRole, *, by: User) -> None:
    """Say that a group means nothing in a workspace any more; who came by it leaves at the next sign-in."""
    facts = {"role": row.role, "provider": row.provider.name}
    note(row.workspace, by, "group.forget", row.workspace, kind="workspace", name=row.called, detail=facts)
    row.delete()


@transaction.atomic
def allow_passwords(allowed: bool, *, by: User) -> None:
    """Decide whether passwords open the studio. Raises NotAllowedNow where that could lock `by` out."""
    rules = SignInRules.now()
    slugs = Provider.objects.filter(is_enabled=True).values("slug")
    if not allowed and not SocialAccount.objects.filter(user=by, provider__in=slugs).exists():
        raise NotAllowedNow(
            _("You could not come in yourself without a password."),
            _("Link your account with a provider on your profile page first, and sign in with it once."),
        )
    if rules.passwords_allowed != allowed:
        SignInRules.objects.update_or_create(pk=1, defaults={"passwords_allowed": allowed})
        changes = {"before": {"passwords": rules.passwords_allowed}, "after": {"passwords": allowed}}
        note(None, by, "signin.passwords", rules, kind="signin", name=str(_("Passwords")), detail=changes)


@transaction.atomic
def require_second_step(required: bool, *, by: User) -> int:
    """Decide whether everybody needs a second step; return how many sessions ended of people who have none.

    They add it when they sign in again. Who comes by a provider does what that asks for. Raises NotAllowedNow where
    `by` has none.
    """
    rules = SignInRules.now()
    if required and not second_step.has_one(by):
        raise NotAllowedNow(
            _("You have no second step yourself."),
            _("Add an authenticator app or a passkey on your profile page first."),
        )
    if rules.second_step_required == required:
        return 0
    SignInRules.objects.update_or_create(pk=1, defaults={"second_step_required": required})
    changes = {"before": {"required": not required}, "after": {"required": required}}
    note(None, by, "signin.second_step", rules, kind="signin", name=str(_("Two-step sign-in")), detail=changes)
    if not required:
        return 0
    safe = Authenticator.objects.filter(type__in=second_step.STEPS).values("user")
    return sum(
        end_sessions(one) for one in User.objects.filter(browser_sessions__isnull=False).exclude(pk__in=safe).distinct()
    )


@transaction.atomic
def unlink(account: SocialAccount, *, by: User) -> None:
    """End the link of a person with a provider, and the roles it brought. Raises NotAllowedNow for the last way in."""
    others = SocialAccount.objects.filter(user=by).exclude(pk=account.pk).exists()
    passkeys = Authenticator.objects.filter(user=by, type=Authenticator.Type.WEBAUTHN).exists()
    if not (others or passkeys or (by.has_usable_password() and SignInRules.now().passwords_allowed)):
        raise NotAllowedNow(
            _("You could not come in any more without it."), _("Choose a password first, or add a passkey.")
        )
    if row := Provider.objects.filter(slug=account.provider).first():
        apply_groups(by, row, frozenset())
    note(None, by, "signin.unlink", by, kind="person", name=by.username, detail={"provider": account.provider})
    account.delete()


def may_have_account(row: Provider, groups: frozenset[str]) -> bool:
    """Say whether somebody nobody knows gets an account: where the provider may make them, and a group maps."""
    return row.makes_accounts and row.groups.filter(group__in=groups).exists()


def account_made(person: User, row: Provider, groups: frozenset[str]) -> None:
    """Write down that a provider made an account, and give it what its groups bring."""
    note(None, None, "person.create", person, kind="person", name=person.username, detail={"provider": row.name})
    apply_groups(person, row, groups)


@transaction.atomic
def apply_groups(person: User, row: Provider, groups: frozenset[str]) -> None:
    """Have the roles that came by the provider's groups follow them. What was given by hand stays as it is.

    The last Owner of a workspace stays one, whatever the groups say.
    """
    wanted = _wanted(row, groups)
    held = {one.workspace_id: one for one in Membership.objects.filter(user=person).select_related("workspace", "team")}
    for member in held.values():
        if member.by_provider == row.slug and member.workspace_id not in wanted:
            _try(member, person, None)
    for workspace_id, rule in wanted.items():
        mine = held.get(workspace_id)
        if mine is None or mine.by_provider == row.slug:
            _try(mine, person, rule)


def _wanted(row: Provider, groups: frozenset[str]) -> dict[int, GroupRole]:
    """Return what the groups bring in each workspace: of several roles the one that may most."""
    ranks = {role.value: rank for rank, role in enumerate(Role)}
    found: dict[int, GroupRole] = {}
    rules = row.groups.filter(group__in=groups).select_related("workspace", "provider", "team").order_by("pk")
    for rule in rules:
        other = found.get(rule.workspace_id)
        if other is None or ranks[rule.role] > ranks[other.role]:
            found[rule.workspace_id] = rule
    return found


def _try(mine: Membership | None, person: User, rule: GroupRole | None) -> None:
    try:
        if rule is None:
            assert mine is not None  # noqa: S101  nothing to take
            remove_member(mine.workspace, person, by=None, why={"group": mine.by_group})
        elif mine is None or (mine.role, mine.by_group, mine.team_id) != (rule.role, rule.called, rule.team_id):
            came = {"by_provider": rule.provider.slug, "by_group": rule.called}
            set_role(rule.workspace, person, Role(rule.role), by=None, came=came)
            Membership.objects.filter(workspace=rule.workspace, user=person).update(team=rule.team)
    except NotAllowedNow:  # the last Owner
        if mine is None:
            raise
        facts = {"group": mine.by_group}
        note(mine.workspace, None, "member.kept", person, kind="member", name=person.username, detail=facts)


def _free_slug(name: str) -> str:
    stem = slugify(name)[:40] or "provider"
    slug, number = stem, 2
    while Provider.objects.filter(slug=slug).exists():
        slug, number = f"{stem}-{number}", number + 1
    return slug


def _facts(row: Provider) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FACTS}
