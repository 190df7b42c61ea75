"""The ledger for threads: every operation, without the way to its awaited twin."""

from collections.abc import Mapping
from datetime import datetime
from typing import Self, Unpack

from earmark.budget.budget import Budget
from earmark.budget.fields import GivenFields
from earmark.budget.limit import Limit
from earmark.clock import Clock, parse_duration
from earmark.ledger import requests
from earmark.ledger.answers import budget_of, reservation_of
from earmark.ledger.committer import Committer
from earmark.ledger.reader import LedgerReader
from earmark.ledger.requests import DEFAULT_DEADLINE, Duration
from earmark.ledger.spend import Spend
from earmark.ledger.store import Store
from earmark.ledger.undo import undo
from earmark.ledger.values import Reservation, Reserve
from earmark.ledger.waiting import Turns
from earmark.money import AmountLike


class SyncLedger(LedgerReader):
    """Budgets and reservations in one store; programs use it as `Ledger`.

    Every method that changes something returns when the change is durable, changes every account
    above the budget or none, and may be repeated under the same key.
    """

    def __init__(self, store: Store, committer: Committer, clock: Clock) -> None:
        super().__init__(store, committer, clock)
        self.turns = Turns(clock, store.watch, store.preview, store.reservation)
        committer.committed = self.turns.note

    # Reservations ---------------------------------------------------------------------------------

    def reserve(
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
        """Hold *amount* on every account above *budget*, or on none; atomic and durable.

        Args:
            budget: The path that spends; every budget above it is charged too.
            amount: The most it can cost, in USD.
            key: Names the operation; a repeat gives the first answer, says that it is `repeated`,
                and in which `state` it now is. A new one if not given.
            units: Counts of other units, `{"tokens": 1200}`; what a unit counts that is not
                stated is in `earmark.budget.units`: of `calls` 1.
            deadline: After it an unsettled reservation is presumed spent in full.
            wait: How long to wait in line when what is in flight is in the way: first come, first
                served among those who wait in this process; between processes there is no order.
            labels: Kept with the reservation; at most 4,096 characters of JSON.
            operation: Names this request: asked again under the same name and key, it is known as
                the one that opened the reservation, and its answer is not `repeated`.

        Raises:
            BudgetExceeded: It does not fit: why, on which budget, with the numbers.
            NoBudget: No budget on the path has a limit.
            KeyReused: The key was used with another budget or amount.
            StoreUnavailable: The outcome is unknown; call again with the same key.
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
        try:
            return self.admit(request, wait)
        except KeyboardInterrupt:
            if key is None and operation is None:
                undo(self.committer, request)
            raise

    def admit(self, operation: Reserve, wait: Duration | None) -> Reservation:
        """Submit *operation*, in line with others if it may wait; see `reserve`."""
        if wait is None:
            return reservation_of(self.committer.submit(operation))
        return self.turns.admit(operation, self.committer.submit, wait_ns=parse_duration(wait))

    def extend(
        self,
        key: str,
        amount: AmountLike = 0,
        *,
        units: Mapping[str, int] | None = None,
        deadline: Duration | datetime | None = None,
        operation: str | None = None,
    ) -> Reservation:
        """Add *amount* to an open reservation on all its accounts, or on none; atomic and durable.

        Args:
            key: The reservation's.
            amount: What to add to its hold, in USD.
            units: Other units to add.
            deadline: Moves its deadline there, in the same operation, if that is later; a duration
                counts from now. Time alone is given also on a paused or an exhausted budget.
            operation: Names this request: a repeat of it changes nothing, whatever its deadline.

        Raises:
            BudgetExceeded, NotFound, KeyReused, StoreUnavailable: As `reserve`.
            ReservationClosed: It is settled or released, or its deadline has passed.
            InvalidUsage: Neither an amount nor a deadline is given.
        """
        request = requests.extend(
            self.clock, key, amount, units=units, deadline=deadline, operation=operation
        )
        return reservation_of(self.committer.submit(request))

    def settle(
        self,
        key: str,
        amount: AmountLike,
        *,
        units: Mapping[str, int] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Reservation:
        """Replace the hold of *key* by the actual cost *amount*; durable.

        It is booked in full, also above the hold. A presumed reservation is corrected to *amount*.
        A settlement belongs to the interval of its reservation, whenever it comes.

        Args:
            key: The reservation's.
            amount: What it really cost, in USD.
            units: Other units; what is not given of them is as it was held.
            details: Kept with it, at most 4,096 characters of JSON: `model`, `request_id`, `usage`,
                `unknown`, `note`. A repeat's are not; without any, those of a presumption stay.

        Raises:
            NotFound: The key never opened a reservation.
            KeyReused: It was settled before, to another amount.
            ReservationClosed: It was released.
            InputError: *details* are no JSON object, or too large.
        """
        operation = requests.settle(key, amount, units, details)
        return reservation_of(self.committer.submit(operation))

    def release(self, key: str) -> Reservation:
        """Give all of the hold of *key* back: nothing was spent; durable.

        Raises:
            NotFound, ReservationClosed: As `settle`.
        """
        return reservation_of(self.committer.submit(requests.release(key)))

    def presume(
        self,
        key: str,
        *,
        known: AmountLike | None = None,
        units: Mapping[str, int] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Reservation:
        """Count the whole hold of *key* as spent because its outcome is unknown; durable.

        A later `settle` or `release` corrects it, also downwards; a later `presume` only raises it.

        Args:
            key: The reservation's.
            known: What it cost at least, in USD: counted in full where it is more than the hold.
                In whatever order they come, the largest counts; what raises nothing is a repeat.
            units: Other units of *known*.
            details: As for `settle`; kept where there are none yet, or what counts is raised.

        Raises:
            NotFound, ReservationClosed: As `settle`; also where it was settled.
            InputError: *known* is no amount, or more than an account can count; *details* as above.
        """
        request = requests.presume(key, known, units, details)
        return reservation_of(self.committer.submit(request))

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
    ) -> Spend:
        """Return a block that reserves on the way in and settles on the way out.

        Without a call of `settle` inside the block, the whole hold counts as spent. The block is
        entered only on a hold that this entry opened, so that no work runs twice on one hold.

        Raises, on the way in:
            ReservationClosed: The key was used before, and what it opened is closed.
            KeyReused: The key was used before, and what it opened is not settled: another's work is
                under way, or was cut off and may have been billed.
            BudgetExceeded, NoBudget, StoreUnavailable: As `reserve`; the same block may be entered
                again.
        """
        operation = requests.reserve(
            self.clock, budget, up_to, key=key, units=units, deadline=deadline, labels=labels
        )
        return Spend(self, operation, wait)

    # Budgets --------------------------------------------------------------------------------------

    def set_budget(
        self,
        path: str,
        *,
        actor: str = "",
        reason: str = "",
        count_back: bool = False,
        **fields: Unpack[GivenFields],
    ) -> Budget:
        """Make the budget at *path*, or change what is given of it; atomic and durable.

        What is not given stays as it is, by whomever it was set; a list that is given replaces the
        whole list. What was spent stays spent: an amount may change, and in another time zone
        accounts begin with what was spent in the interval they are for and with what is held.

        Args:
            path: Where it stands: `acme/research/agent-7`.
            actor: Who does it, kept in the entries.
            reason: Why, kept in the entries.
            count_back: Whether a limit of a unit and window that the budget did not have counts
                what was spent in its interval before, and what is held; else it counts from now.
            fields: What of the budget is set, by the names of `budget.fields.GivenFields`:
                `limits`, such as `10.50 usd per day`, `3 calls per 30min`, `100 usd total`, of
                which a new budget has none;
                `alerts`, the shares of each limit at which to alert, once per interval and amount
                of the limit, for a new budget 0.8 and 1.0;
                `kind`, of a new budget `budget`, of one that a run opens for itself `run`, and a
                session `session`: lists leave those out unless asked;
                and the plain fields, such as `timezone`, each with its default in
                `budget.fields.PlainFields`.

        Raises:
            InvalidLimit, InvalidPath, InvalidAmount: Something given is not what it should be.
            TypeError: No field is called so.
            UnknownField: The budget has a field of a newer program.
        """
        request = requests.set_limits(
            path, fields, actor=actor, reason=reason, count_back=count_back
        )
        return budget_of(self.committer.submit(request))

    def pause(
        self, path: str, *, actor: str = "", reason: str = "", until: datetime | None = None
    ) -> Budget:
        """Refuse every later reservation at or below *path*, until *until* or `resume`; durable.

        Raises:
            NotFound, InvalidDuration: No budget stands at *path*; *until* is past.
        """
        request = requests.pause(path, actor=actor, reason=reason, until=until)
        return budget_of(self.committer.submit(request))

    def resume(self, path: str, *, actor: str = "", reason: str = "") -> Budget:
        """End the pause of the budget at *path*; durable.

        Raises:
            NotFound: No budget stands at *path*.
        """
        return budget_of(self.committer.submit(requests.resume(path, actor=actor, reason=reason)))

    def extend_budget(
        self,
        path: str,
        limit: str | Limit,
        *,
        until: datetime,
        actor: str = "",
        reason: str = "",
        key: str | None = None,
    ) -> Budget:
        """Add *limit*'s amount to the limit of the same unit and window, until *until*; durable.

        Raises:
            NotFound, InvalidDuration: No budget stands at *path*; *until* is past.
            InvalidLimit: It has no limit of that unit and window: which it has is in the message.
        """
        request = requests.extend_budget(
            self.clock, path, limit, until=until, actor=actor, reason=reason, key=key
        )
        return budget_of(self.committer.submit(request))

    def close(self) -> None:
        """Commit what is queued and let go of the store; who waits in line gets `StoreClosed`."""
        self.turns.close(self.store.name)
        self.committer.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
