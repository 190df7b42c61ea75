"""Ctrl-C at every line of a commit, a read and a write beside the books, on every durable store.

One interrupt a run, before the first line, then before the second, and so on. Afterwards the books
are as good as new: everybody who waited has an answer, nothing acknowledged is lost, the next call
works in this process and in another. `make fire` interrupts at all lines, `make test` at every
eleventh.
"""

import ast
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dis import findlinestarts
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

import earmark
from earmark.errors import StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from support.last_resort import LAST_RESORT_S
from support.ledger_books import DURABLE, STORES
from support.postgres_session import shared_or_skip

if TYPE_CHECKING:
    from earmark.stores.postgres_link import Link

_PACKAGE = str(Path(earmark.__file__).parent)
STEP: Final = 1 if "EARMARK_FIRE_SECONDS" in os.environ else 11

#: A line of a file, and how many calls deep it is run.
Place = tuple[str, int, int]


class Interrupt:
    """Raises `KeyboardInterrupt` before a line of the package that this thread runs.

    Of the lines that are not among *passed*, which become so, it is the one after *skip* others.
    Once: whatever then cleans up is not interrupted again.
    """

    def __init__(self, passed: set[Place], skip: int) -> None:
        self._passed = passed
        self._left = skip
        self.at = ""
        """The line before which it struck, if it did."""

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, _: str, __: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        # What a finaliser raises is not raised anywhere.
        is_ours = code.co_filename.startswith(_PACKAGE) and code.co_name != "__del__"
        return self._line if is_ours and not self.at else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "line" and not _is_nothing(frame):
            place = (frame.f_code.co_filename, frame.f_lineno, _depth(frame))
            if place not in self._passed:
                self._passed.add(place)
                if self._left == 0:
                    self.at = f"{place[0]}:{place[1]}"
                    raise KeyboardInterrupt
                self._left -= 1
        return self._line


def _depth(frame: FrameType) -> int:
    depth, above = 0, frame.f_back
    while above is not None:
        depth, above = depth + 1, above.f_back
    return depth


def _is_nothing(frame: FrameType) -> bool:
    """Return whether *frame* is at a line of which only the tracer knows.

    That is a `try:`, and a `with` that is left: the interpreter looks for a signal between calls,
    and there is none between a body's end and the call that leaves, or in a `try:`.
    """
    code = frame.f_code
    tries, withs = _blocks(code.co_filename)
    starts = [start for start, line in findlinestarts(code) if line == frame.f_lineno]
    return frame.f_lineno in tries or (frame.f_lasti != starts[0] and frame.f_lineno in withs)


@cache
def _blocks(file: str) -> tuple[frozenset[int], frozenset[int]]:
    nodes = list(ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))))
    tries = {node.lineno for node in nodes if isinstance(node, ast.Try)}
    withs = [node for node in nodes if isinstance(node, ast.With | ast.AsyncWith)]
    heads = {line for node in withs for line in range(node.lineno, node.body[0].lineno)}
    return frozenset(tries), frozenset(heads)


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
            for each in self._inside:
                each._broken = True
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
        committer._turn.acquire()
        thread.start()
        while not committer._queue:
            assert thread.is_alive()
        try:
            yield refused
        finally:
            # An interrupted commit may have released it already.
            if committer._turn._is_owned():
                committer._turn.release()
            thread.join(LAST_RESORT_S)
            assert not thread.is_alive(), "it has no answer"

    def in_thread(self, work: Callable[[], None], at: str) -> None:
        """Do *work* in another thread: what this one holds, it would not notice."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised in the test
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(LAST_RESORT_S)
        assert not thread.is_alive(), f"it waits for what was not let go at {at}"
        if failed:
            raise failed[0]


@pytest.mark.parametrize("lost", [False, True], ids=["open", "opened anew"])
@pytest.mark.parametrize("act", ["reserve", "reserve alone", "extend", "balances", "table"])
@pytest.mark.parametrize("store", DURABLE)
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
        passed: set[Place] = set()
        for nth in itertools.count(1):
            if lost:
                house.lose()
            ours, theirs = f"ours{nth}", f"theirs{nth}"
            interrupt = Interrupt(passed, STEP - 1)
            with (
                nullcontext() if act.endswith("alone") else house.neighbour(theirs) as refused,
                suppress(KeyboardInterrupt),
                interrupt,
            ):
                work(ours)
            house.check_nothing_begun(interrupt.at)
            acknowledged = [] if interrupt.at or "reserve" not in act else [ours]
            acknowledged += [theirs] if refused == [] else []
            assert all("outcome is unknown" in str(error) for error in refused or ()), interrupt.at
            assert writes(process, f"other{nth}", acknowledged), interrupt.at
            house.in_thread(lambda ours=ours: work(ours), interrupt.at)
            house.in_thread(lambda theirs=theirs: house.reserve(theirs), interrupt.at)
            work(ours)
            if not interrupt.at:
                break
        assert nth * STEP > 20, "it was interrupted at as many lines"
        kept = list(books.entries(most=10**9))
        reserved = [entry.key for entry in kept if entry.kind == "reserve"]
        assert len(reserved) == len(set(reserved))
        assert len(reserved) == 1 + nth * (3 if "reserve" in act else 2)
        assert [entry.kind for entry in kept].count("extend") == (nth if act == "extend" else 0)
        assert books.audit().ok
