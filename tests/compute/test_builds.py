"""What a build sees, and what people are told when it fails. What builds make is in test_environments."""

import sys
from pathlib import Path

import pytest

from compute import builds


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement nope==1 (from versions: none)",
            "no package “nope”",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement numpy==99 (from versions: 1.3.0)",
            "no numpy==99",
        ),
        (
            "  cause: Because there is no version of numpy==99.0 and you require numpy==99.0, we can …",
            "no numpy==99.0 for",
        ),
        ("and you require numpy<1.0, we can conclude that your requirements are unsatisfiable.", "exclude one another"),
        ("error: Failed to build `uwsgi==2.0.1`", "compiled here"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
    ],
)
def test_the_tools_words_get_advice(words: str, advice: str) -> None:
    assert advice in builds.advice(words, "")


def test_a_build_sees_nothing_of_the_studios_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "SEAL_KEYS", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "PIP_TARGET"):
        monkeypatch.setenv(name, "never-in-a-build")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org")
    seen = builds.surroundings(tmp_path)
    assert "never-in-a-build" not in str(seen)
    assert seen["PIP_INDEX_URL"] == "https://index.example.org"
    assert f"{sys.prefix}/bin" not in seen["PATH"].split(":")
