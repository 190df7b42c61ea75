"""The ledger for tasks: the same operations as `Ledger`, awaited; no task ever blocks the loop."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Unpack

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind, GivenFields
from earmark.budget.limit import Limit
from earmark.clock import Clock, parse_duration
from earmark.ledger import requests
from earmark.ledger.answers import (
    Balance,
    budget_of,
    reservation_of,
)
from earmark.ledger.audit import AuditReport
from earmark.ledger.committer import Committer
from earmark.ledger.requests import DEFAULT_DEADLINE, Duration
from earmark.ledger.spend import AsyncSpend
from earmark.ledger.sync_ledger import SyncLedger
from earmark.ledger.undo import undo_abandoned, undo_async
from earmark.ledger.values import (
    Account,
    Alert,
    Decision,
    Entry,
    Operation,
    Refused,
    Reservation,
    Reserve,
    State,
)
from earmark.ledger.waiting import Turns
from earmark.money import AmountLike


class AsyncLedger:
    """A `Ledger` to await; both may be used at once on the same books."""

    def __init__(self, ledger: SyncLedger) -> None:
        self.sync = ledger

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        return self.sync.clock

    @property
    def committer(self) -> Committer:
        """Where its operations are submitted."""
        return self.sync.committer

    # Reservations ---------------------------------------------------------------------------------

    async def reserve(
        self,
        budget: str,
        amount: AmountLike = 0,
        *,
        key: str | None = None,
        units: Mapping[str, int] | None = None,
        deadline: Duration | datetime = DEFAULT_DEADLINE,
        wait: Duration | None = None,
        labels: Mapping[str, str] | None = None,
        operation: str | None = None,
    ) -> Reservation:
        """Hold *amount* on every account above *budget*, or on none; see `Ledger.reserve`.

        Cancelled while it waits for the store, it may have been done. Under a *key* of the
        caller's it stands, and asking again finds it; without one it is released first.
        """
        request = requests.reserve(
            self.clock,
            budget,
            amount,
            key=key,
            units=units,
            deadline=deadline,
            labels=labels,
            operation=operation,
        )
        return await self.open(request, wait, is_named=key is not None or operation is not None)

    async def open(self, request: Reserve, wait: Duration | None, *, is_named: bool) -> Reservation:
        """Submit *request*, in line with others if it may wait; see `reserve`.

        Cancelled, it is released first unless it *is_named*: whoever asks again finds it then.
        """
        try:
            # Not `admit`: each coroutine in between is made, and passed at each wake-up.
            if wait is None:
                return reservation_of(await self.sync.committer.submit_async(request))
            return await self.admit(request, wait)
        except asyncio.CancelledError:
            if not is_named:
                await undo_async(self.sync.committer, request)
            raise
        except GeneratorExit:
            if not is_named:
                undo_abandoned(self.sync.committer, request)
            raise

    async def admit(self, operation: Reserve, wait: Duration | None) -> Reservation:
        """Submit *operation*, in line with others if it may wait; see `reserve`."""
        if wait is None:
            return reservation_of(await self.sync.committer.submit_async(operation))
        return await self.sync.turns.admit_async(
            operation, self.submit, wait_ns=parse_duration(wait)
        )

    async def submit(self, operation: Operation) -> Decision:
        """Return the decision itself, once it is durable: a repeat can be told from a first."""
        return await self.sync.committer.submit_async(operation)

    @property
    def turns(self) -> Turns:
        """Who waits for budget, in their order."""
        return self.sync.turns

    async def extend(
        self,
        key: str,
        amount: AmountLike = 0,
        *,
        units: Mapping[str, int] | None = None,
        deadline: Duration | datetime | None = None,
        operation: str | None = None,
    ) -> Reservation:
        """Add *amount* to an open reservation, or time until *deadline*; see `Ledger.extend`."""
        return await self._reservation(
            requests.extend(
                self.clock, key, amount, units=units, deadline=deadline, operation=operation
            )
        )

    async def settle(
        self,
        key: str,
        amount: AmountLike,
        *,
        units: Mapping[str, int] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Reservation:
        """Replace the hold of *key* by the actual cost; see `Ledger.settle`."""
        operation = requests.settle(key, amount, units, details)
        return reservation_of(await self.sync.committer.submit_async(operation))

    async def release(self, key: str) -> Reservation:
        """Give all of the hold of *key* back; see `Ledger.release`."""
        return await self._reservation(requests.release(key))

    async def presume(
        self,
        key: str,
        *,
        known: AmountLike | None = None,
        units: Mapping[str, int] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Reservation:
        """Count the whole hold of *key*, or *known*, as spent; see `Ledger.presume`."""
        return await self._reservation(requests.presume(key, known, units, details))

    def spend(
        self,
        budget: str,
        up_to: AmountLike,
        *,
        key: str | None = None,
        units: Mapping[str, int] | None = None,
        deadline: Duration | datetime = DEFAULT_DEADLINE,
        wait: Duration | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncSpend:
        """Return an `async with` block that reserves on the way in and settles on the way out.

        See `Ledger.spend`. Cancelled on its way in, it is not entered, and its hold is released;
        cancelled inside or on its way out, it is booked before the cancellation goes on.
        """
        operation = requests.reserve(
            self.clock, budget, up_to, key=key, units=units, deadline=deadline, labels=labels
        )
        return AsyncSpend(self, operation, wait)

    async def _reservation(self, operation: Operation) -> Reservation:
        return reservation_of(await self.sync.committer.submit_async(operation))

    # Budgets --------------------------------------------------------------------------------------

    async def set_budget(
        self,
        path: str,
        *,
        actor: str = "",
        reason: str = "",
        count_back: bool = False,
        **fields: Unpack[GivenFields],
    ) -> Budget:
        """Make the budget at *path*, or change what is given of it; see `Ledger.set_budget`."""
        return await self._budget(
            requests.set_limits(path, fields, actor=actor, reason=reason, count_back=count_back)
        )

    async def pause(
        self, path: str, *, actor: str = "", reason: str = "", until: datetime | None = None
    ) -> Budget:
        """Refuse every later reservation at or below *path*; see `Ledger.pause`."""
        return await self._budget(requests.pause(path, actor=actor, reason=reason, until=until))

    async def resume(self, path: str, *, actor: str = "", reason: str = "") -> Budget:
        """End the pause of the budget at *path*; see `Ledger.resume`."""
        return await self._budget(requests.resume(path, actor=actor, reason=reason))

    async def extend_budget(
        self,
        path: str,
        limit: str | Limit,
        *,
        until: datetime,
        actor: str = "",
        reason: str = "",
        key: str | None = None,
    ) -> Budget:
        """Add *limit*'s amount to a limit for a while; see `Ledger.extend_budget`."""
        return await self._budget(
            requests.extend_budget(
                self.clock, path, limit, until=until, actor=actor, reason=reason, key=key
            )
        )

    async def _budget(self, operation: Operation) -> Budget:
        return budget_of(await self.sync.committer.submit_async(operation))

    # What stands in the books ---------------------------------------------------------------------

    async def preview(
        self,
        budget: str,
        amount: AmountLike = 0,
        *,
        units: Mapping[str, int] | None = None,
        enforced: bool = False,
    ) -> Refused | None:
        """Return why `reserve` would refuse *amount* on *budget* now; see `Ledger.preview`."""
        return await asyncio.to_thread(
            self.sync.preview, budget, amount, units=units, enforced=enforced
        )

    async def accounts(self, path: str) -> tuple[Account, ...]:
        """Return the accounts above *path*, leaf first, in their current intervals."""
        store, now = self.sync.store, self.clock.instant()
        # A thread takes longer than a read of this host's memory or disk.
        if store.is_local:
            return store.accounts(path, now)
        return await asyncio.to_thread(store.accounts, path, now)

    async def balances(self, path: str, *, tree: bool = False) -> list[Balance]:
        """Return each limit of the budget in its current interval; see `Ledger.balances`."""
        return await asyncio.to_thread(self.sync.balances, path, tree=tree)

    async def budgets(
        self, prefix: str | None = None, *, kind: BudgetKind | None = None
    ) -> list[Budget]:
        """Return the budgets at or below *prefix*; see `Ledger.budgets`."""
        return await asyncio.to_thread(self.sync.budgets, prefix, kind=kind)

    async def reservation(self, key: str) -> Reservation:
        """Return what *key* opened; see `Ledger.reservation`."""
        return await asyncio.to_thread(self.sync.reservation, key)

    async def holds(
        self,
        budget: str | None = None,
        *,
        state: State | None = "open",
        key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        most: int = 1000,
    ) -> list[Reservation]:
        """Return matching reservations, the open ones by default; see `Ledger.holds`."""
        return await asyncio.to_thread(
            self.sync.holds,
            budget,
            state=state,
            key=key,
            since=since,
            until=until,
            after=after,
            most=most,
        )

    async def entries(
        self,
        budget: str | None = None,
        *,
        key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        most: int = 1000,
    ) -> list[Entry]:
        """Return matching entries in the order of commits; see `Ledger.entries`."""
        return await asyncio.to_thread(
            self.sync.entries, budget, key=key, since=since, until=until, after=after, most=most
        )

    async def alerts(self, budget: str | None = None, *, most: int = 1000) -> list[Alert]:
        """Return the alerts of the budgets at or below *budget*; see `Ledger.alerts`."""
        return await asyncio.to_thread(self.sync.alerts, budget, most=most)

    async def audit(self) -> AuditReport:
        """Recompute every balance from the entries and compare; see `Ledger.audit`."""
        return await asyncio.to_thread(self.sync.audit)

    async def aclose(self) -> None:
        """Commit what is queued and let go of the store."""
        await asyncio.to_thread(self.sync.close)
