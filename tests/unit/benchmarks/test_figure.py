"""The arithmetic that benchmarks are judged by."""

import pytest

from benchmarks.figure import Figure, at_least, at_most, micros, per_s, quantile, spread


def figure(samples: tuple[float, ...], bound: float) -> Figure:
    """Return a figure that should be at least *bound*."""
    return Figure(area="ledger", what="a", samples=samples, target=at_least(bound))


def test_the_median_of_the_rounds_is_judged_not_the_best() -> None:
    """One lucky round does not meet a target that the median misses."""
    assert figure((3.9, 20.0, 4.0), 4.5).verdict == "miss"
    assert figure((4.6, 1.0, 4.7), 4.5).verdict == "pass"


def test_a_target_is_met_by_its_own_bound() -> None:
    """`>= 14` is met by 14, and `<= 30` by 30."""
    assert at_least(14).met(14)
    assert not at_least(14).met(13.99)
    assert at_most(30).met(30)
    assert not at_most(30).met(30.01)


def test_what_was_not_measured_neither_passes_nor_misses() -> None:
    """Without samples there is no median and no verdict."""
    assert figure((), 1).median is None
    assert not figure((), 1).verdict


def test_a_quantile_is_a_value_that_was_measured() -> None:
    """The nearest rank: of 1,000 values the 999th is the 99.9 % quantile."""
    values = list(range(1, 1001))
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [
        1, 500, 990, 999, 1000,
    ]  # fmt: skip
    assert quantile([7], 0.999) == 7
    with pytest.raises(ValueError, match="at least one"):
        quantile([], 0.5)


def test_the_spread_is_a_share_of_the_mean() -> None:
    """Processes at 90 and 110 lie 20 % apart; idle ones do not divide by zero."""
    assert spread([90.0, 110.0]) == pytest.approx(0.2)
    assert spread([0.0, 0.0]) == 0.0


def test_rates_and_durations_are_shown_in_the_unit_that_suits_them() -> None:
    """People read 98.3k/s and 2.9 us, not 98321.4."""
    assert [per_s(98_321.4), per_s(222.4)] == ["98.3k/s", "222/s"]
    assert [micros(720), micros(2_900), micros(4_100_000)] == ["720 ns", "2.9 us", "4.1 ms"]
