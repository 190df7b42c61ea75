"""What a ticket sends is what was bounded: its own copy, whatever the caller does with the body."""

import asyncio
from collections.abc import Iterator
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import pytest

from earmark.admission.guard import Guard
from earmark.errors import InvalidUsage
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.tickets import BODY, BOOK, Tickets

#: An agent loop appends to the messages it sent before, and edits what is inside.
CONVERSATION: dict[str, Any] = {
    **BODY,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    "stop": ["END"],
}


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """One dollar for `acme`."""
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd total"])
        yield ledger


def lengthen(body: dict[str, Any]) -> None:
    """Append a message, lengthen the first one, and add a stop word."""
    body["messages"].append({"role": "user", "content": "more " * 1000})
    body["messages"][0]["content"][0]["text"] = "longer " * 1000
    body["stop"].append("STOP")


@pytest.mark.parametrize("face", ["threads", "tasks"])
def test_what_is_added_to_a_body_after_it_was_held_for_is_not_sent(
    ledger: Ledger, face: str
) -> None:
    """Neither its lists nor the objects in them are shared with the caller."""
    tickets = Tickets(ledger, face)
    body = deepcopy(CONVERSATION)
    ticket = tickets.open("acme", body)
    lengthen(body)
    assert ticket.body == CONVERSATION
    ticket.body["messages"].clear()
    assert len(body["messages"]) == 2
    tickets.close()


def test_what_is_added_to_a_body_while_it_waits_is_not_sent(ledger: Ledger) -> None:
    """It is bounded when `open` is called, and held for later."""
    guard = Guard(ledger.as_async(), book=BOOK)
    body = deepcopy(CONVERSATION)

    async def main() -> dict[str, Any]:
        opening = guard.open("acme", body, provider="test")
        lengthen(body)
        async with opening as ticket:
            return ticket.body

    assert asyncio.run(main()) == CONVERSATION


def test_mappings_and_tuples_of_a_body_are_sent_as_objects_and_lists(ledger: Ledger) -> None:
    """JSON has no others, and a view shows what is changed behind it."""
    message = {"role": "user", "content": "hi"}
    body = MappingProxyType({**BODY, "messages": (MappingProxyType(message),)})
    ticket = Tickets(ledger, "threads").open("acme", body)
    message["content"] = "longer"
    assert ticket.body == BODY


@pytest.mark.parametrize("allowed", ["best_of", b"best", 1, None])
def test_allowed_options_are_a_collection_of_names(ledger: Ledger, allowed: Any) -> None:
    """Of a bare text, every part would be a name that is allowed."""
    tickets, body = Tickets(ledger, "threads"), {**BODY, "best": 1}
    with pytest.raises(InvalidUsage, match="collection"):
        tickets.open("acme", body, allowed_options=allowed)
    assert tickets.open("acme", body, allowed_options=["best"]).body == body
