"""Units that are made up for a test: what a later row of the table of units would be."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from earmark.budget.units import UNITS, LimitUnit

#: A unit that a reservation has to state, and one of which it holds 0 where it does not.
FRAMES: Final = LimitUnit(name="frames")
SHEETS: Final = LimitUnit(name="sheets", unstated=0)


@contextmanager
def registered(*units: LimitUnit) -> Iterator[None]:
    """Have *units* in the table for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for unit in units:
            assert unit.name not in UNITS
            patch.setitem(UNITS, unit.name, unit)
        yield
