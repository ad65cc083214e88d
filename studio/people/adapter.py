"""How the accounts library behaves here."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse


class ClosedAccounts(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up alone: an Owner adds people."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("start")
