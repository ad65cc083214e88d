"""Any line of a large log is found without reading the log."""

import os
import random
import struct

import pytest

from compute import log_index, logs
from compute.log_index import BLOCK

KEY = "runs/digits-svm_1763846400_1f0c9a3b/1/std_log.txt"


@pytest.fixture
def large() -> bytes:
    rng = random.Random(5)  # noqa: S311
    data = b"".join(b"x" * rng.choice([0, 3, 80, 5000]) + b"\n" for _ in range(3000)) + b"y" * (2 * BLOCK) + b"\nend"
    logs.append(KEY, 0, data)
    return data


def test_lines_are_counted_before_every_block(large: bytes):
    wanted = [large.count(b"\n", 0, at) for at in range(0, len(large), BLOCK)]
    assert log_index.counts(KEY, len(large)) == wanted
    assert log_index.counts(KEY, len(large)) == wanted  # as kept
    assert log_index.counts(KEY, BLOCK + 5) == wanted[:2]
    for offset in (0, 1, 777_777, BLOCK, BLOCK + 1, len(large)):
        assert log_index.lines_before(KEY, offset) == large.count(b"\n", 0, offset)


def test_every_line_begins_where_it_is_said_to(large: bytes):
    at = 0
    for number, line in enumerate(large.split(b"\n"), 1):
        if number % 97 == 1 or number > 2990:
            assert log_index.start_of(KEY, number) == at
        at += len(line) + 1
    assert log_index.start_of(KEY, number + 1) is None
    assert log_index.start_of("runs/none/1/std_log.txt", 1) is None


def test_a_log_that_ends_with_a_newline_has_no_line_behind_it():
    logs.append(KEY, 0, b"one\ntwo\n")
    assert [log_index.start_of(KEY, line) for line in (1, 2, 3)] == [0, 4, None]


def test_what_was_counted_is_not_counted_again_and_grows_with_the_log(large: bytes, monkeypatch: pytest.MonkeyPatch):
    log_index.counts(KEY, len(large))
    logs.add(KEY, b"\n" * BLOCK)
    read, real = [], logs.read

    def note(key: str, offset: int, size: int) -> bytes:
        read.append((key, offset))
        return real(key, offset, size)

    monkeypatch.setattr(logs, "read", note)
    size = len(large) + BLOCK
    assert log_index.counts(KEY, size)[-1] == logs.path(KEY).read_bytes().count(b"\n", 0, size // BLOCK * BLOCK)
    assert [at for key, at in read if key == KEY] == [(size // BLOCK - 1) * BLOCK]


def test_a_log_that_was_cut_is_counted_anew(large: bytes):
    log_index.counts(KEY, len(large))
    logs.path(KEY).write_bytes(b"\n" * (BLOCK + 10))
    assert log_index.counts(KEY, BLOCK + 10) == [0, BLOCK]


def test_half_an_entry_and_a_full_disk_do_no_harm(large: bytes, monkeypatch: pytest.MonkeyPatch):
    wanted = log_index.counts(KEY, len(large))
    kept = logs.path(f".index/{BLOCK}/{KEY}")
    kept.write_bytes(kept.read_bytes()[:13])
    assert log_index.counts(KEY, len(large)) == wanted
    kept.unlink()

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert log_index.counts(KEY, len(large)) == wanted


def test_the_index_is_no_log_of_the_run(large: bytes):
    log_index.counts(KEY, len(large))
    log_index.marks_path(KEY).write_bytes(b"")
    assert [stream.name for stream in logs.streams("runs/digits-svm_1763846400_1f0c9a3b/1")] == ["std_log.txt"]


def mark(*pairs: tuple[float, int]) -> None:
    log_index.marks_path(KEY).write_bytes(b"".join(struct.pack("<dQ", *pair) for pair in pairs) + b"half")


def test_a_byte_was_written_by_the_first_mark_beyond_it():
    mark((10.0, 100), (11.0, 250), (15.5, 900))
    assert log_index.marks(KEY) == [(10.0, 100), (11.0, 250), (15.5, 900)]
    assert log_index.marks(KEY, 100, 250) == [(11.0, 250)]
    assert log_index.marks(KEY, 99, 251) == [(10.0, 100), (11.0, 250), (15.5, 900)]
    assert log_index.marks(KEY, 900, 5000) == []
    assert [log_index.offset_at(KEY, time) for time in (9, 10.5, 12, 99)] == [0, 100, 250, 900]


def test_marks_are_thinned_and_keep_the_last():
    mark(*((float(second), second * 100) for second in range(1, 10_001)))
    found = log_index.marks(KEY, most=100)
    assert len(found) == 100
    assert found[-1] == (10_000.0, 1_000_000)


def test_a_clock_that_was_set_back_and_a_log_that_was_cut_leave_marks_in_order():
    mark((10.0, 100), (11.0, 200), (5.0, 300), (12.0, 50), (13.0, 80))
    assert log_index.marks(KEY) == [(12.0, 50), (13.0, 80)]
    mark((10.0, 100), (5.0, 300))
    assert log_index.marks(KEY) == [(10.0, 100), (10.0, 300)]
