"""The vault: secrets at rest, authenticated and encrypted for the row and field they belong to, under versioned keys.

A sealed text names its key, by an id that tells nothing of it: "sealed:2:<key id>:<nonce and box>". The first of
SEAL_KEYS seals; all of them open, and so does SECRET_KEY what was sealed before there were keys for it ("sealed:1:").
"""

import base64
import os
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.translation import gettext as _

from studio.errors import NotAllowedNow

PREFIX, OLD_PREFIX = "sealed:2:", "sealed:1:"
NONCE_BYTES = 12


class CannotUnseal(Exception):
    """No key opens this value, or it was moved from the row it was sealed for."""


class NoSealKey(NotAllowedNow):
    """There is no key to seal with: nothing is kept in clear text instead."""


class Key(NamedTuple):
    id: str  # of eight letters; derived beside the key, not from it
    secret: bytes


@lru_cache(maxsize=16)
def _key(master: str) -> Key:
    derived = HKDF(hashes.SHA256(), 32, None, b"studio.seal").derive(master.encode())
    name = HKDF(hashes.SHA256(), 5, None, b"studio.seal.id").derive(master.encode())
    return Key(base64.b32encode(name).decode().lower(), derived)


def _keys() -> list[Key]:
    """Return the keys that open, the one that seals first where there is one."""
    masters = [*settings.SEAL_KEYS, settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [_key(master) for master in dict.fromkeys(masters) if master]


def newest_key() -> Key:
    """Return the key that seals. Raises NoSealKey when none is set."""
    if not settings.SEAL_KEYS:
        raise NoSealKey(
            _("This studio has no key to seal credentials with, and keeps none in clear text."),
            _("Whoever looks after it sets SEAL_KEYS, or SEAL_KEYS_FILE, to a long random text and restarts it."),
        )
    return _key(settings.SEAL_KEYS[0])


def seal(value: str, *, where: str) -> str:
    """Return `value` encrypted for the place `where`, such as "compute.target/12/private_key". Raises NoSealKey."""
    key, nonce = newest_key(), os.urandom(NONCE_BYTES)
    box = AESGCM(key.secret).encrypt(nonce, value.encode(), where.encode())
    return f"{PREFIX}{key.id}:{base64.urlsafe_b64encode(nonce + box).decode()}"


def unseal(sealed: str, *, where: str) -> str:
    """Return what was sealed for `where`. Raises CannotUnseal for another place, another key, or a changed byte."""
    prefix = PREFIX if sealed.startswith(PREFIX) else OLD_PREFIX
    key_id, colon, text = sealed.removeprefix(prefix).rpartition(":")
    if not sealed.startswith(prefix) or bool(colon) != (prefix == PREFIX):
        raise CannotUnseal("This is not a sealed value.")
    try:
        raw = base64.urlsafe_b64decode(text)
    except ValueError as exc:
        raise CannotUnseal("This sealed value is damaged.") from exc
    if len(raw) < NONCE_BYTES:
        raise CannotUnseal("This sealed value is damaged.")
    for key in _keys():
        if colon and key_id != key.id:
            continue
        try:
            return AESGCM(key.secret).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], where.encode()).decode()
        except InvalidTag:
            continue
    raise CannotUnseal("None of the keys in SEAL_KEYS opens this value.")


def is_sealed_anew(sealed: str) -> bool:
    """Say whether the newest key sealed it."""
    return sealed.startswith(f"{PREFIX}{newest_key().id}:")
