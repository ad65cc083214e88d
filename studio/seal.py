"""Secrets at rest: authenticated encryption bound to the row and field it belongs to, under versioned keys."""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PREFIX = "sealed:1:"
NONCE_BYTES = 12


class CannotUnseal(Exception):
    """No key opens this value, or it was moved from the row it was sealed for."""


def _keys() -> list[bytes]:
    """Return 32-byte keys, the one that seals first."""
    secrets = settings.SEAL_KEYS or [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [HKDF(hashes.SHA256(), 32, None, b"studio.seal").derive(s.encode()) for s in secrets]


def seal(value: str, *, where: str) -> str:
    """Return `value` encrypted for the place `where`, such as "compute.target/12/private_key"."""
    nonce = os.urandom(NONCE_BYTES)
    box = AESGCM(_keys()[0]).encrypt(nonce, value.encode(), where.encode())
    return PREFIX + base64.urlsafe_b64encode(nonce + box).decode()


def unseal(sealed: str, *, where: str) -> str:
    """Return what was sealed for `where`. Raises CannotUnseal for another place, another key, or a changed byte."""
    if not sealed.startswith(PREFIX):
        raise CannotUnseal("This is not a sealed value.")
    try:
        raw = base64.urlsafe_b64decode(sealed.removeprefix(PREFIX))
    except ValueError as exc:
        raise CannotUnseal("This sealed value is damaged.") from exc
    if len(raw) < NONCE_BYTES:
        raise CannotUnseal("This sealed value is damaged.")
    for key in _keys():
        try:
            return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], where.encode()).decode()
        except InvalidTag:
            continue
    raise CannotUnseal("None of the keys in SEAL_KEYS opens this value.")
