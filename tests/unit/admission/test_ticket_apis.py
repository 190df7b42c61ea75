"""Tickets of the APIs beside Chat Completions: what their URLs, hosts and prices say."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from earmark.admission.policy import Elastic
from earmark.admission.ticket import Ticket
from earmark.errors import InputError
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from earmark.workspace.resources.books import labels_of
from support.tickets import BODY, Tickets


@pytest.fixture(params=["threads", "tasks"])
def tickets(request: pytest.FixtureRequest) -> Iterator[Tickets]:
    """A guard of threads, or of tasks, on books with one dollar a day."""
    with open_ledger("memory:", clock=ManualClock()) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        opened = Tickets(ledger, request.param)
        yield opened
        opened.close()


#: Two candidates, and the count of one of them or of both: who knows?
GEMINI_BODY = {
    "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
    "generationConfig": {"candidateCount": 2, "maxOutputTokens": 1000},
}
GEMINI_REPLY = {
    "modelVersion": "m",
    "candidates": [{"content": {"parts": [{"text": each}]}} for each in ("he", "llo")],
    "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10},
}


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ({"host": "my.server"}, "presumed"),
        ({}, "presumed"),  # it may be anywhere
        ({"host": "generativelanguage.googleapis.com"}, "settled"),
        ({"provider": "google"}, "settled"),  # the API's maker, at its own host
    ],
)
def test_a_count_of_candidates_is_trusted_where_all_are_known_to_count(
    tickets: Tickets, options: dict[str, Any], state: str
) -> None:
    """A compatible server may report the tokens of one candidate only, so it is presumed."""
    model = "gemini-2.5-flash" if "provider" in options else "m"
    ticket = tickets.open("acme", GEMINI_BODY, api="gemini", model=model, **options)
    reply = {**GEMINI_REPLY, "modelVersion": model}
    assert ticket.settle(reply).state == state


@pytest.mark.parametrize("stream", [True, False])
def test_a_stream_that_its_url_asks_for_is_held_for_in_steps(
    tickets: Tickets,
    stream: bool,  # noqa: FBT001 - as it is given
) -> None:
    """Gemini's body does not say whether the reply is a stream: `stream` does."""
    body = {"contents": GEMINI_BODY["contents"], "generationConfig": {"maxOutputTokens": 50_000}}
    options = {"api": "gemini", "model": "m", "policy": Elastic(step=100)}
    whole = tickets.open("acme", body, **{**options, "policy": None}).hold
    ticket = tickets.open("acme", body, stream=stream, **options)
    assert "stream" not in ticket.body
    first = ticket.hold
    ticket.produced(40_000)
    assert (first < ticket.hold) == (first < whole) == stream


def test_to_count_tokens_costs_nothing(tickets: Tickets) -> None:
    """Also of a model that nobody priced; nothing is added to the body."""
    body = {"model": "nobodys", "messages": BODY["messages"]}
    ticket = tickets.open("acme", body, api="anthropic-count-tokens", provider="anthropic")
    assert (ticket.hold, ticket.body) == (Money(), body)
    charge = ticket.settle({"input_tokens": 14})
    assert (charge.state, charge.settled) == ("settled", Money())


def _left(ticket: Ticket) -> None:
    with pytest.raises(RuntimeError), ticket:
        raise RuntimeError


LOST: dict[str, Callable[[Ticket], object]] = {
    "presumed": lambda t: t.presume("lost"),
    "failed": lambda t: t.fail(500),
    "left": _left,
}


@pytest.mark.parametrize("lost", LOST)
def test_a_count_that_was_lost_leaves_nothing_to_be_settled(tickets: Tickets, lost: str) -> None:
    """However it ends it is known to cost nothing."""
    body = {"model": "nobodys", "messages": BODY["messages"]}
    ticket = tickets.open("acme", body, api="anthropic-count-tokens")
    LOST[lost](ticket)
    assert ticket.charge is not None
    assert ticket.charge.state in {"settled", "released"}
    assert ticket.charge.settled == Money()


def test_an_open_hold_names_what_it_is_for(tickets: Tickets) -> None:
    """API, provider and model stand beside the caller's labels, and replace none of them."""

    def labels(request: Any = BODY, **options: Any) -> object:
        key = tickets.open("acme", request, **options).key
        return labels_of(tickets.ledger.reservation(key))

    named = {"api": "openai", "provider": "test", "model": "test/m"}
    assert labels() == named
    assert labels(labels={"user": "ann", "model": "mine"}) == {
        **named,
        "user": "ann",
        "model": "mine",
    }
    assert labels(None, up_to="0.1") == {}
    many = {"user": "a" * 4080}
    assert labels(labels=many) == many
    with pytest.raises(InputError, match="set of labels"):
        labels(labels=[1])
