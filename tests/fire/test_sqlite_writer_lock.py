"""Whose turn it is to write a file: a process that is stopped with it holds nobody up for good."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from earmark.clock import SystemClock
from earmark.errors import StoreUnavailable
from earmark.ledger.committer import GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.stores.sqlite import SqliteStore
from earmark.stores.sqlite_writer_lock import WriterLock

#: Takes the turn, says so, and gives it when it is told to.
_HOLDER = """
import sys
from earmark.stores.sqlite_writer_lock import WriterLock
with WriterLock(sys.argv[1], "books"):
    print("mine", flush=True)
    sys.stdin.readline()
print("given", flush=True)
"""


@contextmanager
def holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the turn of the file at *path*."""
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def let_go(process: "subprocess.Popen[str]") -> None:
    """Have *process* give the turn; return when it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "given\n"


def stop(process: "subprocess.Popen[str]") -> None:
    """Stop *process* as Ctrl-Z does; return when it is."""
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def test_a_stopped_process_with_the_turn_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    """The caller learns who it is and what to do; once it goes on, the same key is accepted."""
    path, clock = tmp_path / "books.db", SystemClock()
    store = SqliteStore(path, patience_s=0.3)
    with Ledger(store, GroupCommitter(store, clock), clock) as books:
        books.set_budget("acme", limits=["10 usd total"])
        with holder(path) as other:
            stop(other)
            with pytest.raises(StoreUnavailable) as refused:
                books.reserve("acme", "4", key="call-1")
            assert f"process {other.pid}" in str(refused.value)
            assert f"kill -CONT {other.pid}" in str(refused.value)
            assert not books.store.reservation("call-1")
            other.send_signal(signal.SIGCONT)
            let_go(other)
        assert books.reserve("acme", "4", key="call-1").key == "call-1"
        assert len(books.entries("acme", key="call-1")) == 1
        assert books.audit().ok


def test_the_turn_passes_on_when_it_is_given(tmp_path: Path) -> None:
    """Who waits gets it as soon as the other process gives it, long before the patience ends."""
    path = str(tmp_path / "books.db")
    with (
        closing(WriterLock(path, "books")) as ours,
        closing(WriterLock(path, "x", patience_s=0.01)) as third,
    ):
        for _ in range(3):
            with holder(Path(path)) as other:
                assert other.stdin is not None
                # Written before we ask: it is given while we wait, or just before.
                other.stdin.write("\n")
                other.stdin.flush()
                named = pytest.raises(StoreUnavailable, match=f"process {os.getpid()} has had")
                with ours, named:
                    third.acquire()
                other.wait()


def test_who_gave_up_waiting_does_not_keep_the_turn(tmp_path: Path) -> None:
    """A place in the line that nobody waits at any more is kept, one for all, and passed over."""
    path = str(tmp_path / "books.db")
    with (
        closing(WriterLock(path, "books", patience_s=0.05)) as gave_up,
        closing(WriterLock(path, "x")) as next_,
    ):
        with holder(Path(path)) as other:
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match=f"process {other.pid} has had"):
                    gave_up.acquire()
            in_line = [
                thread for thread in threading.enumerate() if thread.name == "earmark-writer-lock"
            ]
            assert len(in_line) == 1
            let_go(other)
        # It is given the turn, which nobody wants there any more, and lets it go.
        in_line[0].join()
        with next_:
            pass
        gave_up._patience_s = 60
        with holder(Path(path)) as other, ThreadPoolExecutor(1) as pool:
            taken = pool.submit(gave_up.acquire)
            while not any(thread.name == "earmark-writer-lock" for thread in threading.enumerate()):
                assert not taken.done()
            let_go(other)
            taken.result()
            gave_up.release()


def test_many_that_wait_and_give_up_never_have_the_turn_at_once(tmp_path: Path) -> None:
    """Four processes that write as fast as they can, and soon give up, count up without a gap."""
    counter = tmp_path / "counter"
    counter.write_text("0", encoding="ascii")
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", _COUNTS, str(tmp_path / "books.db"), str(counter)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    counted = [int(process.communicate()[0]) for process in crew]
    assert counted == [60] * 4
    assert int(counter.read_text(encoding="ascii")) == sum(counted)


#: Counts up in a file by reading and writing it, until it had the turn sixty times.
_COUNTS = """
import sys
from pathlib import Path
from earmark.errors import StoreUnavailable
from earmark.stores.sqlite_writer_lock import WriterLock
turn, counter, counted = WriterLock(sys.argv[1], "books", patience_s=0.0005), Path(sys.argv[2]), 0
while counted < 60:
    try:
        with turn:
            counter.write_text(str(int(counter.read_text()) + 1))
            counted += 1
    except StoreUnavailable:
        pass
print(counted)
"""
