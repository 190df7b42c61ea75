"""Arithmetic over units: every unit that a limit may have is counted as itself."""

import pytest
from msgspec import structs

from earmark.budget.limit import UNITS
from earmark.ledger.amounts import add, amount_of, count, counted_units, is_zero, larger
from earmark.ledger.values import Amounts

#: Of each unit another amount, so that one is not taken for another.
EACH = Amounts(**{unit: number for number, unit in enumerate(UNITS, start=1)})
NOTHING = Amounts(**dict.fromkeys(UNITS, 0))


@pytest.mark.parametrize(("number", "unit"), [*enumerate(UNITS, start=1)])
def test_a_unit_is_counted_as_itself(number: int, unit: str) -> None:
    """Whatever is done with amounts is done with each unit of a limit, under its own name."""
    assert {*UNITS} == {*Amounts.__struct_fields__}
    one = structs.replace(NOTHING, **{unit: number})
    assert (amount_of(EACH, unit), count(EACH, unit)) == (number, number)
    assert not is_zero(one)
    assert amount_of(add(EACH, one), unit) == 2 * number
    assert amount_of(larger(NOTHING, one), unit) == number
    assert unit == "usd" or counted_units(EACH)[unit] == number


def test_a_unit_that_nobody_knows_is_no_other_one() -> None:
    """What is no unit has no amount, not that of the last unit in the list."""
    with pytest.raises(ValueError, match="'pages'"):
        amount_of(EACH, "pages")
