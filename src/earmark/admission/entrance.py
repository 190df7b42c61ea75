"""How a call gets its hold: the policy's ladder of amounts, in line with others."""

from collections.abc import Awaitable, Mapping
from functools import partial

from msgspec import Struct

from earmark.admission.policy import Ask, Next, Policy, Refuse, Try, Wait, after, first_ask
from earmark.admission.threads_and_tasks import AnyLedger
from earmark.clock import NANOS_PER_SECOND
from earmark.errors import BudgetExceeded, Reason
from earmark.ledger import requests
from earmark.ledger.answers import check_opened, reservation_of
from earmark.ledger.values import Reservation
from earmark.ledger.waiting import Blocked, Through, blocked_by
from earmark.pricing.bound import Bound


class Order(Struct, frozen=True, kw_only=True):
    """A call that wants its hold."""

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


class Held(Struct, frozen=True):
    """An order with its hold."""

    reservation: Reservation
    ask: Ask


class Entrance:
    """Lets calls in: reserves by their policy, waits in the ledger's queue where that helps."""

    def __init__(self, ledger: AnyLedger) -> None:
        self._ledger = ledger

    async def enter(self, order: Order, *, wait_ns: int) -> Held:
        """Return the hold of *order*, waiting in line for at most *wait_ns*.

        Cancelled or interrupted, an order holds nothing: what was reserved meanwhile is
        released first.

        Raises:
            BudgetExceeded: By how much, where, why.
            NoBudget: No budget on the path has a limit.
            KeyReused: The key opened a reservation before, which is open: its call is another's.
            ReservationClosed: The key opened a reservation before; its call may have been sent.
            StoreError: The books could not be written. Nothing was sent; should the hold be in them
                all the same, it is presumed at its deadline.
        """
        due = self._ledger.clock.elapsed() + wait_ns
        attempt = partial(self._attempt, order, due)
        before_waiting = partial(self._before_waiting, order, wait_ns)
        return await self._ledger.in_turn(
            order.budget, attempt, wait_ns=wait_ns, before_waiting=before_waiting
        )

    def asks_too_much(self, order: Order) -> bool:
        """Return whether what *order* asks for first does not fit now; reads only.

        Not where the key was used, nor where a pause or the number of calls is in the way.
        """
        turns, ask = self._ledger.turns, _first(order).ask
        if turns.is_repeat(order.key):
            return False
        refused = turns.preview(order.budget, requests.amounts(ask.hold, ask.units()))
        if refused is None or refused.reason is Reason.PAUSED:
            return False
        return refused.unit != "calls"

    def quote(self, order: Order) -> tuple[Ask, BudgetExceeded | None]:
        """Return what *order* would hold now if it did not wait, or why it would hold nothing.

        Raises:
            NoBudget: No budget on the path has a limit.
        """
        turns, step = self._ledger.turns, _first(order)
        turns.check_limited(order.budget)
        while True:
            ask = step.ask
            refused = turns.preview(order.budget, requests.amounts(ask.hold, ask.units()))
            if refused is None:
                return ask, None
            following = after(order.policy, order.bound, order.expected, ask, refused)
            if isinstance(following, Wait):
                following = following.otherwise
            if isinstance(following, Refuse):
                return ask, following.refusal
            step = following

    def _before_waiting(self, order: Order, wait_ns: int) -> bool:
        """Return whether the key was used, so that waiting cannot help.

        Raises:
            BudgetExceeded: Nothing that the policy would ask for can fit in time.
        """
        turns, step = self._ledger.turns, _first(order)
        if turns.is_repeat(order.key):
            return True
        while isinstance(step, Try):
            ask = step.ask
            refused = turns.preview(order.budget, requests.amounts(ask.hold, ask.units()))
            if refused is None:
                return False
            step = after(order.policy, order.bound, order.expected, ask, refused)
        if not isinstance(step, Wait):
            turns.check_waits(step.refusal, wait_ns)
        return False

    async def _attempt(self, order: Order, due: int) -> Through[Held] | Blocked[Awaitable[Held]]:
        step = await self._follow(order, _first(order))
        if isinstance(step, Held):
            return Through(step)
        if isinstance(step, Wait):
            return Blocked(step.refusal, partial(self._give_up, order, step.otherwise))
        clock = self._ledger.clock
        blocked = blocked_by(
            step.refusal,
            partial(self._give_up, order, step),
            instant=clock.instant(),
            left_ns=due - clock.elapsed(),
        )
        if blocked is None:
            raise step.refusal
        return blocked

    async def _give_up(self, order: Order, step: Next) -> Held:
        """Take what is left without waiting any more, or raise the refusal."""
        while isinstance(step, Try | Wait):
            if isinstance(step, Wait):
                step = step.otherwise
                continue
            outcome = await self._follow(order, step)
            if isinstance(outcome, Held):
                return outcome
            step = outcome
        raise step.refusal

    async def _follow(self, order: Order, step: Next) -> Held | Wait | Refuse:
        while isinstance(step, Try):
            ask = step.ask
            try:
                return Held(await self._reserve(order, ask), ask)
            except BudgetExceeded as refusal:
                step = after(order.policy, order.bound, order.expected, ask, refusal)
        return step

    async def _reserve(self, order: Order, ask: Ask) -> Reservation:
        operation = requests.reserve(
            self._ledger.clock,
            order.budget,
            ask.hold,
            key=order.key,
            units=ask.units(),
            deadline=order.ttl_ns / NANOS_PER_SECOND,
            labels=order.labels,
            operation=order.name,
        )
        return check_opened(reservation_of(await self._ledger.reserve(operation)))


def _first(order: Order) -> Try:
    return Try(first_ask(order.policy, order.bound, order.expected))
