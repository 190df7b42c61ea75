"""A run killed at each of its writes: no line is lost, and trace, ledger and audit agree."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from earmark.cli.runs import run_of
from earmark.errors import NotFound, RunIdReused
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.runner import run
from earmark.runs.statement import RunStatus
from earmark.runs.statement_line import LineOutcome
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support import run_worker
from support.journals import open_journal
from support.postgres_session import fresh_url, recycle
from support.tcp_proxy import Side, TcpProxy

Killed = Callable[[Path, int], tuple[str, int, list[str]]]

RUN: Final = "cut-off"
BUDGET: Final = f"acme/run-{RUN}"
#: What is in a request that writes or commits, to PostgreSQL.
WRITES: Final = (b"COMMIT", b"apply_", b"INSERT INTO")
#: A hold is presumed after ten minutes for its call and one to book it.
LATER: Final = timedelta(hours=1)
#: Its begin, its budget, six reservations, six settlements with their lines, its end: batched, the
#: holds and settlements of the three side by side may be one commit each.
LEAST_COMMITS: Final = 11


def begun(url: str, number: int) -> "subprocess.Popen[str]":
    """Start the run in a process of its own, that dies before its commit *number* on SQLite."""
    return subprocess.Popen(
        [sys.executable, str(Path(run_worker.__file__)), url, RUN, str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told_by(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Return how the process ended, and what it told until then."""
    out, err = process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}, err
    return process.returncode, out.split()


def killed_on_sqlite(folder: Path, number: int) -> tuple[str, int, list[str]]:
    """Make the run on new books; return their place, how it ended and what it told."""
    url = made(f"sqlite:///{folder / f'{number}.db'}")
    return url, *told_by(begun(url, number))


def killed_on_postgres(folder: Path, number: int) -> tuple[str, int, list[str]]:
    """As on SQLite; the process is killed as its request to write comes by, which is dropped."""
    recycle(folder)
    url = made(fresh_url(folder))
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    commits = count(1)
    running: Future[subprocess.Popen[str]] = Future()

    def judge(side: Side, piece: bytes) -> int | None:
        writes = side == "client" and any(word in piece for word in WRITES)
        if not writes or next(commits) != number:
            return None
        running.result().kill()
        return 0

    with TcpProxy((place.hostname, place.port)) as proxy:
        proxy.judge = judge
        running.set_result(begun(proxy.via(url), 0))
        return url, *told_by(running.result())


def made(url: str) -> str:
    """Make books with the budget that pays."""
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["10 usd total"])
    return url


def written(url: str) -> RunRecord | None:
    """Return the run as the journal alone has it."""

    async def read() -> RunRecord | None:
        journal = open_journal(url)
        try:
            return await journal.get(RUN)
        except NotFound:
            return None
        finally:
            await journal.aclose()

    return asyncio.run(read())


def check(ledger: Ledger) -> RunRecord:
    """Assert that the run's lines and the ledger are one account; return the run."""
    record = run_of(ledger, RUN)
    booked = {each.key: each for each in ledger.holds(BUDGET, state=None)}
    lines = {line.key: line for line in record.lines if line.key}
    assert len(lines) == sum(bool(line.key) for line in record.lines)
    assert lines.keys() == booked.keys()
    for key, line in lines.items():
        assert (line.state, line.hold) == (booked[key].state, booked[key].amount)
        assert line.settled == (booked[key].settled or Money())
    settled = sum((line.settled for line in record.lines), Money())
    held = sum((line.held for line in record.lines), Money())
    (above,) = ledger.balances("acme")
    assert (above.settled, above.held) == (settled, held)
    assert len({line.number for line in record.lines}) == len(record.lines)
    assert ledger.audit().ok
    return record


def check_killed(url: str, told: list[str]) -> None:
    """Assert that a run that was cut off is all there, now and after its deadlines."""
    kept = written(url)
    with open_ledger(url) as ledger:
        if kept is None:
            assert told == []
            assert ledger.holds(state=None) == []
            return
        assert kept.status is RunStatus.RUNNING
        # Whoever was told of an end finds its line, but for free ones that wait for a paid one.
        lines = {line.key for line in kept.lines if line.key}
        assert {key for key in told if not key.startswith("/")} <= lines
        record = check(ledger)
        # One commit closes a reservation and writes its line.
        assert lines == {each.key for each in ledger.holds(BUDGET, state=None) if each.closed}
        unwritten = [line for line in record.lines if line.outcome is LineOutcome.UNKNOWN]
        assert {line.key for line in unwritten} == {
            line.key for line in record.lines if line.key
        } - lines
        for line in unwritten:
            assert line.key == f"{RUN}:{line.path}#{line.attempt}"
            assert line.stage in {"work", "once_broken"}
        composition = record.composition
        with pytest.raises(RunIdReused):
            run(composition, 1, ledger=ledger, under="acme", budget="1", run_id=RUN)
    with open_ledger(url, clock=ManualClock(datetime.now(UTC) + LATER)) as ledger:
        record = check(ledger)
        assert all(line.held == Money() for line in record.lines)
        assert all(
            line.presumed or line.state == "settled"
            for line in record.lines
            if line.outcome is LineOutcome.UNKNOWN
        )


@pytest.mark.slow("postgres")
@pytest.mark.parametrize("killed", [killed_on_sqlite, killed_on_postgres])
def test_a_run_killed_at_each_of_its_writes(tmp_path: Path, killed: Killed) -> None:
    """Before every commit of ledger and journal in turn, until one run comes to its end."""
    number, code, url = 0, -1, ""
    while code != 0:
        number += 1
        url, code, told = killed(tmp_path, number)
        if code != 0:
            check_killed(url, told)
    assert number > LEAST_COMMITS
    kept = written(url)
    assert kept is not None
    assert kept.statement is not None
    assert kept.statement.spent == Money("0.14")
    assert [str(line.outcome) for line in kept.lines].count("ok") == 6
