"""Arithmetic over units: every unit that a limit may have is counted as itself."""

from collections.abc import Iterator

import pytest

from earmark.budget.units import UNITS, USD
from earmark.ledger.amounts import (
    add,
    amount_of,
    amounts_of,
    count,
    counted_units,
    is_zero,
    larger,
    largest,
    less,
    no_counts,
    nothing,
    with_defaults,
)
from earmark.ledger.values import AS_HELD, Amounts
from support.units import FRAMES, SHEETS, registered

NAMES = [*UNITS, FRAMES.name, SHEETS.name]
#: Those of which a test says what they hold where they are not stated.
KNOWN = ("usd", "calls", "tokens", "frames", "sheets")


@pytest.fixture(autouse=True)
def made_up() -> Iterator[None]:
    """Two units more than there are."""
    with registered(FRAMES, SHEETS):
        yield


def only(unit: str, number: int) -> Amounts:
    """Return *number* of *unit*, and 0 of every other one."""
    counts = {**dict.fromkeys(NAMES, 0), unit: number}
    return amounts_of(counts.pop(USD), counts)


@pytest.mark.parametrize(("number", "unit"), [*enumerate(NAMES, start=1)])
def test_a_unit_is_counted_as_itself(number: int, unit: str) -> None:
    """Whatever is done with amounts is done with each unit of a limit, under its own name."""
    numbers = {name: n for n, name in enumerate(NAMES, start=1)}
    each, one = amounts_of(numbers.pop(USD), numbers), only(unit, number)
    assert (amount_of(each, unit), count(each, unit)) == (number, number)
    assert (is_zero(one), largest(one)) == (False, number)
    for other in NAMES:
        so_far = count(each, other)
        assert amount_of(add(each, one), other) == so_far + (number if other == unit else 0)
        assert amount_of(larger(only(unit, number + 7), each), other) == (
            number + 7 if other == unit else so_far
        )
        assert amount_of(less(one, each), other) == (-number if other == unit else 0)
        assert amount_of(with_defaults(each, one), other) == so_far
    assert unit == USD or counted_units(each)[unit] == number


def test_what_is_not_stated_stays_so_until_something_states_it() -> None:
    """A unit that has to be stated has no amount before; another has 0."""
    unstated, stated = Amounts(1, 1), amounts_of(0, {"frames": 2, "sheets": 3, "tokens": 4}, 0)
    assert [amount_of(unstated, unit) for unit in KNOWN] == [1, 1, None, None, 0]
    assert add(unstated, unstated).counts == ()
    assert add(unstated, stated) == add(stated, unstated) == amounts_of(1, dict(counts(stated)), 1)
    assert larger(unstated, stated) == amounts_of(1, dict(counts(stated)), 1)
    assert with_defaults(Amounts(9, AS_HELD), stated) == amounts_of(9, dict(counts(stated)), 0)
    told = with_defaults(amounts_of(9, {"frames": 0}, AS_HELD), stated)
    assert [amount_of(told, unit) for unit in KNOWN] == [9, 0, 4, 0, 3]


def counts(amounts: Amounts) -> dict[str, int]:
    """Return what *amounts* state beside money and calls."""
    return {unit: n for unit, n in counted_units(amounts).items() if unit != "calls"}


def test_nothing_fits_wherever_anything_does() -> None:
    """It states 0 of what has to be stated, and is silent where silence is 0."""
    assert no_counts().items() >= {"calls": 0, "tokens": 0, "frames": 0}.items()
    assert "sheets" not in no_counts()
    assert is_zero(nothing())
    assert {amount_of(nothing(), unit) for unit in NAMES} == {0}


def test_a_unit_that_nobody_knows_is_no_other_one() -> None:
    """What is no unit has no amount, not that of the last unit in the list."""
    with pytest.raises(ValueError, match="'pages'"):
        amount_of(amounts_of(1, {"frames": 2}), "pages")
