"""Files of Earmark 0.1, which counted its schema and let the journal make tables of its own."""

import asyncio
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from earmark.composition.ast import Composition, Stage
from earmark.errors import SchemaMismatch, StoreCorrupt
from earmark.runs.journal import RunRecord
from earmark.stores.migrations import known_migrations
from earmark.stores.open import open_ledger
from support.databases import drop_later_tables
from support.journals import open_journal
from support.ledger_books import check_books

#: What the journal of 0.1 ran when it was first opened.
JOURNAL = """
CREATE TABLE IF NOT EXISTS run_schema (version INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS run (
  run_id TEXT PRIMARY KEY,
  composition_id TEXT NOT NULL,
  composition TEXT NOT NULL,
  input TEXT NOT NULL,
  budget TEXT NOT NULL,
  limit_usd TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  status TEXT NOT NULL,
  statement TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS run_by_start ON run (started_at);
CREATE TABLE IF NOT EXISTS run_line (
  run_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO run_schema SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM run_schema);
"""
GRAPH = Composition(description="", root=Stage("work"))
LINE = (
    '{"path": "/", "stage": "s", "stage_id": "i", "attempt": 1, "outcome": "ok", "started_at": 1}'
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file as 0.1 left it, with a budget, a hold and a run that was cut off."""
    file = tmp_path / "books.db"
    with open_ledger(f"sqlite:///{file}") as ledger:
        ledger.set_budget("acme", limits=["10 usd total"])
        ledger.reserve("acme", 1, key="k", deadline="10h")
    with apsw.Connection(str(file)) as old:
        drop_later_tables(old)
        old.execute(JOURNAL)
        old.execute(
            "INSERT INTO run VALUES ('r', ?, ?, '{}', 'acme/run-r', '1', 1, 'running', NULL)",
            (GRAPH.id, GRAPH.to_json()),
        )
        old.execute("INSERT INTO run_line VALUES ('r', 1, ?)", (LINE,))
        old.execute("PRAGMA user_version = 1")
    return file


def test_an_old_file_goes_on(file: Path) -> None:
    """Opening it brings it up to date; its books and its runs are as they were."""
    url = f"sqlite:///{file}"
    with open_ledger(url) as ledger:
        assert [hold.key for hold in ledger.holds()] == ["k"]
        ledger.settle("k", "0.5")
        check_books(ledger)

    async def read() -> RunRecord:
        journal = open_journal(url)
        try:
            return await journal.get("r")
        finally:
            await journal.aclose()

    run = asyncio.run(read())
    assert (run.composition, [line.path for line in run.lines]) == (GRAPH, ["/"])
    with apsw.Connection(str(file)) as db:
        noted = db.execute("SELECT number, name, applied_at > 0 FROM migration").fetchall()
        assert noted == [
            (each.number, each.name, each.number > 1) for each in known_migrations("sqlite")
        ]
        assert db.pragma("user_version") == len(noted)
        left = "SELECT count(*) FROM sqlite_schema WHERE name = 'run_schema'"
        assert db.execute(left).fetchall() == [(0,)]


def test_an_old_file_without_runs_goes_on(file: Path) -> None:
    """A file in which no run was ever started gets the journal's tables too."""
    with apsw.Connection(str(file)) as old:
        old.execute("DROP TABLE run; DROP TABLE run_line; DROP TABLE run_schema")
    open_ledger(f"sqlite:///{file}").close()
    journal = open_journal(f"sqlite:///{file}")
    assert asyncio.run(journal.runs()) == []
    asyncio.run(journal.aclose())


def test_a_file_that_counts_higher_is_refused(file: Path) -> None:
    """A number without a table is a newer program's way of counting: not touched."""
    with apsw.Connection(str(file)) as old:
        old.execute("PRAGMA user_version = 7")
    before = file.read_bytes()
    with pytest.raises(SchemaMismatch, match=r"0007.*newer Earmark"):
        open_ledger(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_another_programs_migrations_are_not_ours(tmp_path: Path) -> None:
    """A database with a table `migration` and without our mark is another program's."""
    with apsw.Connection(str(tmp_path / "theirs.db")) as theirs:
        theirs.execute("CREATE TABLE migration (number, name, applied_at)")
    with pytest.raises(StoreCorrupt, match="another program"):
        open_ledger(f"sqlite:///{tmp_path}/theirs.db")


def test_a_process_killed_in_a_migration_leaves_the_step_before(file: Path) -> None:
    """A program that dies between two statements of a migration has changed nothing."""
    before = sorted(_tables(file))
    code = """
import os, sys, apsw
from earmark.clock import SystemClock
from earmark.stores.migrations import Migration, known_migrations
from earmark.stores.migrations_sqlite import migrate_sqlite
db = apsw.Connection(sys.argv[1])
db.create_scalar_function("die", lambda: os._exit(9))
one, *_ = known_migrations("sqlite")
dies = Migration(2, "runs", "CREATE TABLE half (a); SELECT die()")
migrate_sqlite(db, "books", SystemClock(), finish=False, known=(one, dies))
"""
    died = subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert died.returncode == 9
    assert sorted(_tables(file)) == before
    open_ledger(f"sqlite:///{file}").close()


def _tables(file: Path) -> list[str]:
    with apsw.Connection(str(file)) as db:
        return [str(name) for (name,) in db.execute("SELECT name FROM sqlite_schema")]
