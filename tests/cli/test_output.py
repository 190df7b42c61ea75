"""How answers are written: JSON for programs, tables for people."""

import json
from datetime import UTC, datetime

import pytest

from earmark.cli.session import Session, write_json
from earmark.cli.table import Table
from earmark.errors import BudgetExceeded, Reason
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.workspace.jsonable import to_jsonable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Money("0.25"), "0.25"),
        (3, 3),
        (None, None),
        (True, True),
        (Reason.HELD, "held"),
        (datetime(2026, 12, 1, tzinfo=UTC), "2026-12-01T00:00:00Z"),
        ((Money(1), {"a": Money(2)}), ["1", {"a": "2"}]),
        (Usage.of(input_tokens=2), {"input_tokens": 2}),
    ],
)
def test_values_as_json(value: object, expected: object) -> None:
    """Amounts are decimal strings, instants RFC 3339, counts numbers."""
    assert to_jsonable(value) == expected


def test_a_refusal_as_json_has_its_numbers() -> None:
    """Every typed field of an error can be written."""
    refusal = BudgetExceeded(
        reason=Reason.EXHAUSTED,
        budget="a",
        limit=Money(1),
        requested=Money("0.5"),
        resets_at=datetime(2026, 12, 1, tzinfo=UTC),
    )
    facts = to_jsonable(refusal.facts())
    assert facts["requested"] == "0.5"
    assert facts["resets_at"] == "2026-12-01T00:00:00Z"
    assert facts["retryable"] is False


def test_json_is_ascii_and_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Text no terminal can show, half surrogates too, comes through unharmed."""
    text = "née \ud800 \u2028"
    write_json({"text": text})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"text": text}


def test_a_session_is_laid_over() -> None:
    """What is given after the command's name comes before what is given ahead of it."""
    session = Session(store="a", json=True)
    assert session.with_overrides(store="b", config=None, json=False) == Session(
        store="b", json=True
    )
    assert session.with_overrides(store=None, config=None, json=False) == session


def test_a_table_away_from_a_terminal_is_aligned_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every cell is whole and on one line, numbers to the right, however wide that becomes."""
    rows = [("a" * 200, "1.25", "two\nlines"), ("b", "10", "")]
    Table(headings=("name", ">usd", "note"), rows=rows).write()
    assert capsys.readouterr().out.splitlines() == [
        f"{'name':200}   usd  note",
        f"{'a' * 200}  1.25  two lines",
        f"{'b':200}    10",
    ]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows are a sentence, not a heading over nothing."""
    Table(headings=("name",), rows=[], empty="no holds").write()
    assert capsys.readouterr().out == "no holds\n"
