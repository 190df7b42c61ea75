"""The journal of runs: who runs what, each attempt as it ends, and the statement at the end.

The runner is its only writer. A run that has no statement was cut off, or is still going on.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final, Protocol

from msgspec import Struct, structs

from earmark.clock import NANOS_PER_SECOND, Instant, iso
from earmark.composition.ast import Composition
from earmark.errors import KeyReused, RunIdReused
from earmark.ledger.values import TableRows
from earmark.money import Money
from earmark.runs.statement import RunStatus, Statement
from earmark.runs.statement_line import StatementLine

#: How long a run counts as going on without a word. More than clocks of hosts may differ by.
LEASE_NS: Final = 10 * 60 * NANOS_PER_SECOND


class RunRecord(Struct, frozen=True, kw_only=True):
    """One run as the journal keeps it."""

    run_id: str
    composition_id: str
    composition: Composition
    input: Any
    budget: str
    limit: Money
    started_at: Instant
    status: RunStatus = RunStatus.RUNNING
    """As it was written; `status_at` says whether one that is running still does."""
    alive_until: int = 0
    """When its lease ends unless it is renewed; 0 of a run of Earmark 0.1."""
    statement: Statement | None = None
    """What it came to; None while it runs, and for ever if it was cut off."""
    lines: tuple[StatementLine, ...] = ()
    """The attempts written so far; the statement's own once there is one."""

    def status_at(self, now: int) -> RunStatus:
        """Return how it stands at the instant *now*: interrupted, if its lease ran out."""
        return status_at(self.status, self.alive_until or self.started_at + LEASE_NS, now)


class RunSummary(Struct, frozen=True):
    """One run without what it was given and what came of it."""

    run_id: str
    composition_id: str
    budget: str
    limit: Money
    started_at: Instant
    status: RunStatus
    alive_until: int

    def status_at(self, now: int) -> RunStatus:
        """Return how it stands at the instant *now*; see `RunRecord.status_at`."""
        return status_at(self.status, self.alive_until or self.started_at + LEASE_NS, now)


def status_at(written: RunStatus, alive_until: int, now: int) -> RunStatus:
    """Return the status of a run whose lease ends at *alive_until* as it is at the instant *now*.

    Nobody writes that a process was killed; it is known by its silence.
    """
    lapsed = written is RunStatus.RUNNING and alive_until <= now
    return RunStatus.INTERRUPTED if lapsed else written


#: Where a run stands in the list of all: when it began, and its id.
RunKey = tuple[int, str]
#: Above every instant: the first page begins there.
FIRST_PAGE: Final = ((1 << 63) - 1, "")


class RunProgress(Struct, frozen=True):
    """How far a run has come: it changes whenever the run does."""

    status: RunStatus
    """As it was written."""
    lines: int
    """Attempts written so far; none once the statement has them."""


class Journal(Protocol):
    """Where runs are written; the order of the calls is the order of their effects."""

    async def start(self, run: RunRecord) -> None:
        """Write that a run begins; durable before it returns.

        Raises:
            RunIdReused: A run of that id exists; it stays as it is.
        """
        ...

    async def record(self, run_id: str, lines: Sequence[StatementLine]) -> None:
        """Write attempts that ended, under their numbers; durable before it returns, all or none.

        Written again, the same lines change nothing.

        Raises:
            KeyReused: Another line has one of the numbers; none was written.
        """
        ...

    async def renew(self, run_id: str, until: int) -> None:
        """Write that the run goes on, and counts as going on until the instant *until*."""
        ...

    async def finish(self, statement: Statement) -> None:
        """Write how the run ended, in place of its recorded lines; durable before it returns."""
        ...

    async def get(self, run_id: str) -> RunRecord:
        """Return a run with its lines.

        Raises:
            NotFound: No run has that id.
        """
        ...

    async def runs(self, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest runs, newest first, without lines and statements."""
        ...

    async def page(self, after: RunKey | None, most: int) -> list[RunSummary]:
        """Return a page of the runs, newest first: those *after* one, or the first ones."""
        ...

    def progress(self, most: int) -> dict[str, RunProgress]:
        """Return how far each of the latest *most* runs has come, by its id; for a thread."""
        ...

    async def aclose(self) -> None:
        """Close what the journal opened."""
        ...


class LedgerJournal(Journal, Protocol):
    """A journal in a ledger's own store."""

    def write(self, rows: TableRows, run_id: str, lines: Sequence[StatementLine]) -> None:
        """Write attempts that ended, as `record` does, in a transaction of the ledger.

        Raises:
            KeyReused: As `record`.
        """
        ...


def reused(run: RunRecord, begun: int) -> RunIdReused:
    """Return the refusal of a run whose id is that of one begun at the instant *begun*."""
    return RunIdReused(key=run.run_id, field="begun at", first=iso(begun), now=iso(run.started_at))


def numbered_before(run_id: str, line: StatementLine) -> KeyReused:
    """Return the refusal of a line whose number another line of the run has."""
    now = f"{line.path or '/'}, attempt {line.attempt}"
    return KeyReused(key=run_id, field=f"line {line.number}", first="another attempt", now=now)


#: Free lines are kept back until so many of them have gathered.
BATCH_LINES = 256


class JournalWriter:
    """Numbers and writes a run's lines: those that matter at once, free ones with them or batched.

    Not shared between runs. It is used in one event loop, but for `next_number` and `write`, which
    the thread that commits calls: they change nothing but the count, in one step.
    """

    def __init__(
        self, journal: Journal, run_id: str, ledger_journal: LedgerJournal | None = None
    ) -> None:
        """Write to *journal*; *ledger_journal* is the same one if the store is the ledger's."""
        self._journal = journal
        self._run_id = run_id
        self._ledger_journal = ledger_journal
        self._numbers = count(1)
        self._lines: list[StatementLine] = []
        self._waiting: list[StatementLine] = []

    @property
    def lines(self) -> tuple[StatementLine, ...]:
        """The lines of the run, in the order of their numbers."""
        return tuple(sorted(self._lines, key=lambda line: line.number))

    @property
    def shares_ledger_store(self) -> bool:
        """Whether lines can be written in the transactions of the ledger."""
        return self._ledger_journal is not None

    def next_number(self) -> int:
        """Return the next line's number, which nobody else gets."""
        return next(self._numbers)

    def numbered(self, line: StatementLine) -> StatementLine:
        """Return *line* with its number: the next one, unless it has one."""
        return line if line.number else structs.replace(line, number=self.next_number())

    def add(self, line: StatementLine) -> bool:
        """Number a line; returns whether it is time to `flush`, as it is for lines that matter."""
        line = self.numbered(line)
        self._lines.append(line)
        self._waiting.append(line)
        return line.matters or len(self._waiting) >= BATCH_LINES

    async def flush(self) -> None:
        """Write what was kept back."""
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        try:
            await self._journal.record(self._run_id, lines)
        except BaseException:
            # Perhaps they were written: written again, they change nothing.
            self._waiting = [*lines, *self._waiting]
            raise

    def write(self, rows: TableRows, line: StatementLine) -> tuple[StatementLine, ...]:
        """Write a numbered line and those kept back in a transaction of the ledger; return all."""
        assert self._ledger_journal is not None, "the journal lies in the store of the ledger"
        lines = (*self._waiting, line)
        self._ledger_journal.write(rows, self._run_id, lines)
        return lines

    def written(self, lines: tuple[StatementLine, ...]) -> None:
        """Take note that *lines*, as `write` returned them, are durable."""
        self._lines.append(lines[-1])
        numbers = {line.number for line in lines}
        self._waiting = [line for line in self._waiting if line.number not in numbers]
