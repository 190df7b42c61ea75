"""The burn-down of one window: what is left over time, and where a straight line leads.

Pure: from the entries of the window and what stands now to points, slices and a forecast.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from earmark.ledger.amounts import count
from earmark.ledger.values import Entry, Kind

#: At most so many steps are drawn; a chart has no more places than that.
MOST_POINTS: Final = 160
SLICES: Final = 8


@dataclass(frozen=True, slots=True)
class Point:
    """How the window stood from an instant on."""

    at: int
    settled: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowState:
    """One limit in its current interval, as whole numbers of its unit."""

    unit: str
    limit: int
    settled: int
    held: int
    start: int
    end: int
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Where a straight line through the window so far leads."""

    kind: Literal["none", "used_up", "lasts"]
    """`none`: nothing was spent, or there is nothing left to spend."""
    at: int = 0
    """When the limit is used up."""
    left: int = 0
    """What is left at the end of the window, if it lasts."""
    entries: int = 0
    """From so many settlements."""
    over_ns: int = 0
    """In so much time."""


def points(state: WindowState, entries: Iterable[Entry]) -> list[Point]:
    """Return how the window went, from its beginning until now, in ascending order of time.

    *entries* are the latest of the window, in order. What stands now is exact and is the last
    point; the way there is counted back from it, so that a limit that was set in the middle of the
    window, or a list of entries that was cut, never shows as a wrong end.
    """
    walked = [Point(state.start, 0, 0), *_walk(state, entries)]
    settled, held = state.settled - walked[-1].settled, state.held - walked[-1].held
    exact = [
        Point(p.at, max(0, p.settled + settled), max(0, p.held + held)) for p in walked
    ]  # fmt: skip
    now = Point(max(state.now, walked[-1].at), state.settled, state.held)
    return _thinned([*exact, now])


def forecast(state: WindowState, entries: Sequence[Entry]) -> Forecast:
    """Return where a straight line through the window so far leads.

    It goes through all that is settled since the window's beginning; of a window that never turns
    (`total`), through the *entries*, which may be its latest only.
    """
    begun = state.start or (entries[0].at if entries else state.now)
    seen = _walk(state, entries)
    spent = state.settled if state.start or not seen else seen[-1].settled
    over, left = state.now - begun, state.limit - state.settled - state.held
    counted = sum(entry.kind in {"settle", "presume"} for entry in entries)
    known = Forecast(kind="none", entries=counted, over_ns=over)
    if spent <= 0 or over <= 0 or left <= 0:
        return known
    used_up_at = state.now + over * left // spent
    if used_up_at < state.end:
        return replace(known, kind="used_up", at=used_up_at)
    return replace(known, kind="lasts", left=left - spent * (state.end - state.now) // over)


def slices(state: WindowState, drawn: Sequence[Point]) -> list[Point]:
    """Return the window so far in equal steps of time, for a table: how each one ended."""
    begin = drawn[0].at
    length = max(1, state.now - begin)
    ends = [begin + length * number // SLICES for number in range(1, SLICES + 1)]
    return [replace(_at(drawn, end), at=end) for end in ends]


def _at(drawn: Sequence[Point], instant: int) -> Point:
    return [point for point in drawn if point.at <= instant][-1]


# From entries to steps ----------------------------------------------------------------------------


def _walk(state: WindowState, entries: Iterable[Entry]) -> list[Point]:
    """Return a point after each entry that changed the sums of the unit.

    A settlement belongs to the window of its reservation: of one that was opened before the first
    entry, none does.
    """
    holds: dict[str, tuple[int, int]] = {}
    settled = held = 0
    walked: list[Point] = []
    for entry in entries:
        if entry.kind != "reserve" and entry.key not in holds:
            continue
        before = holds.get(entry.key, (0, 0))
        after = _moved(entry.kind, before, count(entry.amounts, state.unit))
        holds[entry.key] = after
        settled, held = settled + after[0] - before[0], held + after[1] - before[1]
        walked.append(Point(entry.at, settled, held))
    return walked


def _moved(kind: Kind, before: tuple[int, int], amount: int) -> tuple[int, int]:
    """Return what is settled and held of a reservation after an entry about it."""
    if kind in {"reserve", "extend"}:
        return before[0], before[1] + amount
    # What closes a hold says how much it came to: nothing for a release.
    return amount, 0


def _thinned(walked: list[Point]) -> list[Point]:
    """Return the first point, and the last one of each place that a chart has."""
    if len(walked) <= MOST_POINTS:
        return walked
    begin = walked[1].at
    length = max(1, walked[-1].at - begin)
    kept = {(point.at - begin) * MOST_POINTS // length: point for point in walked[1:]}
    return [walked[0], *kept.values()]
