"""Secrets at rest."""

import base64
import os
from io import StringIO

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from compute.models import ComputeTarget
from studio import rotation
from studio.seal import NONCE_BYTES, OLD_PREFIX, PREFIX, CannotUnseal, NoSealKey, is_sealed_anew, seal, unseal


@given(st.text(), st.text(max_size=80))
def test_what_is_sealed_comes_back(value, where):
    assert unseal(seal(value, where=where), where=where) == value


def test_it_does_not_come_back_for_another_place():
    sealed = seal("secret", where="compute.target/1/private_key")
    with pytest.raises(CannotUnseal):
        unseal(sealed, where="compute.target/2/private_key")


def test_the_same_secret_is_never_the_same_twice():
    assert seal("secret", where="here") != seal("secret", where="here")


@pytest.mark.parametrize(
    "value", ["", "plain", PREFIX, PREFIX + "a:!!!", PREFIX + "a:AAAA", OLD_PREFIX, OLD_PREFIX + "AAAA"]
)
def test_what_was_never_sealed_is_refused(value):
    with pytest.raises(CannotUnseal):
        unseal(value, where="here")


def test_a_changed_byte_is_found():
    sealed = seal("secret", where="here")
    changed = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    with pytest.raises(CannotUnseal):
        unseal(changed, where="here")


def test_an_older_key_still_opens_and_a_forgotten_one_does_not(settings):
    settings.SEAL_KEYS = ["old"]
    sealed = seal("secret", where="here")
    settings.SEAL_KEYS = ["new", "old"]
    assert unseal(sealed, where="here") == "secret"
    settings.SEAL_KEYS = ["new"]
    with pytest.raises(CannotUnseal):
        unseal(sealed, where="here")


def as_before(value, where, master):
    """Seal as the studio did when a sealed text did not name its key."""
    key, nonce = HKDF(hashes.SHA256(), 32, None, b"studio.seal").derive(master.encode()), os.urandom(NONCE_BYTES)
    return (
        OLD_PREFIX
        + base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, value.encode(), where.encode())).decode()
    )


def test_what_was_sealed_before_keys_had_names_still_opens(settings):
    assert unseal(as_before("secret", "here", settings.SECRET_KEY), where="here") == "secret"
    assert unseal(as_before("secret", "here", settings.SEAL_KEYS[0]), where="here") == "secret"


def test_without_a_key_nothing_is_sealed_and_nothing_kept_in_clear(settings):
    settings.SEAL_KEYS = []
    with pytest.raises(NoSealKey, match="keeps none in clear text"):
        seal("secret", where="here")


def test_a_sealed_text_tells_neither_its_key_nor_its_secret(settings):
    sealed = seal("hunter2", where="here")
    assert "hunter2" not in sealed
    assert settings.SEAL_KEYS[0] not in sealed


@pytest.fixture
def targets(workspace, settings):
    settings.SEAL_KEYS = ["old"]
    made = []
    for number in range(5):
        target = ComputeTarget.objects.create(workspace=workspace, name=f"lab{number}", kind="local")
        target.sealed = {name: seal(f"{name} {number}", where=target.place_of(name)) for name in ("password", "token")}
        target.save()
        made.append(target)
    return made


def rotate():
    told = StringIO()
    call_command("rotate_keys", stdout=told)
    return told.getvalue()


def test_every_secret_is_sealed_anew_in_batches_and_nothing_old_is_left(targets, settings, monkeypatch):
    monkeypatch.setattr(rotation, "BATCH", 2)
    settings.SEAL_KEYS = ["new", "old"]
    said = rotate()
    assert "compute targets: 2 of 5 rows, 4 secrets sealed anew" in said
    assert "compute targets: 5 of 5 rows, 10 secrets sealed anew" in said
    assert "no older one is needed any more" in said
    settings.SEAL_KEYS = ["new"]
    for number, target in enumerate(targets):
        target.refresh_from_db()
        assert all(is_sealed_anew(text) for text in target.sealed.values())
        assert target.secret("token") == f"token {number}"
    assert "0 secrets sealed anew" in rotate()


def test_a_key_that_is_missing_is_told_and_nothing_is_lost(targets, settings):
    settings.SEAL_KEYS = ["new"]
    with pytest.raises(CommandError, match="Put the key that sealed it into SEAL_KEYS"):
        rotate()
    settings.SEAL_KEYS = ["old"]
    targets[0].refresh_from_db()
    assert targets[0].secret("token") == "token 0"


def test_what_another_process_sealed_with_the_old_key_meanwhile_is_found(targets, settings, monkeypatch):
    settings.SEAL_KEYS = ["new", "old"]
    once = rotation.reseal

    def and_then_another(model):
        yield from once(model)
        if model is ComputeTarget:
            settings.SEAL_KEYS = ["old"]
            late = seal("late", where=targets[0].place_of("token"))
            settings.SEAL_KEYS = ["new", "old"]
            ComputeTarget.objects.filter(pk=targets[0].pk).update(sealed={"token": late})

    monkeypatch.setattr(rotation, "reseal", and_then_another)
    with pytest.raises(CommandError, match="1 secrets are under an older key"):
        rotate()


def test_every_model_that_keeps_secrets_takes_part():
    assert {model._meta.label for model in rotation.models_with_secrets()} >= {
        "compute.ComputeTarget",
        "compute.Examination",
    }
