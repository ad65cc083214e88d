"""The studio speaks the reader's language, and all of it."""

import html
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import translation
from django.utils.translation import trans_real

from compute.states import NodeState
from studio import said
from studio.api import urls as api
from studio.management.commands import translate
from studio.people.models import User
from studio.templatetags import studio as tags
from tests.compute.tiny import ENGLISH as TINY
from tests.pages import furnish, places

CATALOGUES = sorted(translate.CATALOGUES.glob("*/LC_MESSAGES/django.po"))
HOLES = re.compile(r"%\(\w+\)[\d.]*[a-z]|%[sd]|\{\w+\}|</?\w+>")


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    """Leave the thread speaking what it spoke before."""
    with translation.override("en"):
        yield
    translation.deactivate()


@pytest.fixture(params=CATALOGUES, ids=lambda path: path.parent.parent.name)
def catalogue(request: pytest.FixtureRequest) -> Any:
    return translate.of_file(request.param)


def test_every_sentence_is_translated(catalogue):
    """Run `manage.py translate`, fill in what is empty in django.po, and run it again."""
    said = translate.of_the_code()
    unknown = [str(m.id) for m in said if m.id and catalogue.get(m.id, context=m.context) is None]
    assert not unknown, "not in the catalogue: run manage.py translate"
    assert not translate.missing(catalogue)


def test_a_translation_keeps_the_places_for_facts(catalogue):
    for message in catalogue:
        said = [message.id] if isinstance(message.id, str) else list(message.id)
        words = [message.string] if isinstance(message.string, str) else list(message.string)
        for one, other in zip(said, words, strict=True):
            if one:
                assert sorted(HOLES.findall(other)) == sorted(HOLES.findall(one)), other


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_the_compiled_catalogue_is_current(path):
    assert path.with_suffix(".mo").read_bytes() == translate.compiled(translate.of_file(path)), (
        "run manage.py translate"
    )


@pytest.mark.parametrize(
    "stored",
    [
        "It started more than 512 processes.",
        "It went over its node's memory: used 3.8 of 3.7 GB.",
        "It went over its node's memory: used 110 of 100 MB.",
        "It filled the disk: used 20.1 of 20 GB of disk.",
        "started more than 512 processes",
        "ran for its maximum of 0.4 s",
        "ended by SIGSEGV",
        "Neither its processes nor its exit code are there any more.",
        "The machine restarted while it ran. It starts over from its first line: attempt 2 of 4.",
        "It was told to end from outside the studio, as when the machine shuts down.",
        "It ran when the backup of 2026-11-25 09:00:00 UTC was made, and the studio was restored from that.",
    ],
)
def test_how_a_run_ended_is_said_in_spanish(stored):
    english = re.compile(r"\b(the|its|it|used|ended|started|ran|of|than)\b", re.IGNORECASE)
    with translation.override("es"):
        assert not english.search(said.said(stored)), said.said(stored)


def test_numbers_sizes_and_money_are_written_as_the_language_does():
    with translation.override("es"):
        assert tags.size_of(7.1e9) == "7,1 GB"
        assert tags.duration(0.43) == "0,4 s"
        assert tags.usd(Decimal("1234.5")) == "1\xa0234,50 $"
        assert str(NodeState.IDLE.label) == "inactivo"


def test_the_browser_asks_and_the_profile_decides(client: Client, ana: User, as_user):
    answer = client.get("/accounts/login/", headers={"accept-language": "es-MX,es;q=0.9,en;q=0.5"})
    assert '<html lang="es"' in answer.text
    assert "Iniciar sesión" in answer.text
    assert answer.headers["Content-Language"] == "es"
    ana.language = "en"
    ana.save()
    assert '<html lang="en"' in as_user(ana).get("/profile/", headers={"accept-language": "es"}).text
    ana.language = "es"
    ana.save()
    page = as_user(ana).get("/profile/", headers={"accept-language": "en"}).text
    assert '<html lang="es"' in page
    assert "Guardar" in page


# Nothing escapes the catalogue: every translation is put between marks, and what stands outside of them is no English.

MARKED = re.compile("⟦[^⟦⟧]*⟧")
CODE = re.compile(r"<(script|style|pre|code|textarea|svg|option|datalist|template)\b.*?</\1>", re.DOTALL)
SAID = re.compile(r'\b(?:title|aria-label|placeholder|alt|data-[a-z-]*-said|data-confirm[a-z-]*)="([^"]*)"')
WORD = re.compile(r"[A-Za-z]{2,}(?:[ ’'][A-Za-z]{2,})+")  # two words in a row; names and sizes stand alone


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put every translation between marks."""
    one, many, lazy = trans_real.gettext, trans_real.ngettext, trans_real.pgettext
    monkeypatch.setattr(trans_real, "gettext", lambda m: f"⟦{one(m)}⟧")
    monkeypatch.setattr(trans_real, "ngettext", lambda s, p, n: f"⟦{many(s, p, n)}⟧")
    monkeypatch.setattr(trans_real, "pgettext", lambda c, m: f"⟦{lazy(c, m)}⟧")
    stored = said._in

    def marks(words: str, text: str) -> str:
        return words if words == text else f"⟦{words}⟧"

    monkeypatch.setattr(said, "_in", lambda language, text, depth: marks(stored(language, text, depth), text))
    kept = vars(translation)["_trans"].__dict__  # each function, once it was asked for
    for name in ("gettext", "ngettext", "pgettext"):
        kept.pop(name, None)
    yield
    for name in ("gettext", "ngettext", "pgettext"):
        kept.pop(name, None)
    monkeypatch.undo()


def outside(page: str) -> set[str]:
    """Return the words of a page that no catalogue has."""
    while MARKED.search(page):
        page = MARKED.sub("", page)
    body = CODE.sub(" ", page.partition("<body")[2])
    texts = [*SAID.findall(body), *re.findall(r">([^<]+)<", body)]
    return {found for text in texts for found in WORD.findall(html.unescape(text))}


FACTS = re.compile(
    "Compute Studio|Microsoft Teams|Ben Ortiz|second fold|Kernels compared|nightly sweeps|python train|kernel rbf|"
    "import sys|All folds|ML people|Nothing on it|Use low priority|an old one|nightly sweep|screen in the lab|"
    "team Dv|team NC"
)


@pytest.mark.usefixtures("with_tiny")
def test_every_page_speaks_spanish_alone(marked, ana: User, as_user, settings):
    workspace = furnish(ana)
    User.objects.update(language="es")
    clients = {user.username: as_user(user) for user in User.objects.all()} | {"": Client()}
    found, document = {}, json.dumps(api.document())
    for place in places(ana, workspace):
        answer = clients[place.who].get(place.path, headers={"accept-language": "es"}, follow=True)
        assert answer.status_code in (200, 403, 404, 410), place
        rest = {words for words in outside(answer.text) if not FACTS.search(words) and words not in TINY}
        if place.name == "api":  # the API's document is English, whoever reads it
            rest = {words for words in rest if words not in document}
        if rest:
            found[place.name] = rest
    assert not found, "\n".join(f"{name}: {sorted(words)}" for name, words in found.items())
