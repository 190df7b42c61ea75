"""Blocks of work that cost at most their hold: `Spend` for threads, `AsyncSpend` for tasks."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Protocol, Self

from earmark.errors import EarmarkError
from earmark.ledger import requests
from earmark.ledger.answers import check_opened, entered_before, reservation_of
from earmark.ledger.committer import Committer
from earmark.ledger.requests import Duration
from earmark.ledger.undo import (
    book_abandoned,
    submit_to_the_end,
    undo,
    undo_abandoned,
    undo_async,
)
from earmark.ledger.values import Presume, Reservation, Reserve, Settle
from earmark.money import AmountLike


class SpendingLedger(Protocol):
    """What a block needs of the ledger for threads."""

    @property
    def committer(self) -> Committer:
        """Where operations are submitted."""
        ...

    def admit(self, operation: Reserve, wait: Duration | None) -> Reservation:
        """Submit a reserve, in line with others if it may wait."""
        ...

    def extend(
        self, key: str, amount: AmountLike, *, deadline: Duration | datetime | None
    ) -> Reservation:
        """Add to an open reservation."""
        ...


class SpendingAsyncLedger(Protocol):
    """What a block needs of the ledger for tasks."""

    @property
    def committer(self) -> Committer:
        """Where operations are submitted."""
        ...

    async def admit(self, operation: Reserve, wait: Duration | None) -> Reservation:
        """Submit a reserve, in line with others if it may wait."""
        ...

    async def extend(
        self, key: str, amount: AmountLike, *, deadline: Duration | datetime | None
    ) -> Reservation:
        """Add to an open reservation."""
        ...


class Spend:
    """A block of work that costs at most its hold; see `Ledger.spend`."""

    __slots__ = ("_actual", "_entries", "_ledger", "_operation", "_wait", "hold")

    hold: Reservation
    """The reservation, from the block's start on."""
    _entries: "count[int]"
    """How often it was entered. The next number is one step, between threads too."""

    def __init__(self, ledger: SpendingLedger, operation: Reserve, wait: Duration | None) -> None:
        self._ledger = ledger
        self._operation = operation
        self._wait = wait
        self._entries = count()
        self._actual: Settle | None = None

    def settle(
        self,
        amount: AmountLike,
        *,
        units: Mapping[str, int] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Say what the work cost; booked when the block ends, also when it ends by an exception."""
        self._actual = requests.settle(self.hold.key, amount, units, details)

    def extend(
        self, amount: AmountLike = 0, *, deadline: Duration | datetime | None = None
    ) -> None:
        """Add *amount* to the hold now, or time until *deadline*; see `Ledger.extend`."""
        self.hold = self._ledger.extend(self.hold.key, amount, deadline=deadline)

    def __enter__(self) -> Self:
        if next(self._entries):
            raise entered_before(self._operation)
        try:
            found = self._ledger.admit(self._operation, self._wait)
            # In here, too: an interrupt at the next line would leave a hold that nobody can name.
            self.hold = check_opened(found)
            return self  # noqa: TRY300 - see above
        except KeyboardInterrupt:
            undo(self._ledger.committer, self._operation)
            raise
        except EarmarkError:
            self._entries = count()
            raise

    def __exit__(self, *_: object) -> None:
        close = Presume(self.hold.key) if self._actual is None else self._actual
        self.hold = reservation_of(self._ledger.committer.submit(close))


class AsyncSpend:
    """A block of work that costs at most its hold; see `AsyncLedger.spend`."""

    __slots__ = ("_actual", "_entries", "_ledger", "_operation", "_wait", "hold")

    hold: Reservation
    """The reservation, from the block's start on."""
    _entries: "count[int]"
    """How often it was entered, as in `Spend`."""

    def __init__(
        self, ledger: SpendingAsyncLedger, operation: Reserve, wait: Duration | None
    ) -> None:
        self._ledger = ledger
        self._operation = operation
        self._wait = wait
        self._entries = count()
        self._actual: Settle | None = None

    def settle(
        self,
        amount: AmountLike,
        *,
        units: Mapping[str, int] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Say what the work cost; booked when the block ends, also when it ends by an exception."""
        self._actual = requests.settle(self.hold.key, amount, units, details)

    async def extend(
        self, amount: AmountLike = 0, *, deadline: Duration | datetime | None = None
    ) -> None:
        """Add *amount* to the hold now, or time until *deadline*; see `Ledger.extend`."""
        self.hold = await self._ledger.extend(self.hold.key, amount, deadline=deadline)

    async def __aenter__(self) -> Self:
        committer = self._ledger.committer
        if next(self._entries):
            raise entered_before(self._operation)
        try:
            self.hold = check_opened(await self._ledger.admit(self._operation, self._wait))
        except asyncio.CancelledError:
            await undo_async(committer, self._operation)
            raise
        except GeneratorExit:
            undo_abandoned(committer, self._operation)
            raise
        except EarmarkError:
            self._entries = count()
            raise
        return self

    async def __aexit__(self, _: object, ended_by: BaseException | None, __: object) -> None:
        close = Presume(self.hold.key) if self._actual is None else self._actual
        if isinstance(ended_by, GeneratorExit):
            book_abandoned(self._ledger.committer, close)
            return
        # Queued before this first suspends, it is booked whatever happens to the task.
        try:
            decision = await self._ledger.committer.submit_async(close)
        except EarmarkError as error:
            if isinstance(ended_by, asyncio.CancelledError):
                # A cancellation that is swallowed is never seen by whoever cancelled.
                raise ended_by from error
            raise
        except asyncio.CancelledError as cancelled:
            # On its way already; asked again, it is only answered.
            try:
                decision = await submit_to_the_end(self._ledger.committer, close)
                self.hold = reservation_of(decision)
            except EarmarkError as error:
                raise cancelled from error
            raise
        self.hold = reservation_of(decision)
