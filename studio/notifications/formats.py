"""The bodies of webhooks. What people named is hostile in every one of them: no name mentions, links or formats.

Sources: the Standard Webhooks specification 1.0.0 (type, timestamp, data); Slack's Block Kit, whose plain text knows no
markup; Adaptive Cards 1.4, whose TextRun is the one text that is not read as Markdown.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from studio.notifications.models import Format, Notice
from studio.said import said

MOST_FACTS = 8
MENTION = re.compile(r"@(?=channel|here|everyone)", re.IGNORECASE)
TURNS = "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)))  # the reading direction
NO_TURNS = str.maketrans("", "", TURNS)


def body_of(notice: Notice, kind: str, language: str) -> bytes:
    """Return the body that says `notice` to a webhook of a format, in its language."""
    make: Callable[[Notice], dict[str, Any]] = {Format.SLACK: slack, Format.TEAMS: teams}.get(Format(kind), plain)
    with translation.override(language):
        return json.dumps(make(notice), ensure_ascii=False, separators=(",", ":")).encode()


def url_of(path: str) -> str:
    """Return the address of a page as people reach it."""
    return settings.PUBLIC_URL.rstrip("/") + (path or "/")


def line(text: object, most: int = 300) -> str:
    """Return a stored text in the reader's language, as one line of what can be seen."""
    words = said(str(text)).translate(NO_TURNS)
    shown = "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} else c for c in words)
    one = " ".join(shown.split())
    return one if len(one) <= most else f"{one[: most - 1]}…"


def facts_of(notice: Notice) -> list[tuple[str, str]]:
    """Return what stands beside a notice: each fact's name and value."""
    return [(line(name, 60), line(value, 300)) for name, value in list(notice.facts.items())[:MOST_FACTS] if value]


def sentences_of(notice: Notice) -> list[str]:
    """Return why it happened, and what to do."""
    return [line(text, 1000) for text in (notice.text, notice.hint) if text]


def plain(notice: Notice) -> dict[str, Any]:
    words = {"title": line(notice.title), "text": line(notice.text, 1000), "hint": line(notice.hint, 1000)}
    about = {"workspace": notice.workspace.name, "url": url_of(notice.path)}
    return {"type": notice.event, "timestamp": notice.at.isoformat(), "data": notice.data | words | about}


def slack(notice: Notice) -> dict[str, Any]:
    fields = [_said_plainly(f"{name}: {value}") for name, value in facts_of(notice)]
    texts = "\n".join(sentences_of(notice))
    where = _("Open it in Compute Studio")
    blocks = [
        {"type": "header", "text": _said_plainly(line(notice.title, 150))},
        {"type": "section", "text": _said_plainly(texts)} if texts else None,
        {"type": "section", "fields": fields} if fields else None,
        {"type": "section", "text": {"type": "mrkdwn", "text": f"<{url_of(notice.path)}|{where}>"}},
    ]
    return {"text": _escaped(line(notice.title)), "blocks": [block for block in blocks if block]}


def _said_plainly(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": MENTION.sub("@\u2060", text), "emoji": False}


def _escaped(text: str) -> str:
    """Return a text that Slack reads as mrkdwn, where only these three begin a link or a mention."""
    for mark, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, instead)
    return MENTION.sub("@\u2060", text)


def teams(notice: Notice) -> dict[str, Any]:
    body = [_rich(_run(line(notice.title), weight="Bolder", size="Medium"))]
    body += [_rich(_run(text)) for text in sentences_of(notice)]
    body += [_rich(_run(f"{name}: ", isSubtle=True), _run(value)) for name, value in facts_of(notice)]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _("Open it in Compute Studio"),
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": _("Open it in Compute Studio"), "url": url_of(notice.path)},
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _run(text: str, **look: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **look}


def _rich(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [*runs]}
