"""The card of notifications on a person's own page, which belongs to a floor below."""

from typing import Any

from django import template
from django.template.context import RequestContext

from studio.notifications.views import mail_facts

register = template.Library()


@register.inclusion_tag("notifications/_mail_card.html", takes_context=True)
def mail_card(context: RequestContext) -> dict[str, Any]:
    """Show what the person who looks is mailed: {% mail_card %}."""
    request = context["request"]
    return mail_facts(request.user) | {"csrf_token": context.get("csrf_token")}
