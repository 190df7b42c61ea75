"""The order of commits agrees with real time, and replayed by the rules gives every answer.

Each worker records when it asked, when it was answered, and what. Accepted operations carry their
commit number; a refusal carries the number of the last commit it had seen. Source of the method:
the Jepsen analysis of TigerBeetle 0.16.11 (2025-06), which checks a database's own order against
real time instead of searching for one.
"""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Accepted, Entry, Operation, Refused, SetLimits
from earmark.stores.open import open_ledger
from support.ledger_books import STORES, check_books
from support.ledger_model import Model, outline
from support.ledger_workers import go, in_threads, operations, result, start_all

Record = tuple[int, int, Operation, Any]
LIMITS = {"acme": ["40 usd total", "2000 calls total"], "acme/tight": ["6 usd total"]}


def place(decision: Any) -> tuple[int, int]:
    """Return where in the order of commits *decision* stands; refusals come after what they saw."""
    return (decision.entry.seq, 0) if isinstance(decision, Accepted) else (decision.seen, 1)


def check_real_time(history: list[Record]) -> None:
    """Assert that whatever was answered before something was asked precedes it in the order."""
    placed = [r for r in history if isinstance(r[3], Accepted | Refused)]
    answered = sorted(placed, key=lambda record: record[1])
    latest, at = (0, 0), 0
    for invoked, _, operation, decision in sorted(placed, key=lambda record: record[0]):
        while answered[at][1] < invoked:
            latest, at = max(latest, place(answered[at][3])), at + 1
        # Two refusals may have seen the same commit.
        assert place(decision) >= latest, f"{operation} was decided on an older state"


def check_replay(entries: list[Entry], history: list[Record], ledger: Ledger) -> None:
    """Assert that the rules, folded over the order of commits, give each answer again."""
    model = Model()
    for budget in ledger.budgets():
        model.apply(SetLimits(budget, "", "", ""), 0)
    assert len(model.entries) == len(LIMITS)
    times = {entry.seq: entry.at for entry in entries}
    placed = [r for r in history if isinstance(r[3], Accepted | Refused)]
    seen = len(LIMITS)
    for _, _, operation, decision in sorted(placed, key=lambda record: place(record[3])):
        number = place(decision)[0]
        assert number in {seen, seen + 1}, f"entry {seen + 1} has no record"
        seen = number
        again = model.apply(operation, times[number])
        assert outline(again) == outline(decision)
    assert seen == len(entries) == len(model.entries)


def check_history(ledger: Ledger, history: list[Record]) -> None:
    """Check both, and that enough of each kind happened."""
    kinds = [type(record[3]).__name__ for record in history]
    assert min(kinds.count("Accepted"), kinds.count("Refused")) > 100
    check_real_time(history)
    check_replay(ledger.entries(most=10**9), history, ledger)
    check_books(ledger)


def prepared(url: str) -> Ledger:
    """Return books with a budget and a tight one below it."""
    ledger = open_ledger(url)
    for path, limits in LIMITS.items():
        ledger.set_budget(path, limits=limits)
    return ledger


def test_processes_agree_on_one_order(tmp_path: Path) -> None:
    """Two processes, with threads and tasks in each: one order, in real time, by the rules."""
    url = STORES["sqlite"](tmp_path)
    with prepared(url) as ledger:
        files = [tmp_path / name for name in "ab"]
        workers = start_all(*(("record", url, f, f.name, 6, 100, "acme") for f in files))
        go(*workers)
        assert [result(worker) for worker in workers] == [1200, 1200]
        history = [r for file in files for r in pickle.loads(file.read_bytes())]  # noqa: S301 - own
        check_history(ledger, history)


@pytest.mark.parametrize("store", STORES)
def test_threads_agree_on_one_order(store: str, tmp_path: Path) -> None:
    """Sixteen threads of one process: one order, in real time, by the rules."""
    with prepared(STORES[store](tmp_path)) as ledger:
        history: list[Record] = []
        clock, lock = ledger.clock, threading.Lock()

        def work(name: str) -> None:
            for _, operation in zip(range(100), operations(name, "acme"), strict=False):
                invoked = clock.elapsed()
                decision = ledger.committer.submit(operation)
                with lock:
                    history.append((invoked, clock.elapsed(), operation, decision))

        in_threads([lambda n=n: work(f"w{n}") for n in range(16)])
        check_history(ledger, history)
