"""A StudioError becomes a page, or a notice on the page that htmx shows."""

import logging
from collections.abc import Callable

from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _

from studio.errors import NotThere, StudioError, TooOften
from studio.problems import is_for_programs, problem

logger = logging.getLogger(__name__)
NUL = "\x00"  # no text of people has one, and PostgreSQL keeps none


class StudioErrors:
    """Show what a person should read, log it at INFO, and leave the unexpected to be a 500."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if NUL in request.path:
            return self._shown(request, NotThere())
        if "%00" in request.META.get("QUERY_STRING", ""):
            request.META["QUERY_STRING"] = request.META["QUERY_STRING"].replace("%00", "")
        response = self.get_response(request)
        patch_vary_headers(response, ["HX-Request", "HX-Target"])  # one URL serves the page and its parts
        response.setdefault("Cache-Control", "private")  # what is for everybody says so itself
        return response

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if isinstance(exc, DataError) and "NUL" in str(exc):
            exc = StudioError(_("A field holds a character that no text has."), _("Type it instead of pasting it."))
        return self._shown(request, exc) if isinstance(exc, StudioError) else None

    def _shown(self, request: HttpRequest, exc: StudioError) -> HttpResponse:
        logger.info("%s %s: %s", request.method, request.path, exc)
        if is_for_programs(request.path):
            return problem(request, exc)
        htmx = getattr(request, "htmx", None)
        partial = htmx is not None and bool(htmx) and not htmx.boosted
        template = "_notice.html" if partial else "error.html"
        response = render(request, template, {"error": exc}, status=exc.status)
        if isinstance(exc, TooOften):
            response["Retry-After"] = str(exc.seconds)
        if partial:
            response["HX-Retarget"] = "#notices"
            response["HX-Reswap"] = "innerHTML"
        return response
