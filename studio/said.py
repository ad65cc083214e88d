"""Sentences that the studio stored, in the reader's language.

What is stored is English, whoever caused it: a worker has no reader. Each such sentence once came out of the
catalogue, as a pattern and its facts; so its pattern is found there again, and its facts, which may be sentences or
parts of them, likewise. What no pattern fits is shown as it is: another program's words, say.
"""

import re
import struct
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import get_language

HOLE = re.compile(r"%\((\w+)\)([\d.]*[a-z])")
FIGURE = re.compile(r"(\d+\.\d+)( (?:kB|MB|GB|TB|s|%)|)")
ENOUGH = 6  # letters of a pattern: fewer would fit anything, so then its fact must look like one
NAME = re.compile(r"[A-Z0-9][\w.]*")  # "Dv2", "4"
LONGEST = 2000  # characters, a tool's own words behind ours included; what is longer is no sentence of ours
JOINTS = (" or ", " and ")
DEEPEST = 4  # facts in facts


class Pattern(NamedTuple):
    """A sentence with holes for facts: its English between the holes, the holes' names and kinds, its translation."""

    parts: list[str]
    holes: list[tuple[str, str]]
    words: str

    @property
    def letters(self) -> int:
        """Return how many letters of it are its own."""
        return sum(c.isalpha() for c in "".join(self.parts))

    def filled(self, facts: dict[str, str]) -> str:
        """Return its translation with these facts in the holes."""
        return HOLE.sub(lambda hole: facts[hole[1]], self.words)

    def facts(self, sentence: str) -> dict[str, str] | None:
        """Return what of `sentence` stands in the holes, or None where it is another sentence."""
        first, *between, last = self.parts
        if not sentence.startswith(first):
            return None
        found, at = [], len(first)
        for part in between:
            end = sentence.find(part, at + 1)
            if end < 0:
                return None
            found.append(sentence[at:end])
            at = end + len(part)
        end = len(sentence) - len(last)
        if end <= at or not sentence.endswith(last):
            return None
        return dict(zip((name for name, _kind in self.holes), [*found, sentence[at:end]], strict=True))


def said(sentence: str) -> str:
    """Return a stored sentence in the reader's language."""
    language = (get_language() or "en").partition("-")[0]
    if not sentence or language == "en" or len(sentence) > LONGEST:
        return sentence
    return _in(language, sentence, 0)


@lru_cache(maxsize=4096)
def _in(language: str, sentence: str, depth: int) -> str:
    known, patterns, scant = _phrases(language)
    if sentence in known or depth > DEEPEST:
        return known.get(sentence, sentence)
    if depth and "\n" in sentence:  # ours, and then a tool's: each line is by itself
        return "\n".join(_in(language, line, depth) for line in sentence.split("\n"))
    for pattern in patterns:
        facts = pattern.facts(sentence)
        if facts is not None:
            return pattern.filled(_facts(language, pattern, facts, depth))
    for pattern in scant if depth else ():  # "Dv2 cores of vision-team"
        facts = pattern.facts(sentence)
        if facts is not None:
            (name, first), *others = facts.items()
            told = _facts(language, pattern, facts, depth)
            if told[name] != first if others else NAME.fullmatch(first):
                return pattern.filled(told)
    for word in JOINTS if depth else ():  # a fact may be a list
        english = sentence.split(word)
        parts = [_in(language, part, depth + 1) for part in english]
        if all(
            " " not in part or part != words for part, words in zip(english, parts, strict=True)
        ):  # else it is prose
            return known.get(word, word).join(parts)
    return sentence


def _facts(language: str, pattern: Pattern, facts: dict[str, str], depth: int) -> dict[str, str]:
    """Return the facts of a sentence as the language writes them."""
    told = {}
    for name, kind in pattern.holes:
        number = FIGURE.fullmatch(facts[name])
        if number and (number[2] or kind.endswith("f")):  # else it may be a version
            told[name] = number_format(Decimal(number[1])) + number[2]
        else:
            told[name] = _in(language, facts[name], depth + 1)
    return told


@lru_cache
def _phrases(language: str) -> tuple[dict[str, str], list[Pattern], list[Pattern]]:
    """Return the sentences without facts, those with facts, the most telling first, and those that tell too little."""
    known, patterns = {}, []
    for english, words in _catalogue(language):
        holes = HOLE.findall(english)
        parts = HOLE.split(english)[::3]
        if not holes:
            known[english] = words
        elif all(parts[1:-1]) and any(c.isalpha() for c in "".join(parts)):
            patterns.append(Pattern(parts, holes, words))
    patterns.sort(key=lambda one: -len("".join(one.parts)))
    telling = [one for one in patterns if one.letters >= ENOUGH]
    return known, telling, [one for one in patterns if one.letters < ENOUGH]


def _catalogue(language: str) -> Iterator[tuple[str, str]]:
    """Yield what the compiled catalogue holds, each form of a plural by itself; gettext keeps only the first."""
    file = Path(settings.LOCALE_PATHS[0]) / language / "LC_MESSAGES" / "django.mo"
    if not file.is_file():
        return
    data = file.read_bytes()
    _magic, _version, count, ids, strings = struct.unpack_from("<5I", data)
    for n in range(count):
        english, words = (
            data[at : at + size].decode().rpartition("\x04")[2].split("\0")
            for size, at in (struct.unpack_from("<2I", data, table + 8 * n) for table in (ids, strings))
        )
        yield from zip(english, words, strict=True)
