"""Many runs at once on one budget that binds: spent up to it, never above, to the nano-dollar."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from os import environ
from pathlib import Path
from typing import Any

import pytest

from earmark.money import Money
from support.fire_place import Place, booked
from support.fire_till import Till, honest
from support.fire_workers import run_many, worker
from support.ledger_workers import go, result

#: Every first call fits, and about half of the second ones.
LIMITS = {32: "0.0064 usd total", 64: "0.0128 usd total"}
#: No call of this hold, the smallest a strict guard cuts one down to, fits any more.
LEAST_ROOM = Money.nanos(400_000)


@pytest.mark.parametrize("processes", [0, 4])
def test_a_crowd_of_runs_on_one_budget(processes: int, tmp_path: Path) -> None:
    """32 runs of one process, alone and beside 4 processes x 8: the bill is the books, in limit."""
    seed = int(environ.get("EARMARK_TEST_SEED", random.randrange(1 << 32)))
    print(f"EARMARK_TEST_SEED={seed}")  # noqa: T201 - pytest shows it when this fails
    with Till() as till, ExitStack() as stack:
        till.answer = honest(seed)
        place = Place(tmp_path, till.url, LIMITS[32 + 8 * processes])
        crowds = [
            stack.enter_context(worker("crowd", tmp_path, till.url, 8)) for _ in range(processes)
        ]
        for crowd in crowds:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "ready\n"
        with place.open() as ledger, place.open() as other:
            till.watch = lambda: booked(other)
            go(*crowds)
            statements = asyncio.run(run_many(place, ledger, 32))
            for crowd in crowds:
                statements += result(crowd)
            till.quiet()
            till.look()
        assert till.short == []
        assert len(statements) == 32 + 8 * processes
        check_spent_up_to_the_limit(place, till)
        check_outcomes(statements)
        check_lines(place, till, statements)


def check_spent_up_to_the_limit(place: Place, till: Till) -> None:
    """Assert that the limit was kept and used, and that the books have the provider's bill."""
    (budget,) = place.json("budget", "show", "acme")["budgets"]
    (balance,) = budget["balances"]
    assert Money(balance["settled"]) == Money.nanos(till.owed) <= Money(balance["limit"])
    assert Money(balance["held"]) == Money()
    assert Money(balance["available"]) < LEAST_ROOM
    assert place.unresolved() == []
    report = place.audited()
    assert report["over"] == []


def check_outcomes(statements: Sequence[dict[str, Any]]) -> None:
    """Assert that some runs got through, and that each refused one says why, and whose budget."""
    outcomes = Counter(each["status"] for each in statements)
    assert set(outcomes) == {"ok", "refused"}
    assert outcomes["refused"] >= len(statements) // 4
    for each in statements:
        if each["status"] == "refused":
            error = each["error"]
            assert (error["reason"], error["budget"]) == ("exhausted", "acme")
            assert "usd total available" in error["message"]


def check_lines(place: Place, till: Till, statements: Sequence[dict[str, Any]]) -> None:
    """Assert that the lines of all statements are the calls that came, and what they cost."""
    paid = [line for each in statements for line in each["lines"] if "key" in line]
    assert len(paid) == len(till.requests)
    assert {line["state"] for line in paid} == {"settled"}
    assert sum(Money(line["settled"]).in_nanos for line in paid) == till.owed
    for each in statements:
        assert Money(each["spent"]) == lines_sum(each)
        assert each["unaccounted"] == "0"
    # One of each kind is compared with the books entry by entry.
    for status in ("ok", "refused"):
        place.check(next(each for each in statements if each["status"] == status and each["lines"]))


def lines_sum(statement: dict[str, Any]) -> Money:
    """Return what the lines of a statement add up to."""
    return Money.nanos(sum(Money(line.get("settled", "0")).in_nanos for line in statement["lines"]))
