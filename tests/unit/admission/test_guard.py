"""The guard books every outcome of a call by what is known of its cost."""

import asyncio
from datetime import timedelta

import pytest

from earmark.admission.call import Grant, ModelRequest, Reply
from earmark.apis.failures import malformed_reply_failure as unreadable
from earmark.errors import CallFailed, EarmarkError, NotFound
from earmark.ledger.details import read_details
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.testing.scripted import Answer, Failure, HalfStream, ScriptedProvider, Unmetered
from support.guard_house import (
    HandCall,
    House,
    all_wait,
    costs,
    free,
    raises,
)
from support.last_resort import LAST_RESORT_S


def test_reply_with_cost_is_settled_to_it() -> None:
    """A call holds its bound and is charged what it cost."""
    house = House()
    usage = Usage.of(input_tokens=10, output_tokens=5)
    receipt = house.spend(HandCall(costs(Money("0.42"), usage=usage, model="m-2"), name="x"))
    assert receipt.reply.value == "ok"
    charge = receipt.charge
    assert (charge.hold, charge.settled, charge.overrun) == (Money(1), Money("0.42"), Money())
    assert (charge.state, charge.usage, charge.model) == ("settled", usage, "m-2")
    assert (house.spent, house.held) == (Money("0.42"), Money())


def test_reply_above_the_hold_is_booked_in_full() -> None:
    """A provider that bills above the bound is booked truthfully, as an overrun."""
    house = House()
    charge = house.spend(HandCall(costs(Money("1.25")))).charge
    assert (charge.settled, charge.overrun) == (Money("1.25"), Money("0.25"))
    assert house.spent == Money("1.25")


def test_reply_without_cost_is_presumed() -> None:
    """A reply that does not say what it cost counts as its whole hold, with the reason."""
    house = House()
    charge = house.spend(HandCall(costs(None, note="no usage in the reply"))).charge
    assert (charge.state, charge.settled) == ("presumed", Money(1))
    assert charge.note == "no usage in the reply"
    assert house.spent == Money(1)


def test_presumed_charge_can_be_settled_truly_later() -> None:
    """What was presumed is corrected by a later true settlement."""
    house = House()
    charge = house.spend(HandCall(costs(None))).charge
    house.books.settle(charge.key, "0.10")
    assert house.spent == Money("0.10")


def test_impossible_cost_is_presumed() -> None:
    """A negative cost is not booked; the hold is."""
    charge = House().spend(HandCall(costs(Money.nanos(-1)))).charge
    assert (charge.state, charge.settled) == ("presumed", Money(1))
    assert "-0.000000001" in charge.note


def test_failure_that_was_not_billed_is_released() -> None:
    """A call refused before any work costs nothing."""
    house = House()
    charge = house.fails(HandCall(raises(CallFailed(detail="429", billed="no"))))
    assert (charge.state, charge.settled) == ("released", Money())
    assert (house.spent, house.held) == (Money(), Money())


def test_failure_of_unknown_cost_is_presumed() -> None:
    """A connection lost after the request counts as the whole hold."""
    house = House()
    charge = house.fails(HandCall(raises(CallFailed(detail="lost", billed="unknown"))))
    assert (charge.state, charge.settled) == ("presumed", Money(1))


def test_failure_of_partly_known_cost_is_presumed_at_no_less() -> None:
    """What came before a call was cut counts where it is more than the hold, with its counters."""
    house = House()
    used = Usage.of(input_tokens=7)
    failure = CallFailed(
        detail="lost", billed="unknown", known_cost=Money(2), usage=used, unknown=("dream = 1",),
        model="m", request_id="req_7",
    )  # fmt: skip
    charge = house.fails(HandCall(raises(failure)))
    assert (charge.state, charge.settled, charge.usage) == ("presumed", Money(2), used)
    assert read_details(house.only().details) == {
        "model": "m", "request_id": "req_7", "usage": {"input_tokens": 7}, "unknown": ["dream = 1"],
        "note": "the call failed",
    }  # fmt: skip


def test_failure_that_was_billed_is_settled() -> None:
    """A failed call with a bill is charged that bill."""
    house = House()
    failure = CallFailed(detail="garbage", billed="yes", cost=Money("0.3"))
    charge = house.fails(HandCall(raises(failure)))
    assert (charge.state, charge.settled) == ("settled", Money("0.3"))


def test_billed_failure_without_an_amount_is_presumed() -> None:
    """Billed, but nobody knows how much: the whole hold counts."""
    charge = House().fails(HandCall(raises(CallFailed(detail="?", billed="yes"))))
    assert (charge.state, charge.settled) == ("presumed", Money(1))


def test_any_other_exception_is_presumed_and_not_quoted() -> None:
    """An unforeseen exception counts as the whole hold; its text may hold a key and is not told."""
    house = House()
    with pytest.raises(CallFailed) as caught:
        house.spend(HandCall(raises(ValueError("sk-secret"))))
    assert "ValueError" in str(caught.value)
    assert "sk-secret" not in str(caught.value)
    assert caught.value.billed == "unknown"
    assert caught.value.charge.state == "presumed"
    assert house.spent == Money(1)


def test_earmark_error_from_a_call_keeps_its_kind() -> None:
    """An error of our own from inside a call is raised as it is, and the hold is presumed."""
    house = House()
    with pytest.raises(NotFound):
        house.spend(HandCall(raises(NotFound(kind="stage", name="x"))))
    assert house.only().state == "presumed"


def test_why_a_call_was_presumed_is_kept_in_our_own_words() -> None:
    """With its settlement; a stage's words may hold what it was given, and a foreign error's."""
    house = House()
    for error, note in (
        (ValueError("sk-secret"), "test/m raised ValueError"),
        (TimeoutError("sk-secret"), "test/m gave no answer within 600 s"),
        (NotFound(kind="stage", name="sk-secret"), "the call was ended by NotFound"),
        (CallFailed(detail="sk-secret", billed="unknown"), "the call failed"),
        (unreadable("test", "what is no JSON"), "provider 'test' sent what is no JSON"),
    ):
        with pytest.raises(EarmarkError):
            house.spend(HandCall(raises(error)))
        assert read_details(house.books.holds(state="presumed")[-1].details) == {"note": note}


def test_time_out_is_presumed() -> None:
    """A call that takes too long is stopped and counts as its whole hold."""

    async def scenario() -> None:
        house = House()

        async def hang(_: Grant) -> Reply:
            await house.clock.sleep(3600)
            raise AssertionError

        task = asyncio.create_task(house.guard.spend("acme", HandCall(hang), timeout="10s"))
        await all_wait()
        house.clock.advance(timedelta(seconds=9))
        await all_wait()
        assert not task.done()
        house.clock.advance(timedelta(seconds=1))
        with pytest.raises(CallFailed, match="within 10 s") as caught:
            await task
        assert caught.value.charge.state == "presumed"
        assert house.spent == Money(1)

    asyncio.run(scenario())


def test_scripted_provider_and_books_agree() -> None:
    """Whatever a provider does, the books never hold less than it bills."""
    script = [Answer(), Unmetered(), HalfStream(), Failure(billed="yes"), Failure(billed="no")]
    house = House()
    provider = ScriptedProvider(script, clock=house.clock)
    request = ModelRequest(model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=100)
    for line in script:
        try:
            house.spend(provider.call(request))
        except CallFailed:
            assert isinstance(line, HalfStream | Failure)
    assert house.spent >= provider.billed > Money()
    assert house.held == Money()


# Cancellation -------------------------------------------------------------------------------------


def test_cancelled_while_it_runs_is_presumed() -> None:
    """A call cancelled once it was sent counts as its whole hold before it ends."""

    async def scenario() -> None:
        house = House()
        sent = asyncio.Event()

        async def hang(_: Grant) -> Reply:
            sent.set()
            await asyncio.Event().wait()
            raise AssertionError

        task = asyncio.create_task(house.guard.spend("acme", HandCall(hang)))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert house.only().state == "presumed"
        assert house.spent == Money(1)

    asyncio.run(scenario())


def test_cancelled_before_it_was_sent_holds_nothing() -> None:
    """Cancelled at any step before the call is sent, it costs nothing and holds nothing.

    Books in memory never suspend; the contract's tests cut it short while it reserves.
    """

    async def cancelled_after(steps: int) -> tuple[int, str]:
        house = House()
        call = HandCall(free)
        task = asyncio.create_task(house.guard.spend("acme", call))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            states = [each.state for each in house.books.holds(state=None)]
            assert not house.held
            assert call.grants or states in ([], ["released"])
            return len(call.grants), states[0] if states else ""
        return 1, "settled"

    seen = {asyncio.run(cancelled_after(steps)) for steps in range(12)}
    assert (0, "") in seen
    assert (1, "settled") in seen


def test_cancelled_in_line_leaves_no_trace() -> None:
    """Who is cancelled while waiting lets the next one have its place."""

    async def scenario() -> None:
        house = House("1 usd total")
        hold = house.books.reserve("acme", 1)
        first = asyncio.create_task(house.guard.spend("acme", HandCall(free)))
        second = asyncio.create_task(house.guard.spend("acme", HandCall(free)))
        await all_wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        house.books.release(hold.key)
        await asyncio.wait_for(second, LAST_RESORT_S)
        assert house.ledger.turns.waiting == 0

    asyncio.run(scenario())


def test_cancelled_while_booking_is_booked_first() -> None:
    """A cancellation that comes with the reply does not lose the settlement."""

    async def scenario() -> None:
        house = House()

        async def answer(_: Grant) -> Reply:
            task.cancel()
            return Reply(value="ok", cost=Money("0.5"))

        task = asyncio.create_task(house.guard.spend("acme", HandCall(answer)))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (house.only().state, house.spent) == ("settled", Money("0.5"))

    asyncio.run(scenario())
