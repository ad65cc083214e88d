"""What is answered when the studio itself breaks: where what it stands on is away, why, and what to do."""

import errno
import sys

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.utils.translation import gettext as _
from redis import RedisError

from studio.errors import StudioError
from studio.problems import AGAIN_AFTER, is_for_programs
from studio.problems import problem as problem_document

FULL = {errno.ENOSPC, errno.EDQUOT}


class Away(StudioError):
    """Database, queue or disk do not answer, or take nothing at the moment. What was sent is not stored."""

    status = 503


def unexpected(request: HttpRequest) -> HttpResponse:
    """Answer for an exception that nobody translated; the page asks nothing of the database."""
    problem = sys.exc_info()[1]
    error = away(problem)
    if is_for_programs(request.path):
        return problem_document(request, error or broken())
    htmx = getattr(request, "htmx", None)
    if error is not None and htmx and not htmx.boosted:
        response = render(request, "_notice.html", {"error": error}, status=error.status)
        response["HX-Retarget"], response["HX-Reswap"] = "#notices", "innerHTML"
    else:
        context = {"error": error, "stylesheet": stylesheet()}
        response = render(request, "500.html", context, status=error.status if error else 500)
    if error is not None:
        response["Retry-After"] = str(AGAIN_AFTER)
    return response


def stylesheet() -> str:
    """Return the address that a browser keeps the pages' styles under; the files may be away with all else."""
    try:
        return static("css/studio.css")
    except ValueError:  # no list of them was read either
        return f"{settings.STATIC_URL}css/studio.css"


def broken() -> StudioError:
    """Return the error for a program, where nobody knows more."""
    error = StudioError(_("Something went wrong in the studio."), _("It is in the log of the web process."))
    error.status = 500
    return error


def away(problem: BaseException | None) -> Away | None:
    """Say that something the studio stands on is away, if that is what `problem` tells."""
    match problem:
        case OperationalError() | InterfaceError():
            return why_away(problem)
        case RedisError():
            return Away(
                _("The studio’s queue does not answer."),
                _("Nothing of what you sent was stored; runs go on. Try again in a moment: it reconnects by itself."),
            )
        case OSError() if problem.errno in FULL:
            return Away(
                _("The disk of the studio’s files takes nothing more."),
                _("Nothing of what you sent was stored; runs go on. Make room: `manage.py doctor` says where."),
            )
    return None


def why_away(problem: Exception) -> Away:
    """Put what a database said of itself into words, with what to do. Source: SQLite's result codes, "errors"."""
    said = str(problem).lower()
    if "locked" in said or "busy" in said:
        return Away(
            _("The studio’s database is held by something else."),
            _("Nothing of what you sent was stored. Try again in a moment; if it stays so, look for a program that "
              "has the database open, such as a copy or an editor."),
        )  # fmt: skip
    if "disk is full" in said or "disk i/o" in said or "no space left" in said:
        return Away(
            _("The disk of the studio’s database takes nothing more."),
            _("Nothing of what you sent was stored; runs go on. Make room: `manage.py doctor` says where."),
        )
    if "unable to open" in said or "readonly" in said:
        return Away(
            _("The studio’s data directory cannot be reached."),
            _("Runs go on. Bring the directory back to its place and make it writable; the studio goes on by itself."),
        )
    return Away(
        _("The studio cannot reach its database."),
        _("Nothing of what you sent was stored; runs go on. Try again in a moment: it reconnects by itself."),
    )
