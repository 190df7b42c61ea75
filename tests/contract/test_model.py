"""Any sequence of operations: each store answers what the pure rules answer, after every step."""

import shutil
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.ledger_books import STORES
from support.ledger_model import Model, outline

from earmark.budget.budget import Budget, Extension, Pause
from earmark.budget.limit import Limit
from earmark.budget.window import Window
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    AS_HELD,
    Accepted,
    Amounts,
    Decision,
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

SECOND = 10**9
PATHS = ("a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b-2", "a.x")
ZONES = {"a": "UTC", "a/b": "Europe/Berlin", "a/b/c": "Pacific/Chatham"}
ALERTS = {"a/b": (300_000, 500_000, 2_000_000)}
WINDOWS = tuple(map(Window.parse, ("day", "30min", "total")))

keys = st.sampled_from([f"k{n}" for n in range(7)])
names = st.sampled_from(["", "o1", "o2", "o3"])
paths = st.sampled_from(PATHS)
spots = st.sampled_from(PATHS[:5])
small = st.integers(0, 5)
amounts = st.builds(Amounts, small, st.integers(0, 2), st.none() | small)
closings = st.builds(
    Amounts, st.integers(0, 9), st.sampled_from([AS_HELD, 0, 3]), st.none() | small
)
limits = st.lists(
    st.builds(Limit, st.integers(0, 9), st.sampled_from(["usd", "usd", "calls", "tokens"]),
              st.sampled_from(WINDOWS)),
    max_size=3, unique_by=lambda limit: (limit.unit, limit.window),
).map(tuple)  # fmt: skip
hours = st.sampled_from([SECOND, 1800 * SECOND, 3 * 3600 * SECOND, 86_400 * SECOND])


def budget(path: str, given: tuple[Limit, ...]) -> Budget:
    """Return the budget at *path*; zone and thresholds stay what they are for a path."""
    zone, alerts = ZONES.get(path, "UTC"), ALERTS.get(path, (800_000, 1_000_000))
    return Budget(path=path, limits=given, timezone=zone, alerts=alerts)


on_reservations = st.one_of(
    st.builds(Reserve, keys, paths, amounts, hours),
    st.builds(Reserve, keys, paths, amounts, hours),
    st.builds(Extend, keys, st.builds(Amounts, small, st.just(0), st.none() | small),
              st.sampled_from(["e1", "e2", "e3", "e4"])),
    st.builds(Settle, keys, closings),
    st.builds(Release, keys),
    st.builds(Presume, keys),
)  # fmt: skip


class Machine(RuleBasedStateMachine):
    """A store and the model, asked the same."""

    store: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.model = Model()
        self.ledger = self.open()

    def open(self) -> Ledger:
        """Open the books, for the first time or again."""
        return open_ledger(STORES[self.store](self.folder), clock=self.clock)

    def teardown(self) -> None:
        """Let go of the books."""
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize(root=limits, leaf=limits)
    def begin(self, root: tuple[Limit, ...], leaf: tuple[Limit, ...]) -> None:
        """Start with two budgets."""
        self.ask(
            SetLimits(budget("a", root), "", "", ""), SetLimits(budget("a/b", leaf), "", "", "")
        )

    @rule(batch=st.lists(on_reservations, min_size=1, max_size=4))
    def reserve_and_close(self, batch: list[Operation]) -> None:
        """Ask several things of reservations in one commit."""
        self.ask(*batch)

    @rule(path=spots, given=limits)
    def limit(self, path: str, given: tuple[Limit, ...]) -> None:
        """Change a budget's limits."""
        self.ask(SetLimits(budget(path, given), "Ada", "", ""))

    @rule(path=spots, lasts=st.none() | hours, name=names)
    def pause(self, path: str, lasts: int | None, name: str) -> None:
        """Pause a budget for a while or for good."""
        until = None if lasts is None else self.clock.instant() + lasts
        self.ask(PauseBudget(path, Pause(actor="Ada", reason="", until=until), name))

    @rule(path=spots)
    def resume(self, path: str) -> None:
        """End a pause."""
        self.ask(ResumeBudget(path, "Ada", "", ""))

    @rule(path=spots, amount=small, window=st.sampled_from(WINDOWS), lasts=hours, name=names)
    def extend_budget(self, path: str, amount: int, window: Window, lasts: int, name: str) -> None:
        """Add to a limit for a while."""
        until = self.clock.instant() + lasts
        more = Extension(limit=Limit(amount, "usd", window), actor="", reason="", until=until)
        self.ask(ExtendBudget(path, more, name))

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

    def ask(self, *batch: Operation) -> None:
        """Put *batch* to both and compare answers, then everything that can be seen."""
        at = self.clock.instant()
        given = self.ledger.store.apply(batch, at)
        expected = [self.model.apply(operation, at) for operation in batch]
        assert [outline(d) for d in given] == [outline(d) for d in expected]
        for decision in given:
            never_over(decision)
        self.compare()

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
            (r.key, r.state, r.hold, r.actual) for r in self.model.reservations.values()
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
    """Return every reservation as its key, state and amounts."""
    return Counter((r.key, r.state, r.hold, r.actual) for r in ledger.holds(state=None))


def never_over(decision: Decision) -> None:
    """Assert that what was admitted fits on each account it touches."""
    if isinstance(decision, Accepted) and decision.entry.kind in {"reserve", "extend"}:
        for account in decision.accounts:
            assert account.settled + account.held <= account.line.limit


def _plain(amount: object) -> int:
    return amount if isinstance(amount, int) else amount.in_nanos  # type: ignore[attr-defined, no-any-return]  # pyright: ignore


class MemoryMachine(Machine):
    """The books in memory."""

    store = "memory"


class SqliteMachine(Machine):
    """The books in a file."""

    store = "sqlite"


@pytest.mark.parametrize(
    ("machine", "examples"), [(MemoryMachine, 150), (SqliteMachine, 40)], ids=["memory", "sqlite"]
)
def test_any_sequence_of_operations_is_decided_by_the_rules(
    machine: type[Machine], examples: int
) -> None:
    """Whatever is asked in whatever order, the store answers what the rules answer."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
