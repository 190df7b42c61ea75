"""The line of a paid attempt, written in the transaction that closes its reservation."""

from typing import final

from earmark.admission.charge import Charge
from earmark.ledger.values import TableRows
from earmark.runs.attempt import StageAttempt, of_charge
from earmark.runs.journal import JournalWriter
from earmark.runs.statement_line import StatementLine


@final
class Recording:
    """A `Recorder` of one attempt; free lines that were kept back are written with its own."""

    __slots__ = ("_attempt", "_journal_writer", "_lines", "durable", "line")

    def __init__(self, attempt: StageAttempt, journal_writer: JournalWriter) -> None:
        self._attempt = attempt
        self._journal_writer = journal_writer
        self._lines: tuple[StatementLine, ...] = ()
        self.line: StatementLine | None = None
        """What was written last; whether it is in the journal is not known, unless `durable`."""
        self.durable = False
        """Whether it is known to be durable."""

    def write(self, rows: TableRows, charge: Charge, failure: BaseException | None) -> None:
        """Write the line; its number is the attempt's, however often it is written."""
        attempt = self._attempt
        attempt.line_number = attempt.line_number or self._journal_writer.next_number()
        line = attempt.ending(failure, of_charge(charge))
        self._lines = self._journal_writer.write(rows, line)
        self.line = line

    def written(self) -> None:
        """Take note that the line is in the journal."""
        self.durable = True
        self._journal_writer.written(self._lines)
