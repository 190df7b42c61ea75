"""Shares of a limit in percent: one rounding wherever they are shown, down.

So 100 % is shown when all of it is used, and not before.
"""

from typing import Final

from earmark.budget.budget import PPM

_PPM_PER_PERCENT: Final = PPM // 100


def percent(part: int, whole: int) -> int:
    """Return *part* of *whole* in whole percent, rounded down; 100 of a whole of 0."""
    return part * 100 // whole if whole else 100


def percent_to_hundredths(part: int, whole: int) -> float:
    """Return *part* of *whole* in percent with two decimals, rounded down; 100 of a whole of 0."""
    return part * 10_000 // whole / 100 if whole else 100.0


def threshold_percent(threshold: int) -> int | float:
    """Return an alert's *threshold*, in parts per million, in percent: exactly as it was set."""
    whole, rest = divmod(threshold, _PPM_PER_PERCENT)
    return threshold / _PPM_PER_PERCENT if rest else whole
