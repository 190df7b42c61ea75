"""The hold of one call, from its opening to its end: it grows with a stream, and ends once.

    opened → produced … → ended: settled, presumed or released (`earmark.admission.ending`)

The first ending counts: asked for again it gives the same charge, and another one is refused. It is
booked again where the store could not be written, and before a cancellation goes on.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct, structs

from earmark.admission.charge import Charge, Recorder
from earmark.admission.ending import Ending, in_full, operation_of, without_cost
from earmark.admission.entrance import Held, Order
from earmark.admission.policy import Elastic, choices, growth, more
from earmark.admission.quantile import OutputQuantiles, reply_length
from earmark.admission.threads_and_tasks import AnyLedger
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
from earmark.pricing.usage import LARGEST_COUNT

#: Seconds before each repeat of a booking that a store could not take.
BOOKING_PAUSES_S: Final = (0.0, 0.1, 1.0)


class Sent(Struct, frozen=True, kw_only=True):
    """What the booking of a call needs to know of how it was sent."""

    name: str
    """What is called: `provider/model`, a stage's name."""
    route: str
    """Tells calls of one model apart, for the expected length of their replies."""
    waited_ns: int
    started: int
    recorder: Recorder | None = None


class CallHold:
    """One call's hold; shared by the threads or tasks that the call runs in."""

    __slots__ = (
        "_counted",
        "_covered",
        "_ended_at",
        "_ending",
        "_least",
        "_ledger",
        "_lock",
        "_order",
        "_produced",
        "_quantiles",
        "_sent",
        "ask",
        "charge",
        "reservation",
    )  # fmt: skip

    def __init__(
        self, ledger: AnyLedger, order: Order, held: Held, sent: Sent, quantiles: OutputQuantiles
    ) -> None:
        self._ledger = ledger
        self._order = order
        self._sent = sent
        self._quantiles = quantiles
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._ended_at = 0
        self._produced = self._counted = self._least = 0
        self.ask: Final = held.ask
        self._covered = held.ask.covered or 0
        self.reservation: Reservation = held.reservation
        """As it was last heard of."""
        self.charge: Charge | None = None
        """How the call was booked, once it is."""

    @property
    def ending(self) -> Ending | None:
        """How the call ended, booked or not; `None` while it is under way."""
        return self._ending

    @property
    def grows(self) -> bool:
        """Whether it pays for less than the call may ask for, and grows with its stream."""
        grows = isinstance(self._order.policy, Elastic)
        return grows and self._covered != self.ask.max_output_tokens

    @property
    def produced_tokens(self) -> int:
        """The most output tokens it was told of."""
        return self._produced

    async def produced(self, tokens: int, *, counted: bool = False) -> None:
        """Hold what *tokens* produced so far, all choices together, and one step more need.

        Past half of the hold's time, its deadline is moved as far from now as it was at first.

        Args:
            tokens: As many as were produced, or more: a bound, such as bytes.
            counted: Whether it is the caller's own count: spent even if the hold cannot grow, and
                compared with the reply's usage.

        Raises:
            BudgetExceeded: The hold cannot grow: stop the stream.
            ReservationClosed: The hold cannot grow: it was closed, or its deadline has passed.
            StoreError: It must grow, and the books could not be written; told again, it is tried
                again.
            InvalidUsage: *tokens* is no count.
        """
        if type(tokens) is not int or not 0 <= tokens <= LARGEST_COUNT:
            detail = f"{shown(tokens)} tokens produced: it is a whole number from 0 to 10^12"
            raise InvalidUsage(detail=detail)
        self._note(produced=tokens, counted=tokens if counted else 0)
        deadline = self._later_deadline()
        with self._lock:
            # Taken at once: who reports meanwhile grows it from there.
            covered, grown = self._covered, self._grown(tokens)
            self._covered = max(covered, grown)
        if grown > covered:
            await self._grow(covered, grown, deadline)
        elif deadline is not None:
            # What is presumed at its deadline may be settled all the same, so that neither a closed
            # reservation nor a store that cannot be written now ends a stream that needs no more.
            with suppress(ReservationClosed, StoreError):
                await self._extend(Money(), None, deadline, f"@{self.reservation.expires}")
        # A bound that an elastic hold could not grow to may be several times what was produced.
        self._note(least=tokens)

    def _note(self, *, produced: int = 0, counted: int = 0, least: int = 0) -> None:
        """Remember the largest of each, unless the call has ended: its booking is fixed then."""
        with self._lock:
            if self._ending is None:
                self._produced = max(self._produced, produced)
                self._counted = max(self._counted, counted)
                self._least = max(self._least, counted, least)

    def _grown(self, tokens: int) -> int:
        """Return how many output tokens the hold must pay for, now that *tokens* are produced."""
        order, covered = self._order, self._covered
        if not isinstance(order.policy, Elastic) or covered == self.ask.max_output_tokens:
            return covered
        return growth(order.policy, order.bound, covered, tokens)

    def _later_deadline(self) -> float | None:
        """Return the seconds from now until a later deadline, once half of the time has passed."""
        left = self.reservation.expires - self._ledger.clock.instant()
        ttl = self._order.ttl_ns
        return ttl / NANOS_PER_SECOND if 2 * left < ttl else None

    async def _grow(self, covered: int, grown: int, deadline: float | None) -> None:
        bound = self._order.bound
        cost, count = more(bound, covered, grown)
        units = None if bound.tokens() is None else {"tokens": count}
        try:
            await self._extend(cost, units, deadline, f":{covered}:{grown}")
        except BaseException:
            with self._lock:
                self._covered = min(self._covered, covered)
            raise

    async def _extend(
        self, cost: Money, units: Mapping[str, int] | None, deadline: float | None, step: str
    ) -> None:
        """Extend the reservation; named by its *step*, so that it is done once."""
        order = self._order
        operation = requests.extend(
            self._ledger.clock,
            order.key,
            cost,
            units=units,
            deadline=deadline,
            operation=f"{order.name}{step}",
        )
        self.reservation = reservation_of(await self._ledger.submit(operation))

    async def end(self, ending: Ending) -> Charge:
        """Book *ending*, unless the call ended so before; durable.

        Raises:
            KeyReused: It ended otherwise.
            ReservationClosed: Somebody else closed its reservation otherwise.
            StoreError: The books could not be written; asked for again, it is booked again.
        """
        claimed = self._claim(ending)
        if self.charge is None:
            ending = self._in_full(claimed)
            try:
                self.charge = await self._ledger.booked(partial(self._booked, ending))
            except GeneratorExit:
                self.abandon()
                raise
            if ending.booking == claimed.booking:
                # A usage that is not believed teaches nothing.
                self._learn(ending)
        return self.charge

    async def close(self, ending: Ending) -> None:
        """Book *ending* unless the call has ended, however; and what could not be booked before."""
        try:
            await self.end(self._ending or ending)
        except ReservationClosed:
            # Closed by its key: that is how it ended.
            return

    def abandon(self, cut: Ending | None = None) -> None:
        """Book how the call ended, else that it was *cut* short, where nobody can wait for it."""
        key = self._order.key
        ending = self._in_full(self._ending or cut or Ending(booking="presume"))
        try:
            operation = operation_of(key, ending)
        except InvalidAmount:
            operation = Presume(key)
        self._ledger.abandon(operation)

    def _in_full(self, ending: Ending) -> Ending:
        bound = self._order.bound
        return in_full(ending, bound, produced=self._least, counted=self._counted)

    def _claim(self, ending: Ending) -> Ending:
        with self._lock:
            if self._ending is None:
                self._ended_at = self._ledger.clock.elapsed()
                self._ending = ending
            elif self._ending != ending:
                raise KeyReused(
                    key=self._order.key,
                    field="a ticket",
                    first=_shown(self._in_full(self._ending)),
                    now=_shown(ending),
                    advice="a ticket ends once; the ledger corrects what was presumed",
                )
            return self._ending

    async def _booked(self, ending: Ending) -> Charge:
        try:
            operation = operation_of(self._order.key, ending)
            return await self._recorded(operation, ending)
        except InvalidAmount as error:
            ending = without_cost(ending, error)
            return await self._recorded(operation_of(self._order.key, ending), ending)

    async def _recorded(self, operation: Settle | Release | Presume, ending: Ending) -> Charge:
        """Do *operation*, and record in its transaction how the call ended."""
        recorder = self._sent.recorder
        if recorder is None:
            return self._charge(await self._submit(operation), ending)

        recorded: list[tuple[Reservation, Charge]] = []

        def also(rows: TableRows, done: Reservation) -> None:
            charge = self._charge(done, ending)
            recorder.write(rows, charge, ending.failure)
            recorded.append((done, charge))

        try:
            done = await self._submit(structs.replace(operation, also=also))
        except StoreUnavailable:
            raise
        except EarmarkError:
            # What cannot be recorded was still spent. Was it refused for itself, it is again.
            return self._charge(await self._submit(operation), ending)
        recorder.written()
        seen, charge = recorded[-1]
        return charge if seen is done else self._charge(done, ending)

    async def _submit(self, operation: Settle | Release | Presume) -> Reservation:
        """Do *operation*, again where the store could not be written: it is idempotent."""
        for pause in BOOKING_PAUSES_S:
            try:
                return reservation_of(await self._ledger.submit(operation))
            except StoreUnavailable:
                await self._ledger.pause(pause)
        return reservation_of(await self._ledger.submit(operation))

    def _learn(self, ending: Ending) -> None:
        wanted, usage = self._order.bound.max_output_tokens, ending.usage
        if wanted is None or usage is None or ending.failure is not None:
            return
        produced = usage.get("output_tokens") // choices(self._order.bound)
        length = reply_length(produced, granted=self.ask.max_output_tokens, wanted=wanted)
        self._quantiles.observe(self._sent.name, self._sent.route, length)

    def _charge(self, done: Reservation, ending: Ending) -> Charge:
        ask = self.ask
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
            clamped_to=ask.max_output_tokens if ask.clamped else None,
            waited_ns=self._sent.waited_ns,
            duration_ns=self._ended_at - self._sent.started,
            note=ending.note,
        )


def _shown(ending: Ending) -> str:
    if ending.booking == "settle":
        return f"settled at {ending.cost}"
    return "released" if ending.booking == "release" else "presumed"
