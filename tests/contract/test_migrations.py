"""Migrations: applied once, in order, by one program at a time, never by half."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import pytest

from earmark.errors import SchemaMismatch
from earmark.stores.migrations import known_migrations, read_migrations
from earmark.stores.open import open_ledger
from earmark.stores.upkeep import TABLES
from support.databases import DATABASES, Database, made, next_program
from support.last_resort import LAST_RESORT_S
from support.ledger_books import check_books
from support.ledger_workers import go

NOTHING = ("nothing", "SELECT 1")
TABLE = ("shelf", "CREATE TABLE {schema}.shelf (name TEXT)")
#: Columns of a task that are whole numbers.
WHOLE = (
    *("priority", "destructive", "waiting", "attempts", "max_attempts", "lease_until", "due_at"),
    *("created_at", "claimed_at", "started_at", "completed_at", "version"),
)
#: Half of it can be done.
WRONG = ("wrong", "CREATE TABLE {schema}.half (name TEXT); SELECT no_such_function()")


@pytest.fixture(params=list(DATABASES))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    with made(request.param, tmp_path) as empty:
        yield empty


def steps(database: Database, *steps: tuple[str, str]) -> tuple[str, ...]:
    """Return the names of a later program's own migrations."""
    known = next_program(database, *steps)
    return tuple(str(each) for each in known[len(known_migrations(database.kind)) :])


def written_with() -> set[str]:
    """Return the functions that programs of now write with on PostgreSQL."""
    sql = "".join(each.sql for each in known_migrations("postgres"))
    made, dropped = (
        set(re.findall(rf"{verb} FUNCTION {{schema}}\.(apply\w*)", sql))
        for verb in ("CREATE", "DROP")
    )
    return made - dropped


def tables(database: Database, *names: str) -> list[str]:
    """Return those of *names* that there is a table of."""
    found: list[str] = []
    for name in names:
        with suppress(Exception):
            database.run(f"SELECT * FROM {{schema}}.{name}")  # noqa: S608 - our own names
            found.append(name)
    return found


def test_an_empty_database_gets_everything(database: Database) -> None:
    """The first program makes all tables, and notes each migration with its name and instant."""
    database.prepare()
    standing = database.standing()
    assert [each.migration for each in standing.applied] == list(known_migrations(database.kind))
    assert [str(each.migration) for each in standing.applied][:2] == ["0001_books", "0002_runs"]
    assert all(each.at > 0 for each in standing.applied)
    assert (standing.pending, standing.unknown) == ((), ())


def test_what_was_applied_is_not_applied_again(database: Database) -> None:
    """Opening again, and migrating again, change nothing."""
    database.prepare()
    before = database.standing()
    database.prepare()
    assert database.migrate(finish=True) == []
    assert database.standing() == before


OPEN = """
import sys
from earmark.stores.open import open_ledger
from earmark.stores.upkeep import TABLES
print("ready", flush=True)
sys.stdin.readline()
with open_ledger(sys.argv[1]) as ledger:
    ledger.set_budget(sys.argv[2], limits=["1 usd total"])
"""


def test_processes_that_start_at_once_make_one_schema(database: Database) -> None:
    """Four programs that open an empty store at the same moment all find complete books."""
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, database.url, f"b{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for process in begun:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    go(*begun)
    told = [process.communicate(timeout=LAST_RESORT_S) for process in begun]
    assert [process.returncode for process in begun] == [0] * 4, told
    with open_ledger(database.url) as ledger:
        assert [budget.path for budget in ledger.budgets()] == ["b0", "b1", "b2", "b3"]
        check_books(ledger)


def test_two_that_migrate_at_once_take_turns(database: Database) -> None:
    """Of several operators that migrate at the same moment, each migration has one."""
    database.prepare()
    known = next_program(database, TABLE, NOTHING)
    start = Barrier(6)

    def migrate(_: int) -> list[str]:
        start.wait()
        return database.migrate(known)

    with ThreadPoolExecutor(6) as pool:
        done = [name for names in pool.map(migrate, range(6)) for name in names]
    assert sorted(done) == list(steps(database, TABLE, NOTHING))


def test_a_migration_is_applied_wholly_or_not(database: Database) -> None:
    """What fails in the middle leaves nothing of itself, and what came before it stands."""
    database.prepare()
    with pytest.raises(Exception, match="no_such_function"):
        database.migrate(next_program(database, TABLE, WRONG))
    mended = next_program(database, TABLE, ("wrong", "CREATE TABLE {schema}.half (name TEXT)"))
    assert tables(database, "shelf", "half") == ["shelf"]
    assert database.migrate(mended) == [steps(database, TABLE, WRONG)[1]]
    assert tables(database, "half") == ["half"]


def test_an_empty_database_is_made_wholly_or_not(database: Database) -> None:
    """Making the tables fails in the middle: nobody finds a part of them, and the next one can."""
    with pytest.raises(Exception, match="no_such_function"):
        database.prepare(next_program(database, TABLE, WRONG))
    assert database.standing().applied == ()
    assert tables(database, "budget", "migration") == []
    database.prepare()
    assert database.standing().pending == ()


@pytest.mark.parametrize("name", ["shelf", "shelf_post"])
def test_a_newer_schema_is_refused(database: Database, name: str) -> None:
    """A database with a migration this program does not know is told, and not opened."""
    database.prepare()
    newer = next_program(database, (name, "SELECT 1"))
    (number,) = steps(database, (name, ""))
    database.migrate(newer, finish=True)
    with pytest.raises(SchemaMismatch, match=f"it has {number}: use a newer Earmark"):
        open_ledger(database.url)
    with pytest.raises(SchemaMismatch, match="use a newer Earmark"):
        database.migrate(finish=True)


def test_a_newer_programs_pre_is_no_obstacle(database: Database) -> None:
    """An old program opens a database that a newer one has only prepared, and works on it."""
    database.prepare()
    database.migrate(next_program(database, ("shelf_pre", TABLE[1])))
    with open_ledger(database.url) as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        ledger.settle(ledger.reserve("acme", 1).key, "0.5")
        check_books(ledger)
    assert database.migrate(finish=True) == []


def test_a_number_means_one_migration(database: Database) -> None:
    """A database whose migration of a known number has another name is another program's."""
    database.prepare()
    database.run("UPDATE {schema}.migration SET name = 'boats' WHERE number = 2")
    with pytest.raises(SchemaMismatch, match="0002_boats"):
        database.prepare()


def test_an_older_file_is_upgraded_and_an_older_schema_is_not(database: Database) -> None:
    """On SQLite opening applies what is pending; on a shared server that is said, not done."""
    database.prepare()
    known = next_program(database, TABLE)
    if database.kind == "postgres":
        with pytest.raises(SchemaMismatch, match=r"older.*lacks.*run `earmark store migrate`"):
            database.prepare(known)
        assert tables(database, "shelf") == []
        assert database.migrate(known) == list(steps(database, TABLE))
    database.prepare(known)
    assert tables(database, "shelf") == ["shelf"]


def test_a_post_waits_until_it_is_asked_for(database: Database) -> None:
    """A `post` at the end stays pending, without which the program works, until `--finish`."""
    database.prepare()
    pair = (("shelf_pre", TABLE[1]), ("shelf_post", "SELECT 1"))
    known = next_program(database, *pair)
    pre, post = steps(database, *pair)
    assert database.migrate(known) == [pre]
    database.prepare(known)
    assert [str(each) for each in database.standing(known).pending] == [post]
    assert database.migrate(known, finish=True) == [post]
    database.prepare(known)


def test_a_post_comes_before_what_follows_it(database: Database) -> None:
    """A program that needs what comes after a `post` says that it has to be finished first."""
    database.prepare()
    more = (("shelf_pre", TABLE[1]), ("shelf_post", "SELECT 1"), NOTHING)
    known = next_program(database, *more)
    pre, *rest = steps(database, *more)
    assert database.migrate(known) == [pre]
    with pytest.raises(SchemaMismatch, match=f"needs {rest[1]}, and before that {rest[0]}: .*-fin"):
        database.prepare(known)
    assert database.migrate(known, finish=True) == rest
    database.prepare(known)


def test_an_empty_database_waits_for_no_post(database: Database) -> None:
    """Where there is no older program to wait for, `post` migrations are applied at once."""
    known = next_program(database, ("shelf_pre", TABLE[1]), ("shelf_post", "SELECT 1"), NOTHING)
    database.prepare(known)
    assert database.standing(known).pending == ()


def test_every_table_is_one_that_is_copied(database: Database) -> None:
    """A new table is in the list of all, unless it follows from the others."""
    database.prepare()
    sql = {
        "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
        "postgres": "SELECT relname FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = '{schema}'::regnamespace",
    }[database.kind]
    found = {name for (name,) in database.run(sql)}
    assert found - set(TABLES) <= {"migration", "copied", "tree"}
    assert set(TABLES) <= found


#: Of a task, before its labels had a table of their own.
COLUMNS = (
    "id, number, title, description, type, priority, labels, destructive, assignee, work, status,"
    " approval, approved_by, waiting, attempts, max_attempts, agent, model, lease_until, due_at,"
    " created_at, created_by, claimed_at, started_at, completed_at, result, error, quality, version"
)


def test_the_labels_of_tasks_that_are_there_are_found(database: Database) -> None:
    """Tasks that an older program wrote are listed by each of their labels."""
    known = known_migrations(database.kind)
    before = [each.name for each in known].index("lists")
    database.prepare(known[:before])
    for number, labels in ((1, '["ops", "ü b", "ops"]'), (2, "[]"), (3, '["ops"]')):
        row = dict.fromkeys(COLUMNS.split(", "), "")
        row |= dict.fromkeys(WHOLE, 0) | {"id": f"{number}", "number": number, "labels": labels}
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO {{schema}}.task ({', '.join(row)}) VALUES ({marks})"  # noqa: S608
        database.run(sql, *row.values())
    database.migrate(known)
    found = database.run("SELECT label, number FROM {schema}.task_label ORDER BY label, number")
    assert found == [("ops", 1), ("ops", 3), ("ü b", 1)]


OF_RUNS = ("run-0123456789abcdef", "x/run-0123456789abcdef", "x/y/run-ffffffffffffffff")
OF_PEOPLE = (
    *("x/dry-run-0123456789abcdef", "RUN-0123456789abcdef", "run-0123456789abcdeg", "run-1"),
    *("run-0123456789ABCDEF", "run-0123456789abcdef0", "run-0123456789abcdef/x"),
)


def test_the_budgets_that_are_there_get_the_kind_that_their_name_said(database: Database) -> None:
    """Those of a run's name are a run's, once; on a server also what an older program adds."""
    known = known_migrations(database.kind)
    place = next(n for n, each in enumerate(known) if each.name.startswith("budget_kinds"))
    database.prepare(known[:place])
    sql = "INSERT INTO {schema}.budget (path, body) VALUES (?, '{}')"
    for path in (*OF_RUNS, *OF_PEOPLE):
        database.run(sql, path)
    database.migrate(known)
    of_runs: set[str] = set(OF_RUNS)
    if database.kind == "postgres":
        # Its own programs run on beside the new ones, and do not say the kind.
        database.run(sql, "later/run-0123456789abcdef")
        of_runs.add("later/run-0123456789abcdef")
    found = dict(database.run("SELECT path, kind FROM {schema}.budget"))
    assert {path for path, kind in found.items() if kind == "run"} == of_runs
    assert {path for path, kind in found.items() if kind == "budget"} == set(OF_PEOPLE)


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    """A missing number is noticed by the first program that starts; other files are not read."""
    (tmp_path / "0001_one.sql").write_text("SELECT 1")
    (tmp_path / "notes.txt").write_text("no migration")
    assert [str(each) for each in read_migrations(tmp_path)] == ["0001_one"]
    (tmp_path / "0003_three.sql").write_text("SELECT 1")
    with pytest.raises(AssertionError, match="missing"):
        read_migrations(tmp_path)


@pytest.mark.parametrize("name", ["counts_pre", "counts"])
def test_a_live_program_stops_where_a_newer_one_changed_what_counts(
    database: Database, name: str
) -> None:
    """What a newer one added for both is no matter; else nothing more is written by this one."""
    database.prepare()
    sql = TABLE[1]
    if database.kind == "postgres" and name == "counts":
        sql += "".join(f"; DROP FUNCTION {{schema}}.{name}" for name in written_with())
    with open_ledger(database.url) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        ledger.reserve("acme", "0.1", key="k")
        database.migrate(next_program(database, (name, sql)))
        if name.endswith("_pre"):
            assert ledger.settle("k", "0.2").state == "settled"
            return
        for _ in range(2):
            with pytest.raises(SchemaMismatch, match="use a newer Earmark"):
                ledger.settle("k", "0.2")
        entries = database.run("SELECT count(*) FROM {schema}.entry")
    assert entries == [(2,)]


def test_what_counts_on_postgres_takes_the_old_functions_away() -> None:
    """From the tenth migration on: nothing else stops a program that is at work."""
    for each in known_migrations("postgres")[9:]:
        assert each.is_pre or each.is_post or "DROP FUNCTION {schema}.apply_" in each.sql, each
