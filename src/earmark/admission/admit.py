"""From a request to its hold: what both guards do before a call is sent."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from earmark.admission.call_hold import CallHold, Sent
from earmark.admission.charge import HoldQuote, Recorder
from earmark.admission.entrance import Entrance, Order
from earmark.admission.policy import Policy, Soft, in_force
from earmark.admission.quantile import P99, OutputQuantiles
from earmark.admission.request import (
    DEFAULT_TIMEOUT,
    DEFAULT_WAIT,
    OpenOptions,
    Request,
    read_request,
)
from earmark.admission.threads_and_tasks import AnyLedger
from earmark.budget.path import parse_path
from earmark.clock import NANOS_PER_SECOND, Clock, check_clock, parse_duration
from earmark.errors import BudgetExceeded, InvalidConfig
from earmark.errors.inputs import shown, wrong_argument
from earmark.ids import new_key
from earmark.ledger.requests import Duration, labels_beside
from earmark.pricing.book import PriceBook, check_book
from earmark.pricing.bound import Bound

#: A hold outlives its call's time-out by this much: the time there is to book it.
GRACE_NS: Final = 60 * NANOS_PER_SECOND


class CallTerms(Struct, frozen=True, kw_only=True):
    """How one call is let in."""

    under: str
    key: str | None
    wait_ns: int
    timeout_ns: int
    labels: Mapping[str, str]
    policy: Policy | None = None
    recorder: Recorder | None = None


class Admission:
    """What both guards do: from a request to its hold. It learns from every reply."""

    def __init__(
        self,
        ledger: AnyLedger,
        policy: Policy,
        book: PriceBook | None,
        clock: Clock | None,
        quantiles: OutputQuantiles | None,
    ) -> None:
        self.ledger = ledger
        self.clock = ledger.clock if clock is None else check_clock(clock)
        self._policy = _checked(policy)
        self._book = check_book(book)
        if not isinstance(quantiles, OutputQuantiles | None):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            raise wrong_argument("quantiles", quantiles, "an OutputQuantiles")
        self._quantiles = quantiles or OutputQuantiles()
        self._entrance = Entrance(ledger)

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
            wait_ns=wait_nanos(options.get("wait", DEFAULT_WAIT)),
            timeout_ns=parse_duration(options.get("timeout", DEFAULT_TIMEOUT)),
            labels=labels_beside(options.get("labels") or {}, bounded.labels),
            policy=options.get("policy"),
        )

    def order(self, request: Request, terms: CallTerms) -> Order:
        """Return the order of *request*, under a key of its own unless one is given."""
        parse_path(terms.under)
        policy = self._policy if terms.policy is None else _checked(terms.policy)
        quantile = policy.quantile if isinstance(policy, Soft) else P99
        return Order(
            key=new_key(self.clock) if terms.key is None else terms.key,
            name=new_key(self.clock),
            budget=terms.under,
            bound=request.bound,
            policy=in_force(policy, request.bound, streams=request.streams),
            expected=self._quantiles.expected(
                request.name, _route(terms), parts_per_million=quantile
            ),
            ttl_ns=terms.timeout_ns + GRACE_NS,
            labels=terms.labels,
        )

    def asks_too_much(self, order: Order) -> bool:
        """Return whether what *order* asks for first does not fit now."""
        return self._entrance.asks_too_much(order)

    def quote(self, request: Request, order: Order) -> HoldQuote:
        """Return what *order* would get now, if it did not wait; reads only."""
        ask, refused = self._entrance.quote(order)
        return HoldQuote(
            hold=ask.hold,
            max_output_tokens=ask.max_output_tokens,
            clamped_to=ask.max_output_tokens if ask.clamped or request.lowered else None,
            refusal=refused,
        )

    async def hold(self, request: Request, order: Order, terms: CallTerms) -> CallHold:
        """Return the hold of *order*, once its turn in line has come."""
        began = self.clock.elapsed()
        held = await self._entrance.enter(order, wait_ns=terms.wait_ns)
        if request.lowered:
            held = replace(held, ask=dataclasses.replace(held.ask, clamped=True))
        started = self.clock.elapsed()
        sent = Sent(
            name=request.name,
            route=_route(terms),
            waited_ns=started - began,
            started=started,
            recorder=terms.recorder,
        )
        return CallHold(self.ledger, order, held, sent, self._quantiles)


def _checked(policy: object) -> Policy:
    if not isinstance(policy, Policy):
        detail = f"{shown(policy)} is no policy: give earmark.Strict(), Elastic() or Soft()"
        raise InvalidConfig(place="policy", detail=detail)
    return policy


def wait_nanos(wait: Duration | None) -> int:
    """Return how long a call may wait in line; nothing for `None`."""
    return 0 if wait is None else parse_duration(wait)


def _route(terms: CallTerms) -> str:
    return terms.labels.get("stage", "")
