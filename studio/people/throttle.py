"""How often one may try: the accounts library counts, we say how long to wait.

The counts lie in the cache, which all processes share. The rates stand in ACCOUNT_RATE_LIMITS.
"""

import math
import time
from collections.abc import Iterable

from allauth.core.internal import ratelimit
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from studio.errors import TooOften
from studio.middleware import StudioErrors

APP = "allauth.account"


def throttle(request: HttpRequest, action: str) -> None:
    """Count one more try of `action`. Raises TooOften, which says how long to wait, when there were too many."""
    if ratelimit.consume(request, app=APP, action=action, limit_get=True) is None:
        raise too_often(request, [action])


def too_often(request: HttpRequest, actions: Iterable[str], key: str | None = None) -> TooOften:
    """Return the error for somebody who tried one of `actions` too often."""
    seconds = max([1, *(_wait(request, action, key) for action in actions)])
    return TooOften(
        _("That was tried too often in a short time."),
        _("Wait %(span)s, then try again.") % {"span": in_words(seconds)},
        seconds,
    )


def handler429(request: HttpRequest) -> HttpResponse:
    """Answer where the library finds that a rate is used up, without saying which."""
    asked = request.POST.get("email", "").strip().lower()  # forgotten passwords are counted by address
    error = too_often(request, settings.ACCOUNT_RATE_LIMITS, asked or None)
    response = StudioErrors(lambda _request: HttpResponse()).process_exception(request, error)
    assert response is not None  # noqa: S101  a StudioError has an answer
    return response


def in_words(seconds: int) -> str:
    """Write a wait as people say it, rounded up."""
    minutes = math.ceil(seconds / 60)
    if seconds < 100:
        return ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds}
    return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}


def _wait(request: HttpRequest, action: str, key: str | None) -> int:
    """Return the seconds until one more try fits into every rate of `action` that can be told."""
    longest = 0.0
    for rate in ratelimit.get_rates(app=APP, action=action):
        if (rate.per == "key" and key is None) or (rate.per == "user" and not request.user.is_authenticated):
            continue
        tries = cache.get(ratelimit.get_cache_key(request, app=APP, action=action, rate=rate, key=key), [])
        if len(tries) >= rate.amount:  # newest first
            longest = max(longest, tries[rate.amount - 1] + rate.duration - time.time())
    return math.ceil(longest)
