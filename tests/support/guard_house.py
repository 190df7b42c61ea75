"""A guard on a memory ledger, and calls that do what their test says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from earmark.admission.call import Call, Grant, Reply
from earmark.admission.guard import AsyncGuard, Charge, Receipt
from earmark.admission.policy import STRICT, Policy
from earmark.admission.quantile import MIN_REPLIES, OutputQuantiles
from earmark.errors import CallFailed
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.values import Reservation
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import Bound, DeclaredBound, ModelBound
from earmark.pricing.usage import Usage
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock

#: Every token costs 0.000001 USD, input or output.
PRICE = PriceBook({"test/m": {"input_mtok": "1", "output_mtok": "1"}}).resolve("test/m", at=0)
BOUND = ModelBound(price=PRICE, input_tokens=100, max_output_tokens=4000)

Send = Callable[[Grant], Awaitable[Reply]]


def micro(count: int) -> Money:
    """Return *count* millionths of a dollar: what so many tokens cost."""
    return Money.nanos(count * 1000)


@dataclass
class HandCall:
    """A call that does what its test says."""

    do: Send
    bound: Bound = field(default_factory=lambda: DeclaredBound(Money(1)))
    streams: bool = False
    name: str = "test/m"
    grants: list[Grant] = field(default_factory=list[Grant])

    async def send(self, grant: Grant) -> Reply:
        """Note the grant and do it."""
        self.grants.append(grant)
        return await self.do(grant)


async def free(_: Grant) -> Reply:
    """Answer at once, for nothing."""
    return Reply(value="ok", cost=Money())


def costs(amount: Money | None, **facts: Any) -> Send:
    """Return what answers at once at the cost of *amount*."""

    async def send(_: Grant) -> Reply:
        return Reply(value="ok", cost=amount, **facts)

    return send


def raises(error: Exception) -> Send:
    """Return what fails with *error*."""

    async def send(_: Grant) -> Reply:
        raise error

    return send


class House:
    """A guard on a memory ledger with a clock that stands still."""

    def __init__(self, *limits: str, policy: Policy = STRICT) -> None:
        self.clock = ManualClock()
        self.books = open_ledger("memory:", clock=self.clock)
        self.books.set_budget("acme", limits=limits or ["10.50 usd per day"])
        self.ledger: AsyncLedger = self.books.as_async()
        self.quantiles = OutputQuantiles()
        self.guard = AsyncGuard(self.ledger, policy=policy, quantiles=self.quantiles)

    def spend(self, call: Call, **options: Any) -> Receipt:
        """Make *call* on `acme`."""
        return asyncio.run(self.guard.spend("acme", call, **options))

    def fails(self, call: Call) -> Charge:
        """Make *call*, which fails, and return how that was booked."""
        with pytest.raises(CallFailed) as caught:
            self.spend(call)
        assert isinstance(caught.value.charge, Charge)
        return caught.value.charge

    @property
    def spent(self) -> Money:
        """What is settled."""
        return self.books.balances("acme")[0].settled  # type: ignore[return-value]

    @property
    def held(self) -> Money:
        """What is in flight."""
        return self.books.balances("acme")[0].held  # type: ignore[return-value]

    def learn(self, tokens: int) -> None:
        """Make the expected length of a reply *tokens*."""
        for _ in range(MIN_REPLIES):
            self.quantiles.observe("test/m", "", tokens)

    def only(self) -> Reservation:
        """Return the one reservation there is."""
        (found,) = self.books.holds(state=None)
        return found


async def all_wait() -> None:
    """Let every task run until all of them wait."""
    for _ in range(50):
        await asyncio.sleep(0)


def streaming(pieces: int, size: int = 20) -> Send:
    """Return a stream of so many pieces of *size* tokens, billed as produced."""

    async def send(grant: Grant) -> Reply:
        for number in range(1, pieces + 1):
            await grant.produced(number * size)
        usage = Usage.of(input_tokens=100, output_tokens=pieces * size)
        return Reply(value="ok", cost=micro(100 + pieces * size), usage=usage)

    return send
