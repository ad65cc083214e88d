"""A search goes through all of a log, across the borders of what it reads at once."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from compute import log_search


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "CHUNK", 64)
    monkeypatch.setattr(log_search, "KEEP", 32)


def search(data: bytes, kind: str, needle: bytes = b"", *, case: bool = False, start: int = 0, stop: int = 2**53,
           most: int = 1000) -> tuple[list[tuple[int, int]], int]:  # fmt: skip
    """Return [(offset, line), …] and how many there are."""
    said: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_search, "tell", lambda words: said.append(json.loads(words)))
        patch.setattr(os, "pread", lambda _fd, size, at: data[at : at + size])
        log_search.search(kind, needle, case, start, stop, most, data.count(b"\n", 0, start))
    assert said[-1]["to"] == min(len(data), stop) or kind == "errors"
    return [(offset, line) for words in said for offset, line in words.get("at", [])], said[-1]["count"]


@examples(deadline=None, max_examples=150)
@given(
    data=st.lists(st.sampled_from([b"a", b"ab", b"AB", b"\n", b"\xff", b"x" * 40])).map(b"".join),
    needle=st.sampled_from([b"a", b"ab", b"abab", b"b\na", b"\xff", b"xxx"]),
    case=st.booleans(),
    start=st.integers(0, 100),
)
def test_a_text_is_found_wherever_it_is(data: bytes, needle: bytes, case: bool, start: int):
    flags = 0 if case else re.IGNORECASE
    wanted = [m.start() for m in re.compile(re.escape(needle), flags).finditer(data, start)]
    found, count = search(data, "text", needle, case=case, start=min(start, len(data)))
    assert [offset for offset, _line in found] == wanted
    assert [line for _offset, line in found] == [data.count(b"\n", 0, offset) + 1 for offset in wanted]
    assert count == len(wanted)


def test_a_regular_expression_is_looked_for_in_lines():
    data = b"".join(b"step %d loss 0.%d\n" % (i, i) for i in range(200))
    found, count = search(data, "regex", rb"^step \d*7 .*9?$")
    assert count == 20
    assert found[1] == (data.index(b"step 17 "), 18)
    assert search(data, "regex", rb"x*")[1] == 0  # nothing is no match


def test_matches_before_and_behind_what_is_asked_for_are_left_out():
    data = b"needle " * 50
    assert search(data, "text", b"needle", start=7, stop=22)[0] == [(7, 1), (14, 1), (21, 1)]


def test_more_matches_than_are_told_are_counted():
    assert search(b"a\n" * 500, "text", b"a", most=3) == ([(0, 1), (2, 2), (4, 3)], 500)


def test_errors_are_found_one_a_line_and_what_only_looks_like_one_is_not():
    data = (
        b"fine\nTraceback (most recent call last):\n  File\nValueError: Error in Exception\nMyErrors are none\n"
        b"terror: no\nfatal: not a repository\nCRITICAL\nxFAILEDx\n" + b"." * 200 + b" ERROR disk\n"
    )
    found, count = search(data, "errors")
    assert [line for _offset, line in found] == [2, 4, 7, 8, 10]
    assert count == 5
    assert search(data, "errors", start=found[0][0] + 1, most=1)[0] == [found[1]]


def test_as_a_program_it_reads_a_file_and_says_the_last_word(tmp_path: Path):
    import subprocess

    (tmp_path / "log").write_bytes(b"caf\xc3\xa9\nCaf\xc3\xa9\n" + b"\n" * 100)
    with (tmp_path / "log").open("rb") as log:
        command = [sys.executable, "-I", "-S", log_search.__file__, "text", "café".encode().hex(), "any"]
        done = subprocess.run([*command, "0", "1000", "10", "0"], stdin=log, capture_output=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"at": [[0, 1], [6, 2]]},
        {"count": 2, "to": 112},
    ]
