"""Money: exact, in whole nano-dollars, never a float."""

import copy
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import FloatAmount, InvalidAmount
from earmark.money import LARGEST_LIMIT_NANOS, NANOS_PER_USD, Money, show_nanos, to_nanos

NANOS = st.integers(0, LARGEST_LIMIT_NANOS)
ANY_NANOS = st.integers(-(2**62), 2**62)


@pytest.mark.parametrize(
    ("given_", "nanos", "shown"),
    [
        ("0.045864", 45_864_000, "0.045864"),
        ("10.50", 10_500_000_000, "10.5"),
        ("1e-9", 1, "0.000000001"),
        (" 2.5 ", 2_500_000_000, "2.5"),
        ("-0", 0, "0"),
        (3, 3_000_000_000, "3"),
        (Decimal("0.10"), 100_000_000, "0.1"),
        (Money("7"), 7_000_000_000, "7"),
        (Decimal("1E+3"), 10**12, "1000"),
        (0, 0, "0"),
    ],
)
def test_an_amount_is_read_and_shown_exactly(given_: Any, nanos: int, shown: str) -> None:
    """Every way to write an amount gives the same nano-dollars, shown as the shortest decimal."""
    assert (Money(given_).in_nanos, str(Money(given_))) == (nanos, shown)
    assert Money(given_).decimal == Decimal(shown)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "decimal string"),
        ("NaN", "NaN"),
        ("-Infinity", "Infinity"),
        ("-0.01", "zero or more"),
        (-1, "zero or more"),
        ("0.0000000001", "nine digits"),
        (Decimal("1.0000000001"), "nine digits"),
        ("4611686018.5", "at most 4611686018 USD"),
        (10**40, "at most"),
        ("1e400", "0.000000001 to 4000000000"),
        ("1_000", "1_000"),
        ("9" * 41, "99999"),
    ],
)
def test_what_is_no_amount_is_refused(wrong: Any, said: str) -> None:
    """Anything that is no exact amount is an `InvalidAmount` that says what it was."""
    with pytest.raises(InvalidAmount, match=said):
        Money(wrong)


@pytest.mark.parametrize("wrong", [0.1, 1.0, float("nan"), True, False, None, [], b"1", 1j])
def test_a_float_is_never_money(wrong: Any) -> None:
    """Floats, bools and other types are a `TypeError`."""
    with pytest.raises(FloatAmount) as refused:
        Money(wrong)
    assert isinstance(refused.value, TypeError)


@given(NANOS)
def test_every_amount_prints_and_reads_back(nanos: int) -> None:
    """What is printed reads back as the same amount, through text and Decimal."""
    money = Money.nanos(nanos)
    assert Money(str(money)) == Money(money.decimal) == money
    assert to_nanos(money) == nanos


@given(ANY_NANOS, ANY_NANOS, st.integers(-1000, 1000))
def test_arithmetic_loses_nothing(a: int, b: int, times: int) -> None:
    """Sums, differences and multiples are those of the whole nano-dollars."""
    one, other = Money.nanos(a), Money.nanos(b)
    assert ((one + other).in_nanos, (one - other).in_nanos) == (a + b, a - b)
    assert (one * times, times * one) == (Money.nanos(a * times), Money.nanos(a * times))
    assert -one + one == Money()
    assert sum([one, other]) == one + other
    assert (one < other, one == other, one >= other) == (a < b, a == b, a >= b)
    assert (hash(one) == hash(other)) or a != b


@given(st.fractions(0, 10**6))
def test_a_cost_is_rounded_up_once(usd: Fraction) -> None:
    """`ceil` gives the least whole nano-dollar that is not below the cost."""
    money = Money.ceil(usd)
    assert money.in_nanos >= usd * NANOS_PER_USD > money.in_nanos - 1


def test_other_types_do_not_mix_in() -> None:
    """Money adds to, multiplies with and equals nothing but money and whole counts."""
    one: Any = Money(1)
    for wrong in (lambda: one + 1, lambda: one * 1.5, lambda: one * True, lambda: one < 1):
        with pytest.raises(TypeError):
            wrong()
    assert Money(1) != 1


def test_money_cannot_be_changed() -> None:
    """An amount is immutable, and survives copying and pickling."""
    money = Money("0.25")
    with pytest.raises(AttributeError, match="immutable"):
        money._nanos = 1  # pyright: ignore[reportPrivateUsage]
    assert pickle.loads(pickle.dumps(money)) == copy.deepcopy(money) == money  # noqa: S301 - own


def test_money_shows_itself() -> None:
    """Text, repr and format say the exact amount, negative ones with their sign."""
    money = Money.nanos(-1_230_000_000)
    assert (str(money), repr(money), f"{money:.2f}", f"{money:>6}") == (
        "-1.23", "Money('-1.23')", "-1.23", " -1.23",
    )  # fmt: skip
    assert (bool(Money()), bool(money)) == (False, True)
    assert show_nanos(-1) == "-0.000000001"
