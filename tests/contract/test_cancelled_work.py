"""Runs and dispatches cut short at any step: all that they paid for is booked, nothing is held."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.board.task import TaskStatus
from earmark.composition.ast import Composition, Parallel, Sequential, Stage
from earmark.errors import NotFound
from earmark.ledger.async_ledger import AsyncLedger
from earmark.money import Money
from earmark.runs.journals import journal_of
from earmark.runs.runner import run_async
from earmark.stages.kinds.python import stage
from earmark.stores.open import open_async_ledger
from earmark.testing import ManualClock
from support.beat_house import BeatHouse
from support.cancelling import How, all_committed, cut_inside
from support.ledger_books import STORES, check_books

#: A run and a cycle have tasks of their own, which live as long as their loop: none is abandoned.
HOWS: tuple[How, ...] = ("waiting", "again and again")


@stage(cost="0.10")
async def work(value: Any) -> Any:
    """Cost what it declares, after a moment."""
    await asyncio.sleep(0)
    return value


WORK = Stage("work")
GRAPH = Composition(
    description="one and two beside each other",
    root=Sequential((WORK, Parallel({"one": WORK, "two": WORK}))),
)


async def check_statement(ledger: AsyncLedger, run_id: str) -> None:
    """Assert that the run, if it began, was written to its end, with all that it paid for."""
    journal = await journal_of(ledger)
    with suppress(NotFound):
        record = await journal.get(run_id)
        assert record.statement is not None
        assert record.statement.unaccounted == Money()
    await journal.aclose()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("store", STORES)
def test_a_run_cut_short_at_any_step_holds_nothing(
    store: str, how: How, tmp_path: Path, clock: ManualClock
) -> None:
    """Each of its attempts is released, booked or presumed, and the ledger goes on."""

    async def main() -> None:
        async with open_async_ledger(STORES[store](tmp_path), clock=clock) as ledger:
            await ledger.set_budget("acme", limits=["100 usd per day"])
            step, reached = 0, True
            while reached:
                step += 1
                run = run_async(
                    GRAPH, None, ledger=ledger, under="acme", budget="1", stages=[work],
                    run_id=f"{step:016x}", clock=clock,
                )  # fmt: skip
                reached = await cut_inside(run, step, how)
                await all_committed(ledger)
                assert await ledger.holds() == []
                await check_statement(ledger, f"{step:016x}")
            check_books(ledger.sync)

    asyncio.run(main())


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("store", STORES)
def test_a_cycle_cut_short_at_any_step_holds_nothing(store: str, how: How, tmp_path: Path) -> None:
    """What was dispatched is booked or was never sent, and the next cycle dispatches on."""
    with BeatHouse(url=STORES[store](tmp_path), limits=["100 usd per day"]) as house:
        house.start()
        step, reached = 0, True
        while reached:
            step += 1
            house.add(f"task {step}")
            reached = house.run(cut_inside(house.beat.cycle(), step, how))
            house.run(all_committed(house.ledger.as_async()))
            assert house.ledger.holds() == []
        # What was claimed and not dispatched is free again when its lease ends.
        for _ in range(20):
            house.cycle(after=timedelta(hours=1))
        ended = {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.UNKNOWN}
        assert {task.status for task in house.board.find()} <= ended
