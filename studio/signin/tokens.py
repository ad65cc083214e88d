"""What makes an id token worth believing.

Source: OpenID Connect Core 1.0, section 3.1.3.7. Stricter than it: the signature is checked also where TLS would do,
and a token must be fresh.
"""

import hmac
import time
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from studio.errors import StudioError

ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
LEEWAY = 60  # seconds that two clocks may differ
OLDEST = 600  # seconds since it was made: as long as a sign-in that was begun may take
LONGEST_SUBJECT = 191  # characters that the accounts library keeps of who it is


class SignInRefused(StudioError):
    """What the provider answered is not to be believed, or does not open anything here."""

    status = 403


def refused(name: str, why: Any) -> SignInRefused:
    """Return the error for an answer of the provider `name` that cannot be trusted."""
    return SignInRefused(
        _("The answer of %(name)s is not to be trusted: %(why)s") % {"name": name, "why": why},
        _("Sign in once more. If it happens again, tell whoever runs this studio."),
    )


WHY = {
    "ExpiredSignatureError": gettext_lazy("its token is too old. Clocks may differ."),
    "ImmatureSignatureError": gettext_lazy("its token is from the future. Clocks may differ."),
    "InvalidIssuerError": gettext_lazy("somebody else issued its token."),
    "InvalidAudienceError": gettext_lazy("its token is for another application."),
    "InvalidSignatureError": gettext_lazy("its token is not signed with the provider’s key."),
    "MissingRequiredClaimError": gettext_lazy("its token lacks what it must say."),
}


def verify(token: str, keys: Any, *, issuer: str, client_id: str, nonce: str, name: str) -> dict[str, Any]:
    """Return what an id token claims, once everything about it holds. `keys`: the provider's JSON Web Key Set.

    Raises SignInRefused, which says what does not hold.
    """
    import jwt

    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise refused(name, _("its token is not signed as it should be."))
        claims: dict[str, Any] = jwt.decode(
            token,
            jwt.PyJWK(_key(keys, header, name), algorithm=algorithm),
            algorithms=[algorithm],
            issuer=issuer,
            audience=client_id,
            leeway=LEEWAY,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise refused(name, WHY.get(type(exc).__name__, _("its token is damaged."))) from exc
    _look_closer(claims, client_id, nonce, name)
    return claims


def _look_closer(claims: dict[str, Any], client_id: str, nonce: str, name: str) -> None:
    audience, party, subject = claims["aud"], claims.get("azp"), claims["sub"]
    if (party is not None or (isinstance(audience, list) and len(audience) > 1)) and party != client_id:
        raise refused(name, WHY["InvalidAudienceError"])
    if time.time() - float(claims["iat"]) > OLDEST + LEEWAY:
        raise refused(name, WHY["ExpiredSignatureError"])
    said = claims.get("nonce")
    if not nonce or not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise refused(name, _("its token answers another sign-in."))
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise refused(name, WHY["MissingRequiredClaimError"])


def _key(keys: Any, header: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the one key that the token says it is signed with; without a word of it, the only one there is."""
    found = keys.get("keys") if isinstance(keys, dict) else None
    usable = [one for one in found or [] if isinstance(one, dict) and one.get("use", "sig") == "sig"]
    if (wanted := header.get("kid")) is not None:
        usable = [one for one in usable if one.get("kid") == wanted]
    if len(usable) != 1 or usable[0].get("kty") == "oct":
        raise refused(name, WHY["InvalidSignatureError"])
    return usable[0]
