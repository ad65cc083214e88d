"""The door of the API. It is light: what the API is made of is imported when somebody asks the API for something."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt


@login_not_required  # it looks itself, and answers with a problem instead of a form
@csrf_exempt  # likewise
def gate(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Answer anything below /api/."""
    from studio.api.answers import answer

    return answer(request)


@login_not_required
@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponseBase:
    """Answer Prometheus, which shows a token and is told of the token's workspace alone."""
    from studio.api.answers import answer, metrics_of

    return answer(request, metrics_of)
