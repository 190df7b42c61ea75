"""From a request to its hold: bounded, priced, and reserved by its policy, in line with others."""

import dataclasses
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, Final

from msgspec import Struct, structs

from earmark.admission.call_hold import BookingContext, CallHold, HoldRequest, OpenedHold
from earmark.admission.charge import HoldQuote, Recorder, check_recorder
from earmark.admission.ledger_adapters import AnyLedger
from earmark.admission.policy import (
    HoldAmounts,
    Policy,
    PolicyStep,
    Refuse,
    Soft,
    TryReserve,
    Wait,
    effective_policy,
    first_amounts,
    next_step,
)
from earmark.admission.quantile import P99, OutputQuantiles
from earmark.admission.request import (
    DEFAULT_TIMEOUT,
    DEFAULT_WAIT,
    OpenOptions,
    Request,
    read_request,
)
from earmark.budget.path import parse_path
from earmark.clock import NANOS_PER_SECOND, Clock, check_clock, parse_duration
from earmark.errors import BudgetExceeded, InvalidConfig, Reason
from earmark.errors.inputs import shown, wrong_argument
from earmark.ids import new_key
from earmark.ledger import requests
from earmark.ledger.answers import check_opened, reservation_of
from earmark.ledger.requests import Duration, labels_beside
from earmark.ledger.values import Reservation
from earmark.ledger.waiting import Blocked, Through, blocked_by
from earmark.pricing.book import PriceBook, check_book
from earmark.pricing.bound import Bound

#: A hold outlives its call's time-out by this much: the time there is to book it.
GRACE_NS: Final = 60 * NANOS_PER_SECOND


class CallTerms(Struct, frozen=True, kw_only=True):
    """Who pays for one call, how long it may wait and take, and what is kept with it."""

    under: str
    key: str | None
    wait_ns: int
    timeout_ns: int
    labels: Mapping[str, str]
    policy: Policy | None = None
    recorder: Recorder | None = None


class Admission:
    """Reserves for calls by their policy and waits in the ledger's queue where that helps.

    It learns the length of replies from every reply.
    """

    def __init__(
        self,
        ledger: AnyLedger,
        policy: Policy,
        book: PriceBook | None,
        clock: Clock | None,
        quantiles: OutputQuantiles | None,
    ) -> None:
        self._ledger = ledger
        self.clock = ledger.clock if clock is None else check_clock(clock)
        self._policy = _check_policy(policy)
        self._book = check_book(book)
        if not isinstance(quantiles, OutputQuantiles | None):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            raise wrong_argument("quantiles", quantiles, "an OutputQuantiles")
        self._quantiles = quantiles or OutputQuantiles()

    def read(
        self, under: str, request: Mapping[str, Any] | Bound | None, options: OpenOptions
    ) -> tuple[Request, CallTerms]:
        """Return the request with its bound, priced now, and how it is let in."""
        parse_path(under)
        try:
            bounded = read_request(under, request, options, self._book, self.clock)
        except BudgetExceeded as refusal:
            # Only here is it known whose money an unpriced call would have been.
            refusal.budget = refusal.budget or under
            raise
        return bounded, CallTerms(
            under=under,
            key=options.get("key"),
            wait_ns=wait_limit_ns(options.get("wait", DEFAULT_WAIT)),
            timeout_ns=parse_duration(options.get("timeout", DEFAULT_TIMEOUT)),
            labels=labels_beside(options.get("labels") or {}, bounded.labels),
            policy=options.get("policy"),
            recorder=check_recorder(options.get("recorder")),
        )

    def hold_request(self, request: Request, terms: CallTerms) -> HoldRequest:
        """Return the request for a hold for *request*; without a key it gets a new one."""
        parse_path(terms.under)
        policy = self._policy if terms.policy is None else _check_policy(terms.policy)
        quantile = policy.quantile if isinstance(policy, Soft) else P99
        return HoldRequest(
            key=new_key(self.clock) if terms.key is None else terms.key,
            name=new_key(self.clock),
            budget=terms.under,
            bound=request.bound,
            policy=effective_policy(policy, request.bound, streams=request.streams),
            expected=self._quantiles.expected(
                request.name, _route(terms), parts_per_million=quantile
            ),
            ttl_ns=terms.timeout_ns + GRACE_NS,
            labels=terms.labels,
        )

    async def hold(self, request: Request, hold_request: HoldRequest, terms: CallTerms) -> CallHold:
        """Return the hold of *hold_request*, waiting in line for at most `terms.wait_ns`.

        Cancelled or interrupted, it holds nothing: what was reserved meanwhile is released first.

        Raises:
            BudgetExceeded: By how much, where, why.
            NoBudget: No budget on the path has a limit.
            KeyReused: The key opened a reservation before, which is open: its call is another's.
            ReservationClosed: The key opened a reservation before; its call may have been sent.
            StoreError: The books could not be written. Nothing was sent; should the hold be in them
                all the same, it is presumed at its deadline.
        """
        began = self.clock.elapsed()
        due = self._ledger.clock.elapsed() + terms.wait_ns
        opened = await self._ledger.run_queued(
            hold_request.budget,
            partial(self._attempt, hold_request, due),
            wait_ns=terms.wait_ns,
            before_waiting=partial(self._before_waiting, hold_request, terms.wait_ns),
        )
        if request.lowered:
            amounts = dataclasses.replace(opened.amounts, clamped=True)
            opened = structs.replace(opened, amounts=amounts)
        started = self.clock.elapsed()
        context = BookingContext(
            name=request.name,
            route=_route(terms),
            waited_ns=started - began,
            started=started,
            recorder=terms.recorder,
        )
        return CallHold(self._ledger, hold_request, opened, context, self._quantiles)

    def would_be_refused(self, request: HoldRequest) -> bool:
        """Return whether the first amounts of *request* do not fit now; reads only.

        `False` where the key was used, or where a pause or the number of calls is the reason.
        """
        turns, amounts = self._ledger.turns, _first_step(request).amounts
        if turns.is_repeat(request.key):
            return False
        refused = turns.preview(request.budget, requests.amounts(amounts.hold, amounts.units()))
        if refused is None or refused.reason is Reason.PAUSED:
            return False
        return refused.unit != "calls"

    def quote(self, request: Request, hold_request: HoldRequest) -> HoldQuote:
        """Return what *hold_request* would hold now if it did not wait; reads only.

        Raises:
            NoBudget: No budget on the path has a limit.
        """
        amounts, refusal = self._first_fitting(hold_request)
        clamped = amounts.clamped or request.lowered
        asked = requests.amounts(amounts.hold, amounts.units())
        turns, budget = self._ledger.turns, hold_request.budget
        enforced = None if refusal else turns.preview(budget, asked, enforced=True)
        return HoldQuote(
            hold=amounts.hold,
            max_output_tokens=amounts.max_output_tokens,
            clamped_to=amounts.max_output_tokens if clamped else None,
            refusal=refusal,
            would_refuse=enforced,
        )

    def _first_fitting(self, request: HoldRequest) -> tuple[HoldAmounts, BudgetExceeded | None]:
        """Return the amounts that fit now; of a refused request the last ones, and the refusal."""
        turns, step = self._ledger.turns, _first_step(request)
        turns.check_limited(request.budget)
        while True:
            amounts = step.amounts
            refused = turns.preview(request.budget, requests.amounts(amounts.hold, amounts.units()))
            if refused is None:
                return amounts, None
            following = next_step(request.policy, request.bound, request.expected, amounts, refused)
            if isinstance(following, Wait):
                following = following.otherwise
            if isinstance(following, Refuse):
                return amounts, following.refusal
            step = following

    def _before_waiting(self, request: HoldRequest, wait_ns: int) -> bool:
        """Return whether the key was used, so that waiting cannot help.

        Raises:
            BudgetExceeded: Nothing that the policy would ask for can fit in time.
        """
        turns, step = self._ledger.turns, _first_step(request)
        if turns.is_repeat(request.key):
            return True
        while isinstance(step, TryReserve):
            amounts = step.amounts
            refused = turns.preview(request.budget, requests.amounts(amounts.hold, amounts.units()))
            if refused is None:
                return False
            step = next_step(request.policy, request.bound, request.expected, amounts, refused)
        if not isinstance(step, Wait):
            turns.check_waits(step.refusal, wait_ns)
        return False

    async def _attempt(
        self, request: HoldRequest, due: int
    ) -> Through[OpenedHold] | Blocked[Awaitable[OpenedHold]]:
        step = await self._try_amounts(request, _first_step(request))
        if isinstance(step, OpenedHold):
            return Through(step)
        if isinstance(step, Wait):
            return Blocked(step.refusal, partial(self._give_up, request, step.otherwise))
        clock = self._ledger.clock
        blocked = blocked_by(
            step.refusal,
            partial(self._give_up, request, step),
            instant=clock.instant(),
            left_ns=due - clock.elapsed(),
        )
        if blocked is None:
            raise step.refusal
        return blocked

    async def _give_up(self, request: HoldRequest, step: PolicyStep) -> OpenedHold:
        """Reserve what the policy takes without waiting any more, or raise the refusal."""
        while isinstance(step, TryReserve | Wait):
            if isinstance(step, Wait):
                step = step.otherwise
                continue
            outcome = await self._try_amounts(request, step)
            if isinstance(outcome, OpenedHold):
                return outcome
            step = outcome
        raise step.refusal

    async def _try_amounts(
        self, request: HoldRequest, step: PolicyStep
    ) -> OpenedHold | Wait | Refuse:
        while isinstance(step, TryReserve):
            amounts = step.amounts
            try:
                return OpenedHold(await self._reserve(request, amounts), amounts)
            except BudgetExceeded as refusal:
                step = next_step(request.policy, request.bound, request.expected, amounts, refusal)
        return step

    async def _reserve(self, request: HoldRequest, amounts: HoldAmounts) -> Reservation:
        operation = requests.reserve(
            self._ledger.clock,
            request.budget,
            amounts.hold,
            key=request.key,
            units=amounts.units(),
            deadline=request.ttl_ns / NANOS_PER_SECOND,
            labels=request.labels,
            operation=request.name,
        )
        return check_opened(reservation_of(await self._ledger.reserve(operation)))


def wait_limit_ns(wait: Duration | None) -> int:
    """Return for how long a call may wait in line; `None` is not at all."""
    return 0 if wait is None else parse_duration(wait)


def _check_policy(policy: object) -> Policy:
    if not isinstance(policy, Policy):
        detail = f"{shown(policy)} is no policy: give earmark.Strict(), Elastic() or Soft()"
        raise InvalidConfig(place="policy", detail=detail)
    return policy


def _first_step(request: HoldRequest) -> TryReserve:
    return TryReserve(first_amounts(request.policy, request.bound, request.expected))


def _route(terms: CallTerms) -> str:
    return terms.labels.get("stage", "")
