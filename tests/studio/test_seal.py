"""Secrets at rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.seal import PREFIX, CannotUnseal, seal, unseal


@given(st.text(), st.text(max_size=80))
def test_what_is_sealed_comes_back(value, where):
    assert unseal(seal(value, where=where), where=where) == value


def test_it_does_not_come_back_for_another_place():
    sealed = seal("secret", where="compute.target/1/private_key")
    with pytest.raises(CannotUnseal):
        unseal(sealed, where="compute.target/2/private_key")


def test_the_same_secret_is_never_the_same_twice():
    assert seal("secret", where="here") != seal("secret", where="here")


@pytest.mark.parametrize("value", ["", "plain", PREFIX, PREFIX + "!!!", PREFIX + "AAAA"])
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
