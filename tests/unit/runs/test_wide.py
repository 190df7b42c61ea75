"""A composition wider than what is begun at once behaves like any other."""

import asyncio
from typing import Any

import pytest

from earmark.composition.ast import Composition, Const, Fanout, Merge, Node, Parallel, Stage
from earmark.errors import StageFailed
from earmark.runs.engines.local import MAX_STARTED
from earmark.runs.runner import run_async
from earmark.stages.kinds.python import stage
from earmark.stores.open import open_async_ledger

WIDE = 2 * MAX_STARTED + 7
NAMES = [f"n{number}" for number in range(WIDE)]


@stage
async def same(value: Any) -> Any:
    """Give back what it was given."""
    return value


@pytest.mark.parametrize(
    ("root", "given", "expected"),
    [
        (Parallel({n: Stage("same") for n in NAMES}), {n: n for n in NAMES}, {n: n for n in NAMES}),
        (Fanout(Const(3), (Stage("same"),) * WIDE), None, [3] * WIDE),
        (
            Merge((Stage("same"),) * WIDE, Stage("same")),
            {f"source_{i}": i for i in range(WIDE)},
            {f"source_{i}": i for i in range(WIDE)},
        ),
    ],
    ids=["Parallel", "Fanout", "Merge"],
)
def test_every_part_gets_its_input_and_gives_its_output(
    house: Any, root: Node, given: Any, expected: Any
) -> None:
    """Thousands of parts answer in their order, each with a line."""
    statement = house.run(root, given, stages=[same])
    assert statement.output == expected
    assert len({line.path for line in statement.lines}) >= WIDE


def test_no_more_tasks_are_begun_than_could_run(house: Any) -> None:
    """However wide a composition is, as many tasks wait as may run at the most, and no more."""
    most = 0

    @stage
    async def count(value: Any) -> Any:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        return value

    house.run(Fanout(Const(1), (Stage("count"),) * WIDE), stages=[count])
    assert MAX_STARTED <= most < MAX_STARTED + 20


def test_a_paid_stage_takes_no_more_tasks_than_a_free_one() -> None:
    """Its time limit is a timer of the loop, and each step of its payment is its own task's."""

    @stage(cost="0.01")
    async def paid(value: Any) -> Any:
        return value

    async def tasks(name: str) -> int:
        made = 0

        def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
            nonlocal made
            made += 1
            return asyncio.Task(work, loop=loop, **options)

        asyncio.get_running_loop().set_task_factory(make)
        async with open_async_ledger("memory:") as ledger:
            await ledger.set_budget("acme", limits=["100 usd total"])
            graph = Composition(description="wide", root=Fanout(Const(1), (Stage(name),) * 50))
            await run_async(
                graph, None, ledger=ledger, under="acme", budget="10", stages=[same, paid]
            )
        return made

    assert asyncio.run(tasks("paid")) == asyncio.run(tasks("same"))


def test_the_first_failure_ends_what_has_not_begun(house: Any) -> None:
    """After one of thousands failed none of those that come later is called."""
    calls: list[int] = []

    @stage
    async def fails_at_fifty(value: Any) -> Any:
        calls.append(1)
        if len(calls) == 50:
            raise ValueError("enough")
        return value

    root = Fanout(Const(1), (Stage("fails_at_fifty"),) * WIDE)
    house.fail(StageFailed, root, stages=[fails_at_fifty], concurrency=1)
    assert len(calls) == 50
