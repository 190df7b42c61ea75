"""Who is let in, who waits, in which order, and who is refused."""

import asyncio
from datetime import timedelta

import pytest

from earmark.admission.admission import GRACE_NS
from earmark.admission.call import Grant, Reply
from earmark.admission.charge import Receipt
from earmark.errors import BudgetExceeded, NoBudget, Reason, ReservationClosed
from earmark.money import Money
from earmark.pricing.bound import Bound, DeclaredBound
from earmark.pricing.usage import Usage
from support.guard_house import (
    BOUND,
    HandCall,
    House,
    all_wait,
    costs,
    free,
    micro,
)
from support.last_resort import LAST_RESORT_S


def test_exactly_ten_of_sixty_four() -> None:
    """Of 64 tasks that each want 1.00 of 10.50 at once, exactly ten are sent."""

    async def scenario() -> None:
        house = House("10.50 usd total")
        answers = [
            house.guard.spend("acme", HandCall(costs(Money(1))), wait="10s") for _ in range(64)
        ]
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert sum(isinstance(each, Receipt) for each in done) == 10
        refusals = [each for each in done if isinstance(each, BudgetExceeded)]
        assert len(refusals) == 54
        assert {each.reason for each in refusals} == {Reason.EXHAUSTED}
        assert house.spent == Money(10)
        assert house.ledger.turns.waiting == 0

    asyncio.run(scenario())


def test_who_waits_is_served_in_order() -> None:
    """Calls that wait for what is in flight are sent in the order in which they came."""

    async def scenario() -> None:
        house = House("1 usd total")
        order: list[int] = []

        def numbered(number: int) -> HandCall:
            async def send(_: Grant) -> Reply:
                order.append(number)
                return Reply(value=number, cost=Money())

            return HandCall(send)

        hold = house.books.reserve("acme", 1)
        tasks = [asyncio.create_task(house.guard.spend("acme", numbered(n))) for n in range(8)]
        await all_wait()
        assert order == []
        house.books.release(hold.key)
        await asyncio.gather(*tasks)
        assert order == list(range(8))

    asyncio.run(scenario())


def test_what_never_fits_holds_up_nobody() -> None:
    """A call above the whole limit is refused at once, and those behind it are sent."""

    async def scenario() -> None:
        house = House("1 usd total")
        huge = HandCall(free, bound=DeclaredBound(Money(5)))

        async def impossible() -> int:
            refused = 0
            for _ in range(50):
                with pytest.raises(BudgetExceeded) as caught:
                    await house.guard.spend("acme", huge)
                refused += caught.value.reason is Reason.TOO_LARGE
            return refused

        small = [house.guard.spend("acme", HandCall(free)) for _ in range(50)]
        answers = await asyncio.gather(impossible(), *small)
        assert answers[0] == 50
        assert huge.grants == []

    asyncio.run(scenario())


def test_deadline_in_line_is_the_last_refusal() -> None:
    """Who waits in vain is refused with the numbers when its time is up."""

    async def scenario() -> None:
        house = House("1 usd total")
        house.books.reserve("acme", 1)
        task = asyncio.create_task(house.guard.spend("acme", HandCall(free), wait="30s"))
        await all_wait()
        house.clock.advance(timedelta(seconds=31))
        with pytest.raises(BudgetExceeded) as caught:
            await task
        assert caught.value.reason is Reason.HELD
        assert caught.value.held == Money(1)

    asyncio.run(scenario())


def test_waits_for_the_window_to_end() -> None:
    """A spent budget is waited for if its window ends within the time there is to wait."""

    async def scenario() -> None:
        house = House("1 usd per 30min")
        house.books.settle(house.books.reserve("acme", 1).key, 1)
        with pytest.raises(BudgetExceeded):
            await house.guard.spend("acme", HandCall(free), wait="29min")
        task = asyncio.create_task(house.guard.spend("acme", HandCall(free), wait="31min"))
        await all_wait()
        house.clock.advance(timedelta(minutes=30))
        receipt = await asyncio.wait_for(task, LAST_RESORT_S)
        assert receipt.charge.waited_ns == 30 * 60 * 10**9

    asyncio.run(scenario())


def test_a_raised_limit_lets_in_who_waits() -> None:
    """An extension of the budget wakes those it makes room for."""

    async def scenario() -> None:
        house = House("1 usd total")
        house.books.reserve("acme", 1)
        task = asyncio.create_task(house.guard.spend("acme", HandCall(free)))
        await all_wait()
        house.books.set_budget("acme", limits=["2 usd total"])
        assert (await asyncio.wait_for(task, LAST_RESORT_S)).charge.state == "settled"

    asyncio.run(scenario())


def test_without_a_limit_nothing_is_sent() -> None:
    """A path without any limit is refused."""
    house = House()
    call = HandCall(free)
    with pytest.raises(NoBudget):
        asyncio.run(house.guard.spend("other", call))
    assert call.grants == []


def test_unpriced_call_names_its_budget() -> None:
    """A call whose cost nobody knows is refused, and the refusal says on which budget."""

    class Unpriced(HandCall):
        @property
        def bound(self) -> Bound:
            raise BudgetExceeded(reason=Reason.UNPRICED, budget="", detail="no price for x/y")

        @bound.setter
        def bound(self, _: Bound) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]

    call = Unpriced(free)
    with pytest.raises(BudgetExceeded, match="'acme'") as caught:
        House().spend(call)
    assert caught.value.budget == "acme"
    assert call.grants == []


def test_tokens_limit_needs_a_token_bound() -> None:
    """Under a tokens limit, a call that does not count tokens is refused."""
    house = House("5000 tokens per hour", "1 usd per day")
    with pytest.raises(BudgetExceeded) as caught:
        house.spend(HandCall(free))
    assert caught.value.reason is Reason.UNPRICED


def test_tokens_are_held_and_settled() -> None:
    """A tokens limit is charged the tokens that were used."""
    house = House("5000 tokens per hour", "1 usd per day")
    usage = Usage.of(input_tokens=60, output_tokens=40)
    house.spend(HandCall(costs(micro(100), usage=usage), bound=BOUND))
    tokens = next(b for b in house.books.balances("acme") if b.unit == "tokens")
    assert (tokens.settled, tokens.held) == (100, 0)


def test_one_key_is_sent_once() -> None:
    """A key that opened a reservation before does not send its call again."""
    house = House()
    house.spend(HandCall(free), key="attempt-1")
    again = HandCall(free)
    with pytest.raises(ReservationClosed):
        house.spend(again, key="attempt-1")
    assert again.grants == []


def test_hold_outlives_the_call() -> None:
    """The reservation's deadline is later than the call can last."""
    house = House()
    house.spend(HandCall(free), timeout="10min")
    kept = house.only()
    assert kept.expires - kept.opened == 10 * 60 * 10**9 + GRACE_NS
