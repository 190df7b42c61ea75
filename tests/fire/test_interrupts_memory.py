"""Ctrl-C, and a signal handler that calls, at every line of a call of books in memory.

`make fire` interrupts at all lines, `make test` at every eleventh.
"""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from earmark.errors import StoreUnavailable
from earmark.ledger.store import Filter
from earmark.ledger.values import Amounts, Presume, Release, Reserve, Settle
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.interrupt import STEP, Interrupt, in_thread, on_a_thread_of_its_own


class InMemory:
    """Books in memory with three reservations, and rows that closings write beside them."""

    def __init__(self) -> None:
        self._clock = ManualClock()
        self.books = open_ledger("memory:", clock=self._clock)
        self.rows: dict[str, str] = {}
        self.books.set_budget("acme", limits=["1 usd total"])
        self.books.set_budget("acme/line", limits=["0.9 usd per day"], alerts=[0.2, 0.5])
        self.books.reserve("acme/line", "0.1", key="late", operation="late", deadline="5m")
        for key in ("first", "second"):
            self.books.reserve("acme/line", "0.2", key=key, operation=key)
        self.books.settle("second", "0.1")
        # The next commit presumes the one that is late, as well.
        self._clock.advance(timedelta(minutes=10))

    def batch(self) -> None:
        """Open, close and correct in one batch, with rows beside it, and more than fits."""
        amounts = Amounts(100_000_000)
        self.books.store.apply(
            (
                Reserve("one", "acme/line", amounts, 10**12),
                Settle("one", amounts, self._write),
                Reserve("two", "acme/line", Amounts(10**9), 10**12),
                Release("first", also=self._write),
                Reserve("three", "acme", amounts, 10**12),
                Presume("three", self._write),
            ),
            self._clock.instant(),
        )

    def _write(self, _: object, closed: Any) -> None:
        self.rows[closed.key] = closed.state

    def state(self) -> tuple[object, ...]:
        """Return all that is kept."""
        store = self.books.store
        view = store.snapshot()
        kept = (view.budgets(), view.accounts(), view.reservations(), view.entries())
        # What is written beside the books is written before them, and may be written again.
        missing = {r.key for r in store.reservations(Filter(most=99)) if r.key in {"one", "three"}}
        assert missing <= set(self.rows)
        return (*map(tuple, kept), tuple(store.alerts(Filter(most=99))))


#: What is done in one commit; each can be asked again.
_COMMITS: dict[str, Callable[[InMemory], object]] = {
    "reserve": lambda one: one.books.reserve("acme/line", "0.3", key="key", operation="key"),
    "settle": lambda one: one.books.settle("first", "0.2"),
    "extend": lambda one: one.books.extend("first", "0.2", operation="more"),
    "release": lambda one: one.books.release("first"),
    "limits": lambda one: one.books.set_budget(
        "acme", limits=["2 usd total", "1 usd per hour"], alerts=[0.01], count_back=True
    ),
    "pause": lambda one: one.books.pause("acme/line"),
    "batch": InMemory.batch,
    "balances": lambda one: one.books.balances("acme/line", tree=True),
    "refusal": lambda one: one.books.store.apply(
        (Reserve("large", "acme/line", Amounts(10**9), 10**12),), one.books.clock.instant()
    ),
}


def _go_on(one: InMemory, act: Callable[[InMemory], object]) -> tuple[object, ...]:
    """Ask again, go on with other work on the same accounts, and return what is then kept."""
    act(one)
    one.books.resume("acme/line")
    one.books.reserve("acme/line", "0.01", key="next", operation="next")
    one.books.settle("next", "0.005")
    assert one.books.audit().problems == ()
    return one.state()


@pytest.mark.parametrize("name", _COMMITS)
@on_a_thread_of_its_own
def test_an_interrupted_batch_is_in_memory_in_whole_or_not_at_all(name: str) -> None:
    """And the next calls do what they would have done without an interrupt."""
    act = _COMMITS[name]

    reference = InMemory()
    before = reference.state()
    act(reference)
    after = reference.state()
    end = _go_on(reference, act)
    for nth in itertools.count(1):
        one = InMemory()
        interrupt = Interrupt(None, nth * STEP - 1)
        try:
            with interrupt:
                act(one)
        except KeyboardInterrupt:
            assert interrupt.at

        def go_on(one: InMemory = one, at: str = interrupt.at) -> None:
            found = one.state()
            assert found in (before, after), at
            if found != after:
                act(one)
            assert _go_on(one, act) == end, at

        in_thread(go_on, interrupt.at)
        if not interrupt.at:
            break
    assert nth * STEP > 20, "it was interrupted at as many lines"


class Call(Interrupt):
    """Calls the same books, as a signal handler may, where the other one raises."""

    def __init__(self, nth: int, work: Callable[[], object]) -> None:
        super().__init__(None, nth * STEP - 1)
        self._work = work
        self.refused = False

    def strike(self) -> None:
        """Work, or be refused."""
        try:
            self._work()
        except StoreUnavailable:
            self.refused = True


@pytest.mark.parametrize("name", ["settle", "pause", "balances"])
def test_a_signal_handler_that_calls_books_in_memory_spoils_nothing(name: str) -> None:
    """It is refused in the middle of a call of its own thread, and served elsewhere."""
    refused: set[bool] = set()
    for nth in itertools.count(1):
        one = InMemory()
        call = Call(nth, lambda one=one: one.books.reserve("acme", "0.01", key="handler"))
        with call:
            _COMMITS[name](one)
        kept = [each.key for each in one.books.entries(most=99) if each.kind == "reserve"]
        assert len(kept) == len(set(kept)), call.at
        assert ("handler" in kept) == bool(call.at and not call.refused), call.at
        _go_on(one, _COMMITS[name])
        if not call.at:
            break
        refused.add(call.refused)
    assert refused == {False, True}
