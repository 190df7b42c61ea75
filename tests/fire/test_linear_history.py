"""The order of commits agrees with real time, and replayed by the rules gives every answer."""

import pickle
import threading
from pathlib import Path

import pytest

from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.ledger_books import STORES
from support.ledger_history import Record, check_history, counts
from support.ledger_workers import SHARED, go, in_threads, operations, result, start_all

LIMITS = {"acme": ["40 usd total", "2000 calls total"], "acme/tight": ["6 usd total"]}


def prepared(url: str) -> Ledger:
    """Return books with a budget and a tight one below it."""
    ledger = open_ledger(url)
    for path, limits in LIMITS.items():
        ledger.set_budget(path, limits=limits)
    return ledger


def check(ledger: Ledger, history: list[Record]) -> None:
    """Check the history, and that enough of each kind happened."""
    kinds = counts(history)
    assert min(kinds["Accepted"], kinds["Refused"]) > 100
    check_history(ledger, history)


@pytest.mark.parametrize("store", SHARED)
def test_processes_agree_on_one_order(store: str, tmp_path: Path) -> None:
    """Two processes, with threads and tasks in each: one order, in real time, by the rules."""
    url = STORES[store](tmp_path)
    with prepared(url) as ledger:
        files = [tmp_path / name for name in "ab"]
        workers = start_all(*(("record", url, f, f.name, 6, 100, "acme") for f in files))
        go(*workers)
        assert [result(worker) for worker in workers] == [1200, 1200]
        history = [r for file in files for r in pickle.loads(file.read_bytes())]  # noqa: S301 - own
        check(ledger, history)


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
                    history.append(Record(invoked, clock.elapsed(), operation, decision))

        in_threads([lambda n=n: work(f"w{n}") for n in range(16)])
        check(ledger, history)
