"""However a run ends, its statement is written, or the error that ends it carries it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from earmark.composition.ast import Composition, Node, Sequential, Stage
from earmark.errors import BudgetExceeded, Reason, StageFailed, StoreClosed
from earmark.money import Money
from earmark.runs.events import StageEnded
from earmark.runs.journals import journal_of
from earmark.runs.runner import run
from earmark.runs.statement import RunStatus, Statement
from earmark.stages.kinds.python import stage
from earmark.stores.open import open_ledger
from support.journals import open_journal


@stage(cost="0.05")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


def written(house: Any, run_id: str) -> Any:
    """Return what the journal beside the books has of a run."""

    async def read() -> Any:
        journal = await journal_of(house.books.as_async())
        return await journal.get(run_id)

    return asyncio.run(read())


@pytest.mark.parametrize(
    "limits",
    [
        ["1 usd total", "2 usd per day"],
        ["1 usd total", "5 usd per hour", "2 usd per day", "100 calls per day"],
        ["2 usd per day"],
        ["2 usd per day", "1 usd per hour"],
        ["100 calls total"],
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_limits_changed_while_a_run_goes_on(house: Any, limits: list[str], *, fails: bool) -> None:
    """Whatever limits its budget has in the end, its statement says what the ledger booked."""

    @stage(cost="0.01")
    async def change(value: Any) -> Any:
        (path,) = (each.path for each in house.books.budgets() if "/run-" in each.path)
        house.books.set_budget(path, limits=limits)
        if fails:
            raise ValueError("no")
        return value

    root = Sequential((Stage("work"), Stage("change"), Stage("work")))
    if fails:
        _, statement = house.fail(StageFailed, root, 1, stages=[work, change])
    else:
        statement = house.run(root, 1, stages=[work, change])
    assert statement.spent == Money("0.06" if fails else "0.11")
    assert (statement.held, statement.unaccounted) == (Money(), Money())
    assert written(house, statement.run_id).statement == statement
    assert house.books.audit().ok


def test_what_a_listener_raises_leaves_the_statement_written(house: Any) -> None:
    """An error that is not Earmark's own ends the run with a statement like any other."""

    def listen(event: Any) -> None:
        if isinstance(event, StageEnded):
            raise LookupError("the listener's own")  # noqa: TRY004 - any error of its own

    with pytest.raises(LookupError) as raised:
        run(
            graph_of(Stage("work")),
            1,
            ledger=house.books,
            under="acme",
            budget="1",
            stages=[work],
            on_event=listen,
        )
    statement = vars(raised.value)["statement"]
    assert isinstance(statement, Statement)
    assert (statement.status, statement.spent) == (RunStatus.FAILED, Money("0.05"))
    assert written(house, statement.run_id).statement == statement


def graph_of(root: Node) -> Any:
    """Return a composition of *root*."""
    return Composition(description="", root=root)


def test_a_journal_that_is_gone_at_the_end_leaves_the_statement_with_the_error(
    tmp_path: Path,
) -> None:
    """What the run gave and cost is in the error that says it could not be written."""
    url = f"sqlite:///{tmp_path}/books.db"
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        journal = open_journal(url)

        @stage
        async def shut(value: Any) -> Any:
            await journal.aclose()
            return value

        root = Sequential((Stage("work"), Stage("shut")))
        with pytest.raises(StoreClosed) as raised:
            run(
                graph_of(root),
                "kept",
                ledger=ledger,
                under="acme",
                budget="1",
                stages=[work, shut],
                journal=journal,
            )
    statement = raised.value.statement
    assert (statement.output, statement.spent) == ("kept", Money("0.05"))


@pytest.mark.parametrize("closes", ["ledger", "journal"])
def test_a_store_that_is_gone_does_not_hide_a_refusal(tmp_path: Path, closes: str) -> None:
    """What ended the run is raised; that its end could not be written is a note to it."""
    url = f"sqlite:///{tmp_path}/books.db"
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        journal = open_journal(url)

        @stage
        async def shut(_: Any) -> Any:
            if closes == "ledger":
                ledger.close()
            else:
                await journal.aclose()
            raise BudgetExceeded(reason=Reason.EXHAUSTED, budget="elsewhere", detail="its own")

        root = Sequential((Stage("work"), Stage("shut")))
        with pytest.raises(BudgetExceeded, match="elsewhere") as raised:
            run(
                graph_of(root),
                1,
                ledger=ledger,
                under="acme",
                budget="1",
                stages=[work, shut],
                journal=journal,
            )
    error = raised.value
    assert error.statement.status is RunStatus.REFUSED
    assert sum((line.settled for line in error.statement.lines), Money()) == Money("0.05")
    assert error.statement.spent == Money("0.05")
    assert any("close" in note for note in error.__notes__)
