"""A run repeats so many attempts and no more, however its retries nest."""

from typing import Any

import pytest

from earmark.composition.ast import Const, Fanout, Node, Retry, Sequential, Stage
from earmark.errors import StageFailed, TooManyRepeats
from earmark.money import Money
from earmark.runs.options import DEFAULT_REPEATS
from earmark.runs.statement import RunStatus
from earmark.stages.kinds.python import stage


@stage
async def broken(_: Any) -> Any:
    """Fail, free of charge."""
    raise ValueError("no")


@stage(effects=["Pure"])
async def same(value: Any) -> Any:
    """Give its input; from the second time on, from the cache."""
    return value


def nested(times: int, inner: Node) -> Node:
    """Return *inner* in so many retries of two attempts each."""
    for _ in range(times):
        inner = Retry(inner, 2)
    return inner


def test_nested_retries_end(house: Any) -> None:
    """65,536 attempts are asked for: the run is refused after 10,000 repeats."""
    error, statement = house.fail(TooManyRepeats, nested(16, Stage("broken")), stages=[broken])
    assert error.most == DEFAULT_REPEATS == 10_000
    assert len(statement.lines) == 10_001
    assert statement.status is RunStatus.REFUSED
    assert statement.error["code"] == "too_many_repeats"
    assert "raise max_repeats" in statement.error["message"]


@pytest.mark.parametrize("most", [0, 1, 6, 7])
def test_the_user_sets_how_many(house: Any, most: int) -> None:
    """Exactly so many attempts are repeated, the first ones not counted."""
    root = nested(3, Stage("broken"))
    wanted = StageFailed if most == 7 else TooManyRepeats
    _, statement = house.fail(wanted, root, stages=[broken], max_repeats=most)
    assert len(statement.lines) == 1 + most


def test_repeats_are_counted_over_the_whole_run(house: Any) -> None:
    """Retries beside one another share the number, and what the cache answers counts like work."""
    tries = Retry(Sequential((Stage("same"), Stage("broken"))), 100)
    root = Fanout(Const(1), (tries, tries, tries))
    error, statement = house.fail(
        TooManyRepeats, root, stages=[same, broken], max_repeats=50, concurrency=1
    )
    repeated = [line for line in statement.lines if line.attempt > 1]
    assert error.most == 50
    assert 45 <= len(repeated) <= 50
    assert statement.spent == Money()


def test_a_run_without_retries_has_no_such_limit(house: Any) -> None:
    """A wide run makes as many attempts as it has stages."""
    root = Fanout(Const(1), (Stage("same"),) * 200)
    assert house.run(root, stages=[same], max_repeats=0).status is RunStatus.OK
