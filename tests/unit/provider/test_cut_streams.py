"""A stream that is cut short in the guard costs no less than its counters say."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from earmark.admission.call import Call, Grant, Reply
from earmark.admission.policy import Elastic, Policy, Strict
from earmark.admission.quantile import MIN_REPLIES
from earmark.errors import BudgetExceeded, CallFailed
from earmark.ledger.details import read_details
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import Bound
from earmark.provider import open_provider
from support.calls import ask
from support.guard_house import House
from support.last_resort import LAST_RESORT_S
from support.stub_server import events, watched

BOOK = PriceBook({"stub/m": {"input_mtok": "1", "output_mtok": "10"}})
#: Five thousand tokens in are on the bill before anything is written: 0.005 USD.
COUNTED = {"input_tokens": 5000, "output_tokens": 1, "dream_tokens": 7}


@dataclass
class Begun:
    """A call that says when its stream has begun."""

    inner: Call
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """What is called."""
        return self.inner.name

    @property
    def bound(self) -> Bound:
        """The most it can cost."""
        return self.inner.bound

    @property
    def streams(self) -> bool:
        """It does."""
        return self.inner.streams

    async def send(self, grant: Grant) -> Reply:
        """Make the call."""

        async def produced(tokens: int) -> None:
            await grant.produced(tokens)
            self.begun.set()

        return await self.inner.send(replace(grant, produced=produced))


GROWING = Elastic(step=8)
CUTS: dict[str, tuple[type[BaseException], Policy]] = {
    "timed out": (CallFailed, Strict()),
    "cancelled": (asyncio.CancelledError, Strict()),
    "stopped at its hold": (BudgetExceeded, GROWING),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_stream_cut_in_the_guard_keeps_the_counters_that_came(cut: str) -> None:
    """Its hold is less than the input it reported: what is known is booked, and kept with it."""
    error, policy = CUTS[cut]
    house = House("0.002 usd per day", policy=policy)
    for _ in range(MIN_REPLIES):
        house.quantiles.observe("stub/m", "", 1)

    async def make(url: str) -> None:
        clock = house.clock
        provider = open_provider("stub", api="anthropic", book=BOOK, clock=clock, base_url=url)
        request = ask("stub/m", stream=True, max_tokens=1000 if policy is GROWING else 100)
        call = Begun(provider.call(request))
        task = asyncio.create_task(house.guard.spend("acme", call, timeout="10min"))
        if policy is not GROWING:
            await call.begun.wait()
        if cut == "timed out":
            house.clock.advance(timedelta(minutes=10))
        elif cut == "cancelled":
            task.cancel()
        with pytest.raises(error):
            await task
        await provider.aclose()

    with watched(events(["half a sen", "tence " * 50], COUNTED, None, ends=False)) as (url, gone):
        asyncio.run(make(url))
        assert gone.wait(LAST_RESORT_S)
    found = house.only()
    assert found.state == "presumed"
    assert found.amount < Money("0.005") < (found.settled or Money()) < Money("0.009")
    details = read_details(found.details)
    assert details["usage"]["input_tokens"] == 5000
    assert (details["unknown"], details["model"]) == (["dream_tokens = 7"], "m")
    assert details["request_id"] == "msg_1"
