"""An old program and a new one on one database: a `pre`/`post` pair, each step with both running.

The next step of the schema gives runs labels, which must not be missing. Its `pre` adds the column,
which the old program does not fill; its `post` fills what is missing and forbids to leave it out.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.errors import SchemaMismatch, StoreError
from earmark.ledger.audit import audit
from earmark.ledger.ledger import Ledger
from earmark.runs.journal import Journal
from earmark.stores.open import open_ledger
from support.databases import DATABASES, Database, Known, made, next_program
from support.journals import open_journal
from support.ledger_books import check_books
from support.written_runs import GRAPH, line, record

PRE = ("labels_pre", "ALTER TABLE {schema}.run ADD COLUMN labels TEXT")
FILL = "UPDATE {schema}.run SET labels = '{}' WHERE labels IS NULL;"
FORBID = {
    "postgres": "ALTER TABLE {schema}.run ALTER COLUMN labels SET NOT NULL",
    "sqlite": """
        CREATE TRIGGER run_labels BEFORE INSERT ON run WHEN new.labels IS NULL
        BEGIN SELECT raise(ABORT, 'a run has labels'); END
    """,
}


@pytest.fixture(params=list(DATABASES))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    with made(request.param, tmp_path) as empty:
        yield empty


class NewProgram:
    """A program of the next step: it knows the pair, and writes what only it knows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        post = ("labels_post", FILL + FORBID[database.kind])
        self.knows: Known = next_program(database, PRE, post)

    def start(self) -> None:
        """Open the store."""
        self._database.prepare(self.knows)

    def begin_run(self, run_id: str, labels: str) -> None:
        """Write that a run begins."""
        self._database.run(
            "INSERT INTO {schema}.run (run_id, composition_id, composition, input, budget,"
            " limit_usd, started_at, status, labels) VALUES (?, ?, ?, 'null', 'acme/run', '1', 1,"
            " 'running', ?)",
            run_id, GRAPH.id, GRAPH.to_json(), labels,
        )  # fmt: skip

    def labels(self) -> dict[str, str]:
        """Return the labels of every run; those of old programs have none."""
        rows = self._database.run("SELECT run_id, coalesce(labels, '{}') FROM {schema}.run")
        return {str(run_id): str(labels) for run_id, labels in rows}


class OldProgram:
    """This program: a ledger and its journal, which go on while the schema changes beneath."""

    def __init__(self, database: Database) -> None:
        self.ledger: Ledger = open_ledger(database.url)
        self._journal: Journal = open_journal(database.url)

    def work(self, name: str) -> list[str]:
        """Spend and write a run; return the ids of all runs it sees."""
        self.ledger.set_budget("acme", limits=["100 usd total"])
        self.ledger.settle(self.ledger.reserve("acme", 1, key=name).key, "0.5")
        check_books(self.ledger)
        return asyncio.run(self._run(name))

    async def _run(self, name: str) -> list[str]:
        await self._journal.start(record(name))
        await self._journal.record(name, [line(1)])
        assert (await self._journal.get(name)).lines == (line(1),)
        return sorted(run.run_id for run in await self._journal.runs())

    def stop(self) -> None:
        """Close everything."""
        asyncio.run(self._journal.aclose())
        self.ledger.close()


def test_old_and_new_programs_share_a_database_between_pre_and_post(database: Database) -> None:
    """After the `pre` both work, side by side and started in any order; after the `post` one."""
    new, old = NewProgram(database), OldProgram(database)
    assert old.work("old-1") == ["old-1"]

    assert [name[5:] for name in database.migrate(new.knows)] == ["labels_pre"]
    assert old.work("old-2") == ["old-1", "old-2"]
    new.start()
    new.begin_run("new-1", '{"a": 1}')
    assert old.work("old-3") == ["new-1", "old-1", "old-2", "old-3"]
    late = OldProgram(database)
    late.work("old-4")
    late.stop()
    assert new.labels() == {"new-1": '{"a": 1}', **{f"old-{n}": "{}" for n in (1, 2, 3, 4)}}

    assert [name[5:] for name in database.migrate(new.knows, finish=True)] == ["labels_post"]
    new.start()
    new.begin_run("new-2", "{}")
    with pytest.raises(SchemaMismatch, match=r"labels_post: use a newer Earmark"):
        OldProgram(database)
    # Why a `post` waits for the last old program: it may work on, or not, or be stopped.
    with pytest.raises(StoreError):
        old.work("old-5")
    assert audit(old.ledger.store).ok
    old.stop()
