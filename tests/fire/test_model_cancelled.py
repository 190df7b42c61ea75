"""Interrupted in the middle of model calls: everything under way is booked before the end."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import asyncio
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.runs.statement import Statement
from support.fire_place import LEAST_HOLD, Done, Place, booked, ended, total
from support.fire_till import Till, usage
from support.journals import MemoryJournal
from support.stub_server import Scene, completion

BILLED = usage(20, 30)
#: Two calls hold 0.000401 each; what is left does not pay for a third one's input.
TWO_FIT = "0.001 usd total"
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture
def till() -> Iterator[Till]:
    """A provider that takes the order and then never answers, until the test is over."""
    answered = threading.Event()
    with Till() as stub:
        stub.play(Scene(body=completion(BILLED), billed=BILLED, waits=answered))
        yield stub
        answered.set()


def interrupted(place: Place, till: Till, number: signal.Signals, *more: str) -> Done:
    """Run three calls at once, of which two fit, and send the signal while these two fly."""
    with place.started(*place.order("three.json", *more)) as child:
        till.until_asked(2)
        child.send_signal(number)
        return ended(child)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_books_what_is_under_way(
    number: signal.Signals, till: Till, tmp_path: Path
) -> None:
    """Two calls fly and are presumed, one stood in line and is not; the statement says it all."""
    place = Place(tmp_path, till.url, TWO_FIT)
    done = interrupted(place, till, number, "--json")
    assert done.code == SIGNALS[number]
    assert done.err.endswith("earmark: interrupted: what was under way is booked\n")
    statement = done.json
    assert statement["status"] == "cancelled"
    assert statement["error"] == {"code": "cancelled", "message": "the run was cancelled"}
    assert {line["outcome"] for line in statement["lines"]} == {"cancelled"}
    paid = [line for line in statement["lines"] if "key" in line]
    assert [line["state"] for line in paid] == ["presumed", "presumed"]
    assert len(statement["lines"]) == 3
    assert statement["spent"] == statement["presumed"] == str(total(line["hold"] for line in paid))
    place.check(statement)
    assert place.standing() == (Money(statement["spent"]), Money())
    assert len(till.requests) == 2
    assert Money(statement["spent"]) >= Money.nanos(till.owed)
    assert place.json("trace", statement["run_id"]) == statement
    (run,) = place.json("trace")["runs"]
    assert run["status"] == "cancelled"


def test_people_get_the_statement_too(till: Till, tmp_path: Path) -> None:
    """Without --json the statement is a table on standard output; `earmark trace` repeats it."""
    place = Place(tmp_path, till.url, TWO_FIT)
    done = interrupted(place, till, signal.SIGINT)
    assert done.code == 130
    (run,) = place.json("trace")["runs"]
    assert f"run {run['run_id']} cancelled: " in done.out
    assert done.out.count("cancelled, presumed") == 2
    assert "what those calls cost is not known" in done.out
    assert place.ok("trace", run["run_id"]).out == done.out
    assert "Traceback" not in done.err


def test_the_truth_about_cancelled_calls_can_be_told_later(till: Till, tmp_path: Path) -> None:
    """Both presumed calls are listed, and settled by the provider's bill the books are exact."""
    place = Place(tmp_path, till.url, TWO_FIT)
    interrupted(place, till, signal.SIGINT)
    lost = place.unresolved()
    assert [each["state"] for each in lost] == ["presumed", "presumed"]
    for each in lost:
        assert Money(each["amount"]).in_nanos > LEAST_HOLD
        place.ok("holds", "settle", each["key"], str(Money.nanos(till.owed // 2)))
    assert place.standing() == (Money.nanos(till.owed), Money())
    assert place.unresolved() == []
    place.audited()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_impatience_changes_nothing(number: signal.Signals, till: Till, tmp_path: Path) -> None:
    """A second signal while the first one's bookings wait for the disk: no statement is lost."""
    place = Place(tmp_path, till.url, TWO_FIT)
    with place.started(*place.order("three.json", "--json")) as child:
        till.until_asked(2)
        with busy(place):
            child.send_signal(number)
            till.until_hung_up()
            child.send_signal(number)
        done = ended(child)
    assert done.code == SIGNALS[number]
    statement = done.json
    assert statement["status"] == "cancelled"
    place.check(statement)
    assert [each["state"] for each in place.unresolved()] == ["presumed", "presumed"]
    settled, held = place.standing()
    assert settled >= Money.nanos(2 * LEAST_HOLD) >= Money.nanos(till.owed)
    assert held == Money()


@contextmanager
def busy(place: Place) -> Generator[None]:
    """Let nobody write in the books for the length of a block."""
    writer = apsw.Connection(str(place.folder / "books.db"))
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        writer.execute("ROLLBACK")
        writer.close()


class LateJournal(MemoryJournal):
    """A journal that is told to stop while it writes the statement."""

    stop: Callable[[], object]

    async def finish(self, statement: Statement) -> None:
        """Be interrupted, take a while, and write."""
        self.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        await super().finish(statement)


def test_a_cancelled_run_that_is_cancelled_again_keeps_its_statement(
    till: Till, tmp_path: Path
) -> None:
    """The second cancellation meets the run at its last word, and its event loop ends at once."""
    journal, place = LateJournal(), Place(tmp_path, till.url, TWO_FIT)

    async def twice(ledger: Ledger) -> None:
        async with place.workspace(ledger) as workspace:
            running = asyncio.ensure_future(
                workspace.run("one.json", run_id="twice", journal=journal)
            )
            await asyncio.to_thread(till.until_asked, 1)
            journal.stop = running.cancel
            running.cancel()
            await running

    with place.open() as ledger:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(twice(ledger))
        statement = asyncio.run(journal.get("twice")).statement
        assert statement is not None
        assert (statement.status, statement.spent) == ("cancelled", statement.presumed)
        assert booked(ledger) == statement.spent.in_nanos >= till.owed
        assert ledger.audit().ok
