"""Logs are bytes at offsets."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from compute import logs

KEY = "runs/digits-svm_1763846400_1f0c9a3b/1/std_log.txt"
BYTES = b"caf\xc3\xa9 \xff\x00\r\n\x1b[31mred"


def test_bytes_come_back_as_they_were_written():
    assert logs.append(KEY, 0, BYTES) == len(BYTES)
    assert logs.read(KEY, 0, 1000) == BYTES
    assert logs.read(KEY, 4, 2) == BYTES[4:6]
    assert logs.size(KEY) == len(BYTES)


def test_a_log_that_does_not_exist_yet_is_empty():
    assert logs.read(KEY, 0, 10) == b""
    assert logs.size(KEY) == 0
    assert logs.streams("runs/nobody") == []


def test_the_same_bytes_at_the_same_offset_change_nothing():
    logs.append(KEY, 0, b"one\n")
    logs.append(KEY, 0, b"one\n")
    logs.append(KEY, 0, b"one\ntwo\n")
    assert logs.append(KEY, 4, b"two\n") == 8
    assert logs.read(KEY, 0, 100) == b"one\ntwo\n"


def test_a_log_has_no_holes():
    logs.append(KEY, 0, b"one")
    with pytest.raises(ValueError, match="holds 3 bytes"):
        logs.append(KEY, 4, b"two")


def test_several_writers_add_at_the_end():
    logs.add(KEY, b"one\n")
    assert logs.add(KEY, b"two\n") == 8
    assert logs.read(KEY, 0, 100) == b"one\ntwo\n"


def test_a_process_writes_to_the_path():
    logs.path(KEY).write_bytes(b"hello\n")
    assert logs.read(KEY, 0, 100) == b"hello\n"


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../secret_key", "runs/../../secret_key", "runs//x", "runs/./x", "runs/x/", "runs/a b",
     "runs/a\nb", "runs/ñ", "runs/x\0", "runs\\..\\x", "runs/..", "runs/" + "a" * 256],
)  # fmt: skip
def test_a_key_cannot_leave_the_store(key: str):
    for ask in (logs.path, logs.size, logs.streams, lambda k: logs.read(k, 0, 1), lambda k: logs.append(k, 0, b"")):
        with pytest.raises(ValueError, match="Not a log's key"):
            ask(key)


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path: Path):
    (tmp_path / "secret").write_text("sealed")
    logs.path(KEY).symlink_to(tmp_path / "secret")
    assert logs.read(KEY, 0, 100) == b""
    assert logs.streams("runs") == []


def test_a_pipe_or_a_folder_in_place_of_a_log_is_empty():
    os.mkfifo(logs.path(KEY))
    assert logs.read(KEY, 0, 100) == b""
    logs.path(f"{KEY}.d/x")
    assert logs.read(f"{KEY}.d", 0, 100) == b""


def test_streams_are_listed_in_the_order_of_their_numbers():
    for name in ("2/studio.txt", "1/std_log_process_10.txt", "1/std_log_process_2.txt", "1/a b.txt", "10/std_log.txt"):
        file = logs.path("runs/r/1/x").parent.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"12345")
    found = logs.streams("runs/r")
    assert [stream.name for stream in found] == [
        "1/std_log_process_2.txt",
        "1/std_log_process_10.txt",
        "2/studio.txt",
        "10/std_log.txt",
    ]
    assert found[0] == logs.Stream("runs/r/1/std_log_process_2.txt", "1/std_log_process_2.txt", 5)


def test_a_digest_is_of_the_first_bytes():
    data = b"line\n" * 500_000  # more than one piece
    logs.append(KEY, 0, data)
    assert logs.sha256(KEY, 1_500_001) == hashlib.sha256(data[:1_500_001]).hexdigest()
    assert logs.digest(KEY, 1_500_001).result(10) == logs.sha256(KEY, 1_500_001)
    assert logs.digest(KEY, 1_500_001) is logs.digest(KEY, 1_500_001)  # whoever asks meanwhile waits for the same


@examples(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=12), again=st.randoms())
def test_pieces_sent_again_in_any_overlap_give_the_same_log(data: bytes, cuts: list[int], again):
    logs.path(KEY).unlink(missing_ok=True)
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        start = again.randint(0, min(cut, logs.size(KEY)))
        logs.append(KEY, start, data[start:cut])
    logs.append(KEY, logs.size(KEY), data[logs.size(KEY) :])
    assert logs.read(KEY, 0, 1000) == data
