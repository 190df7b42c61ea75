"""The journal keeps every run, also one cut off, in memory or beside the ledger's tables."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from earmark.composition.ast import Composition, Fanout, Retry, Sequential, Stage
from earmark.errors import (
    BudgetExceeded,
    NotFound,
    SchemaMismatch,
    StageFailed,
    StoreClosed,
    StoreUnavailable,
)
from earmark.money import Money
from earmark.runs.journal import BATCH_LINES, Journal, MemoryJournal, RunRecord, Scribe
from earmark.runs.journal_sqlite import SqliteJournal
from earmark.runs.journals import open_journal
from earmark.runs.line import Line, Outcome
from earmark.runs.runner import run
from earmark.runs.statement import Status
from earmark.stages.kinds.python import stage
from earmark.stores.open import open_ledger


@stage(cost="0.05")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


@stage(cost="0.05")
async def broken(_: Any) -> Any:
    """Fail."""
    raise ValueError("no")


GRAPH = Composition(description="two", root=Sequential((Stage("work"), Stage("work"))))


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: Any, tmp_path: Path) -> Any:
    """A journal of each kind."""
    if request.param == "memory":
        yield MemoryJournal()
        return
    open_ledger(f"sqlite:///{tmp_path}/books.db").close()
    made = SqliteJournal(tmp_path / "books.db")
    yield made
    made.close()


def record(run_id: str, started_at: int = 1) -> RunRecord:
    """Return a run that begins."""
    return RunRecord(
        run_id=run_id,
        composition_id=GRAPH.id,
        composition=GRAPH,
        input={"text": "ü"},
        budget=f"acme/run-{run_id}",
        limit=Money(1),
        started_at=started_at,
    )


def line(number: int, **facts: Any) -> Line:
    """Return a line that can be told from others."""
    facts = {"outcome": Outcome.OK, "started_at": number, **facts}
    return Line(path=f"/stages/{number}", stage="work", stage_id="id", attempt=1, **facts)


def test_run_cut_off_keeps_what_was_recorded(journal: Journal) -> None:
    """A run without an end is kept as running, with the lines that were written."""

    async def main() -> RunRecord:
        await journal.start(record("a"))
        await journal.record("a", [line(1), line(2, key="k", hold=Money("0.1"))])
        await journal.record("a", [line(3)])
        return await journal.get("a")

    kept = asyncio.run(main())
    assert (kept.status, kept.statement) == (Status.RUNNING, None)
    assert [each.path for each in kept.lines] == ["/stages/1", "/stages/2", "/stages/3"]
    assert kept.lines[1] == line(2, key="k", hold=Money("0.1"))
    assert (kept.input, kept.composition.id) == ({"text": "ü"}, GRAPH.id)


def test_runs_are_listed_newest_first(journal: Journal) -> None:
    """The latest runs come first, as many as were asked for."""

    async def main() -> list[str]:
        for i, run_id in enumerate("abc"):
            await journal.start(record(run_id, started_at=i))
        return [each.run_id for each in await journal.runs(limit=2)]

    assert asyncio.run(main()) == ["c", "b"]


def test_unknown_run_is_not_found(journal: Journal) -> None:
    """Asking for a run that never was says so."""
    with pytest.raises(NotFound, match="no run 'nope'"):
        asyncio.run(journal.get("nope"))


def test_free_lines_are_written_in_batches_and_costly_ones_at_once() -> None:
    """A line that touched the books is written with all before it; free ones wait for a batch."""

    async def main() -> list[int]:
        journal = MemoryJournal()
        await journal.start(record("a"))
        scribe = Scribe(journal, "a")
        sizes: list[int] = []
        for number in range(BATCH_LINES + 5):
            matters = number == 2
            if scribe.add(line(number, key="k" if matters else "")):
                await scribe.flush()
            sizes.append(len((await journal.get("a")).lines))
        return sizes

    sizes = asyncio.run(main())
    assert sizes[:5] == [0, 0, 3, 3, 3]
    assert sizes[-1] == 3 + BATCH_LINES


def test_every_run_is_stored_beside_the_books(tmp_path: Path) -> None:
    """Finished, failed and refused runs are found again by another process's journal."""
    url = f"sqlite:///{tmp_path}/books.db"
    failing = Composition(description="f", root=Retry(Stage("broken"), 2))
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        given: dict[str, Any] = {"ledger": ledger, "under": "acme", "stages": [work, broken]}
        done = run(GRAPH, {"a": 1}, budget="1", **given)
        with pytest.raises(StageFailed) as failed:
            run(failing, None, budget="1", **given)
        with pytest.raises(BudgetExceeded) as refused:
            run(GRAPH, None, budget="0.01", **given)
    wanted = [done, failed.value.statement, refused.value.statement]

    async def main() -> list[RunRecord]:
        journal = open_journal(url)
        try:
            return [await journal.get(each.run_id) for each in wanted]
        finally:
            await journal.aclose()

    kept = asyncio.run(main())
    assert [each.statement for each in kept] == wanted
    assert [str(each.status) for each in kept] == ["ok", "failed", "refused"]
    assert kept[0].input == {"a": 1}


def test_costly_line_is_on_disk_before_the_next_stage_begins(tmp_path: Path) -> None:
    """What was paid is in the file as soon as anything can depend on it."""
    path = tmp_path / "books.db"
    seen: list[list[str]] = []

    @stage
    def look(value: Any) -> Any:
        with apsw.Connection(str(path)) as db:
            seen.append(
                [json.loads(row[0])["path"] for row in db.execute("SELECT line FROM run_line")]
            )
        return value

    root = Composition(description="", root=Sequential((Stage("work"), Stage("look"))))
    with open_ledger(f"sqlite:///{path}") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        run(root, 1, ledger=ledger, under="acme", budget="1", stages=[work, look])
    assert seen == [["/stages/0"]]


def test_many_runs_share_one_file(tmp_path: Path) -> None:
    """Runs side by side on one file are all kept, and the books stay whole."""
    url = f"sqlite:///{tmp_path}/books.db"
    wide = Composition(description="", root=Fanout(Stage("work"), (Stage("work"),) * 4))

    async def main(ledger: Any, journal: Journal) -> list[Any]:
        from earmark.runs.runner import run_async

        books = ledger.as_async()
        runs = [
            run_async(wide, i, ledger=books, under="acme", budget="1", stages=[work])
            for i in range(12)
        ]
        statements = await asyncio.gather(*runs)
        kept = [await journal.get(each.run_id) for each in statements]
        assert [each.statement for each in kept] == statements
        return statements

    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["100 usd total"])
        journal = open_journal(url)
        statements = asyncio.run(main(ledger, journal))
        asyncio.run(journal.aclose())
        assert ledger.balances("acme")[0].settled == Money(3)
        assert ledger.audit().ok
    assert all(each.spent == Money("0.25") for each in statements)


def test_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """The ledger makes the file; a journal alone says that there is none."""
    with pytest.raises(StoreUnavailable):
        SqliteJournal(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_newer_tables_are_refused(tmp_path: Path) -> None:
    """Runs written by a newer Earmark are not touched."""
    url = f"sqlite:///{tmp_path}/books.db"
    open_ledger(url).close()
    SqliteJournal(tmp_path / "books.db").close()
    with apsw.Connection(str(tmp_path / "books.db")) as db:
        db.execute("UPDATE run_schema SET version = 99")
    with pytest.raises(SchemaMismatch, match="99"):
        open_journal(url)


def test_closed_journal_says_so(tmp_path: Path) -> None:
    """After it was closed a journal neither writes nor reads."""
    open_ledger(f"sqlite:///{tmp_path}/books.db").close()
    journal = SqliteJournal(tmp_path / "books.db")
    journal.close()
    journal.close()
    with pytest.raises(StoreClosed):
        asyncio.run(journal.get("a"))


def test_runs_do_not_meet_a_running_event_loop(house: Any) -> None:
    """The blocking form refuses to block a loop, before anything happens."""

    async def main(call: Callable[[], Any]) -> None:
        with pytest.raises(RuntimeError, match="run_async"):
            call()

    asyncio.run(main(lambda: house.run(Stage("work"), stages=[work])))
    assert len(house.books.budgets()) == 1
