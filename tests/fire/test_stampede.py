"""Many want few: exactly what fits is admitted, from threads, tasks and processes alike."""

import asyncio
import threading
from pathlib import Path

import pytest

from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.ledger_books import STORES, check_books, only, standing
from support.ledger_workers import (
    SHARED,
    go,
    in_threads,
    result,
    rush_of_tasks,
    rush_of_threads,
    start,
    start_all,
)


def prepared(url: str) -> Ledger:
    """Return books with 10.50 a day for `acme`, and no limit of its own for `acme/agent`."""
    ledger = open_ledger(url)
    ledger.set_budget("acme", limits=["10.50 usd total"])
    return ledger


def check_ten(ledger: Ledger, admitted: list[bool]) -> None:
    """Assert that ten of 1.00 each were admitted, and that the books say so too."""
    assert admitted.count(True) == 10
    assert standing(ledger, "acme") == ("10.5", "0", "10", "0.5")
    assert len(ledger.holds()) == 10
    check_books(ledger)


@pytest.mark.parametrize("store", STORES)
def test_sixty_four_threads(store: str, tmp_path: Path) -> None:
    """Of 64 threads that want 1.00 of 10.50 at once, ten get it."""
    with prepared(STORES[store](tmp_path)) as ledger:
        check_ten(ledger, rush_of_threads(ledger, 64, "acme/agent"))


@pytest.mark.parametrize("store", STORES)
def test_sixty_four_tasks(store: str, tmp_path: Path) -> None:
    """Of 64 asyncio tasks that want 1.00 of 10.50 at once, ten get it."""
    with prepared(STORES[store](tmp_path)) as ledger:
        check_ten(ledger, asyncio.run(rush_of_tasks(ledger, 64, "acme/agent")))


@pytest.mark.parametrize("store", SHARED)
def test_four_processes(store: str, tmp_path: Path) -> None:
    """Of 4 processes with 16 workers each, ten workers get their 1.00 of 10.50."""
    url = STORES[store](tmp_path)
    with prepared(url) as ledger:
        kinds = ("threads", "tasks", "threads", "tasks")
        workers = start_all(*(("rush", url, kind, 16, "acme/agent") for kind in kinds))
        go(*workers)
        check_ten(ledger, [each for worker in workers for each in result(worker)])


@pytest.mark.parametrize("store", SHARED)
def test_all_ways_at_once(store: str, tmp_path: Path) -> None:
    """64 threads, 64 tasks and 4 x 16 workers of other processes on one store: ten in all."""
    url = STORES[store](tmp_path)
    with prepared(url) as ledger:
        workers = start_all(*[("rush", url, "threads", 16, "acme/agent")] * 4)
        admitted: list[bool] = []

        def tasks() -> None:
            admitted.extend(asyncio.run(rush_of_tasks(ledger, 64, "acme/agent")))

        def threads() -> None:
            admitted.extend(rush_of_threads(ledger, 64, "acme/agent"))

        go(*workers)
        in_threads([tasks, threads])
        for worker in workers:
            admitted += result(worker)
        assert len(admitted) == 192
        check_ten(ledger, admitted)


@pytest.mark.parametrize("store", STORES)
def test_a_hopeless_request_refuses_nobody_else(store: str, tmp_path: Path) -> None:
    """Requests that can never fit, in a loop beside ones that do: these are never refused."""
    with prepared(STORES[store](tmp_path)) as ledger:
        done, hopeless = threading.Event(), list[str]()

        def ask_too_much() -> None:
            while not done.is_set():
                with pytest.raises(BudgetExceeded) as refused:
                    ledger.reserve("acme/agent", "10.51")
                hopeless.append(refused.value.reason)

        def ask_what_fits() -> None:
            for _ in range(50):
                hold = ledger.reserve("acme/agent", "1.05")
                ledger.release(hold.key)

        def all_that_fit() -> None:
            try:
                in_threads([ask_what_fits] * 10)
            finally:
                done.set()

        in_threads([all_that_fit, ask_too_much, ask_too_much])
        assert set(hopeless) == {"too_large"}
        assert str(only(ledger, "acme").held) == "0"


@pytest.mark.parametrize("store", SHARED)
def test_a_hopeless_process_refuses_nobody_else(store: str, tmp_path: Path) -> None:
    """The same with the impossible requests coming from another process."""
    url = STORES[store](tmp_path)
    with prepared(url) as ledger:
        other = start("hopeless", url, "acme/agent", "10.51")
        go(other)
        for _ in range(200):
            ledger.release(ledger.reserve("acme/agent", "10.50").key)
        assert result(other) > 0
        check_books(ledger)


@pytest.mark.parametrize("store", SHARED)
def test_processes_that_race_take_turns(store: str, tmp_path: Path) -> None:
    """Of two processes that commit as fast as they can, neither is starved."""
    url = STORES[store](tmp_path)
    with prepared(url) as ledger:
        ledger.set_budget("acme", limits=["1000 usd total"])
        workers = start_all(*[("race", url, "acme", 400)] * 2)
        go(*workers)
        numbers = [number for worker in workers for number in result(worker)]
        assert len(set(numbers)) == 800
