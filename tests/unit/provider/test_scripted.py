"""The public fake provider: it behaves as providers do, and keeps its own bill."""

import asyncio
from datetime import timedelta

import pytest

from earmark.admission.call import Provider
from earmark.errors import BudgetExceeded, CallFailed, Reason
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.testing import Answer, Failure, HalfStream, ManualClock, ScriptedProvider, Unmetered
from support.calls import ask, grant, send


def test_it_answers_by_its_script_and_repeats_the_last_line() -> None:
    """Each call gets the next line; the last one stays."""
    provider: Provider = ScriptedProvider([Answer(text="one"), Answer(text="two")])
    assert [send(provider, ask("scripted/m")).value for _ in range(3)] == ["one", "two", "two"]


def test_its_bill_is_what_its_replies_cost() -> None:
    """Replies are billed by their usage at the provider's price, within the bound."""
    provider = ScriptedProvider()
    reply = send(provider, ask("scripted/m", max_tokens=5))
    assert reply.cost == Money("0.00002")
    assert provider.billed == reply.cost
    assert reply.cost <= provider.call(ask("scripted/m", max_tokens=5)).bound.cost()


def test_it_can_bill_more_than_it_was_asked_for() -> None:
    """A provider that ignores the maximum is what the books must survive."""
    provider = ScriptedProvider([Answer(usage=Usage.of(input_tokens=10, output_tokens=9_000))])
    call = provider.call(ask("scripted/m", max_tokens=5))
    reply = send(provider, ask("scripted/m", max_tokens=5))
    assert reply.cost is not None
    assert reply.cost > call.bound.cost()


def test_it_can_bill_without_saying_so() -> None:
    """A reply without usage has no known cost, but the provider has billed it."""
    provider = ScriptedProvider([Unmetered()])
    assert send(provider, ask("scripted/m")).cost is None
    assert provider.billed == Money("0.00002")


def test_it_can_fail_with_and_without_a_bill() -> None:
    """A failure is billed unless it says it is not."""
    for billed, cost in (("no", Money()), ("unknown", Money("0.00002")), ("yes", Money("0.00002"))):
        provider = ScriptedProvider([Failure(billed=billed)])  # pyright: ignore[reportArgumentType]
        with pytest.raises(CallFailed) as raised:
            send(provider, ask("scripted/m"))
        assert raised.value.billed == billed
        assert raised.value.cost == (cost if billed == "yes" else None)
        assert provider.billed == cost


def test_it_answers_after_a_while_of_its_clock() -> None:
    """A delay passes when the test says so, not when time does."""
    clock = ManualClock()
    provider = ScriptedProvider([Answer(after=60)], clock=clock)

    async def wait() -> str:
        task = asyncio.create_task(provider.call(ask("scripted/m")).send(grant()))
        await asyncio.sleep(0)  # lets the call run until it waits for the clock
        assert clock.sleepers == 1
        assert not task.done()
        clock.advance(timedelta(seconds=60))
        return (await task).value

    assert asyncio.run(wait()) == "ok"


def test_half_a_stream_is_billed_and_of_unknown_cost() -> None:
    """The connection breaks after some pieces; what was generated is on the bill."""
    seen: list[int] = []

    async def produced(tokens: int) -> None:
        seen.append(tokens)

    provider = ScriptedProvider([HalfStream(pieces=2)])
    with pytest.raises(CallFailed) as raised:
        send(provider, ask("scripted/m", stream=True), grant(produced=produced))
    assert raised.value.billed == "unknown"
    assert seen == [1, 2]
    assert provider.billed == Money("0.00002")


def test_a_stream_that_is_stopped_is_billed_for_what_came() -> None:
    """A refusal in the middle of a stream stops the bill too."""

    async def produced(tokens: int) -> None:
        if tokens == 3:
            raise BudgetExceeded(reason=Reason.EXHAUSTED, budget="b")

    provider = ScriptedProvider([Answer(usage=Usage.of(input_tokens=10, output_tokens=500))])
    with pytest.raises(BudgetExceeded):
        send(provider, ask("scripted/m", stream=True), grant(produced=produced))
    assert provider.billed == Money("0.000016")


def test_it_remembers_what_was_sent_and_that_it_was_closed() -> None:
    """A test can look at the request and the grant that reached the provider."""
    provider = ScriptedProvider()
    send(provider, ask("scripted/m", "hi"), grant(7))
    assert provider.sent[0].request.messages[0]["content"] == "hi"
    assert provider.sent[0].grant.max_output_tokens == 7
    assert provider.closed
