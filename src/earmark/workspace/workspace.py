"""Everything that is open on one store: the books and the tables beside them."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from earmark.board.board import Board
from earmark.ledger.ledger import Ledger
from earmark.nudges.nudges import Nudges
from earmark.quilt.quilt import Quilt
from earmark.runs.journal import Journal
from earmark.runs.journal_tables import TablesJournal
from earmark.stores.budget_queries import BudgetQueries
from earmark.stores.open import open_beside
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from earmark.workspace.agents import Agents

#: Who is nudged by default.
DEFAULT_SIBLING: Final = "AG Lu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One store's books, budgets, board, quilt, nudges, agents and runs; any thread may call."""

    ledger: Ledger
    tables: Tables
    budgets: BudgetQueries
    board: Board
    quilt: Quilt
    nudges: Nudges
    agents: Agents
    journal: Journal
    """Closed with the tables, not by itself."""
    channels: Sequence[str] = ()
    """Names of those that carry the nudges which are raised beside a heartbeat."""

    @classmethod
    def over(
        cls,
        ledger: Ledger,
        tables: Tables,
        *,
        sibling: str = DEFAULT_SIBLING,
        channels: Sequence[str] = (),
    ) -> "Workspace":
        """Return the workspace of *ledger* and of *tables*, which are in the same store."""
        clock = ledger.clock
        return cls(
            ledger=ledger,
            tables=tables,
            budgets=BudgetQueries(ledger, tables),
            board=Board(tables, clock),
            quilt=Quilt(tables, clock),
            nudges=Nudges(tables, clock, recipient=sibling),
            agents=Agents(tables, clock),
            journal=TablesJournal(tables),
            channels=channels,
        )


@contextmanager
def open_workspace(
    ledger: Ledger, *, sibling: str = DEFAULT_SIBLING, channels: Sequence[str] = ()
) -> Generator[Workspace]:
    """Open what stands beside *ledger*'s books; closed with the block, the ledger stays open.

    Nudges are for *sibling*; those of tasks that wait for a person are carried by *channels*.

    Raises:
        StoreUnavailable: The store cannot be opened.
    """
    tables = open_tables(ledger.store)
    try:
        yield Workspace.over(ledger, tables, sibling=sibling, channels=channels)
    finally:
        tables.close()


@contextmanager
def open_own_workspace(ledger: Ledger) -> Generator[Workspace]:
    """Open the store of *ledger* once more, on connections of its own; closed with the block.

    What is read there takes as long as it takes: neither *ledger* nor the tables that others opened
    beside it wait for it. Books in memory are in one place only, and copied before they are read.

    Raises:
        StoreUnavailable: The store cannot be opened.
    """
    with open_beside(ledger) as own, open_workspace(own) as workspace:
        yield workspace
