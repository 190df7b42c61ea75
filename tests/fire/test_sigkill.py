"""Processes killed while they write: what was acknowledged is there, nothing is half done."""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Entry
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.last_resort import until
from support.ledger_books import STORES, check_books, check_kept, standing
from support.ledger_workers import SHARED, go, kill, read_answers, start, start_all

#: Rounds, and how many answers the longest one waits for. A commit on a server takes longer, and
#: the longer trial of one is in test_postgres_endures.py.
TRIALS = {"sqlite": (8, 100), "postgres": (4, 40)}
USD = 10**9


@pytest.mark.parametrize("store", SHARED)
def test_acknowledged_operations_survive(store: str, tmp_path: Path) -> None:
    """Two writing processes are killed again and again: every answer they got is in the books."""
    seed = int(os.environ.get("EARMARK_TEST_SEED", random.randrange(1 << 32)))
    print(f"EARMARK_TEST_SEED={seed}")  # noqa: T201 - pytest shows it when this fails
    dice = random.Random(seed)
    url, acks = STORES[store](tmp_path), tmp_path / "acks"
    acks.mkdir()
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1000000 usd total"])
        ledger.set_budget("acme/tight", limits=["5 usd total"])
    rounds, most = TRIALS[store]
    for number in range(rounds):
        names = [f"{number}{side}" for side in "ab"]
        workers = start_all(*(("churn", url, acks, name, 3, "acme") for name in names))
        go(*workers)
        wanted = dice.randint(1, most)
        until(lambda names=names, wanted=wanted: len(answers(acks, names)) >= wanted)
        kill(*workers)
        with open_ledger(url) as ledger:
            check_round(ledger, acks, names)
    with open_ledger(url) as ledger:
        check_books(ledger)
        check_never_over(ledger.entries(most=10**9))


def answers(acks: Path, names: list[str]) -> list[Any]:
    """Return the answers that the workers of these names have written down."""
    files = [file for file in sorted(acks.iterdir()) if file.name.split(".")[0] in names]
    return [answer for file in files for answer in read_answers(file)]


def check_round(ledger: Ledger, acks: Path, names: list[str]) -> None:
    """Assert that all answers of this round are kept; leave room for the next."""
    for operation, decision in answers(acks, names):
        check_kept(ledger, operation, decision)
    report = ledger.audit()
    assert report.ok, report.problems
    for hold in ledger.holds(most=10**9):
        ledger.release(hold.key)


def check_never_over(entries: list[Entry]) -> None:
    """Assert, entry by entry, that the tight budget's limit was kept at each admission."""
    holds: dict[str, int] = {}
    settled: dict[str, int] = {}
    paths: dict[str, str] = {}
    for entry in entries:
        key, amount = entry.key, entry.amounts.usd
        if entry.kind == "reserve":
            paths[key] = entry.budget
        if not paths.get(key, "").startswith("acme/tight"):
            continue
        match entry.kind:
            case "reserve" | "extend":
                holds[key] = holds.get(key, 0) + amount
                assert sum(holds.values()) + sum(settled.values()) <= 5 * USD
            case "settle" | "presume" | "release":
                holds.pop(key, None)
                settled[key] = amount
            case _:
                pass


@pytest.fixture(params=SHARED)
def lost(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Ledger, ManualClock]]:
    """Books whose one user was killed in the middle of a call that holds 1.00 of 1.50."""
    url = STORES[request.param](tmp_path)
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1.50 usd total"])
    worker = start("call", url, "acme/agent", "lost-call")
    go(worker)
    kill(worker)
    clock = ManualClock(datetime.now(UTC))
    with open_ledger(url, clock=clock) as ledger:
        yield ledger, clock


def test_a_lost_call_still_counts(lost: tuple[Ledger, ManualClock]) -> None:
    """After the kill the hold stands, is listed as open, and others are refused for it."""
    ledger, _ = lost
    assert [hold.key for hold in ledger.holds("acme")] == ["lost-call"]
    assert standing(ledger, "acme") == ("1.5", "0", "1", "0.5")
    assert ledger.audit().unresolved == 1
    with pytest.raises(BudgetExceeded):
        ledger.reserve("acme", "0.51")


def test_a_lost_call_is_presumed_and_can_be_corrected(lost: tuple[Ledger, ManualClock]) -> None:
    """At its deadline it is presumed spent; whoever learns the truth later settles it."""
    ledger, clock = lost
    clock.advance(timedelta(minutes=10))
    assert ledger.holds("acme") == []
    assert [hold.key for hold in ledger.holds("acme", state="presumed")] == ["lost-call"]
    assert standing(ledger, "acme") == ("1.5", "1", "0", "0.5")
    assert ledger.settle("lost-call", "0.30").state == "settled"
    assert standing(ledger, "acme") == ("1.5", "0.3", "0", "1.2")
    kinds = [entry.kind for entry in ledger.entries(key="lost-call")]
    assert kinds == ["reserve", "presume", "settle"]
