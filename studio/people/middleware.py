"""Puts the workspace that the URL names on the request, for its members alone, and speaks the person's language."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any

from allauth.account.adapter import get_adapter
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from studio.errors import NotThere
from studio.live import pulse
from studio.middleware import StudioErrors
from studio.people import origin
from studio.people.models import BrowserSession, Membership

logger = logging.getLogger(__name__)


class WorkspaceInUrl:
    """Take `workspace` out of the URL's arguments; a stranger learns nothing, not even that it exists."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]) -> HttpResponse | None:
        name = kwargs.pop("workspace", None)
        if name is None or not request.user.is_authenticated:
            return None
        membership = (
            Membership.objects.select_related("workspace").filter(workspace__name=name, user=request.user).first()
        )
        if membership is None:  # Django asks process_exception for what a view raises, not for what is raised here
            return StudioErrors(self.get_response).process_exception(request, NotThere())
        request.workspace = membership.workspace  # type: ignore[attr-defined]
        request.membership = membership  # type: ignore[attr-defined]
        if not getattr(request, "htmx", False):  # before the view reads anything: what moves later is noticed
            request.pulse = pulse(membership.workspace.group)  # type: ignore[attr-defined]
        if request.session.get("workspace") != name and not getattr(request, "htmx", False):
            request.session["workspace"] = name  # where to begin next time; parts of open pages do not decide it
        return None


class FromWhere:
    """Have whatever a request changes say that it came from there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with origin.answering(lambda: str(get_adapter().get_client_ip(request))):
            return self.get_response(request)


class LanguageOfPerson:
    """Speak the language of the person's profile, where it names one; else what the browser asked for stands."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = getattr(request.user, "language", "")
        if language and translation.check_for_language(language):
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)


class WhereSignedIn:
    """Keep the facts of each session, for the person to see where they are signed in; written every few minutes."""

    EVERY = 120.0  # seconds
    MOST = 10_000  # sessions remembered by one process

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.written: OrderedDict[str, float] = OrderedDict()  # session key → when

    def __call__(self, request: HttpRequest) -> HttpResponse:
        key = request.session.session_key
        if key and request.user.is_authenticated and monotonic() - self.written.get(key, -self.EVERY) >= self.EVERY:
            self.write(request, key)
        return self.get_response(request)

    def write(self, request: HttpRequest, key: str) -> None:
        facts = {
            "user": request.user,
            "address": get_adapter().get_client_ip(request),
            "agent": request.headers.get("User-Agent", "").replace("\0", "")[:300],
            "seen_at": timezone.now(),
        }
        try:
            BrowserSession.objects.update_or_create(session_key=key, defaults=facts)
        except DatabaseError:  # a page that only reads is not held up by who writes
            logger.warning("Where somebody is signed in was not written down.", exc_info=True)
        self.written[key] = monotonic()
        self.written.move_to_end(key)
        if len(self.written) > self.MOST:
            self.written.popitem(last=False)
