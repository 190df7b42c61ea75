"""Sessions of the gateway and of `earmark exec` as the pages show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earmark.budget.budget import Budget
from earmark.ledger.answers import Balance
from earmark.money import Money
from earmark.service.pages.formatting import Bar, bar
from earmark.stores.budget_queries import CallSums
from earmark.workspace.session_statement import CallTotals, SessionStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One session in a list."""

    path: str
    calls: int
    settled: Money
    held: Money
    left: Money | None
    """On the whole path of its budget; None where no limit is in USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsView:
    """A page of the sessions, by path."""

    sessions: Sequence[SessionRow]
    next_page: str
    """The address of the page after this one; empty where there is none."""
    first_page: str
    """The address of the first page; empty where this is it."""

    @property
    def summary(self) -> str:
        """How many there are, and what they hold."""
        held = sum((each.held for each in self.sessions), Money())
        return f"{len(self.sessions)} sessions, {held} USD held"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """The page of one session."""

    statement: SessionStatement
    bars: Sequence[Bar]
    """Of its own limits; of those above it where it has none."""

    @property
    def totals(self) -> CallTotals:
        """What all its calls came to."""
        return self.statement.totals()

    @property
    def models(self) -> Mapping[str, CallTotals]:
        """The same by model."""
        return self.statement.models

    @property
    def summary(self) -> str:
        """What it came to, as a sentence."""
        totals = self.totals
        return f"{totals.calls} calls, {totals.settled} USD settled, {totals.held} USD held"


def session_row(path: str, sums: CallSums, left: Money | None) -> SessionRow:
    """Return a session of a list."""
    settled, held = Money.nanos(sums.settled), Money.nanos(sums.held)
    return SessionRow(path=path, calls=sums.calls, settled=settled, held=held, left=left)


def session_view(
    statement: SessionStatement, budget: Budget, balances: Sequence[Balance], now: int
) -> SessionView:
    """Return the page of the session at *budget*; *balances* are all on its path, its own first."""
    own = [each for each in balances if each.budget == budget.path]
    return SessionView(statement=statement, bars=[bar(each, now) for each in own or balances])
