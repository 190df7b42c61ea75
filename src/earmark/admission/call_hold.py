"""The hold of one call, from its opening to its end: it grows with a stream, and ends once.

    opened → produced … → ended: settled, presumed or released (`earmark.admission.ending`)

The first ending counts: repeated it returns the same charge, and another one is refused. Booking is
retried where the store could not be written, and completes before a cancellation is raised.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct, structs

from earmark.admission.charge import Charge, Recorder
from earmark.admission.ending import (
    Ending,
    operation_of,
    with_produced_output,
    with_unbookable_cost,
)
from earmark.admission.ledger_adapters import AnyLedger
from earmark.admission.policy import (
    Elastic,
    HoldAmounts,
    Policy,
    choice_count,
    grown_output,
    growth_cost,
)
from earmark.admission.quantile import OutputQuantiles, reply_length
from earmark.budget.units import TOKENS
from earmark.clock import NANOS_PER_SECOND
from earmark.errors import (
    EarmarkError,
    InvalidAmount,
    InvalidUsage,
    KeyReused,
    ReservationClosed,
    StoreError,
    StoreUnavailable,
)
from earmark.errors.inputs import shown
from earmark.ledger import requests
from earmark.ledger.answers import reservation_of
from earmark.ledger.values import Presume, Release, Reservation, Settle, TableRows
from earmark.money import Money
from earmark.pricing.bound import Bound
from earmark.pricing.usage import LARGEST_COUNT

#: Seconds before each repeat of a booking that a store could not take.
BOOKING_PAUSES_S: Final = (0.0, 0.1, 1.0)


class HoldRequest(Struct, frozen=True, kw_only=True):
    """The request of one call for its hold."""

    key: str
    name: str
    """Names the request that opens the hold, and nothing else."""
    budget: str
    bound: Bound
    policy: Policy
    expected: int
    """The output tokens it is expected to produce."""
    ttl_ns: int
    """After so long an unsettled hold is presumed spent."""
    labels: Mapping[str, str]


class OpenedHold(Struct, frozen=True):
    """A reservation that was opened, and the amounts it was opened with."""

    reservation: Reservation
    amounts: HoldAmounts


class BookingContext(Struct, frozen=True, kw_only=True):
    """What the charge and the record of a call need beside its reservation."""

    name: str
    """What is called: `provider/model`, a stage's name."""
    route: str
    """Distinguishes calls of one model, for the expected length of their replies."""
    waited_ns: int
    started: int
    recorder: Recorder | None = None


class CallHold:
    """One call's hold; shared by the threads or tasks that the call runs in."""

    __slots__ = (
        "_context",
        "_counted_output",
        "_covered_output",
        "_ended_at",
        "_ending",
        "_least_output",
        "_ledger",
        "_lock",
        "_produced_output",
        "_quantiles",
        "_request",
        "amounts",
        "charge",
        "reservation",
    )  # fmt: skip

    def __init__(
        self,
        ledger: AnyLedger,
        request: HoldRequest,
        opened: OpenedHold,
        context: BookingContext,
        quantiles: OutputQuantiles,
    ) -> None:
        self._ledger = ledger
        self._request = request
        self._context = context
        self._quantiles = quantiles
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._ended_at = 0
        self._produced_output = self._counted_output = self._least_output = 0
        self.amounts: Final = opened.amounts
        self._covered_output = opened.amounts.covered or 0
        self.reservation: Reservation = opened.reservation
        """The reservation as of the last answer of the ledger."""
        self.charge: Charge | None = None
        """How the call was booked, once it is."""

    @property
    def ending(self) -> Ending | None:
        """How the call ended, booked or not; `None` while it is under way."""
        return self._ending

    @property
    def grows(self) -> bool:
        """Whether it pays for less than the call may ask for, and grows with its stream."""
        grows = isinstance(self._request.policy, Elastic)
        return grows and self._covered_output != self.amounts.max_output_tokens

    @property
    def produced_tokens(self) -> int:
        """The most output tokens that were reported."""
        return self._produced_output

    async def produced(self, tokens: int, *, counted: bool = False) -> None:
        """Grow the hold to the cost of *tokens* produced so far, of all choices, and one step more.

        Past half of the hold's time, its deadline is extended to a full term from now.

        Args:
            tokens: As many as were produced, or more: a bound, such as bytes.
            counted: Whether it is the caller's own count: it counts as spent even if the hold
                cannot grow, and is compared with the reply's usage.

        Raises:
            BudgetExceeded: The hold cannot grow: stop the stream.
            ReservationClosed: The hold cannot grow: it was closed, or its deadline has passed.
            StoreError: It must grow, and the books could not be written; the next report retries.
            InvalidUsage: *tokens* is no count.
        """
        if type(tokens) is not int or not 0 <= tokens <= LARGEST_COUNT:
            detail = f"{shown(tokens)} tokens produced: it is a whole number from 0 to 10^12"
            raise InvalidUsage(detail=detail)
        self._record_progress(produced=tokens, counted=tokens if counted else 0)
        deadline = self._later_deadline()
        with self._lock:
            # Set before the ledger answers: a concurrent report grows the hold from there.
            covered, grown = self._covered_output, self._required_output(tokens)
            self._covered_output = max(covered, grown)
        if grown > covered:
            await self._grow(covered, grown, deadline)
        elif deadline is not None:
            # A reservation presumed at its deadline can still be settled, so neither a closed one
            # nor a store that cannot be written now ends a stream that needs no growth.
            with suppress(ReservationClosed, StoreError):
                await self._extend(Money(), None, deadline, f"@{self.reservation.expires}")
        # Only now: a bound beyond the hold may be several times what was produced.
        self._record_progress(least=tokens)

    def _record_progress(self, *, produced: int = 0, counted: int = 0, least: int = 0) -> None:
        """Keep the maximum of each, unless the call has ended: its booking is fixed then."""
        with self._lock:
            if self._ending is None:
                self._produced_output = max(self._produced_output, produced)
                self._counted_output = max(self._counted_output, counted)
                self._least_output = max(self._least_output, counted, least)

    def _required_output(self, tokens: int) -> int:
        """Return how many output tokens the hold must cover once *tokens* are produced."""
        request, covered = self._request, self._covered_output
        if not isinstance(request.policy, Elastic) or covered == self.amounts.max_output_tokens:
            return covered
        return grown_output(request.policy, request.bound, covered, tokens)

    def _later_deadline(self) -> float | None:
        """Return the seconds from now until a later deadline, once half of the time has passed."""
        left = self.reservation.expires - self._ledger.clock.instant()
        ttl = self._request.ttl_ns
        return ttl / NANOS_PER_SECOND if 2 * left < ttl else None

    async def _grow(self, covered: int, grown: int, deadline: float | None) -> None:
        bound = self._request.bound
        cost, count = growth_cost(bound, covered, grown)
        units = None if bound.tokens() is None else {TOKENS: count}
        try:
            await self._extend(cost, units, deadline, f":{covered}:{grown}")
        except BaseException:
            with self._lock:
                self._covered_output = min(self._covered_output, covered)
            raise

    async def _extend(
        self, cost: Money, units: Mapping[str, int] | None, deadline: float | None, step: str
    ) -> None:
        """Extend the reservation, once for each *step*."""
        request = self._request
        operation = requests.extend(
            self._ledger.clock,
            request.key,
            cost,
            units=units,
            deadline=deadline,
            operation=f"{request.name}{step}",
        )
        self.reservation = reservation_of(await self._ledger.submit(operation))

    async def end(self, ending: Ending) -> Charge:
        """Book *ending*, unless the call ended so before; durable.

        Raises:
            KeyReused: The call has ended otherwise.
            ReservationClosed: Its reservation was closed otherwise, by its key.
            StoreError: The books could not be written; a repeat books it again.
        """
        claimed = self._set_ending(ending)
        if self.charge is None:
            ending = self._with_produced_output(claimed)
            try:
                self.charge = await self._ledger.finish(partial(self._book, ending))
            except GeneratorExit:
                self.abandon()
                raise
            if ending.booking == claimed.booking:
                # A usage that is not believed says nothing of the length of replies.
                self._observe_length(ending)
        return self.charge

    async def close(self, ending: Ending) -> None:
        """Book *ending* unless the call has ended; an earlier ending is booked if it was not."""
        try:
            await self.end(self._ending or ending)
        except ReservationClosed:
            # Closed by its key: nothing is left to book.
            return

    def abandon(self, cut: Ending | None = None) -> None:
        """Book the call's ending, or *cut*, without waiting for the answer."""
        key = self._request.key
        ending = self._with_produced_output(self._ending or cut or Ending(booking="presume"))
        try:
            operation = operation_of(key, ending)
        except InvalidAmount:
            operation = Presume(key)
        self._ledger.abandon(operation)

    def _with_produced_output(self, ending: Ending) -> Ending:
        bound = self._request.bound
        return with_produced_output(
            ending, bound, produced=self._least_output, counted=self._counted_output
        )

    def _set_ending(self, ending: Ending) -> Ending:
        with self._lock:
            if self._ending is None:
                self._ended_at = self._ledger.clock.elapsed()
                self._ending = ending
            elif self._ending != ending:
                raise KeyReused(
                    key=self._request.key,
                    field="a ticket",
                    first=_describe(self._with_produced_output(self._ending)),
                    now=_describe(ending),
                    advice="a ticket ends once; the ledger corrects what was presumed",
                )
            return self._ending

    async def _book(self, ending: Ending) -> Charge:
        try:
            operation = operation_of(self._request.key, ending)
            return await self._book_with_record(operation, ending)
        except InvalidAmount as error:
            ending = with_unbookable_cost(ending, error)
            return await self._book_with_record(operation_of(self._request.key, ending), ending)

    async def _book_with_record(
        self, operation: Settle | Release | Presume, ending: Ending
    ) -> Charge:
        """Submit *operation*, and record in its transaction how the call ended."""
        recorder = self._context.recorder
        if recorder is None:
            return self._charge(await self._submit(operation), ending)

        recorded: list[tuple[Reservation, Charge]] = []

        def also(rows: TableRows, done: Reservation) -> None:
            charge = self._charge(done, ending)
            try:
                recorder.write(rows, charge, ending.failure)
            except EarmarkError:
                raise
            except Exception as error:
                # An error of the caller's own refuses its record, not the batch it is written with.
                detail = f"the recorder failed: {type(error).__name__}"
                raise InvalidUsage(detail=detail) from error
            recorded.append((done, charge))

        try:
            done = await self._submit(structs.replace(operation, also=also))
        except StoreUnavailable:
            raise
        except EarmarkError:
            # What cannot be recorded was still spent: book it without a record. If the operation
            # itself was refused, it is refused again.
            return self._charge(await self._submit(operation), ending)
        recorder.written()
        seen, charge = recorded[-1]
        return charge if seen is done else self._charge(done, ending)

    async def _submit(self, operation: Settle | Release | Presume) -> Reservation:
        """Submit *operation*, which is idempotent; retry where the store could not be written."""
        for pause in BOOKING_PAUSES_S:
            try:
                return reservation_of(await self._ledger.submit(operation))
            except StoreUnavailable:
                await self._ledger.pause(pause)
        return reservation_of(await self._ledger.submit(operation))

    def _observe_length(self, ending: Ending) -> None:
        wanted, usage = self._request.bound.max_output_tokens, ending.usage
        if wanted is None or usage is None or ending.failure is not None:
            return
        produced = usage.get("output_tokens") // choice_count(self._request.bound)
        length = reply_length(produced, granted=self.amounts.max_output_tokens, wanted=wanted)
        self._quantiles.observe(self._context.name, self._context.route, length)

    def _charge(self, done: Reservation, ending: Ending) -> Charge:
        amounts = self.amounts
        return Charge(
            key=done.key,
            budget=done.budget,
            hold=done.amount,
            settled=done.settled or Money(),
            overrun=done.overrun,
            state=done.state,
            usage=None if ending.booking == "release" else ending.usage,
            unknown=ending.unknown,
            model=ending.model,
            request_id=ending.request_id,
            clamped_to=amounts.max_output_tokens if amounts.clamped else None,
            waited_ns=self._context.waited_ns,
            duration_ns=self._ended_at - self._context.started,
            note=ending.note,
        )


def _describe(ending: Ending) -> str:
    if ending.booking == "settle":
        return f"settled at {ending.cost}"
    return "released" if ending.booking == "release" else "presumed"
