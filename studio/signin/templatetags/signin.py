"""What templates ask about signing in."""

from typing import Any

from allauth.socialaccount.models import SocialAccount
from django import template

from studio.people.models import User
from studio.signin.models import Provider, SignInRules

register = template.Library()


@register.simple_tag
def ways_in() -> dict[str, Any]:
    """Return the providers that people may sign in with, and whether passwords do, too."""
    return {"providers": Provider.objects.filter(is_enabled=True), "passwords": SignInRules.now().passwords_allowed}


@register.simple_tag
def links_of(user: User) -> list[dict[str, Any]]:
    """Return every provider with the person's account there, or None, and what that is called."""
    linked = {one.provider: one for one in SocialAccount.objects.filter(user=user)}
    rows = Provider.objects.all()
    return [
        {"provider": row, "account": linked.get(row.slug), "called": _called(linked.get(row.slug))}
        for row in rows
        if row.is_enabled or row.slug in linked
    ]


def _called(account: SocialAccount | None) -> str:
    said = account.extra_data if account else {}
    return str(said.get("email") or said.get("preferred_username") or said.get("name") or "")
