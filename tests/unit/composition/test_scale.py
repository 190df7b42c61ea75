"""Large compositions: time and memory grow with the stages, and no faster."""

import json
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from earmark.composition.ast import Composition, Node, Parallel, Sequential, Stage
from earmark.composition.check import check
from earmark.composition.parse import parse_composition
from earmark.composition.plan import plan
from earmark.composition.types import TEXT
from earmark.money import Money
from unit.composition.catalogues import declared, library

STAGES = library(*(declared(f"s{i}", TEXT, TEXT, cost="0.0005") for i in range(20)))


def long(count: int) -> Node:
    """So many stages, one after the other."""
    return Sequential(tuple(Stage(f"s{i % 20}") for i in range(count)))


def wide(count: int) -> Node:
    """So many stages side by side."""
    return Parallel({f"b{i}": Stage(f"s{i % 20}") for i in range(count)})


def nested(count: int) -> Node:
    """So many stages, in ten sequences within each other."""
    node: Node = Stage("s0")
    for _ in range(10):
        node = Sequential((node, *(Stage(f"s{i % 20}") for i in range(count // 10))))
    return node


def everything(text: str) -> None:
    """Read, identify, check, price and print."""
    composition = parse_composition(text)
    assert composition.id
    check(composition, STAGES)
    plan(composition, STAGES).to_json()
    composition.to_json()


def calls(work: Callable[[], Any]) -> int:
    """How many functions a piece of work calls: a measure of time that no process disturbs."""
    count = 0

    def seen(frame: object, event: str, arg: object) -> None:
        nonlocal count
        del frame, arg
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def peak(work: Callable[[], Any]) -> int:
    """The most bytes a piece of work has allocated at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [long, wide, nested])
def test_ten_times_the_stages_take_ten_times_the_work(shape: Callable[[int], Node]) -> None:
    """Reading, checking, pricing and printing is linear in time and memory."""
    small = Composition(description="", root=shape(300)).to_json()
    large = Composition(description="", root=shape(3000)).to_json()
    everything(small)
    assert calls(lambda: everything(large)) < 11 * calls(lambda: everything(small))
    assert peak(lambda: everything(large)) < 12 * peak(lambda: everything(small))


def test_a_sequence_of_ten_thousand_is_priced_exactly() -> None:
    """Ten thousand times 0.0005 USD is 5 USD."""
    text = json.dumps(
        {
            "description": "",
            "version": "",
            "root": {"op": "Sequential", "stages": [{"op": "Stage", "id": "s1"}] * 10_000},
        }
    )
    result = plan(parse_composition(text), STAGES)
    assert (result.min, result.max) == (Money(), Money(5))
    assert len(result.lines) == 10_000
    assert result.lines[-1].path == "/stages/9999"
