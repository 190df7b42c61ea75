"""No accepted operation leads to a number that a store cannot hold; a refused one harms nobody."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.clock import to_datetime
from earmark.errors import InputError
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    AS_HELD,
    Accepted,
    Amounts,
    Extend,
    OnReservation,
    Presume,
    Refused,
    Release,
    Reserve,
    Settle,
)
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.extreme_ledger import LAST, MOST, Extremes
from support.ledger_books import IN_MEMORY, STORES, standing
from support.postgres_session import recycle

LIMITS = {"a": ["4611686018.427387904 usd total", f"{MOST} calls total"], "a/b": []}
LIMITS["a/b"] = ["4611686018 usd per day", f"{MOST} tokens per month"]
YEARS_10 = 10 * 366 * 86_400 * 10**9
STARTS = (ManualClock().instant(), LAST - 3600 * 10**9, LAST - 1)

extremes = st.sampled_from([0, 1, MOST - 1, MOST])
#: What a single settlement cannot come to, so that few of them reach the end of the numbers.
sums = st.sampled_from([0, 1, MOST, 2**62, LAST - MOST, LAST])
keys = st.sampled_from([f"k{n}" for n in range(6)])
lives = st.sampled_from([0, 1, YEARS_10, LAST])
asked = st.builds(Amounts, extremes, extremes, extremes)
operations = st.one_of(
    st.builds(Reserve, keys, st.sampled_from(["a", "a/b"]), asked, lives),
    st.builds(Extend, keys, asked, st.just(""), lives),
    st.builds(Settle, keys, st.builds(Amounts, sums, st.sampled_from([AS_HELD, MOST]), sums)),
    st.builds(Release, keys),
    st.builds(
        Presume,
        keys,
        known=st.none() | st.builds(Amounts, sums, st.sampled_from([AS_HELD, MOST]), sums),
    ),
)


def run(store: str, start: int, batches: list[list[OnReservation]]) -> None:
    """Put *batches* to a store and to the oracle, each beside somebody else's operations."""
    with TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        clock = ManualClock(to_datetime(start))
        ledger = open_ledger(STORES[store](Path(folder)), clock=clock)
        try:
            check(ledger, clock, batches)
        finally:
            ledger.close()
            recycle(Path(folder))


def check(ledger: Ledger, clock: ManualClock, batches: list[list[OnReservation]]) -> None:
    """Compare each answer and each sum with the oracle's."""
    for path, limits in (*LIMITS.items(), ("other", ["1 usd total"])):
        ledger.set_budget(path, limits=limits)
    oracle = Extremes(
        {
            ("a", "usd"): [2**62, 0, 0],
            ("a", "calls"): [MOST, 0, 0],
            ("a/b", "usd"): [4611686018 * 10**9, 0, 0],
            ("a/b", "tokens"): [MOST, 0, 0],
        }
    )
    for number, batch in enumerate(batches):
        now = clock.instant()
        others = [Reserve(f"o{number}", "other", Amounts(1, 0, 0), 0), Release(f"o{number}")]
        answers = ledger.store.apply([*batch, *others], now)
        oracle.sweep(now)
        expected = [oracle.answer(op, now) for op in batch]
        assert [type(answer) is not Refused for answer in answers] == [*expected, True, True]
        found = {
            (b.budget, b.unit): [_plain(b.limit), _plain(b.settled), _plain(b.held)]
            for path in LIMITS
            for b in ledger.balances(path)
        }
        oracle.sweep(now)
        assert found == oracle.accounts
        assert ledger.audit().problems == ()


def _plain(amount: Money | int) -> int:
    return amount if isinstance(amount, int) else amount.in_nanos


@pytest.mark.parametrize(("store", "examples"), [("memory", 150), ("sqlite", 80), ("postgres", 25)])
def test_any_sequence_of_extremes_stays_within_the_numbers_of_a_store(
    store: str, examples: int
) -> None:
    """What cannot be booked is refused alone; every deadline can still pass."""

    @given(
        start=st.sampled_from(STARTS),
        batches=st.lists(st.lists(operations, min_size=1, max_size=6), min_size=1, max_size=8),
    )
    def check_all(start: int, batches: list[list[OnReservation]]) -> None:
        run(store, start, batches)

    settings(max_examples=examples)(check_all)()


def test_settlements_of_the_largest_amount_end_before_the_numbers_do(
    ledger: Ledger, clock: ManualClock
) -> None:
    """The one that does not fit any more is refused, and what is held passes its deadline."""
    ledger.set_budget("a", limits=["10 usd total"])
    ledger.set_budget("b", limits=["10 usd total"])
    ledger.reserve("a", 10, key="held", deadline="1h")
    store, now = ledger.store, clock.instant()
    holds = [Reserve(f"k{n}", "a", Amounts(0, 1, None), 10**12) for n in range(1025)]
    assert all(type(each) is Accepted for each in store.apply(holds, now))
    largest = [Settle(hold.key, Amounts(MOST, AS_HELD, None)) for hold in holds]
    innocent = [Reserve("b", "b", Amounts(1, 1, None), 10**12), Release("b")]
    answers = store.apply([*largest, *innocent], now)
    assert [type(each) is Accepted for each in answers] == [
        *[True] * 1023,
        False,
        False,
        True,
        True,
    ]
    with pytest.raises(InputError, match=r"can count up to 9223372036\.854775807"):
        ledger.settle("k1024", Money.nanos(MOST))
    ledger.settle("k1024", 1)
    clock.advance(timedelta(hours=1))
    settled = Money.nanos(1023 * MOST + 11 * 10**9)
    assert standing(ledger, "a")[1:3] == (str(settled), "0")
    assert ledger.reservation("held").state == "presumed"


def test_a_reservation_grows_to_the_largest_amount_and_no_further(ledger: Ledger) -> None:
    """Also in a unit that no limit counts."""
    ledger.set_budget("a", limits=["9 calls total"])
    ledger.reserve("a", Money.nanos(MOST - 1), key="k")
    ledger.extend("k", Money.nanos(1))
    with pytest.raises(InputError, match="in one reservation"):
        ledger.extend("k", Money.nanos(1))
    with pytest.raises(InputError, match="in one reservation"):
        ledger.extend("k", 0, units={"calls": MOST})
    assert ledger.presume("k").settled == Money.nanos(MOST)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=1)])
def test_a_deadline_after_the_end_of_time_is_refused(
    ledger: Ledger, clock: ManualClock, ahead: timedelta
) -> None:
    """Reckoned from the time of the books, which may be ahead of the clock."""
    ledger.set_budget("a", limits=["9 usd total"])
    clock.advance(ahead)
    ledger.reserve("a", 1, key="k")
    clock.set(clock.now - ahead)
    last = to_datetime(LAST - ahead // timedelta(microseconds=1) * 1000)
    with pytest.raises(InputError, match="2262"):
        ledger.reserve("a", 1, deadline=last + timedelta(microseconds=1))
    ledger.reserve("a", 1, deadline=last)


def test_a_deadline_is_reckoned_from_where_others_have_brought_the_books(
    open_store: Callable[[], Ledger], clock: ManualClock
) -> None:
    """Another process has written later entries than this one knows of."""
    first, second = open_store(), open_store()
    first.set_budget("a", limits=["9 usd total"])
    first.reserve("a", 1, deadline="2d")
    clock.advance(timedelta(days=1))
    second.reserve("a", 1)
    clock.set(clock.now - timedelta(days=1))
    with pytest.raises(InputError, match="2262"):
        first.reserve("a", 1, deadline=to_datetime(LAST))
    assert standing(first, "a") == ("9", "0", "2", "7")
