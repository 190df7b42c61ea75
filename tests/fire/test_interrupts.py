"""Ctrl-C at every line of a commit, a read and a write beside the books, on every durable store.

A read and a write beside the books are interrupted as well where they end by an error.

One interrupt a run, before the first line, then before the second, and so on. Afterwards the books
are as good as new: everybody who waited has an answer, nothing acknowledged is lost, the next call
works in this process and in another. `make fire` interrupts at all lines, `make test` at every
eleventh.
"""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from earmark.errors import StoreUnavailable
from earmark.ledger.committer import DirectCommitter
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Rows, Tables
from support.interrupt import STEP, Interrupt, Place, in_thread, on_a_thread_of_its_own
from support.last_resort import LAST_RESORT_S
from support.ledger_books import DURABLE, STORES
from support.postgres_session import shared_or_skip

if TYPE_CHECKING:
    from earmark.stores.postgres_link import Link


#: For each line on its input, which is a list of keys: reserves under the first, and says whether
#: all are in the books.
_OTHER = """
import sys
from earmark.stores.open import open_ledger
with open_ledger(sys.argv[1]) as books:
    for line in sys.stdin:
        mine, *theirs = line.split()
        books.reserve("acme", "0.01", key=mine)
        print(all(books.store.reservation(key) for key in theirs), flush=True)
"""


@contextmanager
def other(url: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that works on the same books."""
    command = [sys.executable, "-c", _OTHER, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


#: What ends by an ordinary error, which an interrupt may come after.
FAILING = ("failing_table", "failing_read")


def writes(process: "subprocess.Popen[str]", mine: str, theirs: list[str]) -> bool:
    """Return whether *process* can write, and finds what was acknowledged here."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(" ".join([mine, *theirs]) + "\n")
    process.stdin.flush()
    return process.stdout.readline() == "True\n"


class House:
    """Books that are interrupted, tables beside them, and a neighbour in another thread."""

    def __init__(self, books: Ledger, tables: Tables) -> None:
        self.books = books
        self.tables = tables

    def reserve(self, key: str) -> None:
        """Reserve and be told."""
        self.books.reserve("acme", "0.01", key=key)

    def extend(self, key: str) -> None:
        """Extend a reservation, once under each *key*."""
        self.books.extend("base", "0.01", operation=key)

    def balances(self, key: str) -> None:
        """Read."""
        del key
        assert self.books.balances("acme")

    def table(self, key: str) -> None:
        """Write a row beside the books."""
        sql = "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, 0) ON CONFLICT DO NOTHING"
        self.tables.write("marks", lambda rows: rows.run(sql, key))

    def failing_table(self, key: str) -> None:
        """Write a row beside the books, and undo it by an error."""

        def work(rows: Rows) -> None:
            rows.run("INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, 0)", key)
            raise ValueError(key)

        with suppress(ValueError):
            self.tables.write("marks", work)

    def failing_read(self, key: str) -> None:
        """Read beside the books, and fail."""

        def work(rows: Rows) -> None:
            rows.run("SELECT tree FROM {schema}.nudge_mark")
            raise ValueError(key)

        with suppress(ValueError):
            self.tables.read(work)

    @property
    def links(self) -> "list[Link]":
        """The connections to a server that were made."""
        store, tables = self._inside
        links = [store._writer.link, store._reader, tables._writer, tables._reader]
        return [link for link in links if link._connection is not None]

    @property
    def _inside(self) -> tuple[Any, Any]:
        return self.books.store, self.tables

    def lose(self) -> None:
        """Have everything opened anew by the next call."""
        if self.books.store.url.startswith("sqlite:"):
            store, _ = self._inside
            store._engine._is_broken = True
            return
        end = "SELECT pg_terminate_backend(%s, %s)"
        with shared_or_skip().connect() as admin:
            for link in self.links:
                admin.execute(end, (link.connection.info.backend_pid, int(LAST_RESORT_S) * 1000))

    def check_nothing_begun(self, at: str) -> None:
        """Assert that no connection was left in a transaction, which would lock others out."""
        if not self.books.store.url.startswith("sqlite:"):
            for link in self.links:
                connection: Any = link._connection
                assert connection.closed or connection.info.transaction_status.name == "IDLE", at

    @contextmanager
    def neighbour(self, key: str) -> Iterator[list[StoreUnavailable]]:
        """Have another thread ask for *key* in the commit that this one makes meanwhile.

        In the end it has its answer; the refusals are in the list.
        """
        committer: Any = self.books.committer
        refused: list[StoreUnavailable] = []

        def ask() -> None:
            try:
                self.reserve(key)
            except StoreUnavailable as error:
                refused.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        committer._commit_lock.acquire()
        thread.start()
        while not committer._queue:
            assert thread.is_alive()
        try:
            yield refused
        finally:
            # An interrupted commit may have released it already.
            if committer._commit_lock._is_owned():
                committer._commit_lock.release()
            thread.join(LAST_RESORT_S)
            assert not thread.is_alive(), "it has no answer"


@pytest.mark.parametrize("lost", [False, True], ids=["open", "opened anew"])
@pytest.mark.parametrize(
    "act", ["reserve", "reserve alone", "extend", "balances", "table", *FAILING]
)
@pytest.mark.parametrize("store", DURABLE)
@on_a_thread_of_its_own
def test_an_interrupt_at_any_line_leaves_the_books_whole(
    tmp_path: Path, store: str, act: str, *, lost: bool
) -> None:
    """All that was acknowledged is there, once; every thread and another process can go on."""
    url = STORES[store](tmp_path)
    with (
        open_ledger(url) as books,
        closing(open_tables(books.store)) as tables,
        other(url) as process,
    ):
        books.set_budget("acme", limits=["1000000 usd total"])
        books.reserve("acme", "0.01", key="base")
        house = House(books, tables)
        work = getattr(house, act.removesuffix(" alone"))
        # In a file at each line: few are between an error and its end.
        step = 1 if act in FAILING and store == "sqlite" else STEP
        # Of those, nobody else's call may find what was left before the other process does.
        is_alone = act.endswith("alone") or act in FAILING
        passed: set[Place] = set()
        for nth in itertools.count(1):
            if lost:
                house.lose()
            ours, theirs = f"ours{nth}", f"theirs{nth}"
            interrupt = Interrupt(passed, step - 1)
            with (
                nullcontext() if is_alone else house.neighbour(theirs) as refused,
                suppress(KeyboardInterrupt),
                interrupt,
            ):
                work(ours)
            house.check_nothing_begun(interrupt.at)
            acknowledged = [] if interrupt.at or "reserve" not in act else [ours]
            acknowledged += [theirs] if refused == [] else []
            assert all("outcome is unknown" in str(error) for error in refused or ()), interrupt.at
            assert writes(process, f"other{nth}", acknowledged), interrupt.at
            assert not books.store.is_in_transaction, interrupt.at
            assert books.store.reservation(f"other{nth}") is not None, interrupt.at
            in_thread(lambda ours=ours: work(ours), interrupt.at)
            in_thread(lambda theirs=theirs: house.reserve(theirs), interrupt.at)
            work(ours)
            if not interrupt.at:
                break
        assert nth * step > 20, "it was interrupted at as many lines"
        kept = list(books.entries(most=10**9))
        reserved = [entry.key for entry in kept if entry.kind == "reserve"]
        assert len(reserved) == len(set(reserved))
        assert len(reserved) == 1 + nth * (3 if "reserve" in act else 2)
        assert [entry.kind for entry in kept].count("extend") == (nth if act == "extend" else 0)
        assert books.audit().ok


@on_a_thread_of_its_own
def test_an_interrupt_on_the_way_into_a_block_leaves_no_hold(tmp_path: Path) -> None:
    """Before its body runs, whatever the line: nobody could name what it held."""
    with open_ledger(STORES["sqlite"](tmp_path)) as opened:
        # On this thread alone, so that each line is come by.
        direct = DirectCommitter(opened.store, opened.clock)
        books = Ledger(opened.store, direct, opened.clock)
        books.set_budget("acme", limits=["10 usd total"])
        at = ""
        for nth in itertools.count(1):
            # As many lines each time: the store has read what it needs.
            books.release(books.reserve("acme", "0.01").key)
            block = books.spend("acme", "0.01")
            interrupt = Interrupt(None, nth)
            try:
                with interrupt:
                    block.__enter__()
            except KeyboardInterrupt:
                assert books.holds() == [], interrupt.at
            if not interrupt.at:
                break
            at = interrupt.at
        assert "/spend.py:" in at, "it was interrupted up to the last line"
        assert [hold.key for hold in books.holds()] == [block.hold.key]
        assert books.audit().ok
