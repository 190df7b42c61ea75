"""A ticket's reply costs what its model cost when it was let in, not when it joined the line."""

import asyncio
from datetime import UTC, datetime, timedelta

from earmark.admission.guard import Guard
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.guard_house import all_wait
from support.tickets import BODY, completion

MODEL = "deepseek-v4-flash"
REPLY = {**completion(prompt_tokens=1000, completion_tokens=1000), "model": MODEL}


def settled(clock: ManualClock, *, waits: timedelta) -> Money:
    """Return the cost of a call that waited for so long before it was let in."""

    async def main() -> Money:
        with open_ledger("memory:", clock=clock) as ledger:
            ledger.set_budget("acme", limits=["1 usd per day"])
            in_flight = ledger.reserve("acme", 1)
            guard = Guard(ledger.as_async())
            body = {**BODY, "model": MODEL}

            async def call() -> Money:
                async with guard.open("acme", body, provider="deepseek", wait="1h") as ticket:
                    return (await ticket.settle(REPLY)).settled

            task = asyncio.create_task(call())
            await all_wait()
            clock.advance(waits)
            ledger.release(in_flight.key)
            return await task

    return asyncio.run(main())


def test_a_call_that_waited_is_priced_when_it_is_let_in() -> None:
    """Source: genai-prices 0.2.3, deepseek-v4-flash: twice the price from 01:00 UTC."""
    start = datetime(2026, 11, 22, 0, 50, tzinfo=UTC)
    at_once = settled(ManualClock(start), waits=timedelta(minutes=1))
    later = settled(ManualClock(start), waits=timedelta(minutes=20))
    assert later == Money.nanos(2 * at_once.in_nanos) > Money()
