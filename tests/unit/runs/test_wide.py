"""A composition wider than what is begun at once behaves like any other."""

import asyncio
from typing import Any

import pytest

from earmark.composition.ast import Const, Fanout, Merge, Node, Parallel, Stage
from earmark.errors import StageFailed
from earmark.runs.engines.local import MOST_BEGUN
from earmark.stages.kinds.python import stage

WIDE = 2 * MOST_BEGUN + 7
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
    assert MOST_BEGUN <= most < MOST_BEGUN + 20


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
