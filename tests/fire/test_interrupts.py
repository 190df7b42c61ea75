"""Ctrl-C at every line of a commit, a read and a write beside the books, on a SQLite store.

One interrupt a run, before the first line, then before the second, and so on. Afterwards the books
are as good as new: everybody who waited has an answer, nothing acknowledged is lost, the next call
works in this process and in another.
"""

import ast
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dis import findlinestarts
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

import earmark
from earmark.errors import StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from support.last_resort import LAST_RESORT_S
from support.ledger_books import STORES

_PACKAGE = str(Path(earmark.__file__).parent)


class Interrupt:
    """Raises `KeyboardInterrupt` before the *nth* line of the package that this thread runs.

    Once: whatever then cleans up is not interrupted again.
    """

    def __init__(self, nth: int) -> None:
        self._left = nth
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
            self._left -= 1
            if self._left == 0:
                self.at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._line


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

    def balances(self, key: str) -> None:
        """Read."""
        del key
        assert self.books.balances("acme")

    def table(self, key: str) -> None:
        """Write a row beside the books."""
        sql = "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, 0) ON CONFLICT DO NOTHING"
        self.tables.write("marks", lambda rows: rows.run(sql, key))

    def lose(self) -> None:
        """Have everything opened anew by the next call."""
        for each in (self.books.store, self.tables):
            broken: Any = each
            broken._broken = True

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
@pytest.mark.parametrize("act", ["reserve", "balances", "table"])
def test_an_interrupt_at_any_line_leaves_the_books_whole(
    tmp_path: Path, act: str, *, lost: bool
) -> None:
    """All that was acknowledged is there, once; every thread and another process can go on."""
    url = STORES["sqlite"](tmp_path)
    with (
        open_ledger(url) as books,
        closing(open_tables(books.store)) as tables,
        other(url) as process,
    ):
        books.set_budget("acme", limits=["1000000 usd total"])
        house = House(books, tables)
        work = getattr(house, act)
        for nth in itertools.count(1):
            if lost:
                house.lose()
            ours, theirs = f"ours{nth}", f"theirs{nth}"
            acknowledged: list[str] = []
            interrupt = Interrupt(nth)
            with house.neighbour(theirs) as refused:
                try:
                    with interrupt:
                        work(ours)
                    acknowledged += [ours] if act == "reserve" else []
                except KeyboardInterrupt:
                    assert interrupt.at
            acknowledged += [] if refused else [theirs]
            assert all("outcome is unknown" in str(error) for error in refused), interrupt.at
            assert writes(process, f"other{nth}", acknowledged), interrupt.at
            house.in_thread(lambda ours=ours: work(ours), interrupt.at)
            house.in_thread(lambda theirs=theirs: house.reserve(theirs), interrupt.at)
            work(ours)
            if not interrupt.at:
                break
        assert nth > 20, "it was interrupted at as many lines"
        kept = [entry.key for entry in books.entries(most=10**9) if entry.kind == "reserve"]
        assert len(kept) == len(set(kept)) == nth * (3 if act == "reserve" else 2)
        assert books.audit().ok
