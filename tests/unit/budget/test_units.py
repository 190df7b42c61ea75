"""The table of units."""

import pytest

from earmark.budget.units import UNITS, LimitUnit, counted, unit_named
from earmark.errors import InvalidLimit


def test_a_row_is_found_by_its_name() -> None:
    """What callers count by name is all but money; of a call there is one, unless it is said."""
    assert [unit.name for unit in UNITS.values()] == list(UNITS)
    assert [unit.name for unit in UNITS.values() if unit.is_money] == ["usd"]
    assert [unit.name for unit in counted()] == [name for name in UNITS if name != "usd"]
    assert (unit_named("calls").unstated, unit_named("tokens").unstated) == (1, None)
    with pytest.raises(InvalidLimit, match="one of usd, calls, tokens"):
        unit_named("miles")


@pytest.mark.parametrize("name", ["", "Images", "images per", "1st", "a-b", "u" * 33])
def test_a_name_is_a_word_wherever_it_stands(name: str) -> None:
    """In a limit's text, in JSON, in the name of a metric."""
    with pytest.raises(ValueError, match="cannot name a unit"):
        LimitUnit(name=name)


def test_no_later_unit_is_money_or_held_unstated() -> None:
    """Rows of amounts have one currency, and an unstated count that is not kept is 0 or none."""
    with pytest.raises(ValueError, match="second currency"):
        LimitUnit(name="eur", is_money=True)
    with pytest.raises(ValueError, match="holds 0 of it"):
        LimitUnit(name="images", unstated=1)
