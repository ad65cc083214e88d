"""A StudioError becomes a page, or a notice on the page that htmx shows."""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from studio.errors import StudioError

logger = logging.getLogger(__name__)


class StudioErrors:
    """Show what a person should read, log it at INFO, and leave the unexpected to be a 500."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        patch_vary_headers(response, ["HX-Request"])  # one URL serves the page and its parts
        return response

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not isinstance(exc, StudioError):
            return None
        logger.info("%s %s: %s", request.method, request.path, exc)
        htmx = getattr(request, "htmx", None)
        partial = htmx is not None and bool(htmx) and not htmx.boosted
        template = "_notice.html" if partial else "error.html"
        response = render(request, template, {"error": exc}, status=exc.status)
        if partial:
            response["HX-Retarget"] = "#notices"
            response["HX-Reswap"] = "innerHTML"
        return response
