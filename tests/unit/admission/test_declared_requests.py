"""A request that its caller bounds: neither read nor changed, settled by its reply."""

import json
from typing import Any

import pytest

import earmark
from earmark import Money
from earmark.errors import BudgetExceeded, InvalidUsage
from support.stub_server import chunks, completion

USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
#: With an option that no table lists, and one that nothing bounds.
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
    "dream": {"depth": 3},
    "service_tier": "priority",
}


def test_it_is_sent_as_it_is_and_settled_by_its_reply() -> None:
    """The hold is what was said; the reply's usage costs what it costs, at the tier asked for."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger)
        with guard.open("acme", ASK, up_to="0.5", api="openai") as ticket:
            assert ticket.body == ASK
            assert (ticket.hold, ticket.clamped_to, ticket.is_priced) == (Money("0.5"), None, True)
            labels = json.loads(ledger.reservation(ticket.key).labels)
            assert (labels["model"], labels["api"]) == ("openai/gpt-4o-mini", "openai")
            settled = ticket.settle(completion(USAGE, model="gpt-4o-mini"))
        with guard.open("acme", {**ASK, "stream": True}, up_to="0.5", api="openai") as ticket:
            for each in chunks(["a", "b"], USAGE, model="gpt-4o-mini"):
                text = each.decode().removeprefix("data: ").strip()
                ticket.feed(text if text == "[DONE]" else json.loads(text))
            assert ticket.settle().settled == settled.settled
        assert settled.state == "settled"
        assert Money() < settled.settled < Money("0.0001")


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ({"api": "openai"}, completion(None, model="gpt-4o-mini")),
        ({"api": "openai"}, completion({**USAGE, "dream_tokens": 7}, model="gpt-4o-mini")),
        ({"api": "openai", "provider": "acme-labs"}, completion(USAGE, model="gpt-4o-mini")),
        ({}, completion(USAGE, model="gpt-4o-mini")),
    ],
    ids=["no usage", "a counter nobody knows", "no price", "no api"],
)
def test_what_cannot_be_read_is_presumed_at_the_hold(options: Any, reply: bytes) -> None:
    """Never less: nobody here knows what it asked for."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        with earmark.Guard(ledger).open("acme", ASK, up_to="0.5", **options) as ticket:
            try:
                charge = ticket.settle(reply)
            except InvalidUsage:
                assert not ticket.is_priced
                charge = ticket.presume()
        assert (charge.state, charge.settled) == ("presumed", Money("0.5"))


def test_a_bound_of_its_own_is_no_more_than_it_may_hold() -> None:
    """It is refused above `at_most` and above what is left, not lowered."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger)
        with pytest.raises(BudgetExceeded, match="per request"):
            guard.open("acme", ASK, up_to="0.5", at_most="0.4", api="openai")
        with pytest.raises(BudgetExceeded, match="per day"):
            guard.open("acme", ASK, up_to="1.01", api="openai")
        assert ledger.holds("acme", state=None) == []
