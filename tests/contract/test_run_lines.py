"""A paid attempt's line is in the journal with what closes its reservation: one commit for both."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import apsw
import pytest

from earmark.composition.ast import Composition, Node, Sequential, Stage
from earmark.errors import CallFailed, EarmarkError, NoBudget
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.runs.events import RunEvent, StageEnded, StageStarted
from earmark.runs.journal import RunRecord
from earmark.runs.journals import open_ledger_journal
from earmark.runs.runner import run
from earmark.runs.statement import Statement
from earmark.runs.statement_line import StatementLine
from earmark.stages.kinds.python import Costed, stage
from earmark.stores.open import open_ledger
from support.journals import MemoryJournal
from support.ledger_books import STORES, check_books
from support.tables_at import tables_at
from support.tcp_proxy import TcpProxy, cut_the_answer_to

RUN: Final = "r"


def cancel_this_task() -> None:
    """Cancel who calls, at the next point where it waits."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def answer() -> Any:
    """Cost less than was held."""
    return Costed(1, "0.03")


async def answer_cancelled() -> Any:
    """Be cancelled as the answer is booked."""
    cancel_this_task()
    return Costed(1, "0.03")


async def wait_cancelled() -> Any:
    """Be cancelled before there is an answer."""
    cancel_this_task()
    await asyncio.Event().wait()


def failing(error: Exception) -> Callable[[], Awaitable[Any]]:
    """Return what fails with *error*."""

    async def fail() -> Any:
        raise error

    return fail


ENDINGS: Final[dict[str, tuple[Callable[[], Awaitable[Any]], str, str]]] = {
    "answered": (answer, "ok", "settled"),
    "cancelled while booked": (answer_cancelled, "ok", "settled"),
    "cancelled while it ran": (wait_cancelled, "cancelled", "presumed"),
    "failed": (failing(ValueError("no")), "failed", "presumed"),
    "failed, not billed": (failing(CallFailed(detail="no", billed="no")), "failed", "released"),
    "failed, unknown": (failing(CallFailed(detail="?", billed="unknown")), "failed", "presumed"),
    "refused": (failing(NoBudget(budget="x")), "refused", "presumed"),
}


@pytest.fixture
def commits() -> Iterator[list[None]]:
    """One element for each commit of a SQLite connection that is opened meanwhile."""
    made: list[None] = []

    def count() -> bool:
        made.append(None)
        return False

    def watch(connection: apsw.Connection) -> None:
        connection.set_commit_hook(count)

    apsw.connection_hooks.append(watch)
    yield made
    apsw.connection_hooks.remove(watch)


def journal_now(ledger: Ledger) -> tuple[StatementLine, ...]:
    """Return the lines that anybody else finds in the journal at this moment."""

    async def read() -> RunRecord:
        journal = open_ledger_journal(ledger.store)
        try:
            return await journal.get(RUN)
        finally:
            await journal.aclose()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, read()).result().lines


def run_to_its_end(ledger: Ledger, root: Node, **options: Any) -> Statement:
    """Run *root* however it ends."""
    graph = Composition(description="", root=root)
    try:
        return run(graph, 1, ledger=ledger, under="acme", budget="1", run_id=RUN, **options)
    except (EarmarkError, asyncio.CancelledError) as error:
        statement = vars(error)["statement"]
        assert isinstance(statement, Statement)
        return statement


def one_transaction(url: str) -> list[bool]:
    """Return of each closed reservation with a line whether one transaction wrote both."""
    tables = tables_at(url)
    query = (
        "SELECT l.xmin::text = e.xmin::text FROM {schema}.run_line l JOIN {schema}.entry e"
        " ON e.key = l.line::json ->> 'key' WHERE e.kind IN ('settle', 'release', 'presume')"
    )
    try:
        return [bool(same) for (same,) in tables.read(lambda rows: rows.run(query))]
    finally:
        tables.close()


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_attempt_is_booked_and_recorded_in_one_commit(
    url: str, commits: list[None], ending: str
) -> None:
    """However it ends: two commits, and whoever is told of its end finds its line.

    A booking that is cancelled is done once more, which may be a commit that changes nothing.
    """
    end, outcome, state = ENDINGS[ending]
    told: list[tuple[int, StatementLine, tuple[StatementLine, ...]]] = []
    begun = 0

    @stage(cost="0.05")
    async def work(_: Any) -> Any:
        return await end()

    def listen(event: RunEvent) -> None:
        nonlocal begun
        if isinstance(event, StageStarted):
            begun = len(commits)
        if isinstance(event, StageEnded):
            told.append((len(commits) - begun, event.line, journal_now(ledger)))
            if url.startswith("postgresql:"):
                assert one_transaction(url) == [True]

    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        statement = run_to_its_end(ledger, Stage("work"), stages=[work], on_event=listen)
        check_books(ledger)
        (hold,) = ledger.holds(state=None)
    ((count, line, found),) = told
    repeats = 1 if ending == "cancelled while booked" else 0
    # In memory, only what lies beside the books is SQLite's.
    fewest = {"sqlite": 2, "memory": 1, "postgresql": 0}[url.partition(":")[0]]
    assert fewest <= count <= fewest + (repeats if fewest else 0)
    assert (line.outcome, line.state, line.number) == (outcome, state, 1)
    assert (line.key, line.settled, line.hold) == (hold.key, hold.settled, hold.amount)
    assert found == statement.lines == (line,)
    assert (statement.spent, statement.unaccounted) == (line.settled, Money())


def test_free_lines_that_waited_are_written_with_a_paid_one(url: str) -> None:
    """The lines of a run are in the journal without a gap up to the last paid one."""
    seen: list[list[int]] = []

    @stage(cost="0.05")
    async def work(value: Any) -> Any:
        return value

    @stage
    async def look(value: Any) -> Any:
        seen.append([line.number for line in journal_now(ledger)])
        return value

    def listen(event: RunEvent) -> None:
        if isinstance(event, StageEnded):
            told.append(event.line)

    told: list[StatementLine] = []
    root = Sequential(tuple(map(Stage, ("look", "look", "work", "look", "work", "look"))))
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        statement = run_to_its_end(ledger, root, stages=[work, look], on_event=listen)
    assert seen == [[], [], [1, 2, 3], [1, 2, 3, 4, 5]]
    assert [line.number for line in statement.lines] == [1, 2, 3, 4, 5, 6]
    assert tuple(told) == statement.lines


def test_a_lost_answer_leaves_the_line_as_it_was_written(tmp_path: Path) -> None:
    """The commit of settlement and line is not answered: done again, it finds the same line."""
    url, seen = STORES["postgres"](tmp_path), list[tuple[StatementLine, ...]]()
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None

    @stage(cost="0.05")
    async def work(value: Any) -> Any:
        proxy.judge = cut_the_answer_to(b"COMMIT")
        return value

    @stage
    async def look(value: Any) -> Any:
        seen.append(journal_now(ledger))
        return value

    root = Sequential((Stage("work"), Stage("look")))
    with (
        TcpProxy((place.hostname, place.port)) as proxy,
        open_ledger(proxy.via(url)) as ledger,
    ):
        ledger.set_budget("acme", limits=["1 usd total"])
        statement = run_to_its_end(ledger, root, stages=[work, look])
        assert proxy.cuts
        check_books(ledger)
    assert (statement.error, seen) == (None, [statement.lines[:1]])


def test_a_line_that_cannot_be_written_does_not_keep_money_from_being_booked(
    tmp_path: Path,
) -> None:
    """Somebody else's row has its number: the cost is settled, and the run says what went wrong."""
    url = f"sqlite:///{tmp_path}/books.db"

    @stage(cost="0.05")
    async def work(value: Any) -> Any:
        tables = tables_at(url)
        tables.write("run", lambda rows: rows.run(taken, RUN))
        tables.close()
        return value

    taken = "INSERT INTO {schema}.run_line (run_id, number, line) VALUES (?, 1, '{}')"
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        statement = run_to_its_end(ledger, Stage("work"), stages=[work])
        (hold,) = ledger.holds(state=None)
        check_books(ledger)
    assert (hold.state, hold.settled) == ("settled", Money("0.05"))
    assert statement.error is not None
    assert statement.error["code"] == "key_reused"
    assert (statement.spent, statement.unaccounted) == (Money("0.05"), Money())


def test_a_journal_elsewhere_is_written_by_itself(url: str) -> None:
    """What is given as the journal need not lie with the books: it has the lines as well."""
    journal, told = MemoryJournal(), list[tuple[StatementLine, ...]]()

    @stage(cost="0.05")
    async def work(value: Any) -> Any:
        return value

    @stage
    async def look(value: Any) -> Any:
        told.append((await journal.get(RUN)).lines)
        return value

    root = Sequential((Stage("work"), Stage("look")))
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        statement = run_to_its_end(ledger, root, stages=[work, look], journal=journal)
    assert told == [statement.lines[:1]]
