"""The second step of signing in, and passkeys: the accounts library's own, with its secrets sealed.

What it imports for it (FIDO2, QR codes) is imported when somebody first needs it.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

from allauth.account.internal.stagekit import clear_login
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.models import Authenticator
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from studio.errors import NotAllowedNow
from studio.people.actions import note
from studio.people.models import User
from studio.seal import is_sealed_anew, seal, unseal

# The library says neither whose secret it wants sealed nor in which row: all of them have one place.
PLACE = "mfa.authenticator/secret"
SECRETS = ("secret", "seed")  # of an authenticator app; of recovery codes
STEPS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
OWED = "second_step_owed"  # in a session that opens nothing but the pages where one is added


class SealedSecondStep(DefaultMFAAdapter):  # type: ignore[misc]
    """Keeps the secrets of authenticator apps and of recovery codes sealed."""

    def encrypt(self, text: str) -> str:
        return seal(text, where=PLACE)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text, where=PLACE)

    def get_totp_label(self, user: Any) -> str:
        return str(user.username)

    def generate_authenticator_name(self, user: Any, type: Any) -> str:
        count = Authenticator.objects.filter(user=user, type=type).count()
        return _("Passkey") if not count else _("Passkey %(n)d") % {"n": count + 1}


def later(view: str) -> Callable[..., HttpResponse]:
    """Return a view that is imported when it is first asked for."""

    def found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer: HttpResponse = import_string(view)(request, *args, **kwargs)
        return answer

    return found


@login_not_required
def sign_in_by_passkey(request: HttpRequest) -> HttpResponse:
    """Sign in with a passkey alone."""
    return later("allauth.mfa.webauthn.views.login_webauthn")(request)


@login_not_required
def authenticate(request: HttpRequest) -> HttpResponse:
    """Ask for the second step. Where there is none any more, begin anew: the library would go round in circles."""
    answer = later("allauth.mfa.base.views.authenticate")(request)
    if answer.get("Location") == reverse("account_login"):
        clear_login(request)
    return answer


def remove_passkey(request: HttpRequest, pk: int) -> HttpResponse:
    """Take one's passkey away. Raises NotAllowedNow for the last second step where everybody has one."""
    mine = Authenticator.objects.filter(user_id=request.user.pk, pk=pk).first()
    if mine is not None and not get_adapter().can_delete_authenticator(mine):
        raise NotAllowedNow(_("This studio asks everybody for a second step."), _("Add another one first."))
    return later("allauth.mfa.webauthn.views.remove_webauthn")(request, pk=pk)


def has_one(user: User) -> bool:
    """Say whether somebody has an authenticator app or a passkey."""
    return bool(Authenticator.objects.filter(user=user, type__in=STEPS).exists())


@require_safe
def owed(request: HttpRequest) -> HttpResponse:
    """Say that a second step is to be added before anything opens, and lead to it."""
    if OWED not in request.session:
        return redirect(reverse("profile") + "#second-step")
    return render(request, "mfa/owed.html", {"has_name": not _is_number(request.get_host())})


class SecondStepFirst:
    """Let a session that owes the second step open nothing but the pages where it is added.

    It is marked when somebody signs in, so that nobody else's requests ask the database; sockets look, too.
    """

    OPEN = frozenset({"account_logout", "account_reauthenticate", "healthz"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        name = str(getattr(request.resolver_match, "url_name", ""))
        if OWED not in request.session or name in self.OPEN or name.startswith("mfa_"):
            return None
        if isinstance(request.user, User) and not has_one(request.user):
            if name == "api":
                return HttpResponse(_("Add a second step of signing in first."), status=403, content_type="text/plain")
            address = reverse("mfa_owed")
            return (
                HttpResponse(headers={"HX-Redirect": address}) if "HX-Request" in request.headers else redirect(address)
            )
        del request.session[OWED]
        return None


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show what the person has: a card of their profile page does."""
    return redirect(reverse("profile") + "#second-step")


def of(user: User, host: str) -> dict[str, Any]:
    """Return what the card on the profile page shows. `host`: the studio's name in the address bar."""
    found = list(Authenticator.objects.filter(user=user).order_by("pk"))
    codes = next((one for one in found if one.type == Authenticator.Type.RECOVERY_CODES), None)
    return {
        "app": next((one for one in found if one.type == Authenticator.Type.TOTP), None),
        "passkeys": [one for one in found if one.type == Authenticator.Type.WEBAUTHN],
        "codes_said": _codes_said(codes) if codes else "",
        "has_name": not _is_number(host),  # browsers keep passkeys for names alone
    }


@transaction.atomic
def forget(user: User, *, by: User | None) -> int:
    """Take the second step and every passkey of somebody away who is locked out; return how many things that were."""
    found = list(Authenticator.objects.select_for_update().filter(user=user))
    Authenticator.objects.filter(user=user).delete()
    if found:
        kinds = sorted({str(one.type) for one in found})
        note(None, by, "person.second_step", user, kind="person", name=user.username, detail={"kinds": kinds})
    return len(found)


@transaction.atomic
def seal_anew() -> int:
    """Seal every secret of a second step under the newest key; return how many there were under an older one."""
    changed = 0
    for row in Authenticator.objects.select_for_update().exclude(type=Authenticator.Type.WEBAUTHN):
        fresh = {
            name: seal(unseal(row.data[name], where=PLACE), where=PLACE)
            for name in SECRETS
            if name in row.data and not is_sealed_anew(row.data[name])
        }
        if fresh:
            Authenticator.objects.filter(pk=row.pk).update(data=row.data | fresh)
            changed += len(fresh)
    return changed


def _codes_said(codes: Authenticator) -> str:
    left = 10 - int(codes.data.get("used_mask", 0)).bit_count()
    return ngettext("%(n)d recovery code is left.", "%(n)d recovery codes are left.", left) % {"n": left}


def _is_number(host: str) -> bool:
    name = host.rpartition(":")[0] if host.count(":") == 1 else host
    try:
        ipaddress.ip_address(name.partition("]")[0].strip("[]"))
    except ValueError:
        return False
    return True
