"""Who asks the API for something, and in which language they are answered."""

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import get_supported_language_variant
from django.utils.translation import gettext as _
from django.utils.translation.trans_real import parse_accept_lang_header

from studio.errors import NeedsRight, NotSignedIn
from studio.people.models import ApiToken
from studio.people.throttle import throttle

SAFE = {"GET", "HEAD", "OPTIONS"}
DEFAULT_LANGUAGE = "en"


def sign_in(request: HttpRequest) -> None:
    """Let in who shows a token that works, or comes with a session from a page of ours.

    Raises NotSignedIn; TooOften for an address that tries many tokens which do not work.
    """
    if "Authorization" in request.headers:
        scheme, _space, word = request.headers["Authorization"].partition(" ")
        person = ApiToken.person_of(word.strip()) if scheme.lower() == "bearer" else None
        if person is None:
            throttle(request, "api_token")
            raise NotSignedIn
        request.user = person
        return
    if not request.user.is_authenticated:
        raise NotSignedIn
    if request.method not in SAFE and _Csrf(_changes).process_view(request, _changes, (), {}):
        raise NeedsRight(
            _("A session alone does not change anything here: the page that asks must be one of ours."),
            _("Programs use an API token. Pages send the header X-CSRFToken."),
        )


def _changes(request: HttpRequest) -> HttpResponse:
    """Stand for a view that is not exempt from Django's check."""
    return HttpResponse()


class _Csrf(CsrfViewMiddleware):
    """Django's check, which says whether it is passed and shows no page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def language_of(request: HttpRequest) -> str:
    """Return the language that a program asks for; English where it asks for none that is known."""
    for language, _weight in parse_accept_lang_header(request.headers.get("Accept-Language", "").lower()):
        try:
            return get_supported_language_variant(language)
        except LookupError:
            continue
    return DEFAULT_LANGUAGE
