"""Errors for programs, as RFC 9457 writes them down: what a page would say, in the same words."""

import re
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from studio.errors import NotSignedIn, NotValid, StudioError, TooLarge, TooOften, WrongMethod

KIND = "application/problem+json"
AGAIN_AFTER = 10  # seconds, where the database does not answer


def is_for_programs(path: str) -> bool:
    """Say whether whoever asks for `path` reads JSON, and no page."""
    return path.startswith("/api/") or path == "/metrics"


def document(exc: StudioError, instance: str) -> dict[str, Any]:
    """Return what is said of an error: its kind, message and hint, and the fields that are wrong, where some are."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(exc).__name__).lower()
    said: dict[str, Any] = {
        "type": f"urn:compute-studio:problem:{kind}",
        "title": HTTPStatus(exc.status).phrase,
        "status": exc.status,
        "detail": exc.message,
        "hint": exc.hint,
        "instance": instance,
    }
    if isinstance(exc, NotValid):
        said["errors"] = [{"field": field, "message": message} for field, message in exc.fields]
    return said


def problem(request: HttpRequest, exc: StudioError) -> HttpResponse:
    """Answer with an error."""
    response = JsonResponse(document(exc, request.path), status=exc.status, content_type=KIND)
    response["Cache-Control"] = "no-store"
    if isinstance(exc, TooOften):
        response["Retry-After"] = str(exc.seconds)
    if exc.status == 503:
        response["Retry-After"] = str(AGAIN_AFTER)
    if isinstance(exc, WrongMethod):
        response["Allow"] = ", ".join(exc.allowed)
    if isinstance(exc, NotSignedIn):
        response["WWW-Authenticate"] = 'Bearer realm="Compute Studio"'
    return response


def too_large() -> TooLarge:
    """Return the error for a body that is larger than anything the studio takes there."""
    return TooLarge(_("The request is larger than the studio takes here."), _("Send large files in pieces."))
