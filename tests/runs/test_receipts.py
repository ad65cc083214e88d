"""A receipt says in words who was signalled, what was left and when all was over; a forged one says nothing wrong."""

import pytest
from django.urls import reverse
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from compute.states import EndReason, JobState
from runs.receipts import parts_of, summary_of
from runs.states import RunStatus

TERM, KILL, EMPTY = (f"2026-11-25T09:01:{second}+00:00" for second in ("12.5", "22.5", "22.6"))
CANCELED = {
    "signalled": [
        {"pid": 12, "command": "python train.py <b>", "signal": "SIGTERM"},
        {"pid": 13, "command": "sleep 9999", "signal": "SIGTERM"},
        {"pid": 12, "command": "python train.py <b>", "signal": "SIGKILL"},
    ],
    "left": [],
    "term_at": TERM,
    "kill_at": KILL,
    "empty_at": EMPTY,
}
KEYS = (
    "ranks",
    "signalled",
    "left",
    "term_at",
    "kill_at",
    "empty_at",
    "more",
    "pid",
    "command",
    "signal",
    "containers",
)
LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([TERM, KILL, EMPTY])
ENTRY = LEAF | st.dictionaries(st.sampled_from(KEYS), LEAF, max_size=3)
RANK = st.dictionaries(st.sampled_from(KEYS), LEAF | st.lists(ENTRY, max_size=3), max_size=5)


def test_a_receipt_tells_each_process_once_with_its_signals_and_when():
    (part,) = parts_of({"ranks": [CANCELED]})
    assert [text for _at, text in part.steps] == [
        "SIGTERM was sent to 2 processes.",
        "SIGKILL was sent to 1 process.",
        "Nothing was left.",
    ]
    assert [(one.pid, one.signals) for one in part.processes] == [(12, "SIGTERM, SIGKILL"), (13, "SIGTERM")]
    assert summary_of([part]) == "2 processes were ended; nothing was left after 10 s."
    with translation.override("es"):
        assert "10 s" in summary_of(parts_of({"ranks": [CANCELED]}))


def test_what_was_left_comes_first_and_what_needed_no_signal_says_little():
    stuck = {"left": [{"pid": 7, "command": "dd"}], "kill_at": KILL, "empty_at": None, "signalled": []}
    parts = parts_of({"ranks": [CANCELED, stuck]})
    assert [part.rank for part in parts] == [0, 1]
    assert summary_of(parts) == "1 process could not be ended, and is still there."
    calm = parts_of({"ranks": [{"signalled": [], "left": [], "term_at": None, "kill_at": None, "empty_at": EMPTY}]})
    assert [text for _at, text in calm[0].steps] == ["Nothing was left."]
    assert summary_of(calm) == ""


def test_containers_are_named_also_of_a_run_that_was_lost():
    (part,) = parts_of({"containers": ["studio-walk-1"], "containers_left": ["studio-walk-2: no answer"]})
    said = [text for _at, text in part.steps]
    assert said[0] == "The container studio-walk-1 was removed."
    assert said[1] == "A container could not be removed: studio-walk-2: no answer"


@given(receipt=RANK | st.fixed_dictionaries({"ranks": st.lists(RANK | LEAF, max_size=3)}))
def test_whatever_another_machine_wrote_as_a_receipt_is_read_or_passed_over(receipt):
    parts = parts_of(receipt)
    assert isinstance(summary_of(parts), str)


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_page_of_a_canceled_run_shows_the_receipt(as_user, ana, make_run, attempt_of, language):
    run = make_run("brave_lemur", status=RunStatus.CANCELED, reason="ana canceled it.", config={"script": "train.py"})
    attempt_of(run, state=JobState.ENDED, end_reason=EndReason.CANCELED, receipt={"ranks": [CANCELED]})
    page = reverse("runs:detail", args=[run.workspace.name, run.run_id])
    shown = as_user(ana).get(page, {"tab": "details"}, HTTP_ACCEPT_LANGUAGE=language).content.decode()
    assert "SIGTERM, SIGKILL" in shown
    assert "python train.py &lt;b&gt;" in shown
    assert "#attempts" in as_user(ana).get(page).content.decode()
