"""Any sequence of operations: each store answers what the pure rules answer, after every step."""

import os
import shutil
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from earmark.budget.budget import Extension, Pause
from earmark.budget.limit import Limit
from earmark.budget.window import Window
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    AS_HELD,
    Amounts,
    Decision,
    Extend,
    ExtendBudget,
    Operation,
    PauseBudget,
    Presume,
    Refused,
    Release,
    Reserve,
    ResumeBudget,
    SetLimits,
    Settle,
)
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import IN_MEMORY, STORES
from support.ledger_model import Model, outline
from support.postgres_session import recycle
from support.units import FRAMES, SHEETS, registered

SECOND = 10**9
PATHS = ("a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b-2", "a.x")
ZONES = {"a": "UTC", "a/b": "Europe/Berlin", "a/b/c": "Pacific/Chatham"}
ALERTS = {"a/b": (300_000, 500_000, 2_000_000)}
WINDOWS = tuple(map(Window.parse, ("day", "30min", "total", "7h", "month")))

names = st.sampled_from(["", "o1", "o2", "o3"])
paths = st.sampled_from(PATHS)
spots = st.sampled_from(PATHS[:5])
small = st.integers(0, 5)
tokens = st.sampled_from([None, 1, 2])
counts = st.sampled_from([(), (), (("frames", 1),), (("frames", 2), ("sheets", 1))])
amounts = st.builds(Amounts, small, st.integers(0, 2), tokens, counts)
more = st.builds(Amounts, small, st.just(0), tokens, counts)
actuals = st.builds(Amounts, st.integers(0, 9), st.sampled_from([AS_HELD, 0, 3]), tokens, counts)
known = st.none() | actuals
details = st.sampled_from(["", '{"model":"m"}', '{"model":"n"}'])
units = st.sampled_from(["usd", "usd", "usd", "calls", "tokens", "frames", "sheets"])
limits = st.lists(
    st.builds(Limit, st.integers(0, 25), units, st.sampled_from(WINDOWS)),
    max_size=3,
    unique_by=lambda limit: (limit.unit, limit.window),
).map(tuple)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"])
thresholds = st.sampled_from([(), (500_000,), (300_000, 500_000, 2_000_000)])
more_time = st.sampled_from([0, 0, 600 * SECOND, 7200 * SECOND])
hours = st.sampled_from([SECOND, 1800 * SECOND, 3 * 3600 * SECOND, 86_400 * SECOND])


def first(path: str, limits: tuple[Limit, ...]) -> SetLimits:
    """Return what sets *limits* on *path* with a zone and thresholds of its own."""
    return setting(path, limits=limits, timezone=ZONES.get(path), alerts=ALERTS.get(path))


def setting(path: str, *, count_back: bool = False, **given: Any) -> SetLimits:
    """Return what sets those fields of *path* that are not `None`."""
    fields = {name: value for name, value in given.items() if value is not None}
    return SetLimits(path, fields, actor="Ada", count_back=count_back)


class Machine(RuleBasedStateMachine):
    """A store and the model, asked the same."""

    store: ClassVar[str]
    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.clock = ManualClock()
        self.model = Model()
        self.keys = 0
        self.ledger = self.open()
        self.other: Ledger | None = None

    def open(self) -> Ledger:
        """Open the books, for the first time or again."""
        return open_ledger(STORES[self.store](self.folder), clock=self.clock)

    def teardown(self) -> None:
        """Let go of the books."""
        self.ledger.close()
        if self.other is not None:
            self.other.close()
        recycle(self.folder)
        shutil.rmtree(self.folder)

    @initialize(amount=st.integers(5, 25), leaf=limits)
    def begin(self, amount: int, leaf: tuple[Limit, ...]) -> None:
        """Start with a budget that has room and one below it."""
        root = (Limit(amount, "usd", WINDOWS[0]),)
        self.ask(first("a", root), first("a/b", leaf))

    @rule(target=opened, path=paths, asked=amounts, ttl=hours, count=st.integers(1, 4))
    def reserve(self, path: str, asked: Amounts, ttl: int, count: int) -> MultipleResults[str]:
        """Ask for new reservations, several of them in one commit."""
        new = [f"k{self.keys + n}" for n in range(count)]
        self.keys += count
        at, seen = self.clock.instant(), states(self.ledger)
        expected = self.ledger.store.preview(path, [asked] * count, at, together=True)
        assert states(self.ledger) == seen, "a preview writes nothing"
        given = self.ask(*(Reserve(key, path, asked, ttl) for key in new))
        refused = [each if isinstance(each, Refused) else None for each in given]
        assert [e and outline(e) for e in expected] == [e and outline(e) for e in refused]
        return multiple(*new)

    @rule(key=opened)
    def repeat(self, key: str) -> None:
        """Ask again for what was opened, word for word."""
        known = self.model.reservations.get(key)
        if known is not None:
            self.ask(Reserve(key, known.budget, known.asked, SECOND))

    @rule(key=opened, path=paths, asked=amounts)
    def reuse(self, key: str, path: str, asked: Amounts) -> None:
        """Use a key again, most likely for something else."""
        self.ask(Reserve(key, path, asked, SECOND))

    @rule(key=opened, by=more, ttl=more_time, name=st.sampled_from(["e1", "e2", "e3", "e4", "e5"]))
    def extend(self, key: str, by: Amounts, ttl: int, name: str) -> None:
        """Ask for more."""
        self.ask(Extend(key, by, name, ttl))

    @rule(several=st.lists(opened, min_size=1, max_size=3), ttl=hours)
    def give_time(self, several: list[str], ttl: int) -> None:
        """Move deadlines, some of them twice."""
        self.keys += 1
        self.ask(
            *(Extend(k, Amounts(0, 0), f"t{self.keys}-{n}", ttl) for n, k in enumerate(several))
        )

    @rule(key=opened, actual=actuals, details=details)
    def settle(self, key: str, actual: Amounts, details: str) -> None:
        """Tell what it cost."""
        self.ask(Settle(key, actual, details=details))

    @rule(key=opened, costs=st.lists(known, min_size=1, max_size=2), details=details)
    def presume(self, key: str, costs: list[Amounts | None], details: str) -> None:
        """Tell that nobody knows, and perhaps what it cost at least."""
        self.ask(*(Presume(key, known=cost, details=details) for cost in costs))

    @rule(several=st.lists(opened, min_size=1, max_size=4), actual=actuals, kind=st.integers(0, 2))
    def close_several(self, several: list[str], actual: Amounts, kind: int) -> None:
        """Close several in one commit, some of them twice."""
        acts = ((Settle(k, actual), Release(k), Presume(k))[(kind + len(k)) % 3] for k in several)
        self.ask(*acts)

    @rule(key=opened, path=paths, asked=amounts, actual=actuals)
    def all_in_one_commit(self, key: str, path: str, asked: Amounts, actual: Amounts) -> None:
        """Close one, open another, extend it and settle it, all in one commit."""
        new = f"k{self.keys}"
        self.keys += 1
        self.ask(
            Release(key),
            Reserve(new, path, asked, SECOND),
            Extend(new, Amounts(1, 0, asked.tokens, asked.counts), f"x{new}", 2 * SECOND),
            Settle(new, actual),
        )

    @rule(kind=st.sampled_from([Release, Presume]))
    def nobody(self, kind: type[Release | Presume]) -> None:
        """Close what was never opened."""
        self.ask(kind("nobody"))

    @rule(path=spots, given=limits | st.none(), alerts=thresholds | st.none(), back=st.booleans())
    def limit(
        self, path: str, given: tuple[Limit, ...] | None, alerts: tuple[int, ...], *, back: bool
    ) -> None:
        """Make a budget, or change its limits, its thresholds, both or nothing."""
        self.ask(setting(path, limits=given, alerts=alerts, count_back=back))

    @rule(path=spots, zone=zones, given=limits | st.none(), key=opened, by=more)
    def move(
        self, path: str, zone: str, given: tuple[Limit, ...] | None, key: str, by: Amounts
    ) -> None:
        """Let its days turn elsewhere, perhaps with other limits; something grows after it."""
        self.keys += 1
        change = setting(path, limits=given, timezone=zone)
        self.ask(change, Extend(key, by, f"m{self.keys}"), Release(key))

    @rule(observed=st.booleans(), path=spots, asked=amounts, by=more)
    def observe(self, path: str, asked: Amounts, by: Amounts, *, observed: bool) -> None:
        """Let the tree count without refusing, or refuse again; something is opened and grows."""
        new = f"k{self.keys}"
        self.keys += 1
        self.ask(setting("a", observed=observed))
        self.ask(Reserve(new, path, asked, 7200 * SECOND), Extend(new, by, f"x{new}"))

    @rule(path=spots, lasts=hours | st.none(), name=names)
    def pause(self, path: str, lasts: int | None, name: str) -> None:
        """Pause a budget for a while or for good."""
        until = None if lasts is None else self.clock.instant() + lasts // 100
        self.ask(PauseBudget(path, Pause(actor="Ada", reason="", until=until), name))

    @precondition(lambda self: any(b.paused for b in self.model.budgets.values()))
    @rule(path=spots)
    def resume(self, path: str) -> None:
        """End a pause."""
        self.ask(ResumeBudget(path, "Ada", "", ""))

    @rule(path=spots, amount=small, window=st.sampled_from(WINDOWS), lasts=hours, name=names)
    def extend_budget(self, path: str, amount: int, window: Window, lasts: int, name: str) -> None:
        """Add to a limit for a while."""
        until = self.clock.instant() + lasts
        added = Extension(limit=Limit(amount, "usd", window), actor="", reason="", until=until)
        self.ask(ExtendBudget(path, added, name))

    @rule(minutes=st.sampled_from([1, 29, 31, 61, 60 * 24, 60 * 24 * 31]))
    def time_passes(self, minutes: int) -> None:
        """Minutes, a day or a month go by."""
        self.clock.advance(timedelta(minutes=minutes))

    @rule(minutes=st.sampled_from([1, 60, 60 * 24]))
    def clock_steps_back(self, minutes: int) -> None:
        """Somebody sets the clock back."""
        self.clock.set(self.clock.now - timedelta(minutes=minutes))

    @precondition(lambda self: self.store != "memory")
    @rule()
    def reopen(self) -> None:
        """The process ends and another begins."""
        self.ledger.close()
        self.ledger = self.open()

    @precondition(lambda self: self.store != "memory")
    @rule()
    def another_process_asks(self) -> None:
        """What follows goes through a second ledger on the same books, or the first one again."""
        self.ledger, self.other = self.other or self.open(), self.ledger

    def ask(self, *batch: Operation) -> list[Decision]:
        """Put *batch* to both and compare answers, then everything that can be seen."""
        at = self.clock.instant()
        given = self.ledger.store.apply(batch, at)
        expected = [self.model.apply(operation, at) for operation in batch]
        assert [outline(d) for d in given] == [outline(d) for d in expected]
        self.compare()
        return given

    def compare(self) -> None:
        """Compare what stands in the books with the model, and the books with themselves."""
        at = self.clock.instant()
        for path in self.model.budgets:
            found = [
                (b.unit, b.window, _plain(b.limit), _plain(b.settled), _plain(b.held))
                for b in self.ledger.balances(path)
            ]
            self.model.sweep(at)
            assert found == self.model.standing(path, at)
        assert states(self.ledger) == Counter(
            (r.key, r.state, r.hold, r.actual, r.expires) for r in self.model.reservations.values()
        )
        report = self.ledger.audit()
        assert report.ok, report.problems
        assert report.entries == len(self.model.entries)
        self.compare_alerts()

    def compare_alerts(self) -> None:
        """Compare alerts; with extensions, only that each was due and is told once."""
        told = self.ledger.alerts()
        assert len({alert.id for alert in told}) == len(told)
        assert all(a.settled * 1_000_000 >= a.limit * a.threshold for a in told)
        plain = {path for path, b in self.model.budgets.items() if not b.extensions}
        plain -= {e.budget for e in self.model.entries if e.kind == "extension"}
        assert Counter(a.id for a in told if a.budget in plain) == Counter(
            a.id for a in self.model.alerts if a.budget in plain
        )


def states(ledger: Ledger) -> Counter[tuple[object, ...]]:
    """Return every reservation as its key, state, amounts and deadline."""
    found = ledger.holds(state=None)
    return Counter((r.key, r.state, r.hold, r.actual, r.expires) for r in found)


def _plain(amount: Money | int) -> int:
    return amount if isinstance(amount, int) else amount.in_nanos


class MemoryMachine(Machine):
    """The books in memory."""

    store = "memory"


class SqliteMachine(Machine):
    """The books in a file."""

    store = "sqlite"


class PostgresMachine(Machine):
    """The books on a server."""

    store = "postgres"


# A failure is made small before it is told, which may take minutes.
@pytest.mark.parametrize(
    ("machine", "examples"),
    [(MemoryMachine, 80), (SqliteMachine, 30), (PostgresMachine, 8)],
    ids=lambda given: getattr(given, "store", ""),
)
def test_any_sequence_of_operations_is_decided_by_the_rules(
    machine: type[Machine], examples: int
) -> None:
    """Whatever is asked in whatever order, the store answers what the rules answer."""
    with registered(FRAMES, SHEETS):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples * (10 if "EARMARK_FIRE_SECONDS" in os.environ else 1),
                stateful_step_count=30,
            ),
        )
