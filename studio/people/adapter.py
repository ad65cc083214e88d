"""How the accounts library behaves here."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.urls import reverse

from studio.people import actions
from studio.people.models import User
from studio.people.origin import NO_ADDRESS
from studio.people.throttle import too_often


class ClosedAccounts(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up alone: an Owner invites people."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("start")

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the try. Raises TooOften, which says how long to wait, where the library would only refuse."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            key = self._get_login_attempts_cache_key(request, **credentials)
            raise too_often(request, ["login_failed"], key) from None

    def get_client_ip(self, request: HttpRequest) -> str:
        try:
            return str(super().get_client_ip(request))
        except PermissionDenied:
            return NO_ADDRESS

    def set_password(self, user: User, password: str) -> None:
        """Store it, and sign the person out wherever else they are signed in."""
        super().set_password(user, password)
        request = context.request
        actions.end_sessions(user, but=request.session.session_key or "")

    def logout(self, request: HttpRequest) -> None:
        """Sign out, and close the open pages of this session in other tabs."""
        user_id, key = request.user.pk, request.session.session_key
        super().logout(request)
        if user_id and key:
            actions.session_ended(User(pk=user_id), key)
