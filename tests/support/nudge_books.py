"""Books with an outbox beside them, and channels that tests hold in their hands."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from earmark.clock import Clock
from earmark.ledger.ledger import Ledger
from earmark.nudges.channels.channel import DeliveryFailed
from earmark.nudges.collect import collect
from earmark.nudges.nudge import Nudge
from earmark.nudges.nudges import Nudges
from earmark.quilt.quilt import Quilt
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from support.shaky_tables import ShakyTables


@dataclass(frozen=True, slots=True)
class Outbox:
    """Books, and the nudges and patches beside them, over a line that can break."""

    ledger: Ledger
    tables: Tables
    line: ShakyTables
    nudges: Nudges
    quilt: Quilt

    def collect(self, *channels: str) -> int:
        """Raise what is new in the books."""
        return collect(self.ledger, self.nudges, channels)

    def spend(self, path: str, usd: str, actual: str | None = None) -> str:
        """Reserve *usd* and settle *actual*; return the key."""
        hold = self.ledger.reserve(path, usd)
        self.ledger.settle(hold.key, actual or usd)
        return hold.key

    def ids(self) -> list[str]:
        """Return the ids of all nudges in the order they were raised."""
        return [nudge.id for nudge in self.nudges.find(most=10_000)]

    def kinds(self) -> list[str]:
        """Return the kinds of all nudges in the order they were raised."""
        return [nudge.kind for nudge in self.nudges.find(most=10_000)]

    def titles(self) -> list[str]:
        """Return the titles of all nudges in the order they were raised."""
        return [nudge.title for nudge in self.nudges.find(most=10_000)]


@contextmanager
def open_outbox(url: str, clock: Clock) -> Iterator[Outbox]:
    """Open the books at *url* and the outbox beside them."""
    with open_ledger(url, clock=clock) as ledger:
        tables = open_tables(ledger.store)
        line = ShakyTables(tables)
        yield Outbox(ledger, tables, line, Nudges(line, clock), Quilt(line, clock))
        tables.close()


@dataclass(slots=True)
class Received:
    """A channel that keeps what it was sent, and fails as it is told."""

    name: str = "kept"
    timeout_s: float = 20.0
    sent: list[Nudge] = field(default_factory=list[Nudge])
    failures: list[Exception] = field(default_factory=list[Exception])
    """What its next sends raise, in order; the last one again and again."""
    waits: Callable[[], "asyncio.Future[bool]"] | None = None
    """What a send waits for."""

    async def send(self, nudge: Nudge) -> None:
        """Keep *nudge*."""
        self.sent.append(nudge)
        if self.waits is not None:
            await self.waits()
        if self.failures:
            raise self.failures.pop(0) if len(self.failures) > 1 else self.failures[0]

    @property
    def ids(self) -> Sequence[str]:
        """The ids of what it was sent, in order."""
        return [nudge.id for nudge in self.sent]


DOWN = DeliveryFailed("HTTP 503")
