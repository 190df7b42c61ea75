"""PostgreSQL's check of a batch and the rules agree, whatever is mixed and whoever else writes.

The oracle folds the rules in memory, one operation at a time, and knows nothing of batches: a legal
batch that the server refuses, an illegal one that it takes, and one that fails for a single member
all show as a difference.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark.budget.budget import Extension, Pause
from earmark.budget.limit import Limit
from earmark.budget.window import Window
from earmark.clock import NANOS_PER_SECOND
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    AS_HELD,
    Accepted,
    Amounts,
    Extend,
    ExtendBudget,
    Operation,
    PauseBudget,
    Presume,
    Release,
    Reserve,
    ResumeBudget,
    SetLimits,
    Settle,
)
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_model import Model, outline
from support.postgres_session import fresh_url

EXAMPLES: Final = 1000 if "EARMARK_FIRE_SECONDS" in os.environ else 60
MINUTE: Final = 60 * NANOS_PER_SECOND
WINDOWS: Final = tuple(map(Window.parse, ("total", "day", "30min")))
#: Two trees, one of them with a budget below another.
PLACES: Final = ("x", "x/leaf", "y")
#: How many keys ago a key was asked for.
RECENT: Final = st.sampled_from(range(6))
#: Amounts and limits of one size, so that about half of what is asked fits.
AMOUNT: Final = st.sampled_from(range(1, 8))
PLACE: Final = st.sampled_from(PLACES)
LIMIT: Final = st.builds(
    Limit,
    st.sampled_from([*range(4, 21), 0]),
    st.sampled_from(["usd", "usd", "usd", "calls"]),
    st.sampled_from(WINDOWS),
)
LIMITS: Final = st.lists(
    LIMIT, min_size=1, max_size=2, unique_by=lambda limit: (limit.unit, limit.window)
).map(tuple)
RESERVE: Final = st.tuples(
    st.just("reserve"), PLACE, AMOUNT, st.sampled_from([100_000, 100_000, 20, 1])
)
#: What a writer may decide on what it knows, and have checked by the server as it is written.
PLAIN: Final = st.one_of(
    RESERVE,
    RESERVE,
    st.tuples(st.just("settle"), RECENT, AMOUNT),
    st.tuples(st.just("release"), RECENT),
)
#: An operation without its names: the test gives them, so that examples share one schema.
MOVES: Final = st.one_of(
    PLAIN,
    RESERVE,
    RESERVE,
    st.tuples(st.just("again"), RECENT),
    st.tuples(st.just("extend"), RECENT, AMOUNT, st.just(0)),
    st.tuples(st.just("extend"), RECENT, AMOUNT | st.just(0), st.sampled_from([3, 50])),
    st.tuples(st.just("presume"), RECENT),
    st.tuples(st.just("presume"), RECENT, AMOUNT),
    st.tuples(st.just("limits"), PLACE, LIMITS),
    st.tuples(st.just("pause"), PLACE, st.sampled_from([None, 10])),
    st.tuples(st.just("resume"), PLACE),
    st.tuples(st.just("resume"), PLACE),
    st.tuples(st.just("more"), PLACE, AMOUNT, st.sampled_from(WINDOWS), st.sampled_from([5, 5000])),
)
WRITER: Final = st.sampled_from([0, 1])
#: Who writes a batch, after how many minutes, and what is in it.
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(
            WRITER, st.sampled_from([0, 0, 0, 6, 31]), st.lists(MOVES, min_size=3, max_size=8)
        ),
        st.tuples(WRITER, st.just(0), st.lists(PLAIN, min_size=1, max_size=3)),
        st.tuples(WRITER, st.just(0), st.lists(PLAIN, min_size=1, max_size=3)),
    ),
    min_size=6,
    max_size=16,
)
#: Two writers in turn on one budget with room for a few: each decides on sums that are the other's
#: too, and a limit may be lowered below what the same batch has just reserved.
SMALL: Final = st.sampled_from([1, 1, 2, 3])
NARROW: Final = st.builds(
    Limit, st.sampled_from([3, 4, 5, 6]), st.just("usd"), st.just(WINDOWS[0])
).map(lambda limit: (limit,))
TAKE: Final = st.tuples(st.just("reserve"), st.just("y"), SMALL, st.just(100_000))
BACK: Final = st.one_of(
    st.tuples(st.just("release"), RECENT), st.tuples(st.just("settle"), RECENT, st.just(0))
)
RACES: Final = st.lists(
    st.tuples(
        WRITER,
        st.just(0),
        st.one_of(
            st.lists(TAKE, min_size=1, max_size=2),
            st.lists(TAKE, min_size=1, max_size=2),
            st.lists(BACK, min_size=1, max_size=2),
            st.tuples(TAKE, st.tuples(st.just("limits"), st.just("y"), NARROW)).map(list),
        ),
    ),
    min_size=8,
    max_size=20,
)


@pytest.fixture(scope="module")
def writers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Ledger, Ledger, ManualClock]]:
    """Two processes' ledgers on the same books, as far as the server can tell."""
    folder: Path = tmp_path_factory.mktemp("agree")
    clock = ManualClock()
    url = fresh_url(folder)
    with open_ledger(url, clock=clock) as one, open_ledger(url, clock=clock) as other:
        yield one, other, clock


_numbers = count()


@dataclass(slots=True)
class Example:
    """One example's names: its own trees and keys, among those of all the others."""

    tree: str = field(default_factory=lambda: f"e{next(_numbers)}")
    opened: list[Reserve] = field(default_factory=list[Reserve])
    asked: int = 0

    def operation(self, move: tuple[Any, ...], now: int) -> Operation:
        """Return the operation of *move* at *now*."""
        self.asked += 1
        name = f"{self.tree}-{self.asked}"
        match move:
            case ("reserve", place, usd, minutes):
                op = Reserve(name, self._path(place), Amounts(usd, 1, None), minutes * MINUTE)
                self.opened.append(op)
                return op
            case (kind, int(number), *rest):
                return self._on_reservation(kind, self._known(number), rest, name)
            case _:
                return self._on_budget(move, name, now)

    def _on_reservation(self, kind: str, known: Reserve, rest: list[int], name: str) -> Operation:
        if kind == "again":
            return known
        if kind == "extend":
            return Extend(known.key, Amounts(rest[0], 0, None), name, rest[1] * MINUTE)
        if kind == "settle":
            return Settle(known.key, Amounts(rest[0], AS_HELD, None))
        if kind == "release":
            return Release(known.key)
        return Presume(known.key, known=Amounts(rest[0], AS_HELD, None) if rest else None)

    def _on_budget(self, move: tuple[Any, ...], name: str, now: int) -> Operation:
        match move:
            case ("limits", place, limits):
                return SetLimits(self._path(place), {"limits": limits})
            case ("pause", place, minutes):
                until = None if minutes is None else now + minutes * MINUTE
                return PauseBudget(self._path(place), Pause(actor="", reason="", until=until), "")
            case ("resume", place):
                return ResumeBudget(self._path(place), "", "", "")
            case ("more", place, usd, window, minutes):
                added = Limit(usd, "usd", window)
                until = now + minutes * MINUTE
                extension = Extension(limit=added, actor="", reason="", until=until)
                return ExtendBudget(self._path(place), extension, name)
            case _:
                raise AssertionError(move)

    def _path(self, place: str) -> str:
        return f"{self.tree}{place}"

    def _known(self, number: int) -> Reserve:
        if not self.opened:
            # Asked for only by "again", which then opens it; to the others it is unknown.
            self.opened.append(
                Reserve(f"{self.tree}-first", self._path("x"), Amounts(1, 1, None), MINUTE)
            )
        return self.opened[-1 - min(number, len(self.opened) - 1)]


@settings(max_examples=EXAMPLES)
@example(
    # A limit is lowered below what the same batch has just reserved.
    limits=(Limit(10, "usd", WINDOWS[0]),),
    leaf=(Limit(10, "usd", WINDOWS[0]),),
    steps=[
        (0, 0, [("reserve", "x", 1, 100_000)]),
        (0, 0, [("reserve", "x", 7, 100_000), ("limits", "x", (Limit(4, "usd", WINDOWS[0]),))]),
        (0, 0, [("reserve", "y", 7, 100_000), ("pause", "y", None), ("resume", "y")]),
    ],
)
@example(
    # A writer decides on sums that another has added to since: what fitted does not any more.
    limits=(Limit(5, "usd", WINDOWS[0]),),
    leaf=(Limit(5, "usd", WINDOWS[0]),),
    steps=[
        (0, 0, [("reserve", "y", 1, 100_000)]),
        (0, 0, [("reserve", "y", 1, 100_000)]),
        (1, 0, [("reserve", "y", 2, 100_000)]),
        (0, 0, [("reserve", "y", 1, 100_000), ("reserve", "y", 1, 100_000)]),
        (1, 0, [("release", 0)]),
        (0, 0, [("settle", 0, 1)]),
    ],
)
@given(limits=LIMITS, leaf=LIMITS, steps=STEPS)
def test_the_check_and_the_rules_agree(
    writers: tuple[Ledger, Ledger, ManualClock],
    limits: tuple[Limit, ...],
    leaf: tuple[Limit, ...],
    steps: list[tuple[int, int, list[tuple[Any, ...]]]],
) -> None:
    """Each batch of each writer is decided as the rules decide it, one operation after another."""
    decide_alike(writers, limits, leaf, steps)


@settings(max_examples=EXAMPLES)
@given(limits=NARROW, steps=RACES)
def test_writers_that_race_for_the_last_of_a_limit_agree(
    writers: tuple[Ledger, Ledger, ManualClock],
    limits: tuple[Limit, ...],
    steps: list[tuple[int, int, list[tuple[Any, ...]]]],
) -> None:
    """By generation alone: stale sums, and limits lowered within a batch, meet in each example."""
    decide_alike(writers, limits, limits, steps)


def decide_alike(
    writers: tuple[Ledger, Ledger, ManualClock],
    limits: tuple[Limit, ...],
    leaf: tuple[Limit, ...],
    steps: list[tuple[int, int, list[tuple[Any, ...]]]],
) -> None:
    """Apply each batch to the books and one operation after another to the model; compare all."""
    *ledgers, clock = writers
    model, names = Model(), Example()
    first = [("limits", "x", limits), ("limits", "x/leaf", leaf), ("limits", "y", limits)]
    for who, minutes, moves in [(0, 0, first), *steps]:
        clock.advance(timedelta(minutes=minutes))
        at = clock.instant()
        batch = [names.operation(move, at) for move in moves]
        answers = ledgers[who].store.apply(batch, at)
        expected = [model.apply(operation, at) for operation in batch]
        assert [outline(decision) for decision in answers] == [outline(each) for each in expected]
    compare(ledgers[0], model, names, clock.instant())
    for op in names.opened:
        ledgers[0].store.apply([Release(op.key)], clock.instant())


def compare(ledger: Ledger, model: Model, names: Example, at: int) -> None:
    """Compare what is in the books of the example with the model."""
    ledger.sweep()
    model.sweep(at)
    for place in PLACES:
        path = f"{names.tree}{place}"
        accounts = [a for a in ledger.store.accounts(path, at) if a.line.budget == path]
        found = [(a.line.unit, a.line.window, a.line.limit, a.settled, a.held) for a in accounts]
        assert found == model.standing(path, at)
    keys = {op.key for op in names.opened}
    rows = [row for row in map(ledger.store.reservation, keys) if row is not None]
    assert {row.key: (row.state, row.hold, row.actual, row.expires) for row in rows} == {
        row.key: (row.state, row.hold, row.actual, row.expires)
        for row in model.reservations.values()
    }
    trees = {f"{names.tree}x", f"{names.tree}y"}
    entries = [e for tree in trees for e in ledger.entries(tree, most=10_000)]
    assert Counter((e.kind, e.key, e.at) for e in entries) == Counter(
        (e.kind, e.key, e.at) for e in model.entries
    )


def test_the_books_of_all_examples_add_up(writers: tuple[Ledger, Ledger, ManualClock]) -> None:
    """What the examples before this test left is recomputed from the entries, and alike."""
    report = writers[0].audit()
    assert report.ok, report.problems


def test_accepted_holds_fit() -> None:
    """The oracle itself admits nothing above a limit."""
    model = Model()
    model.apply(SetLimits("a", {"limits": (Limit(5, "usd", WINDOWS[0]),)}), 1)
    assert isinstance(model.apply(Reserve("k", "a", Amounts(5, 1, None), MINUTE), 1), Accepted)
    assert not isinstance(model.apply(Reserve("l", "a", Amounts(1, 1, None), MINUTE), 1), Accepted)
