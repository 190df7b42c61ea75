"""What ends a ticket, and what each end books; what is nothing to end by leaves it open."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from earmark.admission.ticket import Ticket
from earmark.errors import InvalidUsage, KeyReused
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.lazily import Lazily
from support.ledger_books import check_books
from support.tickets import BODY, Tickets, completion

openai = Lazily("openai")


@pytest.fixture(params=["threads", "tasks"])
def tickets(request: pytest.FixtureRequest, url: str, clock: ManualClock) -> Iterator[Tickets]:
    """A guard of threads, or of tasks, on books with one dollar a day."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        opened = Tickets(ledger, request.param)
        yield opened
        opened.close()
        check_books(ledger)


def _sdk_error(status: int, *, retries: str = "0", body: object = None) -> Any:
    """Return the error that OpenAI's client raises of an answer."""
    request = httpx2.Request("POST", "http://x", headers={"x-stainless-retry-count": retries})
    response = httpx2.Response(status, request=request, json=body)
    if status < 300:
        return openai.APIResponseValidationError(response, body)
    return openai.APIStatusError("hush", response=response, body=None)


def _state(tickets: Tickets, ticket: Ticket) -> tuple[str, Money | None]:
    found = tickets.ledger.reservation(ticket.key)
    return found.state, found.settled


ENDINGS: dict[str, tuple[Callable[[Ticket], Any], str, str]] = {
    "a reply": (
        lambda t: t.settle(completion(prompt_tokens=100, completion_tokens=10)),
        "settled", "0.00012",
    ),
    "its usage": (
        lambda t: t.settle(Usage.of(input_tokens=100, output_tokens=10)), "settled", "0.00012",
    ),
    "bytes": (
        lambda t: t.settle(
            b'{"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":0}}'
        ),
        "settled", "0.000005",
    ),
    "its cost": (lambda t: t.settle("0.5"), "settled", "0.5"),
    "no usage": (lambda t: t.settle(completion()), "presumed", "hold"),
    "a counter nobody knows": (
        lambda t: t.settle(completion(prompt_tokens=9, completion_tokens=1, dream_tokens=5)),
        "presumed", "hold",
    ),
    "a known part above the hold": (
        lambda t: t.settle(completion(prompt_tokens=9, completion_tokens=100_000, dream_tokens=5)),
        "presumed", "0.200009",
    ),
    "a member named twice": (
        lambda t: t.settle(
            b'{"model":"m","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9,'
            b'"completion_tokens":100000,"completion_tokens":1}}'
        ),
        "presumed", "0.200009",
    ),
    "a rejection that shows output": (
        lambda t: t.fail(400, {}, completion(prompt_tokens=9, completion_tokens=100_000)),
        "presumed", "0.200009",
    ),
    "a rejection that shows a usage": (
        lambda t: t.fail(429, {}, b'{"error": {}, "usage": {"prompt_tokens": 9}}'),
        "presumed", "hold",
    ),
    "a rejection whose usage is 0": (
        lambda t: t.fail(429, {}, b'{"error": {}, "usage": {"prompt_tokens": 0}}'),
        "released", "0",
    ),
    "a rejection": (lambda t: t.fail(429, {}, b'{"error": {"type": "rate"}}'), "released", "0"),
    "a server's fault": (lambda t: t.fail(502, body="<html>"), "presumed", "hold"),
    "no connection": (lambda t: t.fail(httpx2.ConnectError("refused")), "released", "0"),
    "a lost connection": (lambda t: t.fail(httpx2.ReadError("lost")), "presumed", "hold"),
    "an exception of the program": (lambda t: t.fail(KeyError("hush")), "presumed", "hold"),
    "an SDK's rejection": (lambda t: t.fail(_sdk_error(429)), "released", "0"),
    "an SDK's server fault": (lambda t: t.fail(_sdk_error(500)), "presumed", "hold"),
    "an SDK's rejection of a retry": (
        lambda t: t.fail(_sdk_error(429, retries="1")), "presumed", "hold",
    ),
    "a reply that an SDK cannot read": (
        lambda t: t.fail(
            _sdk_error(200, body=completion(prompt_tokens=9, completion_tokens=100_000))
        ),
        "presumed", "0.200009",
    ),
    "not known": (lambda t: t.presume("cable cut"), "presumed", "hold"),
    "never sent": (lambda t: t.release(), "released", "0"),
}  # fmt: skip


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending_is_booked_by_what_is_known_of_the_cost_once(
    tickets: Tickets, ending: str
) -> None:
    """The same ending again changes nothing, and another one is refused."""
    end, booked, cost = ENDINGS[ending]
    ticket = tickets.open("acme", BODY)
    wanted = ticket.hold if cost == "hold" else Money(cost)
    for _ in range(2):
        end(ticket)
        assert ticket.charge is not None
        assert (ticket.charge.state, ticket.charge.settled) == (booked, wanted)
        assert _state(tickets, ticket) == (booked, wanted)
    with pytest.raises(KeyReused, match=ticket.key):
        ticket.settle("0.123")
    assert _state(tickets, ticket) == (booked, wanted)


class Raw:
    """What `with_raw_response` gives: the reply is behind a method."""

    def parse(self) -> object:
        """Return the reply."""
        return completion(prompt_tokens=1)


class Unwritable:
    """A reply object whose JSON cannot be had."""

    def model_dump(self, **_: object) -> dict[str, Any]:
        """Fail, as a model with a broken serializer does."""
        raise RuntimeError


NOTHING_TO_END_BY: dict[str, tuple[Callable[[Ticket], Any], str]] = {
    "JSON too deep": (lambda t: t.settle(b'{"a":' + b"[" * 100_000), "no JSON object"),
    "no JSON": (lambda t: t.settle(b"<html>"), "no JSON object"),
    "a raw response": (lambda t: t.settle(Raw()), r"Raw is nothing .* give what its \.parse\(\)"),
    "a response": (lambda t: t.settle(httpx2.Response(200)), r"Response .* give its \.content"),
    "a list": (lambda t: t.settle([completion()]), "list is nothing .* give the provider's body"),
    "a status in words": (lambda t: t.fail("500"), "'500'; .* given as a number"),  # type: ignore[call-overload]
    "an object without JSON": (lambda t: t.settle(Unwritable()), r"Unwritable .*RuntimeError"),
    "a header of a list": (
        lambda t: t.fail(429, {"retry-after": ["1"]}),
        "retry-after is list",
    ),
    "a header of a reply": (
        lambda t: t.settle(completion(prompt_tokens=1), headers={5: "x"}),
        "header 5",
    ),
    "headers of a list": (
        lambda t: t.fail(429, [("a", "b")]),
        "headers are list",
    ),
    "an exception and a body": (
        lambda t: t.fail(httpx2.ConnectError("refused"), None, {"error": {}}),  # type: ignore[call-overload]
        "give it alone",
    ),
    **{
        f"the status {status!r}": (lambda t, status=status: t.fail(status), "the status is")
        for status in ("500", None, 200, -1, 99_999, True)
    },
}


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize("given", NOTHING_TO_END_BY)
def test_what_is_nothing_to_end_by_leaves_a_ticket_open(tickets: Tickets, given: str) -> None:
    """The error says what was given, the ticket can still be ended, and nothing is booked."""
    end, says = NOTHING_TO_END_BY[given]
    ticket = tickets.open("acme", BODY)
    with pytest.raises(InvalidUsage, match=says):
        end(ticket)
    assert _state(tickets, ticket) == ("open", None)
    assert ticket.fail(500, body=b"[" * 100_000).charge.state == "presumed"


class FailingRecorder:
    """Fails with an error of the caller's own."""

    def write(self, *_: object) -> None:
        """Fail."""
        raise LookupError("no such row")

    def written(self) -> None:
        """Never reached."""
        raise AssertionError


def test_a_call_whose_record_fails_is_booked_without_one(tickets: Tickets) -> None:
    """Whatever the recorder raises, what was spent is booked."""
    ticket = tickets.open("acme", BODY, recorder=FailingRecorder())
    assert ticket.settle("0.5").state == "settled"
    assert _state(tickets, ticket) == ("settled", Money("0.5"))


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize("recorder", [FailingRecorder, object(), "x"])
def test_what_is_no_recorder_is_refused_before_anything_is_held(
    tickets: Tickets, recorder: object
) -> None:
    """An error of the input, not of the booking."""
    with pytest.raises(InvalidUsage, match="recorder is"):
        tickets.open("acme", BODY, recorder=recorder)
    assert not tickets.ledger.holds("acme")
