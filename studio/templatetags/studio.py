"""What templates say about time, sizes, states and rights."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.template.context import RequestContext
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from studio.people.permissions import TABLE, Right, Role, needed
from studio.said import said

register = template.Library()
register.filter("said", said)


def number(value: Decimal | float, places: int = 1) -> str:
    """Write a number with so many decimals as the reader's language does: "1,234.5", "1.234,5"."""
    return formats.number_format(Decimal(f"{value:.{places}f}"), places, force_grouping=True)


@register.filter
def duration(seconds: float | timedelta | None) -> str:
    """Write a time span in its two largest units: "1 m 12 s"; "—" for None. Takes seconds or a timedelta."""
    if seconds is None:
        return "—"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds < 0.95:
        return _("%(n)s s") % {"n": number(max(0.0, seconds))}
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


@register.filter
def since(at: datetime | None) -> SafeString | str:
    """Write the time span from `at` until now; the page keeps it ticking."""
    if at is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{}" data-since>{}</time>',
        at.isoformat(timespec="seconds"),
        timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z"),
        duration(timezone.now() - at),
    )


@register.filter(name="bytes")
def size_of(count: int | float | None) -> str:
    """Write a number of bytes in decimal units: "212 kB"; "—" for None."""
    if count is None:
        return "—"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            places = 0 if unit == "B" or size >= 100 or f"{size:.1f}".endswith(".0") else 1
            return f"{number(size, places)} {unit}"
        size /= 1000
    return f"{number(size)} TB"


@register.filter
def usd(amount: Decimal | float | str | None) -> str:
    """Write an amount of US dollars: "$0.46", with a third decimal below a cent's precision; "—" for None.

    What a template finds no attribute of is an empty string to it.
    """
    if amount is None or amount == "":
        return "—"
    value = Decimal(str(amount))
    places = 2 if value == value.quantize(Decimal("0.01")) else 3
    return _("$%(amount)s") % {"amount": number(value, places)}


@register.filter
def cents(amount: Decimal | float | None) -> str:
    """Write a sum of US dollars to the cent, "$0.31"; "<$0.01" for less that is not nothing."""
    if amount is None:
        return "—"
    value = Decimal(str(amount))
    return _("<$%(amount)s") % {"amount": number(0.01, 2)} if 0 < value < Decimal("0.005") else usd(round(value, 2))


@register.simple_tag(takes_context=True)
def may_i(context: RequestContext, right: str) -> bool:
    """Say whether the person may do `right` in the page's workspace: {% may_i "run.submit" as can_submit %}."""
    membership = getattr(context["request"], "membership", None)  # of the page's workspace: no query a button
    return membership is not None and Right(right) in TABLE[Role(membership.role)]


@register.simple_tag(takes_context=True)
def needs(context: RequestContext, right: str) -> SafeString | str:
    """Disable the button it stands in unless the person has `right`, and say who does: {% needs "run.cancel" %}."""
    if may_i(context, right):
        return ""
    return format_html('disabled aria-disabled="true" title="{}" data-needs', needed(Right(right)))


@register.inclusion_tag("_state.html")
def state(value: Any, text: str = "", tone: str = "") -> dict[str, str]:
    """Show a state as a coloured dot and its word. `value` is a member with `label` and, if it has one, `tone`."""
    return {"text": text or str(getattr(value, "label", value)), "tone": tone or getattr(value, "tone", "idle")}


TONES = ("ok", "run", "warn", "bad", "idle", "accent")


@register.simple_tag
def bar(label: str, of: float = 0, **parts: float) -> SafeString:
    """Draw shares of a whole: {% bar "4 of 22 nodes" of=22 run=3 ok=1 %}. Parts are tones, drawn in their order.

    `of` is the whole; without it the parts fill the bar. `label` says the same in words.
    """
    return _strip("bar", label, [(tone, float(size or 0), "") for tone, size in parts.items()], float(of or 0))


@register.simple_tag
def timeline(segments: Iterable[tuple[str, float, str]], label: str = "", of: float = 0) -> SafeString:
    """Draw phases by their length: segments of (tone, seconds, words for the tooltip); `of` leaves room for more."""
    known = [(tone, float(size or 0), str(words)) for tone, size, words in segments]
    return _strip("timeline", label or ", ".join(words for _tone, _size, words in known), known, float(of or 0))


def _strip(kind: str, label: str, segments: list[tuple[str, float, str]], of: float) -> SafeString:
    """Return an SVG strip 1000 wide; the stylesheet gives it its height and corners."""
    whole = max(of, sum(size for _tone, size, _words in segments)) or 1
    rects, x = [], 0.0
    for tone, size, words in segments:
        if size <= 0:
            continue
        width = max(1000 * size / whole, 4)  # what is there is seen
        rects.append((f"{x:.1f}", f"{width:.1f}", tone if tone in TONES else "idle", words))
        x += width
    return format_html(
        '<svg class="{}" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        kind,
        label,
        format_html_join(
            "",
            '<rect x="{}" y="0" width="{}" height="10" class="fill-{}"><title>{}</title></rect>',
            rects,
        ),
    )


CELLS = (("running", "r"), ("preparing", "p"), ("idle", "o"), ("leaving", "l"), ("preempted", "x"), ("unusable", "u"))
MOST_CELLS = 24


@register.simple_tag
def node_cells(total: int = 0, **counts: int) -> SafeString:
    """Draw a cluster's nodes as cells: {% node_cells total=6 running=3 idle=1 %}; wide clusters are drawn to scale."""
    here = [(state, mark, int(counts.get(state) or 0)) for state, mark in CELLS]
    up = sum(count for _state, _mark, count in here)
    whole = max(int(total or 0), up)
    scale = min(1.0, MOST_CELLS / whole) if whole else 1.0
    marks = [mark for _state, mark, count in here for _n in range(max(round(count * scale), 1) if count else 0)]
    marks += [""] * (round(whole * scale) - len(marks))
    words = ", ".join(f"{count} {_(state)}" for state, _mark, count in here if count)
    label = _("%(up)d of %(whole)d nodes") % {"up": up, "whole": whole} + (f": {words}" if words else "")
    return format_html(
        '<span class="nodes" role="img" aria-label="{}" title="{}">{}</span>',
        label,
        label,
        format_html_join("", '<i class="{}"></i>', ((mark,) for mark in marks)),
    )


@register.filter
def chips(tags: dict[str, str] | None) -> SafeString:
    """Show tags as small key:value chips."""
    return format_html_join("", "<span><b>{}</b>{}</span>", (tags or {}).items())


HOST_KEY_FILES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}


@register.filter
def host_key_command(key: dict[str, str]) -> str:
    """Return the command that prints a host key's fingerprint on the machine that has it."""
    kind = str(key.get("type", ""))
    name = HOST_KEY_FILES.get(kind, "ecdsa" if kind.startswith("ecdsa") else "ed25519")
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub"
