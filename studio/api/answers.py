"""How the API answers: who asks, what is asked of which workspace, and how errors and ETags are written."""

import copy
import hashlib
import logging
import sys
from collections.abc import Callable
from typing import Any

from django.core import signals
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DataError, transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils import translation
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from ninja.errors import HttpError, ValidationError

from studio.api.callers import SAFE, language_of, sign_in
from studio.api.metrics import exposition
from studio.api.urls import operations_at
from studio.broken import away, broken
from studio.errors import ChangedMeanwhile, NotSignedIn, NotThere, NotValid, StudioError, WrongMethod
from studio.people.models import User, Workspace
from studio.people.permissions import Right, require
from studio.problems import problem, too_large

logger = logging.getLogger(__name__)
URLS = "studio.api.urls"
HINT = gettext_lazy("The page /api/v1/ lists every operation with what it takes.")


def answer(request: HttpRequest, how: Callable[[HttpRequest], HttpResponseBase] | None = None) -> HttpResponseBase:
    """Answer a program, whatever happens, with what it can read."""
    with translation.override(language_of(request)):
        try:
            sign_in(request)
            response = (how or _answered)(request)
        except Exception as exc:
            response = problem(request, _error_of(request, exc))
    patch_vary_headers(response, ["Authorization", "Cookie", "Accept-Language"])
    response.setdefault("Cache-Control", "private, no-cache")
    return response


def metrics_of(request: HttpRequest) -> HttpResponseBase:
    """Return the metrics of the workspace that the token is of."""
    if request.method not in {"GET", "HEAD"}:
        raise WrongMethod(["GET"])
    person: Any = request.user
    if person.scope is None:  # a page's session: which workspace would it be?
        raise NotSignedIn
    workspace = Workspace.objects.filter(pk=person.scope.workspace_id).get()
    require(person, Right.VIEW, workspace)
    body, kind = exposition(workspace, request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=kind, headers={"Cache-Control": "no-store"})


def _answered(request: HttpRequest) -> HttpResponseBase:
    try:
        match = resolve(request.path_info, urlconf=URLS)
    except Resolver404:
        raise NotThere from None
    operations = operations_at(match.route)
    method = str(request.method).lower()
    operation = operations.get("get" if method == "head" else method)
    if operation is None:
        raise WrongMethod([name.upper() for name in operations])
    _refuse_unknown(request, operation)
    if (name := match.kwargs.pop("workspace", None)) is not None:
        _enter(request, name)
    if method == "head":
        request.method = "GET"
    if request.method not in SAFE and "If-Match" in request.headers and "get" in operations:
        return _unless_changed(request, match)
    return _with_etag(request, match.func(request, **match.kwargs))


def _enter(request: Any, name: str) -> None:
    """Put the workspace on the request, for who belongs to it and, with a token, was given a token of it."""
    workspace = Workspace.objects.for_user(request.user).filter(name=name).first()
    if workspace is None:
        raise NotThere
    request.workspace = workspace


def _refuse_unknown(request: HttpRequest, operation: dict[str, Any]) -> None:
    known = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
    unknown = sorted(set(request.GET) - known)
    if unknown:
        said = _("There is no such parameter here; there are: %(names)s.") if known else _("It takes no parameters.")
        raise NotValid([(name[:80], said % {"names": ", ".join(sorted(known))}) for name in unknown[:10]])


def _unless_changed(request: Any, match: ResolverMatch) -> HttpResponseBase:
    """Change something only if it still is what the program has seen; two who try that at once go one by one."""
    wanted = request.headers["If-Match"]
    with transaction.atomic():
        # Whoever writes something down in the workspace meanwhile must not wait: they may hold what is needed next.
        if hasattr(request, "workspace"):
            Workspace.objects.select_for_update(no_key=True).get(pk=request.workspace.pk)
        else:  # it is about the person alone
            User.objects.select_for_update(no_key=True).get(pk=request.user.pk)
        look = copy.copy(request)
        look.method, look.GET = "GET", QueryDict()
        now: HttpResponse = match.func(look, **match.kwargs)
        if wanted.strip() != "*" and etag_of(now) not in parse_etags(wanted):
            raise ChangedMeanwhile
        changed: HttpResponseBase = match.func(request, **match.kwargs)
    return changed


def etag_of(response: HttpResponse) -> str:
    """Return the ETag of an answer: a digest of all that it says."""
    return f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'


def _with_etag(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if request.method != "GET" or response.status_code != 200 or not isinstance(response, HttpResponse):
        return _said_as_problem(request, response)
    if "ETag" not in response:
        response["ETag"] = etag_of(response)
    answered = get_conditional_response(request, etag=response["ETag"], response=response)
    if answered is not None and answered.status_code == 412:
        raise ChangedMeanwhile
    return response if answered is None else answered


def _said_as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Give a bare error that a page's view answered with the words that programs are given."""
    if response.status_code < 400:
        return response
    error = StudioError(_("That part of it is not there."), _("Ask for less: see the header Content-Range."))
    error.status = response.status_code
    said = problem(request, error)
    for name in ("Content-Range", "Accept-Ranges", "Allow", "ETag"):
        if name in response:
            said[name] = response[name]
    return said


def _error_of(request: HttpRequest, exc: Exception) -> StudioError:
    """Return in words what went wrong; what nobody expected is logged, and said to be ours."""
    match exc:
        case StudioError():
            logger.info("%s %s: %s", request.method, request.path, exc)
            return exc
        case ValidationError():
            return NotValid([_said(error) for error in exc.errors], str(HINT))
        case Http404():
            return NotThere()
        case HttpError():
            return StudioError(_("The body is not JSON that can be read."), str(HINT))
        case RequestDataTooBig():
            return too_large()
        case SuspiciousOperation():
            return StudioError(_("The request cannot be read."))
        case DataError() if "NUL" in str(exc):
            return StudioError(_("A field holds a character that no text has."))
    signals.got_request_exception.send(sender=answer, request=request)
    logger.error("%s %s", request.method, request.path, exc_info=sys.exc_info())
    return away(exc) or broken()


def _said(error: dict[str, Any]) -> tuple[str, str]:
    """Return the field that is wrong, by the name that the program gave it, and what is wrong with it."""
    place = [str(part) for part in error["loc"]]
    inner = place[2:] if place[1:2] == ["asked"] else place[1:]  # as every operation calls what it is sent
    return ".".join(inner or place[:1])[:200], str(error["msg"])
