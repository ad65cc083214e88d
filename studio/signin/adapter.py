"""How the accounts library behaves here: where its providers come from, who gets an account, and how people get in."""

import re
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from studio.people import second_step
from studio.people.adapter import ClosedAccounts
from studio.people.models import User
from studio.signin import actions
from studio.signin.models import Provider, SignInRules
from studio.signin.tokens import SignInRefused


class StudioAccounts(ClosedAccounts):
    """Passwords open the studio as long as its rules say so."""

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Raises SignInRefused where passwords open nothing, before anybody's is looked at."""
        if not SignInRules.now().passwords_allowed:
            raise SignInRefused(
                _("Passwords do not open this studio."),
                _("Sign in with one of the providers that the page names, or with a passkey."),
            )
        super().pre_authenticate(request, **credentials)

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign somebody in; where everybody needs a second step, who has none adds it before anything opens."""
        super().login(request, user)
        records = get_authentication_records(request, user)
        by_provider = any(one.get("method") == "socialaccount" for one in records)  # which asks for its own
        if SignInRules.now().second_step_required and not by_provider and not second_step.has_one(user):
            request.session[second_step.OWED] = True
            for one in records:
                one["reauthenticated"] = True  # just now; to add a second step, the password is not asked for again


class StudioSecondStep(second_step.SealedSecondStep):
    """Where everybody needs a second step, the last one stays."""

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        mine = Authenticator.objects.filter(user=authenticator.user, type__in=second_step.STEPS)
        return not SignInRules.now().second_step_required or mine.exclude(pk=authenticator.pk).exists()


class StudioProviders(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """The providers of this studio, whose secrets are sealed. An e-mail address never says who somebody is."""

    def list_apps(
        self, request: HttpRequest | None, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        rows = Provider.objects.filter(is_enabled=True)
        if provider and provider != "openid_connect":
            rows = rows.filter(slug=provider)
        if client_id:
            rows = rows.filter(client_id=client_id)
        return [_app_of(row) for row in rows]

    def get_provider(self, request: HttpRequest | None, provider: str, client_id: str | None = None) -> Any:
        from studio.signin.oidc import StudioOidcProvider

        return StudioOidcProvider(request, app=self.get_app(request, provider=provider, client_id=client_id))

    def list_providers(self, request: HttpRequest | None) -> list[Any]:
        return []  # pages name them by their rows

    def get_requests_session(self) -> Any:
        from studio.signin.pinned import Session

        return Session()

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Say what went wrong as every page here does. Raises SignInRefused."""
        if error == "cancelled":
            messages.info(request, _("You did not sign in."))
            raise ImmediateHttpResponse(redirect("account_login"))
        if not (extra_context or {}).get("state"):
            raise SignInRefused(
                _("This sign-in was not begun here, or it was used already, or it took too long."),
                _("Begin anew on the sign-in page."),
            )
        raise SignInRefused(
            _("%(name)s did not sign you in.") % {"name": provider.name},
            _("Sign in once more. If it happens again, tell whoever runs this studio."),
        ) from exception

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Give somebody who is known what their groups bring now."""
        known = sociallogin.is_existing and sociallogin.state.get("process") == "login"
        if known and sociallogin.user.is_active:
            actions.apply_groups(sociallogin.user, sociallogin.row, sociallogin.groups)

    def can_authenticate_by_email(self, login: SocialLogin, email: str) -> bool:
        return False

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Let in whom a group maps, where the provider may make accounts. Raises SignInRefused for everybody else."""
        if actions.may_have_account(sociallogin.row, sociallogin.groups):
            return True
        raise SignInRefused(
            _("Nobody here is linked with your account at %(name)s.") % {"name": sociallogin.row.name},
            _("If you have an account here, sign in to it another way and link the two on your profile page. "
              "Else ask an Owner of your workspace."),
        )  # fmt: skip

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Make the account of somebody whom a group maps."""
        person: User = sociallogin.user
        said = sociallogin.account.extra_data
        person.username = _free_name(said.get("preferred_username") or said.get("email") or said.get("name") or "")
        person.set_unusable_password()
        try:
            with transaction.atomic():
                sociallogin.save(request)
                actions.account_made(person, sociallogin.row, sociallogin.groups)
        except IntegrityError as exc:  # the same person, in two tabs at once, or two of one name
            raise SignInRefused(
                _("Your account is being made already."), _("Sign in once more: it is there now.")
            ) from exc
        return person

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("profile") + "#sign-ins"


def _app_of(row: Provider) -> SocialApp:
    app = SocialApp(provider="openid_connect", provider_id=row.slug, name=row.name, client_id=row.client_id)
    app.secret = row.secret
    app.settings = {"server_url": row.issuer, "scope": row.scopes.split(), "oauth_pkce_enabled": True}
    return app


def _free_name(wanted: str) -> str:
    """Return a user name that nobody has, and that looks like no e-mail address."""
    stem = re.sub(r"[^\w.+-]", "", wanted.partition("@")[0], flags=re.ASCII)[:60] or "person"
    name, number = stem, 2
    while User.objects.filter(username__iexact=name).exists():
        name, number = f"{stem}{number}", number + 1
    return name
