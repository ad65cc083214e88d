"""What templates say about time, sizes and shares."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import timezone

from studio.templatetags import studio as tags


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "—"),
        (0, "0.0 s"),
        (0.43, "0.4 s"),
        (59.6, "1 m 0 s"),
        (72, "1 m 12 s"),
        (3700, "1 h 1 m"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds, said):
    assert tags.duration(seconds) == said
    if seconds is not None:
        assert tags.duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("count", "said"), [(None, "—"), (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (212_345, "212 kB"), (7.1e9, "7.1 GB")]
)
def test_sizes_are_decimal(count, said):
    assert tags.size_of(count) == said


def test_money_keeps_a_third_digit_only_where_there_is_one():
    assert tags.usd(Decimal("0.4600")) == "$0.46"
    assert tags.usd(Decimal("0.114")) == "$0.114"


def test_times_carry_what_the_page_keeps_fresh():
    at = timezone.now() - timedelta(minutes=3, seconds=5)
    assert "data-ago>3 min ago</time>" in tags.ago(at)
    assert "data-since>3 m 5 s</time>" in tags.since(at)
    assert tags.ago(None) == tags.since(None) == "—"


def test_a_bar_is_drawn_to_scale_without_styles():
    drawn = tags.bar("4 of 20 nodes", of=20, run=3, ok=1)
    assert 'aria-label="4 of 20 nodes"' in drawn
    assert '<rect x="0.0" y="0" width="150.0" height="10" class="fill-run">' in drawn
    assert '<rect x="150.0" y="0" width="50.0" height="10" class="fill-ok">' in drawn
    assert "style" not in drawn


@pytest.mark.parametrize("parts", [{}, {"run": 0}, {"run": None}])
def test_an_empty_bar_is_drawn_empty(parts):
    assert "<rect" not in tags.bar("nothing", of=0, **parts)


def test_a_timeline_says_its_phases_and_escapes_them():
    drawn = tags.timeline([("idle", 14, "Queued 14 s"), ("run", 42, "<b>Running</b>"), ("odd", 0, "never")])
    assert drawn.count("<rect") == 2
    assert "&lt;b&gt;Running&lt;/b&gt;" in drawn


def test_node_cells_say_in_words_what_they_show():
    drawn = tags.node_cells(total=6, running=3, idle=1)
    assert 'aria-label="4 of 6 nodes: 3 running, 1 idle"' in drawn
    assert drawn.count("<i ") == 6
    wide = tags.node_cells(total=200, running=100, idle=1)
    assert wide.count("<i ") <= tags.MOST_CELLS + 1
    assert 'class="o"' in wide  # one of two hundred is still seen


def test_tags_are_chips_and_escaped():
    assert tags.chips({"a<": "b&"}) == "<span><b>a&lt;</b>b&amp;</span>"
    assert tags.chips(None) == ""


def test_a_page_without_a_workspace_allows_nothing(rf):
    context = Context({"request": rf.get("/")})
    said = Template('{% load studio %}<button {% needs "run.submit" %}>').render(context)
    assert "disabled" in said
