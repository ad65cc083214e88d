"""The flow of OpenID Connect: the accounts library's own, stricter where it trusts more than it must.

Import it where it is used: it brings requests along. The library checks `state` and keeps PKCE's verifier; the nonce,
the signature, the issuer of discovery and the person of userinfo are looked at here.
"""

import secrets
from typing import Any
from urllib.parse import urlsplit

import requests
from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from studio.signin.models import Provider
from studio.signin.pinned import Session
from studio.signin.tokens import SignInRefused, refused, verify

WELL_KNOWN = "/.well-known/openid-configuration"
MOST_GROUPS = 5000


class DiscoveryFailed(SignInRefused):
    """The provider's own description cannot be had, or not be used."""

    status = 502


def ask(row: Provider, url: str, what: str, **options: Any) -> dict[str, Any]:
    """Return the JSON object at `url`. Raises DiscoveryFailed, and what the addresses are refused with."""
    try:
        with Session(inside=row.allows_inside) as session:
            response = session.request(options.pop("method", "GET"), url, **options)
            said = response.json() if response.status_code == 200 else None
    except (requests.RequestException, ValueError, RecursionError) as exc:
        raise DiscoveryFailed(
            _("%(name)s does not answer as it should: %(what)s.") % {"name": row.name, "what": what},
            _("Try it again in a while. Whoever runs this studio can test it under Sign-in."),
        ) from exc
    if not isinstance(said, dict):
        raise DiscoveryFailed(
            _("%(name)s answers %(status)s where it should say %(what)s.")
            % {"name": row.name, "status": response.status_code, "what": what},
            _("Whoever runs this studio can test it under Sign-in."),
        )
    return said


def discover(row: Provider) -> dict[str, Any]:
    """Return the provider's description of itself, once it speaks for the issuer and names where to go."""
    said = ask(row, row.issuer.rstrip("/") + WELL_KNOWN, _("its discovery document"))
    if said.get("issuer") != row.issuer:
        raise DiscoveryFailed(
            _("%(name)s says it is another issuer: %(issuer)s.")
            % {"name": row.name, "issuer": str(said.get("issuer"))[:200]},
            _("The issuer must be written exactly so; Entra ID’s begins with https://login.microsoftonline.com/ and "
              "names the tenant’s id."),
        )  # fmt: skip
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not _is_web(said.get(name), row.allows_inside):
            raise DiscoveryFailed(
                _("%(name)s does not say where its %(what)s is.") % {"name": row.name, "what": name},
                _("Its issuer must be one of OpenID Connect."),
            )
    if not _is_web(said.get("userinfo_endpoint"), row.allows_inside):
        said.pop("userinfo_endpoint", None)
    return said


def _is_web(url: Any, inside: bool) -> bool:
    if not isinstance(url, str) or len(url) > 2000:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (inside and parts.scheme == "http"))


def row_of(slug: str) -> Provider:
    """Return the provider that people may sign in with. Raises SocialApp.DoesNotExist."""
    row = Provider.objects.filter(slug=slug, is_enabled=True).first()
    if row is None:
        raise SocialApp.DoesNotExist
    return row


def groups_of(row: Provider, *says: dict[str, Any]) -> frozenset[str]:
    """Return the groups that the first of `says` which speaks of them names. Raises SignInRefused for too many.

    Source: learn.microsoft.com, "Configure group claims": above 200 groups, Entra sends a link in their place.
    """
    for said in says:
        elsewhere = said.get("_claim_names")
        if row.groups_claim not in said and isinstance(elsewhere, dict) and row.groups_claim in elsewhere:
            raise SignInRefused(
                _("%(name)s did not say your groups: you are in too many for one token.") % {"name": row.name},
                _("Its administrator can have it send only the groups that are assigned to this application."),
            )
        if (found := said.get(row.groups_claim)) is not None:
            listed = found if isinstance(found, list) else [found]
            return frozenset(one for one in listed[:MOST_GROUPS] if isinstance(one, str) and one)
    return frozenset()


class StudioOidcAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """Talks to one provider during one sign-in. `state` is what was stashed when it began."""

    def __init__(self, request: HttpRequest, provider_id: str) -> None:
        super().__init__(request, provider_id)
        self.row = row_of(provider_id)
        self.state: dict[str, Any] = {}

    @property
    def openid_config(self) -> dict[str, Any]:
        if not hasattr(self, "_openid_config"):
            self._openid_config = discover(self.row)
        return self._openid_config

    def get_access_token_data(
        self, request: HttpRequest, app: SocialApp, client: Any, pkce_code_verifier: str | None = None
    ) -> dict[str, Any]:
        """Redeem the code. What the library's own client would ask anybody is asked in the pinned session."""
        if request.GET.get("iss", self.row.issuer) != self.row.issuer:  # RFC 9207: another provider's answer
            raise refused(self.row.name, _("somebody else answered."))
        form = {
            "grant_type": "authorization_code",
            "code": request.GET.get("code", ""),
            "redirect_uri": self.get_callback_url(request, app),
            "code_verifier": pkce_code_verifier or "",
        }
        options: dict[str, Any] = {}
        if self.basic_auth and app.secret:
            options["auth"] = (app.client_id, app.secret)
        else:
            form |= {"client_id": app.client_id} | ({"client_secret": app.secret} if app.secret else {})
        said = ask(self.row, self.access_token_url, _("a token"), method="POST", data=form, **options)
        if not isinstance(said.get("access_token"), str) or not isinstance(said.get("id_token"), str):
            raise refused(self.row.name, _("it sent no token."))
        return {"access_token": said["access_token"], "id_token": said["id_token"]}

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> SocialLogin:
        row, config = self.row, self.openid_config
        claims = verify(
            kwargs["response"]["id_token"],
            ask(row, config["jwks_uri"], _("its keys")),
            issuer=row.issuer,
            client_id=app.client_id,
            nonce=str(self.state.get("nonce") or ""),
            name=row.name,
        )
        more: dict[str, Any] = {}
        if "userinfo_endpoint" in config:
            bearer = {"Authorization": f"Bearer {token.token}"}
            more = ask(row, config["userinfo_endpoint"], _("who you are"), headers=bearer)
            if more.get("sub") != claims["sub"]:
                raise refused(row.name, _("it speaks of two people."))
        login = self.get_provider().sociallogin_from_response(request, {"userinfo": more | claims})
        login.groups, login.row = groups_of(row, claims, more), row
        return login


class StudioOidcProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """A provider as the library knows it, with a nonce in each sign-in. No address of its is believed."""

    oauth2_adapter_class = StudioOidcAdapter
    pkce_enabled_default = True

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, data: Any = None, **kwargs: Any
    ) -> HttpResponse:
        nonce = secrets.token_urlsafe(32)
        answer: HttpResponse = super().redirect(
            request, process, next_url, data, auth_params={"nonce": nonce}, nonce=nonce
        )
        return answer

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:
        said = data["userinfo"]
        return {name: str(said[name])[:200] for name in ("name", "email", "preferred_username") if said.get(name)}

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        said = {name: value for name, value in data["userinfo"].items() if isinstance(value, str) and "\0" not in value}
        return {
            "username": said.get("preferred_username") or said.get("email") or said.get("name") or "",
            "first_name": said.get("given_name", "")[:150],
            "last_name": said.get("family_name", "")[:150],
            "name": said.get("name", "")[:150],
        }

    def extract_email_addresses(self, data: dict[str, Any]) -> list[Any]:
        return []


class Callback(OAuth2CallbackView):  # type: ignore[misc]
    """Where the provider sends people back to."""

    def _get_state(self, request: HttpRequest, provider: Any) -> tuple[Any, Any]:
        state, answer = super()._get_state(request, provider)
        self.adapter.state = state or {}
        return state, answer


def begin(request: HttpRequest, slug: str, process: str, next_url: str | None) -> tuple[str, str]:
    """Return the provider's name and the address that begins to sign in there. Raises SocialApp.DoesNotExist."""
    provider = StudioOidcAdapter(request, slug).get_provider()
    return provider.name, provider.redirect(request, process, next_url).url


@login_not_required  # type: ignore[untyped-decorator]
def callback(request: HttpRequest, slug: str) -> HttpResponse:
    """Sign in whom the provider vouches for, or link them."""
    answer: HttpResponse = Callback.adapter_view(StudioOidcAdapter(request, slug))(request)
    return answer
