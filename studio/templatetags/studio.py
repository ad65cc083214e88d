"""What templates say about time, sizes, states and rights."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.template.context import RequestContext
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from studio.people.permissions import Right, may, needed

register = template.Library()


@register.filter
def duration(seconds: float | timedelta | None) -> str:
    """Write a time span in its two largest units: "1 m 12 s"; "—" for None. Takes seconds or a timedelta."""
    if seconds is None:
        return "—"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds < 0.95:
        return _("%(n).1f s") % {"n": max(0.0, seconds)}
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return _("%(d)d d %(h)d h") % {"d": days, "h": hours}
    if hours:
        return _("%(h)d h %(m)d m") % {"h": hours, "m": minutes}
    if minutes:
        return _("%(m)d m %(s)d s") % {"m": minutes, "s": secs}
    return _("%(s)d s") % {"s": secs}


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """Write how long ago `at` was, the exact time on hover; the page keeps it fresh."""
    if at is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        at.isoformat(timespec="seconds"),
        timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z"),
        _("%(span)s ago") % {"span": short(timezone.now() - at)},
    )


def short(span: timedelta) -> str:
    """Write a time span in one unit: "3 d", "6 h", "12 min", "4 s"."""
    seconds = max(0, int(span.total_seconds()))
    for size, text in ((86400, _("%d d")), (3600, _("%d h")), (60, _("%d min"))):
        if seconds >= size:
            return text % (seconds // size)
    return _("%d s") % seconds


@register.filter(name="bytes")
def size_of(count: int | float | None) -> str:
    """Write a number of bytes in decimal units: "212 kB"; "—" for None."""
    if count is None:
        return "—"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}".replace(".0 ", " ")
        size /= 1000
    return f"{size:.1f} TB"


@register.filter
def usd(amount: Decimal | float | None) -> str:
    """Write an amount of US dollars: "$0.46", with a third decimal below a cent's precision; "—" for None."""
    if amount is None:
        return "—"
    value = Decimal(str(amount))
    return f"${value:,.2f}" if value == value.quantize(Decimal("0.01")) else f"${value:,.3f}"


@register.simple_tag(takes_context=True)
def may_i(context: RequestContext, right: str) -> bool:
    """Say whether the person may do `right` in the page's workspace: {% may_i "run.submit" as can_submit %}."""
    request: Any = context["request"]
    workspace = getattr(request, "workspace", None)
    return workspace is not None and may(request.user, Right(right), workspace)


@register.simple_tag(takes_context=True)
def needs(context: RequestContext, right: str) -> SafeString | str:
    """Disable the button it stands in, with the roles that may, unless the person has `right`: <button {% needs "run.cancel" %}>."""
    if may_i(context, right):
        return ""
    return format_html('disabled aria-disabled="true" title="{}" data-needs', needed(Right(right)))


@register.inclusion_tag("_state.html")
def state(value: Any, text: str = "", tone: str = "") -> dict[str, str]:
    """Show a state as a coloured dot and its word. `value` is a member with `label` and, if it has one, `tone`."""
    return {"text": text or str(getattr(value, "label", value)), "tone": tone or getattr(value, "tone", "idle")}
