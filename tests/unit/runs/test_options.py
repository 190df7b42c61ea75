"""What a caller gives a run: what cannot be meant is refused before anything runs."""

import asyncio
from typing import Any

import pytest

from earmark.composition.ast import Composition, Stage
from earmark.errors import InputError
from earmark.runs.journals import journal_of
from earmark.runs.runner import run, run_async
from earmark.runs.statement import Statement
from earmark.stages.kinds.python import stage

GRAPH = Composition(description="a test", root=Stage("work"))


@stage(cost="0.10")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


@pytest.mark.parametrize(
    "bad",
    [
        {"budget": "-1"},
        {"budget": "NaN"},
        {"budget": 0.5},
        {"concurrency": 0},
        {"concurrency": 1025},
        {"max_repeats": -1},
        {"max_repeats": True},
        {"timeout": "soon"},
        {"run_id": "a b/c"},
        {"run_id": "a/b"},
        {"run_id": 5},
        {"concurrency": 1.5},
        {"policy": "elastic"},
        {"stages": [print]},
        {"under": None},
        {"concurency": 3},
        {"given": float("nan")},
    ],
    ids=str,
)
def test_bad_options_are_input_errors_and_change_nothing(house: Any, bad: dict[str, Any]) -> None:
    """What cannot be meant is refused at once: no run begins, no budget is made."""
    bad = {"stages": [work], "under": "acme", "budget": "1", "given": None, **bad}
    given = bad.pop("given")
    with pytest.raises((InputError, TypeError)):
        run(GRAPH, given, ledger=house.books, **bad)
    assert [budget.path for budget in house.books.budgets()] == ["acme"]
    assert asyncio.run(_runs(house)) == []


async def _runs(house: Any) -> list[Any]:
    journal = await journal_of(house.books.as_async())
    try:
        return await journal.runs()
    finally:
        await journal.aclose()


def test_an_unknown_option_and_a_graph_that_is_no_text_are_named(house: Any) -> None:
    """A mistyped option is not ignored; a parsed graph is refused in a sentence."""
    with pytest.raises(TypeError, match=r"'concurency': did you mean 'concurrency'\?"):
        house.run(Stage("work"), stages=[work], concurency=3)
    mapping: Any = {"op": "Const", "value": 1}
    with pytest.raises(InputError, match="refused at /: it is a dict: give JSON text"):
        run(mapping, None, ledger=house.books, under="acme", budget="1")
    asynchronous: Any = house.books.as_async()
    with pytest.raises(TypeError, match="await run_async"):
        run(GRAPH, None, ledger=asynchronous, under="acme", budget="1")
    with pytest.raises(TypeError, match="as_async"):
        asyncio.run(run_async(GRAPH, None, ledger=house.books, under="acme", budget="1"))


@pytest.mark.parametrize(
    ("under", "says"),
    [
        ("acme", ()),
        (
            "acme/typo",
            ("no budget stands at 'acme/typo': the limits of the run and of those above bind",),
        ),
        *(
            (path, (f"no limit stands at '{path}' or above it: only the run's own 1 USD holds",))
            for path in ("other", "unlimited", "unlimited/below")
        ),
    ],
)
def test_a_run_that_less_limits_than_it_seems_says_so(
    house: Any, under: str, says: tuple[str, ...]
) -> None:
    """A mistyped payer, or one without a limit above it: the run's own budget always holds."""
    house.books.set_budget("unlimited", limits=[])
    statement = run(GRAPH, "x", ledger=house.books, under=under, budget="1", stages=[work])
    assert statement.warnings == says
    assert Statement.from_json(statement.to_json()).warnings == says
    assert all(f"warning: {each}" in statement.table() for each in says)
