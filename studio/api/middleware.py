"""Keeps sessions and cookies away from programs, and out of badges."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from studio.problems import is_for_programs

BADGES = "/badges/"


class WithoutCookies:
    """Forget the cookies of who shows a token, and of who looks at a badge: neither has a session, nor is given one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        badge = request.path.startswith(BADGES)
        if not badge and not (is_for_programs(request.path) and "Authorization" in request.headers):
            return self.get_response(request)
        request.META.pop("HTTP_COOKIE", None)
        request.COOKIES = {}
        response = self.get_response(request)
        response.cookies.clear()
        if badge and "Vary" in response:
            del response["Vary"]  # it is the same for everybody, and may be kept on the way
        return response
