"""What the studio writes to its log, in lines: whatever opens something is left out of them."""

import logging
import re

# An address that holds a token, wherever it is written: whoever reads a log could open what it opens.
HELD = re.compile(
    r"(?P<before>^|[^\w/.-]|https?://[^/\s]+)"
    r"(?P<door>/(?:ws/)?(?:d|join|sign-in|badges|unsubscribe|accounts/password/reset/key|accounts/confirm-email)/)"
    r"[^\s\"']+"
)
ASKED = re.compile(r"(?P<name>[?&](?:code|state|token)=)[^\s&\"']+")


def without_tokens(text: str) -> str:
    """Return `text` without the tokens that addresses of the studio hold."""
    return ASKED.sub(r"\g<name>…", HELD.sub(r"\g<before>\g<door>…", text))


class Line(logging.Formatter):
    """One entry as text, its traceback too, without the tokens in it. Libraries write down every address they serve."""

    def format(self, record: logging.LogRecord) -> str:
        return without_tokens(super().format(record))
