"""What one call may hold at most, a quote of it, and the clean end of a passed-on stream."""

import asyncio
import json
from typing import Any

import pytest

import earmark
from earmark import Money
from earmark.errors import BudgetExceeded, InvalidUsage, NoBudget
from support.stub_server import chunks

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
}


def test_a_call_holds_no_more_than_it_may() -> None:
    """Its output is lowered to the most that fits, and said to be; what is lower stays."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger)
        with guard.open("acme", ASK, at_most="0.0003") as ticket:
            assert ticket.hold <= Money("0.0003")
            assert ticket.clamped_to == ticket.body["max_completion_tokens"]
            assert 32 <= ticket.body["max_completion_tokens"] < 1024
            ticket.release()
        with guard.open("acme", {**ASK, "max_tokens": 40}, at_most="0.0003") as ticket:
            assert (ticket.clamped_to, ticket.body["max_tokens"]) == (None, 40)
            ticket.release()
        with pytest.raises(BudgetExceeded, match="per request") as refused:
            guard.open("acme", ASK, at_most="0.00001")
        assert (refused.value.budget, str(refused.value.reason)) == ("acme", "too_large")
        embed = {"model": "text-embedding-3-small", "input": "x" * 1000}
        with pytest.raises(BudgetExceeded):
            guard.open("acme", embed, api="openai-embeddings", at_most="0.0000001")
        with pytest.raises(InvalidUsage):
            guard.open("acme", up_to="1", at_most="1")


def test_an_elastic_stream_grows_to_no_more_than_it_may() -> None:
    """The limit that is sent is the lower one."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger, policy=earmark.Elastic())
        body = {**ASK, "max_tokens": 16_000, "stream": True}
        with guard.open("acme", body, at_most="0.005") as ticket:
            assert ticket.grows
            assert ticket.body["max_tokens"] < 16_000
            ticket.produced(ticket.body["max_tokens"])
            assert not ticket.grows
            assert ticket.hold <= Money("0.005")
            ticket.presume()


def test_a_quote_is_what_open_would_hold() -> None:
    """It holds nothing itself, and says why a call would not fit."""

    async def quotes() -> None:
        async with earmark.open_async("memory:") as ledger:
            await ledger.set_budget("acme", limits=["0.0004 usd per day"])
            guard = earmark.Guard(ledger)
            quote = guard.quote("acme", ASK)
            assert await ledger.holds("acme", state=None) == []
            async with guard.open("acme", ASK) as ticket:
                assert (ticket.hold, ticket.clamped_to) == (quote.hold, quote.clamped_to)
                assert quote.refusal is None
                held = guard.quote("acme", ASK).refusal
                assert held is not None
                assert str(held.reason) == "held"
                await ticket.release()
            await ledger.pause("acme")
            paused = guard.quote("acme", ASK).refusal
            assert paused is not None
            assert str(paused.reason) == "paused"
            with pytest.raises(NoBudget):
                guard.quote("nobody", ASK)

    asyncio.run(quotes())


def test_a_ticket_ends_a_stream_that_is_passed_on() -> None:
    """By the events that its API ends a cut reply with; of no event yet, none."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        with earmark.Guard(ledger).open("acme", {**ASK, "stream": True}) as ticket:
            assert ticket.closing_events() == []
            first = chunks(["Mars"], None, finish=None)[0]
            ticket.feed(decoded(first))
            closing = ticket.closing_events()
            assert closing[-1] == ("", "[DONE]")
            assert any("length" in str(data) for _, data in closing)
            ticket.presume()


def decoded(event: bytes) -> Any:
    """Return what the data of an event says."""
    return json.loads(event.removeprefix(b"data: "))
