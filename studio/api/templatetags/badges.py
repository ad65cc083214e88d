"""The card of badges, on the pages of targets and runs."""

from typing import Any

from django import template

from compute.models import ComputeTarget
from runs.models import Run
from studio.api.badges import DAYS
from studio.api.models import Badge

register = template.Library()


@register.inclusion_tag("api/_badges.html", takes_context=True)
def badges_of(context: template.RequestContext, thing: ComputeTarget | Run) -> dict[str, Any]:
    """Show the badges of a target or a run, with a way to make one: {% badges_of run %}."""
    is_run = isinstance(thing, Run)
    found = Badge.objects.working().of(thing).select_related("made_by", "target", "run")
    return {
        "request": context["request"],
        "csrf_token": context.get("csrf_token"),
        "badges": found,
        "kind": "run" if is_run else "target",
        "name": thing.run_id if isinstance(thing, Run) else thing.name,
        "days": DAYS,
        "usual": DAYS[1],
    }
