"""The burn-down: from entries to points, and where a straight line leads."""

from earmark.clock import END_OF_TIME
from earmark.ledger.values import Amounts, Entry, Kind
from earmark.service.pages.burn_down import (
    MOST_POINTS,
    SLICES,
    Point,
    WindowState,
    forecast,
    points,
    slices,
)
from earmark.service.pages.views_burn import forecast_words

HOUR = 3_600_000_000_000
BEGIN = 1000 * HOUR


def entry(at: int, kind: Kind, key: str, usd: int, calls: int = 1) -> Entry:
    """Return an entry of so many hours after the beginning."""
    return Entry(0, BEGIN + at * HOUR, kind, key, "acme", Amounts(usd, calls), 0, "")


def stand(
    settled: int, held: int = 0, *, limit: int = 100, now: int = 4, unit: str = "usd"
) -> WindowState:
    """Return a limit of 10 hours after so many."""
    return WindowState(
        unit=unit, limit=limit, settled=settled, held=held,
        start=BEGIN, end=BEGIN + 10 * HOUR, now=BEGIN + now * HOUR,
    )  # fmt: skip


def sums(found: list[Point]) -> list[tuple[int, int, int]]:
    """Return the points as hours after the beginning, settled and held."""
    return [((point.at - BEGIN) // HOUR, point.settled, point.held) for point in found]


def test_the_line_follows_the_entries() -> None:
    """A hold is held, a settlement replaces it, a release gives it back."""
    entries = [
        entry(1, "reserve", "a", 30),
        entry(1, "extend", "a", 10),
        entry(2, "settle", "a", 25),
        entry(3, "reserve", "b", 50),
        entry(3, "release", "b", 0),
    ]
    assert sums(points(stand(25), entries)) == [
        (0, 0, 0), (1, 0, 30), (1, 0, 40), (2, 25, 0), (3, 25, 50), (3, 25, 0), (4, 25, 0),
    ]  # fmt: skip


def test_a_presumed_hold_is_corrected() -> None:
    """A hold that was presumed counts in full until the truth comes, which replaces it."""
    entries = [
        entry(1, "reserve", "a", 30), entry(2, "presume", "a", 30), entry(3, "settle", "a", 10),
    ]  # fmt: skip
    assert sums(points(stand(10), entries))[2:] == [(2, 30, 0), (3, 10, 0), (4, 10, 0)]


def test_calls_burn_like_money() -> None:
    """Other units have their own line."""
    entries = [entry(1, "reserve", "a", 30, 2), entry(2, "settle", "a", 25, 2)]
    found = sums(points(stand(2, limit=3, unit="calls"), entries))
    assert found == [(0, 0, 0), (1, 0, 2), (2, 2, 0), (4, 2, 0)]


def test_another_window_s_settlement_is_not_this_one_s() -> None:
    """What was reserved before the window began belongs to the window before."""
    entries = [entry(1, "settle", "old", 70), entry(2, "pause", "", 0)]
    assert sums(points(stand(0), entries)) == [(0, 0, 0), (4, 0, 0)]


def test_the_end_is_exact_when_entries_are_missing() -> None:
    """A cut list of entries begins with what it does not show, and ends where the books stand."""
    entries = [entry(3, "reserve", "a", 30), entry(3, "settle", "a", 25)]
    found = sums(points(stand(85), entries))
    assert found[0] == (0, 60, 0)
    assert found[-1] == (4, 85, 0)


def test_what_was_spent_before_the_limit_is_not_its_own() -> None:
    """A limit set in the middle of a window counts from then on; the line stays in the chart."""
    entries = [
        entry(1, "reserve", "a", 90), entry(1, "settle", "a", 90),
        entry(3, "reserve", "b", 5), entry(3, "settle", "b", 5),
    ]  # fmt: skip
    found = points(stand(5), entries)
    assert sums(found)[-1] == (4, 5, 0)
    assert all(point.settled >= 0 for point in found)


def test_a_thousand_entries_are_drawn_as_a_chart_s_width() -> None:
    """The chart has so many steps at most, the first and the last state among them."""
    entries = [
        each
        for number in range(1000)
        for each in (entry(0, "reserve", str(number), 1), entry(1, "settle", str(number), 1))
    ]
    spread = [
        Entry(0, BEGIN + i * HOUR // 600, e.kind, e.key, e.budget, e.amounts, 0, "")
        for i, e in enumerate(entries)
    ]
    found = points(stand(1000, limit=2000), spread)
    assert len(found) <= MOST_POINTS + 2
    assert (found[0].settled, found[-1].settled) == (0, 1000)
    assert [p.settled for p in found] == sorted(p.settled for p in found)


def test_a_forecast_says_when_it_is_used_up() -> None:
    """60 of 100 in 4 of 10 hours: used up after 6 hours and 40 minutes."""
    ahead = forecast(stand(60), [entry(1, "reserve", "a", 60), entry(1, "settle", "a", 60)])
    assert (ahead.kind, ahead.at - BEGIN) == ("used_up", HOUR * 20 // 3)
    words = forecast_words(stand(60), ahead)
    assert "used up about" in words
    assert "a straight line through 4 h with 1 settlement; a forecast, not a promise" in words


def test_a_forecast_says_what_will_be_left() -> None:
    """20 of 100 in 4 of 10 hours: 50 are left at the end."""
    ahead = forecast(stand(20), [])
    assert (ahead.kind, ahead.left) == ("lasts", 50)
    assert "will be left when the window ends" in forecast_words(stand(20), ahead)


def test_what_is_held_is_not_there_to_be_spent() -> None:
    """A hold shortens the forecast: it may be spent in full."""
    assert forecast(stand(20, 30), []).left == 20


def test_nothing_spent_gives_no_forecast() -> None:
    """A window in which nothing was settled is not extrapolated."""
    assert forecast(stand(0, 10), []).kind == "none"
    assert "no forecast" in forecast_words(stand(0), forecast(stand(0), []))


def test_nothing_left_gives_no_forecast() -> None:
    """A limit that is used up already, or overrun, has no line ahead."""
    for spent in (100, 130):
        assert forecast(stand(spent), []).kind == "none"
        assert "Nothing is left" in forecast_words(stand(spent), forecast(stand(spent), []))


def test_a_total_is_measured_from_its_entries() -> None:
    """A limit that never turns has no beginning: the rate is that of the entries at hand."""
    entries = [entry(0, "reserve", "a", 20), entry(2, "settle", "a", 20)]
    total = WindowState(
        unit="usd", limit=100, settled=60, held=0, start=0, end=END_OF_TIME, now=BEGIN + 4 * HOUR
    )
    ahead = forecast(total, entries)
    assert (ahead.kind, ahead.at) == ("used_up", BEGIN + 12 * HOUR)


def test_the_table_has_equal_slices() -> None:
    """The table beside the chart tells the window so far in equal steps, the last one is now."""
    entries = [entry(1, "reserve", "a", 30), entry(2, "settle", "a", 25)]
    found = slices(stand(25), points(stand(25), entries))
    assert len(found) == SLICES
    assert sums(found)[::2] == [(0, 0, 0), (1, 0, 30), (2, 25, 0), (3, 25, 0)]
    assert found[-1] == Point(BEGIN + 4 * HOUR, 25, 0)
