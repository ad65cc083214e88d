"""What the doctor says of settings that are not safe. What it reaches is tested on a team's studio."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings as django_settings

from studio import doctor
from studio.doctor import Word
from studio.people.models import User
from studio.signin.models import Provider
from tests.receivers import mail_server


def said(look: doctor.Look) -> dict[str, Word]:
    return {finding.what: finding.word for finding in look()}


def words(look: doctor.Look, part: str) -> list[Word]:
    return [word for what, word in said(look).items() if part in what]


def test_debug_and_any_host_are_bad(settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, ["*"]
    assert words(doctor.safety, "DEBUG") == words(doctor.safety, "ALLOWED_HOSTS") == [Word.BAD]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", []),
        ("http://[::1]:8000", []),
        ("http://localhost:8000", []),
        ("http://10.0.0.4:8000", [Word.WARN]),
        ("http://studio.example.org", [Word.WARN]),
    ],
)
def test_plain_http_beyond_this_machine_is_a_warning(settings: Any, url: str, expected: list[Word]) -> None:
    settings.PUBLIC_URL = url
    assert words(doctor.safety, "plain HTTP") == expected


def test_passwords_alone_are_a_warning_where_others_can_try_them(settings: Any, ana: User) -> None:
    assert said(doctor.sign_in) == {}  # only this machine reaches it
    settings.PUBLIC_URL = "https://studio.example.org"
    assert words(doctor.sign_in, "A password alone lets 1 people in") == [Word.WARN]
    Authenticator.objects.create(user=ana, type=Authenticator.Type.TOTP, data={})
    assert said(doctor.sign_in) == {}
    Provider.objects.create(slug="contoso", name="Contoso", issuer="https://login.example", client_id="studio")
    assert words(doctor.sign_in, "with a provider") == [Word.OK]


def test_a_secret_that_others_can_read_is_bad(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.SECRET_KEY = tmp_path, "abcdefghij" * 6
    key = tmp_path / "secret_key"
    key.write_text("…")
    key.chmod(0o640)
    assert words(doctor.secrets, "secret_key") == [Word.BAD]
    key.chmod(0o600)
    assert list(said(doctor.secrets).values()) == [Word.OK]


def test_a_short_key_is_a_warning(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.SECRET_KEY = tmp_path, "short"
    assert words(doctor.secrets, "SECRET_KEY is short") == [Word.WARN]


def test_a_data_directory_that_is_gone_or_open_is_told(settings: Any, tmp_path: Path) -> None:
    for name in ("LOG_DIR", "SNAPSHOT_DIR", "JOB_DIR"):
        setattr(settings, name, tmp_path / "data" / name)
    settings.DATA_DIR = tmp_path / "data"
    assert words(doctor.folders, "There is no data directory") == [Word.BAD]
    settings.DATA_DIR.mkdir(mode=0o700)
    assert list(said(doctor.folders).values()) == [Word.OK]
    settings.DATA_DIR.chmod(0o755)
    assert words(doctor.folders, "can look into") == [Word.WARN]


def test_a_look_that_fails_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "LOOKS", [broken, doctor.disks])
    first, *others = doctor.examine()
    assert (first.word, bool(others)) == (Word.BAD, True)


def test_where_no_studio_was_ever_started_each_look_says_so_in_its_own_words(tmp_path: Path) -> None:
    surroundings = {"PATH": os.defpath, "STUDIO_DATA": os.fspath(tmp_path / "nowhere")}
    command = [sys.executable, "manage.py", "doctor"]
    done = subprocess.run(
        command, env=surroundings, cwd=django_settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"bad   There is no data directory {tmp_path}/nowhere.\n")
    for said in (
        "bad   The activity could not be looked at.\n      → It is kept in the database: see there.",
        "bad   There is no SECRET_KEY: nobody can sign in.",
        "warn  E-mail is not set up",
        "ways to sign in could not be looked at",
    ):
        assert said in done.stdout
    assert "See the studio's logs" not in done.stdout
    assert "urlopen" not in done.stdout
    assert not (tmp_path / "nowhere").exists()


def test_the_mail_server_is_signed_in_to(settings: Any) -> None:
    backends = "django.core.mail.backends"
    settings.EMAIL_BACKEND = f"{backends}.console.EmailBackend"
    assert words(doctor.mail, "E-mail is not set up") == [Word.WARN]
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = f"{backends}.smtp.EmailBackend", "127.0.0.1"
    with mail_server() as (port, mails):
        settings.EMAIL_PORT = port
        assert words(doctor.mail, "The mail server answers") == [Word.OK]
        assert not mails
    assert words(doctor.mail, "does not answer as it should") == [Word.BAD]
    assert doctor.mail in doctor.LOOKS
