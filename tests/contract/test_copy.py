"""A store is copied to another of either kind: exactly, checked, and all of it or nothing."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from earmark.board.task import TaskDraft
from earmark.errors import (
    BudgetExceeded,
    InvalidConfig,
    KeyReused,
    NotFound,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
)
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Reserve, Settle
from earmark.money import Money
from earmark.runs.runner import run
from earmark.stages.kinds.python import stage
from earmark.stores.copy import CopyReport, copy_store
from earmark.stores.open import open_ledger
from earmark.stores.open_upkeep import open_upkeep
from earmark.testing import ManualClock
from support.board_books import AGENT, LEASE, open_board
from support.journals import open_journal
from support.ledger_books import DURABLE, STORES, check_books
from support.written_runs import GRAPH, line, record
from support.written_tables import all_rows, fill_tables


@stage(cost="0.05")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


@pytest.fixture(params=DURABLE)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the books are that are copied."""
    return STORES[request.param](folder(tmp_path, "source"))


@pytest.fixture(params=DURABLE)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where they are copied to: nothing is there."""
    return STORES[request.param](folder(tmp_path, "target"))


def run_sql(file: Path | str, statement: str, *values: int) -> None:
    """Change a SQLite store behind its back."""
    with apsw.Connection(str(file)) as connection:
        cast("Any", connection).execute(statement, values)


def folder(parent: Path, name: str) -> Path:
    """Return a new folder."""
    made = parent / name
    made.mkdir()
    return made


def fill(url: str, clock: ManualClock) -> None:
    """Write something of every kind to the books at *url*; nothing is open in the end."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["10 usd per day", "50 calls total"], alerts=[0.5])
        ledger.set_budget("acme/eu-1", limits=["5 usd per 30min"], timezone="Europe/Berlin")
        ledger.set_budget("other", limits=["1 usd total"])
        ledger.extend_budget("acme", "5 usd per day", until=clock.now + timedelta(hours=3))
        ledger.pause("other", actor="Ada", reason="tea \\ \t 'quoted'", until=None)
        ledger.reserve("acme/eu-1", 3, key="a", units={"tokens": 4}, labels={"run": "1\n\\N"})
        ledger.extend("a", 1, operation="more")
        ledger.settle("a", 7)
        ledger.reserve("acme", 1, key="lost", deadline="1min")
        ledger.release(ledger.reserve("acme", 1, key="back").key)
        clock.advance(timedelta(minutes=2))
        ledger.reserve("acme", 1, key="late")
        ledger.settle("late", "0.5")
        run(GRAPH, {"a": "é"}, ledger=ledger, under="acme", budget="1", stages=[work])
    asyncio.run(_cut_off(url))
    fill_tables(url, clock)


async def _cut_off(url: str) -> None:
    journal = open_journal(url)
    await journal.start(record("cut"))
    await journal.record("cut", [line(1)])
    await journal.aclose()


def everything(url: str, clock: ManualClock) -> tuple[object, ...]:
    """Return all that readers of a store can see."""

    async def runs() -> list[object]:
        journal = open_journal(url)
        found = [await journal.get(each.run_id) for each in await journal.runs()]
        await journal.aclose()
        return list(found)

    with open_ledger(url, clock=clock) as ledger:
        check_books(ledger)
        return (
            ledger.budgets(),
            ledger.holds(state=None),
            ledger.entries(),
            ledger.alerts(),
            [ledger.balances(budget.path) for budget in ledger.budgets()],
            asyncio.run(runs()),
            all_rows(url, clock),
        )


def silent(_what: str, _rows: int) -> None:
    """Tell nobody."""


def copy(
    source: str,
    target: str,
    *,
    with_holds: bool = False,
    progress: Callable[[str, int], None] = silent,
) -> CopyReport:
    """Copy *source* to *target*."""
    clock = ManualClock()
    return copy_store(source, target, with_holds=with_holds, clock=clock, progress=progress)


def test_a_copy_is_the_same_books(source: str, target: str, clock: ManualClock) -> None:
    """Budgets, reservations, entries, alerts, runs, tasks and all else are equal on both sides."""
    fill(source, clock)
    report = copy(source, target)
    assert everything(target, clock) == everything(source, clock)
    assert (report.missed, report.audit.ok, report.audit.unresolved) == (False, True, 1)
    assert all(report.rows.values()), report.rows
    assert (report.rows["budget"], report.rows["run"], report.rows["run_line"]) == (4, 2, 1)


def test_a_copy_goes_on(source: str, target: str, clock: ManualClock) -> None:
    """Old keys are remembered in the copy, limits hold, deadlines pass, and numbers go on."""
    fill(source, clock)
    with open_ledger(source, clock=clock) as ledger:
        ledger.set_budget("small", limits=["1 usd total"])
        ledger.reserve("small", 1, key="open", deadline="10min")
        before = ledger.entries()[-1].seq
    copy(source, target, with_holds=True)
    with open_ledger(target, clock=clock) as ledger:
        assert ledger.reserve("small", 1, key="open", deadline="10min").state == "open"
        with pytest.raises(KeyReused):
            ledger.extend("late", 9, operation="more")
        with pytest.raises(BudgetExceeded):
            ledger.reserve("small", "0.1")
        clock.advance(timedelta(minutes=11))
        with pytest.raises(BudgetExceeded):
            ledger.reserve("small", "0.1")
        assert ledger.reservation("open").state == "presumed"
        ledger.settle("open", "0.25")
        assert ledger.reserve("small", "0.75").seq > before
        ledger.set_budget("new", limits=["1 usd total"])
        ledger.settle(ledger.reserve("new", 1).key, 1)
        check_books(ledger)
    with open_board(target, clock) as board:
        board.decide("1", "accept", actor="ann")
        assert [task.title for task in board.claim(AGENT, 5, lease_ns=LEASE)] == ["needs it"]
        assert board.add(TaskDraft(title="[A-1] é \\N"), actor="ann", key="k").number == 1
        assert board.add(TaskDraft(title="new"), actor="ann").number == 3


def test_open_holds_are_refused_unless_asked_for(
    source: str, target: str, clock: ManualClock
) -> None:
    """A hold that is open would be open twice: that takes a word."""
    with open_ledger(source, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        ledger.reserve("acme", "0.5", key="open", deadline="1h")
    with pytest.raises(StoreError, match=r"1 hold is open: settle.*--with-holds"):
        copy(source, target)
    if target.startswith("sqlite"):
        assert not open_upkeep(target, clock).exists()
    assert copy(source, target, with_holds=True).rows["reservation"] == 1
    assert everything(target, clock) == everything(source, clock)


def test_a_target_with_rows_is_refused(source: str, target: str, clock: ManualClock) -> None:
    """Books that are there are not mixed with others, and stay as they are."""
    fill(source, clock)
    with open_ledger(target, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
    before = everything(target, clock)
    with pytest.raises(StoreError, match=r"it has rows \(budget 1, entry 1\): copy to an empty"):
        copy(source, target)
    assert everything(target, clock) == before


def test_a_store_is_not_copied_to_itself(source: str) -> None:
    """Source and target are two."""
    open_ledger(source).close()
    with pytest.raises(InvalidConfig, match="the same store"):
        copy(source, source)


@pytest.mark.parametrize("url", ["memory:", "nothing", "sqlite:///"])
def test_only_what_lasts_is_copied(url: str, tmp_path: Path) -> None:
    """A store in memory is none to copy from or to."""
    for ends in ((url, f"sqlite:///{tmp_path}/a.db"), (f"sqlite:///{tmp_path}/a.db", url)):
        with pytest.raises(InvalidConfig):
            copy(*ends)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_not_there_is_not_made(source: str, target: str) -> None:
    """A mistyped source is told; neither store is made."""
    source = source.replace("?schema=", "?schema=no_").replace("books.db", "no.db")
    with pytest.raises(NotFound, match="no store"):
        copy(source, target)
    assert not open_upkeep(source, ManualClock()).exists()


def many(url: str, count: int) -> None:
    """Settle *count* reservations."""
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["1000000 usd total"])
        now, hour = ledger.clock.instant(), 3600 * 10**9
        store, keys = ledger.store, [f"k{n:06}" for n in range(count)]
        store.apply([Reserve(key, "acme", Amounts(10**9, 1), hour) for key in keys], now)
        store.apply([Settle(key, Amounts(10**8, 1)) for key in keys], now)


def is_empty(url: str) -> bool:
    """Return whether nothing stands in the books at *url*."""
    with open_ledger(url) as ledger:
        return (ledger.budgets(), ledger.holds(state=None), ledger.entries()) == ([], [], [])


def test_an_interrupted_copy_leaves_nothing(source: str, target: str) -> None:
    """A copy that is stopped half way leaves an empty store; the next one succeeds."""
    many(source, 1_000)

    def interrupt(what: str, _rows: int) -> None:
        if what == "rows of entry copied":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source, target, progress=interrupt)
    assert is_empty(target)
    assert copy(source, target).rows["entry"] == 2_001


KILLED = """
import os, sys
from earmark.clock import SystemClock
from earmark.stores.copy import copy_store
def die(what, rows):
    if what == "rows of entry copied":
        os._exit(9)
copy_store(*sys.argv[1:], with_holds=False, clock=SystemClock(), progress=die)
"""


def test_a_killed_copy_leaves_nothing(source: str, target: str) -> None:
    """A process that dies in the middle of a copy leaves an empty store, which can be filled."""
    many(source, 500)
    died = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert died.returncode == 9
    assert is_empty(target)
    assert copy(source, target).audit.settled == Money(50)


def test_what_is_written_meanwhile_is_told(source: str, target: str) -> None:
    """The copy is of one moment; the report says when the source went on after it."""
    many(source, 1_000)

    def write(what: str, _rows: int) -> None:
        if what == "rows of reservation copied":
            with open_ledger(source) as ledger:
                ledger.settle(ledger.reserve("acme", 1, key="meanwhile").key, 1)

    report = copy(source, target, progress=write)
    assert (report.missed, report.rows["reservation"]) == (True, 1_000)
    with open_ledger(target) as ledger:
        assert ledger.holds(key="meanwhile", state=None) == []
        check_books(ledger)


def test_wrong_books_are_not_copied(tmp_path: Path, clock: ManualClock) -> None:
    """Books that do not add up are found before they are copied; nothing is made of them."""
    source, target = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    fill(source, clock)
    run_sql(tmp_path / "a.db", "UPDATE account SET settled = settled + 1 WHERE id = 1")
    with pytest.raises(StoreCorrupt, match=r"the books are wrong \(account 1.*earmark audit"):
        copy(source, target)
    assert is_empty(target)


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        (
            "AFTER INSERT ON account BEGIN UPDATE account SET held = 1 WHERE id = new.id; END",
            r"the copy is wrong \(account 1",
        ),
        ("BEFORE INSERT ON alert BEGIN SELECT raise(IGNORE); END", "rows of alert are missing"),
    ],
    ids=["changed", "lost"],
)
def test_a_copy_that_differs_is_not_kept(
    tmp_path: Path, clock: ManualClock, trigger: str, told: str
) -> None:
    """What arrives in the target is compared before it is committed: else nothing is kept."""
    source, target = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    fill(source, clock)
    open_ledger(target).close()
    run_sql(tmp_path / "b.db", f"CREATE TRIGGER spoil {trigger}")
    with pytest.raises(StoreError, match=f"{told}.*nothing was kept"):
        copy(source, target)
    assert is_empty(target)


def test_a_schema_that_is_too_old_is_told(target: str, tmp_path: Path, clock: ManualClock) -> None:
    """A store this program cannot read is refused as when it is opened, and not touched."""
    source = f"sqlite:///{tmp_path}/a.db"
    fill(source, clock)
    run_sql(tmp_path / "a.db", "INSERT INTO migration VALUES (99, 'far', 1)")
    with pytest.raises(SchemaMismatch, match="0099_far"):
        copy(source, target)
    assert is_empty(target)


def test_time_goes_on_in_a_copy(tmp_path: Path, clock: ManualClock) -> None:
    """Trees of hosts whose clocks differ: in the copy no entry is earlier than its tree's last."""
    source, target = STORES["postgres"](tmp_path), f"sqlite:///{tmp_path}/b.db"
    fast = ManualClock(clock.now + timedelta(hours=1))
    with open_ledger(source, clock=clock) as behind, open_ledger(source, clock=fast) as ahead:
        ahead.set_budget("fast", limits=["1 usd total"])
        behind.set_budget("slow", limits=["1 usd total"])
        assert [entry.moment for entry in behind.entries()] == [fast.now, clock.now]
    copy(source, target)
    with open_ledger(target, clock=clock) as ledger:
        ledger.pause("fast")
        assert ledger.entries()[-1].moment == fast.now
        check_books(ledger)


def with_a_gap(ledger: Ledger, url: str) -> None:
    """Let a transaction of PostgreSQL fail: it takes numbers with it."""
    import psycopg

    from earmark.stores.postgres_url import PostgresUrl

    place = PostgresUrl.parse(url)
    ledger.settle(ledger.reserve("acme", 1, key="before").key, 1)
    ledger.pause("acme")
    ledger.resume("acme")
    with psycopg.connect(place.conninfo) as connection:
        connection.execute(f"SELECT nextval('{place.schema}.entry_seq')".encode())
    ledger.settle(ledger.reserve("acme", 1, key="after").key, 1)


def test_gaps_in_the_numbers_are_remembered(tmp_path: Path, clock: ManualClock) -> None:
    """A file copied from PostgreSQL, with its gaps, still misses an entry that is taken away."""
    source = STORES["postgres"](folder(tmp_path, "source"))
    file = tmp_path / "b.db"
    with open_ledger(source, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["10 usd total"])
        with_a_gap(ledger, source)
        numbers = [entry.seq for entry in ledger.entries()]
        assert numbers[-1] - numbers[0] == len(numbers)
    copy(source, f"sqlite:///{file}")
    with open_ledger(f"sqlite:///{file}", clock=clock) as ledger:
        assert [entry.seq for entry in ledger.entries()] == numbers
        ledger.settle(ledger.reserve("acme", 1, key="here").key, 1)
        ledger.pause("acme")
        ledger.resume("acme")
        check_books(ledger)
        again = STORES["sqlite"](folder(tmp_path, "again"))
        copy(f"sqlite:///{file}", again)
        kept = ledger.entries()
    assert everything(again, clock) == everything(f"sqlite:///{file}", clock)
    kinds = [entry.kind for entry in kept]
    for pause in (kinds.index("pause"), len(kinds) - 2):
        assert kinds[pause] == "pause"
        broken = shutil.copy(file, tmp_path / f"broken-{pause}.db")
        run_sql(broken, "DELETE FROM entry WHERE seq = ?", kept[pause].seq)
        with open_ledger(f"sqlite:///{broken}", clock=clock) as ledger:
            (problem,) = ledger.audit().problems
            assert "entries stand where" in problem
