"""The journal keeps every run, also one cut off, beside the ledger's tables of every store."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.composition.ast import Composition, Const, Fanout, Retry, Sequential, Stage
from earmark.errors import (
    BudgetExceeded,
    KeyReused,
    NotFound,
    RunIdReused,
    StageFailed,
    StoreClosed,
    StoreUnavailable,
)
from earmark.money import Money
from earmark.runs.journal import (
    BATCH_LINES,
    LEASE_NS,
    Journal,
    JournalWriter,
    RunProgress,
    RunRecord,
)
from earmark.runs.journals import journal_of
from earmark.runs.runner import run, run_async
from earmark.runs.statement import RunStatus
from earmark.runs.statement_line import StatementLine
from earmark.stages.kinds.python import stage
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.journals import MemoryJournal, open_journal
from support.last_resort import LAST_RESORT_S
from support.ledger_books import STORES
from support.tables_at import tables_at
from support.written_runs import GRAPH, line, record, statement_of


@stage(cost="0.05")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


@stage(cost="0.05")
async def broken(_: Any) -> Any:
    """Fail."""
    raise ValueError("no")


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    """A journal beside the books of each store."""
    open_ledger(url).close()
    made = open_journal(url)
    yield made
    asyncio.run(made.aclose())


@pytest.fixture(params=[name for name in STORES if name != "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where books are kept that outlive their process."""
    return STORES[request.param](tmp_path)


def test_run_cut_off_keeps_what_was_recorded(journal: Journal) -> None:
    """A run without an end is kept as running, with the lines that were written."""

    async def main() -> RunRecord:
        await journal.start(record("a"))
        await journal.record("a", [line(1), line(2, key="k", hold=Money("0.1"))])
        await journal.record("a", [])
        await journal.record("a", [line(3)])
        return await journal.get("a")

    kept = asyncio.run(main())
    assert (kept.status, kept.statement) == (RunStatus.RUNNING, None)
    assert [each.path for each in kept.lines] == ["/stages/1", "/stages/2", "/stages/3"]
    assert kept.lines[1] == line(2, key="k", hold=Money("0.1"))
    assert (kept.input, kept.composition.id) == (record("a").input, GRAPH.id)


async def true(condition: Callable[[], bool]) -> None:
    """Return once it is."""
    while not condition():
        await asyncio.to_thread(lambda: None)


def test_a_run_is_interrupted_once_its_lease_ran_out(url: str) -> None:
    """It renews its lease while it goes on, however long; silent for ten minutes, it is gone."""
    clock, going_on = ManualClock(), asyncio.Event()

    @stage(cost="0.05", timeout="1d")
    async def long(value: Any) -> Any:
        await going_on.wait()
        return value

    async def main() -> tuple[list[RunStatus], RunRecord]:
        with open_ledger(url, clock=clock) as ledger:
            ledger.set_budget("acme", limits=["1 usd total"])
            books = ledger.as_async()
            journal = await journal_of(books)
            alone = Composition(description="", root=Stage("long"))
            how: dict[str, Any] = {"budget": "1", "stages": [long], "run_id": "r", "wait": None}
            running = asyncio.create_task(run_async(alone, 1, ledger=books, under="acme", **how))
            seen: list[RunStatus] = []
            for _ in range(10):
                await true(lambda: clock.sleepers == 2)
                clock.advance(timedelta(minutes=2))
                now = clock.instant()
                await true(lambda: clock.sleepers == 2)
                record = await journal.get("r")
                assert record.alive_until == now + LEASE_NS
                seen.append(record.status_at(now))
            killed = await journal.get("r")
            going_on.set()
            await running
            ended = await journal.get("r")
            assert ended.status_at(clock.instant() + 10 * LEASE_NS) is RunStatus.OK
            await journal.aclose()
            return seen, killed

    seen, killed = asyncio.run(asyncio.wait_for(main(), LAST_RESORT_S))
    assert set(seen) == {RunStatus.RUNNING}
    last = clock.instant() + LEASE_NS
    assert killed.status_at(last - 1) is RunStatus.RUNNING
    assert killed.status_at(last) is RunStatus.INTERRUPTED


def test_progress_changes_with_every_step_of_a_run(journal: Journal) -> None:
    """Of the latest runs each line and the end are seen; pages hold them too, newest first."""

    async def main() -> list[Any]:
        seen: list[Any] = []
        for number, name in enumerate("abc"):
            await journal.start(record(name, number + 1))
        for step in (
            journal.record("c", [line(1)]),
            journal.finish(statement_of("c", line(1))),
        ):
            await step
            seen.append(journal.progress(2))
        seen.append([run.run_id for run in await journal.page(None, 2)])
        seen.append([run.run_id for run in await journal.page((2, "b"), 2)])
        return seen

    b, c = RunProgress(RunStatus.RUNNING, 0), RunProgress(RunStatus.RUNNING, 1)
    ended = RunProgress(RunStatus.OK, 0)
    assert asyncio.run(main()) == [{"b": b, "c": c}, {"b": b, "c": ended}, ["c", "b"], ["a"]]


def test_a_statement_takes_the_place_of_the_lines(journal: Journal) -> None:
    """A run that ended has its statement and the statement's lines; no other run is touched."""

    async def main() -> tuple[RunRecord, RunRecord]:
        for run_id in "ab":
            await journal.start(record(run_id))
            await journal.record(run_id, [line(1)])
        await journal.finish(statement_of("a", line(1), line(2)))
        return await journal.get("a"), await journal.get("b")

    ended, other = asyncio.run(main())
    assert (ended.status, ended.statement) == (RunStatus.OK, statement_of("a", line(1), line(2)))
    assert ended.lines == (line(1), line(2))
    assert (other.status, other.lines) == (RunStatus.RUNNING, (line(1),))


def test_a_run_that_ended_keeps_its_lines_in_its_statement_alone(kept: str) -> None:
    """The rows of its lines go in the transaction that writes its statement; others' stay."""

    async def main() -> None:
        journal = open_journal(kept)
        for run_id in "ab":
            await journal.start(record(run_id))
            await journal.record(run_id, [line(1)])
        await journal.finish(statement_of("a", line(1)))
        await journal.aclose()

    asyncio.run(main())
    with closing(tables_at(kept)) as tables:
        rows = tables.read(lambda rows: rows.run("SELECT run_id FROM {schema}.run_line"))
    assert rows == [("b",)]


def test_every_line_of_attempts_side_by_side_is_kept(kept: str) -> None:
    """Paid stages that end at the same time each leave their line, under a number of its own."""
    many = 8
    seen: list[tuple[int, str]] = []

    @stage
    async def look(value: Any) -> Any:
        journal = open_journal(kept)
        (going_on,) = await journal.runs()
        lines = (await journal.get(going_on.run_id)).lines
        seen.extend((each.number, each.path) for each in lines)
        await journal.aclose()
        return value

    root = Sequential((Fanout(Const(1), (Stage("work"),) * many), Stage("look")))
    with open_ledger(kept) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        wide = Composition(description="", root=root)
        run(wide, 1, ledger=ledger, under="acme", budget="1", stages=[work, look])
    assert [number for number, _ in seen] == list(range(1, many + 1))
    assert {path for _, path in seen} == {f"/stages/0/targets/{i}" for i in range(many)}


def test_a_number_is_one_lines(journal: Journal) -> None:
    """The same line again changes nothing; another line of that number is refused, and loud."""

    async def main() -> RunRecord:
        await journal.start(record("a"))
        await journal.record("a", [line(1), line(2)])
        await journal.record("a", [line(2), line(3)])
        with pytest.raises(KeyReused, match="'a' was used before with line 3"):
            await journal.record("a", [line(4), line(3, key="k")])
        return await journal.get("a")

    assert asyncio.run(main()).lines == (line(1), line(2), line(3))


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_id_is_used_once(journal: Journal, *, ended: bool) -> None:
    """A second run of an id is refused, with the way out; the first stays as it is."""

    async def main() -> tuple[RunRecord, RunRecord]:
        await journal.start(record("a"))
        await journal.record("a", [line(1)])
        if ended:
            await journal.finish(statement_of("a", line(1)))
        before = await journal.get("a")
        with pytest.raises(RunIdReused, match="under another run_id"):
            await journal.start(record("a", started_at=2))
        # Not even by an identical one: only the repeat of a write may find its own row.
        with pytest.raises(RunIdReused):
            await journal.start(record("a"))
        return before, await journal.get("a")

    before, after = asyncio.run(main())
    assert before == after


def test_a_reused_run_id_spends_nothing(url: str) -> None:
    """Nothing runs under the id of an earlier run, and the earlier run's account stays."""
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        given: dict[str, Any] = {"ledger": ledger, "under": "acme", "budget": "1", "run_id": "x"}
        first = run(GRAPH, 1, stages=[work], **given)
        entries = ledger.entries()
        with pytest.raises(RunIdReused) as refused:
            run(GRAPH, 2, stages=[work], **given)
        assert refused.value.statement is None
        assert ledger.entries() == entries

        async def kept() -> RunRecord:
            journal = await journal_of(ledger.as_async())
            try:
                return await journal.get("x")
            finally:
                await journal.aclose()

        assert asyncio.run(kept()).statement == first


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
        journal_writer = JournalWriter(journal, "a")
        sizes: list[int] = []
        for number in range(BATCH_LINES + 5):
            matters = number == 2
            if journal_writer.add(line(0, key="k" if matters else "")):
                await journal_writer.flush()
            sizes.append(len((await journal.get("a")).lines))
        return sizes

    sizes = asyncio.run(main())
    assert sizes[:5] == [0, 0, 3, 3, 3]
    assert sizes[-1] == 3 + BATCH_LINES


class Unavailable(MemoryJournal):
    """Writes lines only once it is available."""

    is_available = False

    async def record(self, run_id: str, lines: Sequence[StatementLine]) -> None:
        """Write lines, or say that they cannot be written now."""
        if not self.is_available:
            raise StoreUnavailable(store="memory:", detail="not now")
        await super().record(run_id, lines)


def test_lines_whose_writing_failed_are_written_by_the_next_flush() -> None:
    """They are kept until the journal has them, and come before what was added meanwhile."""

    async def main() -> list[int]:
        journal = Unavailable()
        await journal.start(record("a"))
        journal_writer = JournalWriter(journal, "a")
        journal_writer.add(line(0))
        with pytest.raises(StoreUnavailable):
            await journal_writer.flush()
        journal_writer.add(line(0))
        journal.is_available = True
        await journal_writer.flush()
        return [each.number for each in (await journal.get("a")).lines]

    assert asyncio.run(main()) == [1, 2]


def test_every_run_is_stored_beside_the_books(kept: str) -> None:
    """Finished, failed and refused runs are found again by another process's journal."""
    failing = Composition(description="f", root=Retry(Stage("broken"), 2))
    with open_ledger(kept) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        given: dict[str, Any] = {"ledger": ledger, "under": "acme", "stages": [work, broken]}
        done = run(GRAPH, {"a": 1}, budget="1", **given)
        with pytest.raises(StageFailed) as failed:
            run(failing, None, budget="1", **given)
        with pytest.raises(BudgetExceeded) as refused:
            run(GRAPH, None, budget="0.01", **given)
    wanted = [done, failed.value.statement, refused.value.statement]

    async def main() -> list[RunRecord]:
        journal = open_journal(kept)
        try:
            return [await journal.get(each.run_id) for each in wanted]
        finally:
            await journal.aclose()

    found = asyncio.run(main())
    assert [each.statement for each in found] == wanted
    assert [str(each.status) for each in found] == ["ok", "failed", "refused"]
    assert found[0].input == {"a": 1}


def test_costly_line_is_stored_before_the_next_stage_begins(kept: str) -> None:
    """What was paid is in the store as soon as anything can depend on it."""
    seen: list[list[str]] = []

    @stage
    async def look(value: Any) -> Any:
        journal = open_journal(kept)
        (going_on,) = await journal.runs()
        seen.append([each.path for each in (await journal.get(going_on.run_id)).lines])
        await journal.aclose()
        return value

    root = Composition(description="", root=Sequential((Stage("work"), Stage("look"))))
    with open_ledger(kept) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        run(root, 1, ledger=ledger, under="acme", budget="1", stages=[work, look])
    assert seen == [["/stages/0"]]


def test_many_runs_share_one_store(kept: str) -> None:
    """Runs side by side in one store are all kept, and the books stay whole."""
    wide = Composition(description="", root=Fanout(Stage("work"), (Stage("work"),) * 4))

    async def main(ledger: Any, journal: Journal) -> list[Any]:
        books = ledger.as_async()
        runs = [
            run_async(wide, i, ledger=books, under="acme", budget="1", stages=[work])
            for i in range(12)
        ]
        statements = await asyncio.gather(*runs)
        kept = [await journal.get(each.run_id) for each in statements]
        assert [each.statement for each in kept] == statements
        await journal.aclose()
        return statements

    with open_ledger(kept) as ledger:
        ledger.set_budget("acme", limits=["100 usd total"])
        statements = asyncio.run(main(ledger, open_journal(kept)))
        assert ledger.balances("acme")[0].settled == Money(3)
        assert ledger.audit().ok
    assert all(each.spent == Money("0.25") for each in statements)


class Slow(MemoryJournal):
    """Begins to write a run, and ends when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def start(self, run: RunRecord) -> None:
        """Keep that a run begins, once told."""
        self.begun.set()
        await asyncio.shield(self.go_on.wait())
        await super().start(run)


def test_a_run_cancelled_as_it_begins_is_not_left_running() -> None:
    """A cancellation that arrives while the run is being written gives it an end."""

    async def main(ledger: Any) -> Sequence[RunRecord]:
        journal = Slow()
        books = ledger.as_async()
        going = asyncio.ensure_future(
            run_async(
                GRAPH, 1, ledger=books, under="acme", budget="1", stages=[work], journal=journal
            )
        )
        await journal.begun.wait()
        going.cancel()
        await asyncio.sleep(0)
        journal.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await going
        return await journal.runs()

    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        (found,) = asyncio.run(main(ledger))
        assert ledger.holds(state=None) == []
    assert found.status is RunStatus.CANCELLED


def test_closed_journal_says_so(kept: str) -> None:
    """After it was closed a journal neither writes nor reads."""
    open_ledger(kept).close()
    journal = open_journal(kept)
    asyncio.run(journal.aclose())
    asyncio.run(journal.aclose())
    with pytest.raises(StoreClosed):
        asyncio.run(journal.get("a"))


def test_runs_do_not_meet_a_running_event_loop() -> None:
    """The blocking form refuses to block a loop, before anything happens."""

    async def main(call: Callable[[], Any]) -> None:
        with pytest.raises(RuntimeError, match="run_async"):
            call()

    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        asyncio.run(
            main(lambda: run(GRAPH, 1, ledger=ledger, under="acme", budget="1", stages=[work]))
        )
        assert len(ledger.budgets()) == 1
