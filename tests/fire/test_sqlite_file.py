"""A SQLite file under live books: other libraries in the process, moved, removed, linked, forked.

Whatever happens to the file, two programs never both admit what only one of them may, and nothing
is acknowledged that is not in the file at its path.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from earmark.clock import SystemClock
from earmark.errors import (
    BudgetExceeded,
    InvalidConfig,
    StoreCorrupt,
    StoreUnavailable,
)
from earmark.ledger.ledger import Ledger
from earmark.stores.backup import back_up
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.sqlite_writer_lock import WriterLock

#: Opens the books, and at each line on its input reserves 10 USD and says what came of it.
_OTHER = """
import sys
from earmark.errors import BudgetExceeded, EarmarkError
from earmark.stores.open import open_ledger
with open_ledger(sys.argv[1]) as books:
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            print("admitted", books.reserve("acme", "10", key=line.strip()).key, flush=True)
        except EarmarkError as error:
            print(error.code, flush=True)
"""


class Other:
    """Another process with the books at *file*."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OTHER, f"sqlite:///{file}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def reserve(self, key: str) -> str:
        """Return what came of reserving 10 USD under *key*."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """Close its books."""
        self.process.communicate()
        assert self.process.returncode == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the books are kept."""
    return tmp_path / "books.db"


@pytest.fixture
def books(file: Path) -> Iterator[Ledger]:
    """Open books with 10 USD a day, of which nothing is spent."""
    with open_ledger(f"sqlite:///{file}") as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
        yield ledger


# Other libraries ----------------------------------------------------------------------------------


def read(file: Path) -> None:
    """Read with the standard library's SQLite, which is another one than ours."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0


def dump(file: Path) -> None:
    """Write everything as SQL, as a backup script does."""
    with closing(sqlite3.connect(file)) as connection:
        assert "CREATE TABLE budget" in "\n".join(connection.iterdump())


def copy(file: Path) -> None:
    """Copy the file byte by byte: no SQLite at all, and yet a `close`."""
    shutil.copy(file, file.with_name("copy"))


def write(file: Path) -> None:
    """Write into a table of one's own."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS theirs (n INTEGER)")
        connection.execute("INSERT INTO theirs VALUES (1)")


@pytest.mark.parametrize("meddle", [read, dump, copy, write])
def test_another_library_in_the_process_does_not_split_the_books(
    books: Ledger, file: Path, meddle: Callable[[Path], None]
) -> None:
    """Used before, between and after commits, it leaves one set of books for both processes."""
    meddle(file)
    assert books.reserve("acme", "10", key="ours").key == "ours"
    meddle(file)
    with closing(Other(file)) as other:
        assert other.reserve("theirs") == "budget_exceeded"
        meddle(file)
        books.release("ours")
        meddle(file)
        assert other.reserve("theirs") == "admitted theirs"
        meddle(file)
        with pytest.raises(BudgetExceeded):
            books.reserve("acme", "10", key="ours again")
    meddle(file)
    assert [hold.key for hold in books.holds()] == ["theirs"]
    assert books.audit().ok


def test_a_connection_from_before_ours_does_not_split_the_books(file: Path) -> None:
    """It is open all the time, reads now and then, and closes last or in the middle."""
    with open_ledger(f"sqlite:///{file}") as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
    before = sqlite3.connect(file)
    before.execute("SELECT * FROM budget").fetchall()
    with open_ledger(f"sqlite:///{file}") as ledger, closing(Other(file)) as other:
        assert other.reserve("theirs") == "admitted theirs"
        before.close()
        with pytest.raises(BudgetExceeded):
            ledger.reserve("acme", "10")
        assert ledger.audit().ok


def test_another_library_does_not_take_the_index_of_our_log_for_unused(
    books: Ledger, file: Path
) -> None:
    """The first to open it makes it anew, which is under the hands of those who use it already."""
    books.reserve("acme", "1")
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("PRAGMA wal_checkpoint")
    index = file.with_name("books.db-shm")
    # How far the log is in the database: zero in an index that was made anew.
    folded = index.read_bytes()[96:100]
    assert folded != b"\0\0\0\0"
    read(file)
    assert index.read_bytes()[96:100] == folded


def test_the_last_to_close_leaves_one_file(books: Ledger, file: Path) -> None:
    """Our own lock on the file does not outlive the books: the log is folded in at the end."""
    books.reserve("acme", "1")
    with closing(open_tables(books.store)), open_ledger(f"sqlite:///{file}") as second:
        second.reserve("acme", "1")
        assert second.audit().ok
    books.reserve("acme", "1")
    books.close()
    assert {path.name for path in file.parent.iterdir()} == {"books.db", "books.db-turn"}


# The file's identity ------------------------------------------------------------------------------


def move(file: Path) -> None:
    """Rename the file."""
    file.rename(file.with_name("moved.db"))


def remove(file: Path) -> None:
    """Remove the file."""
    file.unlink()


def replace(file: Path) -> None:
    """Put a copy in its place."""
    shutil.copy(file, file.with_name("copy.db"))
    file.with_name("copy.db").replace(file)


def link(file: Path) -> None:
    """Give it a second name."""
    file.with_name("second.db").hardlink_to(file)


def remove_log(file: Path) -> None:
    """Remove the write-ahead log."""
    file.with_name("books.db-wal").unlink()


def replace_log(file: Path) -> None:
    """Put another file in the place of the write-ahead log."""
    shutil.copy(file.with_name("books.db-wal"), file.with_name("copy"))
    file.with_name("copy").replace(file.with_name("books.db-wal"))


HARM = [move, remove, replace, link, remove_log, replace_log]
ACTS: dict[str, Callable[[Ledger], object]] = {
    "reserve": lambda books: books.reserve("acme", "1", key="after"),
    "balances": lambda books: books.balances("acme"),
    "holds": lambda books: books.store.reservation("before"),
    "audit": lambda books: books.store.snapshot().problems(),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("harm", HARM)
def test_what_is_not_in_the_file_at_its_path_is_not_acknowledged(
    books: Ledger, file: Path, harm: Callable[[Path], None], act: str
) -> None:
    """Neither a write nor a read is answered from a file that nobody else finds there."""
    books.reserve("acme", "1", key="before")
    harm(file)
    with pytest.raises(StoreUnavailable, match="ask again with the same key"):
        ACTS[act](books)


@pytest.mark.parametrize("harm", HARM)
def test_a_commit_in_whose_middle_the_file_goes_is_not_acknowledged(
    books: Ledger, file: Path, harm: Callable[[Path], None]
) -> None:
    """The file is looked at again after the commit and before the answer."""
    books.reserve("acme", "1", key="before")
    writer = books.store._engine.writer  # pyright: ignore[reportPrivateUsage]
    writer.set_commit_hook(lambda: bool(harm(file)))
    with pytest.raises(StoreUnavailable):
        books.reserve("acme", "1", key="during")


@pytest.mark.parametrize("harm", HARM)
def test_the_tables_beside_the_books_refuse_as_well(
    books: Ledger, file: Path, harm: Callable[[Path], None]
) -> None:
    """What stands beside the books is in the same file."""
    with closing(open_tables(books.store)) as tables:
        sql = "SELECT count(*) FROM {schema}.task"
        assert tables.read(lambda rows: rows.run(sql)) == [(0,)]
        harm(file)
        with pytest.raises(StoreUnavailable):
            tables.read(lambda rows: rows.run(sql))
        # Nothing tells what of them was only in a log that is gone: they are not opened anew.
        with pytest.raises(StoreUnavailable):
            tables.write("x", lambda rows: rows.run("DELETE FROM {schema}.task"))


@pytest.mark.parametrize("harm", [remove_log, replace_log])
def test_the_tables_are_refused_for_good_where_a_log_was_lost(
    books: Ledger, file: Path, harm: Callable[[Path], None]
) -> None:
    """Also once the ledger, whose entries are numbered, has found that none is missing."""
    with closing(open_tables(books.store)) as tables:
        with closing(apsw.Connection(str(file))) as connection:
            connection.execute("PRAGMA wal_checkpoint")
        harm(file)
        with pytest.raises(StoreUnavailable):
            books.reserve("acme", "1")
        assert books.reserve("acme", "1", key="k").key == "k"
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="open the store anew"):
                tables.read(lambda rows: rows.run("SELECT 1"))
            with pytest.raises(StoreUnavailable, match="open the store anew"):
                tables.write("x", lambda rows: rows.run("DELETE FROM {schema}.task"))
        assert [hold.key for hold in books.holds()] == ["k"]


@pytest.mark.parametrize(
    ("harm", "heal"),
    [
        (move, lambda file: file.with_name("moved.db").rename(file)),
        (link, lambda file: file.with_name("second.db").unlink()),
    ],
)
def test_the_books_go_on_once_the_file_is_back(
    books: Ledger, file: Path, harm: Callable[[Path], None], heal: Callable[[Path], None]
) -> None:
    """The same file at its path, under one name: what was refused is accepted, nothing is lost."""
    books.reserve("acme", "1", key="before")
    harm(file)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            books.reserve("acme", "1", key="during")
    heal(file)
    assert books.store.reservation("during") is None, "nothing was written in the meantime"
    assert books.reserve("acme", "1", key="during").key == "during"
    assert [hold.key for hold in books.holds()] == ["before", "during"]
    assert books.audit().ok
    with closing(open_tables(books.store)) as tables:
        harm(file)
        with pytest.raises(StoreUnavailable):
            tables.read(lambda rows: rows.run("SELECT 1"))
        heal(file)
        assert tables.read(lambda rows: rows.run("SELECT 1")) == [(1,)]


def test_another_file_in_its_place_is_never_taken_for_it(books: Ledger, file: Path) -> None:
    """Whoever put it there has to open the books anew."""
    books.reserve("acme", "1", key="before")
    replace(file)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="open the books anew"):
            books.reserve("acme", "1")


def test_a_log_that_took_acknowledged_entries_with_it_is_told(books: Ledger, file: Path) -> None:
    """Its holds are gone from the file: nobody goes on as if they had never been."""
    books.store.apply((), 0)
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    books.reserve("acme", "7", key="only in the log")
    remove_log(file)
    with pytest.raises(StoreUnavailable, match=r"books\.db-wal was removed"):
        books.reserve("acme", "7", key="second")
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match=r"ends with entry 1, but entry 2 was acknowledged"):
            books.reserve("acme", "7", key="second")


def test_a_backup_of_a_file_that_goes_is_not_kept(books: Ledger, file: Path) -> None:
    """It would be a copy of what nobody uses."""
    books.reserve("acme", "1")
    copied = file.with_name("backup.db")

    def progress(_: str, __: int) -> None:
        if file.exists():
            move(file)

    with pytest.raises(StoreUnavailable):
        back_up(f"sqlite:///{file}", copied, clock=SystemClock(), progress=progress)
    assert not copied.exists()


# One name for one file ----------------------------------------------------------------------------


def test_a_file_with_two_names_is_not_opened(books: Ledger, file: Path) -> None:
    """Under each name SQLite keeps another log: 20 of 10 USD would be admitted."""
    books.close()
    link(file)
    for name in ("books.db", "second.db"):
        with pytest.raises(StoreUnavailable, match="2 names \\(hard links\\) of the same file"):
            open_ledger(f"sqlite:///{file.with_name(name)}")
    file.with_name("second.db").unlink()
    with open_ledger(f"sqlite:///{file}") as ledger:
        assert ledger.audit().ok


def test_a_symbolic_link_is_the_file_it_points_to(books: Ledger, file: Path) -> None:
    """Two processes, one through the link, have one turn file and one limit."""
    name = file.with_name("link.db")
    name.symlink_to(file)
    with closing(Other(name)) as other:
        assert other.reserve("theirs") == "admitted theirs"
        with pytest.raises(BudgetExceeded):
            books.reserve("acme", "10")
    assert not file.with_name("link.db-turn").exists()


def test_a_link_that_points_elsewhere_now_is_another_file(file: Path) -> None:
    """Whoever opens the link now gets other books than whoever has it open."""
    name = file.with_name("link.db")
    name.symlink_to(file)
    with open_ledger(f"sqlite:///{name}") as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
        name.unlink()
        name.symlink_to(file.with_name("elsewhere.db"))
        file.with_name("elsewhere.db").touch()
        with pytest.raises(StoreUnavailable, match="another file is at its path"):
            ledger.reserve("acme", "1")


def test_a_relative_path_stays_where_it_was(tmp_path: Path) -> None:
    """A process that changes its folder goes on with the same file, tables included."""
    there = tmp_path / "there"
    there.mkdir()
    program = (
        "import os; from earmark.stores.open import open_ledger;"
        "from earmark.stores.open_tables import open_tables;"
        "books = open_ledger('sqlite:///books.db'); os.chdir('there');"
        "books.set_budget('acme', limits=['10 usd per day']); open_tables(books.store).close();"
        "assert books.audit().ok; books.close()"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert list(there.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///:memory:?cache=shared"])
def test_a_file_in_memory_is_no_store(url: str) -> None:
    """It would acknowledge and forget; who wants that says so."""
    with pytest.raises(InvalidConfig, match="give 'memory:'"):
        open_ledger(url)


# Forks --------------------------------------------------------------------------------------------

#: Has the turn, at once or by waiting for it, forks in one of two ways, and waits to be killed.
_FORKS = """
import multiprocessing, os, signal, sys, threading
from earmark.stores.open import open_ledger
from earmark.stores.sqlite_writer_lock import WriterLock
books = open_ledger(f"sqlite:///{sys.argv[1]}")
turn = books.store._engine._writer_lock
if sys.argv[2] == "waited":
    first = WriterLock(sys.argv[1], "first")
    first.acquire()
    waiting = threading.Thread(target=turn.acquire)
    waiting.start()
    while turn._waiter is None or not turn._waiter.thread.is_alive():
        pass
    first.release()
    waiting.join()
else:
    turn.acquire()
if sys.argv[3] == "fork":
    child = os.fork()
else:
    made = multiprocessing.get_context("fork").Process(target=signal.pause)
    made.start()
    child = made.pid
if child == 0:
    signal.pause()
print(child, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("way", ["fork", "multiprocessing"])
@pytest.mark.parametrize("got", ["at once", "waited"])
def test_a_forked_child_does_not_keep_its_parents_turn(file: Path, got: str, way: str) -> None:
    """The parent is killed in the middle of a commit; its child lives, and others write."""
    with open_ledger(f"sqlite:///{file}") as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
    command = [sys.executable, "-c", _FORKS, str(file), got, way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.kill()
            parent.wait()
            with open_ledger(f"sqlite:///{file}") as ledger:
                assert ledger.reserve("acme", "10", key="after").key == "after"
            with closing(WriterLock(str(file), "books", patience_s=0)) as turn, turn:
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def _reserve_in_child(file: Path, told: "multiprocessing.SimpleQueue[str]") -> None:
    try:
        with open_ledger(f"sqlite:///{file}") as ledger:
            told.put("admitted " + ledger.reserve("acme", "10", key="child").key)
    except BudgetExceeded as error:
        told.put(error.code)


def test_a_forked_child_with_books_of_its_own_shares_the_limit(books: Ledger, file: Path) -> None:
    """Opened in the child, they see what the parent commits, and the parent sees theirs."""
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    for before, answer in (("ours", "budget_exceeded"), (None, "admitted child")):
        if before:
            books.reserve("acme", "10", key=before)
        else:
            books.release("ours")
        child = context.Process(target=_reserve_in_child, args=(file, told))
        child.start()
        assert told.get() == answer
        child.join()
    with closing(Other(file)) as other:
        assert other.reserve("other") == "budget_exceeded"
    with pytest.raises(BudgetExceeded):
        books.reserve("acme", "10")
    assert books.audit().ok
