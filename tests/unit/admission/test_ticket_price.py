"""A ticket's reply costs what its model cost when it was let in, not when it joined the line."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from earmark.admission.guard import Guard
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.guard_house import all_wait
from support.tickets import BODY, completion

MODEL = "deepseek-v4-flash"
REPLY = {**completion(prompt_tokens=1000, completion_tokens=100_000), "model": MODEL}


def settled(clock: ManualClock, *, waits: timedelta, threads: bool) -> Money:
    """Return the cost of a call that waited for so long before it was let in."""

    async def main() -> Money:
        with open_ledger("memory:", clock=clock) as ledger:
            ledger.set_budget("acme", limits=["1 usd per day"])
            in_flight = ledger.reserve("acme", 1)
            body = {**BODY, "model": MODEL, "max_tokens": 100_000}

            def in_a_thread() -> Money:
                with Guard(ledger).open("acme", body, provider="deepseek") as ticket:
                    return ticket.settle(REPLY).settled

            async def in_a_task() -> Money:
                opening = Guard(ledger.as_async()).open("acme", body, provider="deepseek")
                async with opening as ticket:
                    return (await ticket.settle(REPLY)).settled

            call = asyncio.to_thread(in_a_thread) if threads else in_a_task()
            task = asyncio.create_task(call)
            while ledger.turns.waiting == 0:
                await all_wait()
            clock.advance(waits)
            ledger.release(in_flight.key)
            return await task

    return asyncio.run(main())


@pytest.mark.parametrize("threads", [True, False])
def test_a_call_that_waits_into_the_peak_costs_the_peaks_price(*, threads: bool) -> None:
    """Opened at 00:59:50, let in at 01:00:20: twice what it would have cost before (B20).

    Source: genai-prices 0.2.3, deepseek-v4-flash: twice the price from 01:00 UTC.
    """
    clock = ManualClock(datetime(2026, 11, 22, 0, 59, 50, tzinfo=UTC))
    at_once = settled(clock, waits=timedelta(0), threads=threads)
    later = settled(clock, waits=timedelta(seconds=30), threads=threads)
    assert (at_once, later) == (Money("0.06015"), Money("0.1203"))


def hold(clock: ManualClock, **options: Any) -> Money:
    """Return what a ticket of a hundred thousand tokens holds."""
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        body = {**BODY, "model": MODEL, "max_tokens": 100_000}
        with Guard(ledger).open("acme", body, provider="deepseek", **options) as ticket:
            return ticket.hold


def test_a_ticket_is_held_at_the_dearest_price_until_its_wait_and_its_time_are_over() -> None:
    """At 23:57 an hour ends before the peak begins at 01:00; five minutes more do not."""
    clock = ManualClock(datetime(2026, 11, 22, 23, 57, tzinfo=UTC))
    before = hold(clock, wait=None, timeout="1h")
    assert hold(clock, timeout="1h") == hold(clock, wait="1h") == hold(clock, timeout="2h")
    assert hold(clock, timeout="1h").in_nanos == 2 * before.in_nanos
