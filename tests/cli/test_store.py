"""What the books are kept in, from the command line: its state, its migrations, a copy of it."""

from pathlib import Path

import apsw
import pytest

from earmark.stores.migrations import known_migrations
from earmark.stores.open import open_ledger
from support.databases import PostgresDatabase, drop_later_tables, made
from support.ledger_books import STORES
from support.postgres_session import password_of
from support.shell import Shell

KNOWN = [str(each) for each in known_migrations("sqlite")]


def test_status_says_what_stands_in_the_store(books: Shell) -> None:
    """Migrations with their moments, rows, open holds and how durable a commit is."""
    status = books.json("store", "status")
    assert [each["migration"] for each in status["applied"]] == KNOWN
    assert (status["pending"], status["unknown"]) == ([], [])
    assert (status["rows"]["budget"], status["rows"]["entry"], status["open_holds"]) == (1, 2, 1)
    assert status["engine"].startswith("SQLite 3.")
    assert status["settings"] == {"journal_mode": "wal", "synchronous": "full"}
    told = books.ok("store", "status").out
    assert "0001_books" in told
    assert "1 hold is open" in told


def test_status_of_postgresql_says_how_durable_it_is(shell: Shell, tmp_path: Path) -> None:
    """The server's version and the settings that keep a commit; the password nowhere."""
    url = STORES["postgres"](tmp_path)
    open_ledger(url).close()
    status = shell.json("store", "status", "--store", url)
    assert status["engine"].startswith("PostgreSQL ")
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert status["settings"][setting] == "on"
    told = shell.ok("store", "status", "--store", url)
    assert password_of(url) not in told.out + told.err + str(status)


def test_a_store_that_is_too_new_can_be_looked_at(books: Shell) -> None:
    """`status` shows the migration that nobody here knows, where every other command refuses."""
    with apsw.Connection("earmark.db") as db:
        db.execute("INSERT INTO migration VALUES (42, 'far', 1)")
    status = books.json("store", "status")
    assert (status["unknown"], status["rows"]) == (["0042_far"], {})
    assert "not known to this program" in books.ok("store", "status").out
    for refused in (
        ["audit"],
        ["store", "migrate"],
        ["store", "copy", "sqlite:///earmark.db", "sqlite:///b.db"],
    ):
        answer = books(*refused)
        assert answer.code == 1
        assert "0042_far: use a newer Earmark" in answer.err


def test_migrate_brings_an_older_file_up(books: Shell) -> None:
    """What is pending is shown by `status`, applied by `migrate`, and applied once."""
    with apsw.Connection("earmark.db") as db:
        drop_later_tables(db)
        db.execute("PRAGMA user_version = 1")
    status = books.json("store", "status")
    assert (status["pending"], status["rows"]) == (KNOWN[1:], {})
    assert status["applied"] == [{"migration": KNOWN[0], "at": None}]
    assert books.json("store", "migrate")["applied"] == KNOWN[1:]
    assert books.json("store", "migrate", "--finish")["applied"] == []
    assert books.ok("store", "migrate").out == "nothing to apply\n"
    assert books.json("audit")["ok"] is True


def test_migrate_brings_an_older_schema_up(shell: Shell, tmp_path: Path) -> None:
    """On PostgreSQL every other command says that it takes `earmark store migrate`."""
    with made("postgres", tmp_path) as database:
        assert isinstance(database, PostgresDatabase)
        database.prepare(known_migrations("postgres")[:1])
        store = ("--store", database.url)
        answer = shell("audit", *store)
        assert answer.code == 1
        assert "it lacks 0002_runs: run `earmark store migrate`" in answer.err
        assert shell.json("store", "status", *store)["pending"][0] == "0002_runs"
        assert shell.json("store", "migrate", *store)["applied"][0] == "0002_runs"
        assert shell.json("audit", *store)["ok"] is True


def test_migrate_makes_a_schema_and_no_file(shell: Shell, tmp_path: Path) -> None:
    """A schema is made before the first program starts; a mistyped file is told."""
    with made("postgres", tmp_path) as database:
        store = ("--store", database.url)
        assert shell.json("store", "status", *store)["applied"] == []
        done = shell.json("store", "migrate", *store)
        assert (done["applied"][0], done["pending"]) == ("0001_books", [])
    for command in (["migrate"], ["status"], ["copy", "sqlite:///typo.db", "sqlite:///b.db"]):
        answer = shell("store", *command, "--store", "sqlite:///typo.db")
        assert (answer.code, answer.err) == (1, "earmark: no store 'sqlite:///typo.db'\n")
    assert [each.name for each in shell.folder.iterdir()] == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_copy_copies_and_says_what(books: Shell, tmp_path: Path, kind: str) -> None:
    """`copy FROM TO` refuses open holds with a sentence, takes them by word, and counts rows."""
    target = STORES[kind](tmp_path / "target")
    (tmp_path / "target").mkdir()
    answer = books("store", "copy", "sqlite:///earmark.db", target)
    assert answer.code == 1
    assert "1 hold is open" in answer.err
    assert answer.err.count("\n") == 1
    report = books.json("store", "copy", "sqlite:///earmark.db", target, "--with-holds")
    assert (report["rows"]["reservation"], report["held"], report["missed"]) == (1, "1", False)
    assert books.json("audit", "--store", target)["held"] == "1"
    again = books("store", "copy", "sqlite:///earmark.db", target, "--with-holds", "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "store_error")
    assert "it has rows" in again.err


def test_copy_tells_people(books: Shell) -> None:
    """The answer names both stores and their equal totals; a store in memory is refused."""
    books.ok("holds", "settle", "call-1", "0.75")
    told = books.ok("store", "copy", "sqlite:///earmark.db", "sqlite:///b.db").out
    assert told.startswith("copied sqlite:///earmark.db to sqlite:///b.db\n")
    assert "on both sides: settled 0.75 USD · held 0 USD" in told
    answer = books("store", "copy", "memory:", "sqlite:///c.db")
    assert (answer.code, "keeps nothing" in answer.err) == (1, True)
