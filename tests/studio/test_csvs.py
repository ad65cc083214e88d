"""Tables as CSV: no cell becomes a formula, nothing is lost on the way back."""

import csv
import io
from decimal import Decimal

import pytest

from studio.csvs import FORMULA, cell, plain, written


@pytest.mark.parametrize("sign", FORMULA)
def test_text_that_would_be_a_formula_is_read_as_text(sign):
    assert cell(f"{sign}HYPERLINK()") == f"'{sign}HYPERLINK()"
    assert plain(cell(f"{sign}HYPERLINK()")) == f"{sign}HYPERLINK()"


@pytest.mark.parametrize("value", [-5, Decimal("-0.25"), 3.5, "plain", "a=b", "'quoted'", ""])
def test_numbers_and_other_text_stay_as_they_are(value):
    assert cell(value) == value
    assert plain(str(value)) == str(value)


def test_many_rows_come_in_pieces_and_are_read_back_whole():
    rows: list[list[object]] = [["name", "n"], *([f'a "b", {n}\nc', n] for n in range(1200)), [None, "=1+1"]]
    pieces = list(written(rows))
    assert len(pieces) == 3
    read = list(csv.reader(io.StringIO("".join(pieces), newline="")))
    assert read[1] == ['a "b", 0\nc', "0"]
    assert read[-1] == ["", "'=1+1"]
    assert len(read) == len(rows)
    assert list(written([])) == []
