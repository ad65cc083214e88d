"""Puts the workspace that the URL names on the request, for its members alone, and speaks the person's language."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import translation

from studio.errors import NotThere
from studio.middleware import StudioErrors
from studio.people.models import Membership


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
        if request.session.get("workspace") != name and not getattr(request, "htmx", False):
            request.session["workspace"] = name  # where to begin next time; parts of open pages do not decide it
        return None


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
