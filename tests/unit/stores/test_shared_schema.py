"""Migrations on a PostgreSQL server that others use, too."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from earmark.errors import StoreCorrupt, StoreUnavailable
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.databases import PostgresDatabase, made, next_program
from support.ledger_books import check_books
from support.postgres_server import Server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[PostgresDatabase]:
    """A schema of its own, which does not exist yet."""
    with made("postgres", tmp_path) as empty:
        assert isinstance(empty, PostgresDatabase)
        yield empty


def test_another_programs_schema_is_refused(database: PostgresDatabase) -> None:
    """A schema with foreign tables is refused and left as it is."""
    database.run(f"CREATE SCHEMA {database.schema}")
    database.run("CREATE TABLE {schema}.customer (name text)")
    with pytest.raises(StoreCorrupt, match=r"tables of another program: name one with \?schema="):
        open_ledger(database.url)
    found = database.run(
        "SELECT relname FROM pg_class WHERE relnamespace = ?::regnamespace", database.schema
    )
    assert found == [("customer",)]


def test_a_lost_connection_leaves_the_step_before(database: PostgresDatabase) -> None:
    """A migration whose session ends in the middle has changed nothing, and can be done again."""
    database.prepare()
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    dies = ("half", f"CREATE TABLE {{schema}}.half (a int); {end}")
    with pytest.raises(psycopg.OperationalError):
        database.migrate(next_program(database, dies))
    database.prepare()
    lives = ("half", "CREATE TABLE {schema}.half (a int)")
    assert len(database.migrate(next_program(database, lives))) == 1


class Looking(ManualClock):
    """A clock that looks at a schema when it is asked for the time."""

    def __init__(self, database: PostgresDatabase) -> None:
        super().__init__()
        self._database = database
        self.seen: list[int] = []

    def instant(self) -> int:
        """Return the time, after a look at how many migrations others find."""
        self.seen.append(len(self._database.standing().applied))
        return super().instant()


def test_nobody_sees_a_part_of_a_new_schema(database: PostgresDatabase) -> None:
    """While the first program makes the tables, others find none at all, and then all."""
    known = next_program(database)
    clock = Looking(database)
    database.clock = clock
    database.prepare()
    assert clock.seen == [0] * len(known)
    assert len(database.standing().applied) == len(known)


def test_a_migration_does_not_keep_everybody_waiting(database: PostgresDatabase) -> None:
    """A migration that waits for a running transaction gives up, changes nothing, and says so."""
    wide = "SET LOCAL lock_timeout = '50ms'; ALTER TABLE {schema}.budget ADD COLUMN wide text"
    with open_ledger(database.url) as ledger, database.connected() as busy:
        ledger.set_budget("acme", limits=["1 usd total"])
        with busy.transaction():
            busy.execute(f"LOCK {database.schema}.budget IN ACCESS SHARE MODE".encode())
            with pytest.raises(StoreUnavailable, match=r"_wide waited in vain.*ask again"):
                database.migrate(next_program(database, ("wide", wide)))
        check_books(ledger)
    assert database.standing().unknown == ()


def test_a_user_without_the_right_to_make_schemas_uses_a_given_one(
    postgres: Server, database: PostgresDatabase
) -> None:
    """A schema that an administrator made, empty, is enough."""
    if not postgres.own:
        pytest.skip("making users takes a server of one's own; unset EARMARK_TEST_POSTGRES")
    role = f"{database.schema}_guest"
    with postgres.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'guest'".encode())
        admin.execute(f"CREATE SCHEMA {database.schema} AUTHORIZATION {role}".encode())
    _, _, place = database.url.partition("@")
    with open_ledger(f"postgresql://{quote(role)}:guest@{place}") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        check_books(ledger)
    with postgres.connect() as admin:
        admin.execute(f"DROP OWNED BY {role}".encode())
        admin.execute(f"DROP ROLE {role}".encode())
