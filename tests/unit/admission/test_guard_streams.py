"""Calls that are cut to their budget, and holds that grow with a stream."""

import asyncio

import pytest

from earmark.admission.call import Grant, ModelRequest, Reply
from earmark.admission.policy import ELASTIC, SOFT
from earmark.admission.quantile import MIN_REPLIES
from earmark.errors import BudgetExceeded
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.testing.scripted import Answer, ScriptedProvider
from support.guard_house import (
    BOUND,
    HandCall,
    House,
    all_wait,
    costs,
    micro,
    streaming,
)
from support.last_resort import LAST_RESORT_S


def test_clamped_call_is_told() -> None:
    """A call that does not fit in full is sent with fewer output tokens, and its charge says so."""
    house = House("0.001 usd total")
    house.learn(300)
    call = HandCall(costs(micro(400)), bound=BOUND)
    charge = house.spend(call).charge
    assert call.grants[0].max_output_tokens == 900
    assert charge.clamped_to == 900
    assert charge.hold == micro(1000)


def test_last_call_gets_what_is_left() -> None:
    """With nothing in flight, a call is clamped to what the rest of the budget pays for."""
    house = House("0.0002 usd total")
    call = HandCall(costs(micro(200)), bound=BOUND)
    assert house.spend(call).charge.clamped_to == 100
    assert house.spent == micro(200)


def test_waits_for_more_before_it_is_clamped() -> None:
    """A call waits while others are in flight, and takes the whole of what came back."""

    async def scenario() -> None:
        house = House("0.004 usd total")
        hold = house.books.reserve("acme", micro(3800).decimal)
        call = HandCall(costs(micro(400)), bound=BOUND)
        task = asyncio.create_task(house.guard.spend("acme", call))
        await all_wait()
        assert call.grants == []
        house.books.settle(hold.key, micro(3000).decimal)
        assert (await asyncio.wait_for(task, LAST_RESORT_S)).charge.clamped_to == 900

    asyncio.run(scenario())


def test_elastic_hold_grows_with_its_stream() -> None:
    """A stream that is longer than expected is held for in steps, and charged what it cost."""
    house = House("0.01 usd total", policy=ELASTIC)
    house.learn(200)
    call = HandCall(streaming(50), bound=BOUND, streams=True)
    charge = house.spend(call).charge
    assert call.grants[0].max_output_tokens == 4000
    assert charge.hold == micro(100 + 200 + 8 * 128)
    assert (charge.settled, charge.clamped_to) == (micro(1100), None)
    assert house.held == Money()


def test_elastic_stream_is_stopped_at_its_budget() -> None:
    """A stream whose hold cannot grow is stopped within it, and its whole hold counts as spent."""
    house = House("0.001 usd total", policy=ELASTIC)
    house.learn(200)
    came: list[int] = []

    async def send(grant: Grant) -> Reply:
        for number in range(1, 100):
            came.append(number * 20)
            await grant.produced(number * 20)
        raise AssertionError

    with pytest.raises(BudgetExceeded):
        house.spend(HandCall(send, bound=BOUND, streams=True))
    kept = house.only()
    assert kept.state == "presumed"
    margin = kept.amount - micro(100 + came[-1])
    assert micro(128 - 20) <= margin <= micro(2 * 128)
    assert house.spent == kept.amount <= micro(1000)


def test_elastic_grows_through_the_scripted_provider() -> None:
    """With real bounds and bills, what a stream is charged is what its provider bills."""
    house = House("1 usd total", policy=ELASTIC)
    line = Answer(usage=Usage.of(input_tokens=10, output_tokens=3000))
    provider = ScriptedProvider([line], clock=house.clock)
    messages = [{"role": "user", "content": "hi"}]
    request = ModelRequest(model="m", messages=messages, max_tokens=4000, stream=True)
    charge = house.spend(provider.call(request)).charge
    assert charge.settled == provider.billed == house.spent
    assert charge.overrun == Money()


def test_soft_call_may_overrun_and_is_booked() -> None:
    """The soft policy holds what is expected; what it costs beyond is booked as an overrun."""
    house = House("0.001 usd total", policy=SOFT)
    house.learn(200)
    charge = house.spend(HandCall(streaming(50), bound=BOUND, streams=True)).charge
    assert (charge.hold, charge.settled) == (micro(300), micro(1100))
    assert charge.overrun == micro(800)
    assert house.spent == micro(1100)


def test_guard_learns_how_long_replies_are() -> None:
    """After enough replies, a route's expected length is that of its replies."""
    house = House("10 usd total", policy=ELASTIC)
    for _ in range(MIN_REPLIES):
        house.spend(HandCall(streaming(2), bound=BOUND, streams=True))
    assert house.quantiles.expected("test/m", "") == 40
    assert house.spend(HandCall(streaming(2), bound=BOUND, streams=True)).charge.hold == micro(268)
