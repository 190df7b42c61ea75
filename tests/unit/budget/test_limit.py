"""The limit grammar."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import earmark.budget.limit as limit_module
from earmark.budget.limit import Limit, describe_limit, present, read_amount, show_amount
from earmark.budget.units import UNITS
from earmark.budget.window import Cut, Window
from earmark.errors import FloatAmount, InputError, InvalidAmount, InvalidLimit
from earmark.money import Money

WINDOWS = ("hour", "day", "week", "month", "total", "30min", "2h", "45s", "24h", "86399s")


@pytest.mark.parametrize(
    ("text", "amount", "unit", "window", "printed"),
    [
        ("10.50 usd per day", 10_500_000_000, "usd", "day", "10.5 usd per day"),
        ("3 calls per 30min", 3, "calls", "30min", "3 calls per 30min"),
        ("100 usd total", 100_000_000_000, "usd", "total", "100 usd total"),
        ("5000 tokens per hour", 5000, "tokens", "hour", "5000 tokens per hour"),
        ("  0   usd  per  month ", 0, "usd", "month", "0 usd per month"),
        ("0.000000001 usd per week", 1, "usd", "week", "0.000000001 usd per week"),
        ("007 calls per 60min", 7, "calls", "hour", "7 calls per hour"),
        ("4000000000 usd total", 4 * 10**18, "usd", "total", "4000000000 usd total"),
    ],
)
def test_a_limit_reads_and_prints(
    text: str, amount: int, unit: str, window: str, printed: str
) -> None:
    """A limit reads as written and prints in one canonical form."""
    limit = Limit.parse(text)
    assert (limit.amount, limit.unit, limit.window) == (amount, unit, Window.parse(window))
    assert str(limit) == limit.describe() == printed
    assert describe_limit(present(unit, amount), unit, window) == printed


def test_the_text_of_a_limit_is_made_in_one_place() -> None:
    """Nobody else puts `per` before a window: who shows a limit asks it."""
    source = Path(limit_module.__file__).parents[1]
    spelled = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"\bper \{", path.read_text(encoding="utf-8"))
    ]
    assert spelled == ["budget/limit.py"]


@given(st.integers(0, 2**53 - 1), st.sampled_from(list(UNITS)), st.sampled_from(WINDOWS))
def test_every_limit_parses_back(amount: int, unit: str, window: str) -> None:
    """What a limit prints is a limit that means the same."""
    limit = Limit(amount, unit, Window.parse(window))
    assert Limit.parse(str(limit)) == limit


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "<amount> <unit> per <window>"),
        ("10", "<amount> <unit> per <window>"),
        ("10 usd", "<amount> <unit> per <window>"),
        ("10 usd day", "<amount> <unit> per <window>"),
        ("10 usd each day", "<amount> <unit> per <window>"),
        ("10 usd per", "<amount> <unit> per <window>"),
        ("10 usd per 30 min", "<amount> <unit> per <window>"),
        ("10 usd per total", "without 'per'"),
        ("1 " * 60, "<amount> <unit> per <window>"),
        ("10 eur per day", "'eur' is not a unit: give one of usd, calls, tokens"),
        ("10 USD per day", "'USD' is not a unit: give one of usd, calls, tokens"),
        ("10 usd per fortnight", "'fortnight' is not a window: give hour, day, week"),
        ("10 usd per 0min", "at least 1s"),
        ("10 usd per 25h", "at most 24h"),
        ("10 usd per 1441min", "at most 24h"),
        ("10 usd per 999999999s", "is not a window"),
        ("10 usd per 1.5h", "is not a window"),
        ("10 usd per -1h", "is not a window"),
        ("10 usd per 7d", "is not a window"),
        ("-1 usd per day", "zero or more"),
        ("nan usd per day", "is not an amount"),
        ("Infinity usd per day", "is not an amount"),
        ("1e999999999 usd per day", "is not an amount"),
        ("5000000000 usd per day", "is not an amount"),
        ("0.0000000001 usd per day", "nine digits"),
        ("1_000 usd per day", "is not an amount"),
        ("$10 usd per day", "is not an amount"),
        ("10,50 usd per day", "is not an amount"),
        ("1.5 calls per day", "whole number"),
        ("-1 calls per day", "whole number"),
        ("nan tokens per day", "whole number"),
        ("9007199254740992 tokens per day", "whole number"),
        ("9" * 60 + " calls total", "whole number"),
    ],
)
def test_a_wrong_limit_says_what_is_wrong(text: str, says: str) -> None:
    """Each wrong limit is refused in one sentence that names the part and what to give instead."""
    with pytest.raises(InputError) as caught:
        Limit.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_no_limit() -> None:
    """A number in place of a limit is refused like any other wrong limit."""
    with pytest.raises(InvalidLimit):
        Limit.parse(10)  # pyright: ignore[reportArgumentType] - that is the point


@pytest.mark.parametrize("amount", [1.0, float("nan"), True])
@pytest.mark.parametrize("unit", UNITS)
def test_a_float_is_never_an_amount(unit: str, amount: Any) -> None:
    """No unit takes a float, nor a bool."""
    with pytest.raises(FloatAmount):
        read_amount(unit, amount)


def test_amounts_read_by_unit() -> None:
    """Dollars are read to the nano; calls and tokens are whole, whatever type carries them."""
    assert read_amount("usd", "0.10") == 100_000_000
    assert read_amount("usd", 2) == 2_000_000_000
    assert read_amount("tokens", 2) == 2
    assert read_amount("tokens", "1200") == 1200
    assert read_amount("calls", Decimal("3.0")) == 3


@pytest.mark.parametrize(
    "amount",
    [
        -1,
        2**53,
        "1e3",
        "",
        "\u0661",
        Decimal("1.5"),
        Decimal("NaN"),
        Decimal("1e999999"),
        Money(1),
        None,
    ],
)
def test_counts_refuse_what_is_not_whole(amount: Any) -> None:
    """A count that is negative, broken, absurd or an amount of money is refused."""
    with pytest.raises(InvalidAmount):
        read_amount("calls", amount)


def test_an_unknown_unit_is_refused_by_name() -> None:
    """Only usd, calls and tokens exist."""
    with pytest.raises(InvalidLimit, match="one of usd, calls, tokens"):
        read_amount("requests", 1)


def test_amounts_show_by_unit() -> None:
    """Dollars show as decimals and present as Money; counts stay whole numbers."""
    assert show_amount("usd", 10_500_000_000) == "10.5"
    assert show_amount("calls", 3) == "3"
    assert present("usd", 420_000_000) == Money("0.42")
    assert present("tokens", 7) == 7


@pytest.mark.parametrize(("amount", "unit"), [(-1, "usd"), (2**62 + 1, "usd"), (2**53, "calls")])
def test_a_limit_built_in_code_is_checked_too(amount: int, unit: str) -> None:
    """The constructor refuses what the grammar refuses."""
    with pytest.raises(InvalidAmount):
        Limit(amount, unit, Window(Cut.DAY))
