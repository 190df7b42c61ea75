"""Tickets: a call is held for before it is sent, and booked once however it ends."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from earmark.admission.policy import Elastic, Soft
from earmark.admission.ticket import Ticket
from earmark.budget.units import LimitUnit
from earmark.errors import (
    BudgetExceeded,
    InputError,
    InvalidAmount,
    InvalidUsage,
    KeyReused,
    NoBudget,
    Reason,
    ReservationClosed,
)
from earmark.ledger.details import read_details
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.pricing.bound import DeclaredBound
from earmark.pricing.usage import Usage
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import check_books, standing
from support.tickets import BODY, Tickets, completion
from support.units import SHEETS, registered


@pytest.fixture
def sheets() -> Iterator[LimitUnit]:
    """A unit more than there are, until the books are closed: named before them."""
    with registered(SHEETS):
        yield SHEETS


@pytest.fixture(params=["threads", "tasks"])
def tickets(request: pytest.FixtureRequest, url: str, clock: ManualClock) -> Iterator[Tickets]:
    """A guard of threads, or of tasks, on books with one dollar a day."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        opened = Tickets(ledger, request.param)
        yield opened
        opened.close()
        check_books(ledger)


def state(tickets: Tickets, ticket: Ticket) -> tuple[str, Money | None]:
    """Return what the books say of the ticket's reservation."""
    found = tickets.ledger.reservation(ticket.key)
    return found.state, found.settled


def test_a_call_is_held_for_before_it_is_sent_and_settled_by_its_reply(tickets: Tickets) -> None:
    """The body holds the limit, the hold is the worst case, the charge says all that is known."""
    ticket = tickets.open("acme", BODY, key="call-1", labels={"user": "ann"})
    assert ticket.body == BODY
    assert (ticket.key, ticket.reservation.state, ticket.charge) == ("call-1", "open", None)
    assert ticket.hold > Money("0.002")
    assert standing(tickets.ledger, "acme")[2] == str(ticket.hold)
    charge = ticket.settle(completion(prompt_tokens=100, completion_tokens=10))
    assert (charge.state, charge.settled, charge.hold) == (
        "settled", Money("0.00012"), ticket.hold,
    )  # fmt: skip
    assert charge.usage == Usage.of(input_tokens=100, output_tokens=10)
    assert (charge.model, charge.request_id, charge.clamped_to) == ("m", "chatcmpl-1", None)
    assert ticket.charge == charge
    assert standing(tickets.ledger, "acme") == ("1", "0.00012", "0", "0.99988")
    assert read_details(tickets.ledger.reservation("call-1").details) == {
        "model": "m",
        "request_id": "chatcmpl-1",
        "usage": {"input_tokens": 100, "output_tokens": 10},
    }


def test_a_counter_nobody_knows_is_named_by_the_charge_and_in_the_books(tickets: Tickets) -> None:
    """The output may be used; the statement says why its cost is not fully known."""
    ticket = tickets.open("acme", BODY)
    charge = ticket.settle(completion(prompt_tokens=9, completion_tokens=1, dream_tokens=5))
    (unknown,) = charge.unknown
    assert "dream_tokens" in unknown
    details = read_details(tickets.ledger.reservation(ticket.key).details)
    assert details["unknown"] == [unknown]


@pytest.mark.parametrize("letter", ["\U0001f600", "\ud800", "\0"], ids=ascii)
def test_a_cost_is_booked_whatever_its_names_are(tickets: Tickets, letter: str) -> None:
    """Above the hold too; names that no store takes are left out, and the charge has them."""
    tickets.ledger.set_budget("acme/low", limits=["1 usd total"])
    low = {**BODY, "max_tokens": 10}
    ticket = tickets.open("acme/low", low)
    named = {"id": letter * 300, "model": letter * 300}
    charge = ticket.settle({**completion(prompt_tokens=100, completion_tokens=1000), **named})
    assert (charge.state, charge.settled) == ("presumed", Money("0.0021"))
    assert charge.overrun > Money()
    usage = Usage({f"{letter * 20} {number}": number for number in range(1, 400)})
    ticket = tickets.open("acme/low", low)
    assert ticket.settle(usage).settled == ticket.hold
    assert standing(tickets.ledger, "acme/low")[2] == "0"


def test_a_call_that_does_not_fit_is_clamped_in_the_body_that_is_sent(tickets: Tickets) -> None:
    """What is left of the budget becomes the output limit, and the caller's own body stays."""
    tickets.ledger.set_budget("acme/small", limits=["0.001 usd total"])
    ticket = tickets.open("acme/small", BODY)
    assert ticket.clamped_to == ticket.max_output_tokens == ticket.body["max_tokens"]
    assert 32 <= ticket.body["max_tokens"] < 500
    assert BODY["max_tokens"] == 1000
    assert ticket.hold <= Money("0.001")
    charge = ticket.settle(completion(prompt_tokens=9, completion_tokens=1))
    assert charge.clamped_to == ticket.clamped_to


def test_a_declared_amount_needs_no_body(tickets: Tickets) -> None:
    """Whatever costs money can be guarded: it holds what it may cost, and is told what it did."""
    ticket = tickets.open("acme", up_to="0.10")
    assert (ticket.body, ticket.hold) == ({}, Money("0.10"))
    with pytest.raises(InvalidUsage, match="amount in USD"):
        ticket.settle(completion(prompt_tokens=1, completion_tokens=1))
    with pytest.raises(InvalidAmount):
        ticket.settle("-1")
    with pytest.raises(TypeError):
        ticket.settle(0.5)
    assert ticket.settle("0.042").settled == Money("0.042")


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("azure", None),
        ("azure", "gateway.example"),
        ("test", "ACME.openai.Azure.com:443"),
    ],
)
def test_a_400_of_azure_is_presumed(tickets: Tickets, provider: str, host: str | None) -> None:
    """Its filter reads the input first; without a host, the provider says who is asked."""
    is_azure = host != "gateway.example"
    body = {**BODY, "n": 2}
    del body["max_tokens"]
    ticket = tickets.open("acme", body, provider=provider, host=host)
    assert ("max_completion_tokens" in ticket.body) is is_azure
    assert ticket.fail(400).billed == "unknown"
    assert state(tickets, ticket) == ("presumed", ticket.hold)
    ticket = tickets.open("acme", body, provider=provider, host=host)
    charge = ticket.settle(completion(prompt_tokens=100, completion_tokens=10))
    assert charge.state == ("settled" if is_azure else "presumed")


def test_a_failure_says_whether_another_try_may_help(tickets: Tickets) -> None:
    """It is returned to be raised, with how it was booked."""
    failure = tickets.open("acme", BODY).fail(
        429, {"Retry-After": "2"}, {"error": {"code": "rate"}}
    )
    assert (failure.billed, failure.retryable, failure.retry_after) == ("no", True, 2.0)
    assert failure.charge.state == "released"


BEGUN: dict[str, tuple[dict[str, Any], Callable[[Ticket], object]]] = {
    "a token": ({}, lambda t: t.produced(1)),
    "a chat's role": (
        {}, lambda t: t.feed({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}),
    ),
    "a response's name": (
        {"api": "openai-responses"},
        lambda t: t.feed({"type": "response.created", "response": {"id": "resp_1", "output": []}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("begun", BEGUN)
def test_a_reply_that_began_is_never_given_back(tickets: Tickets, begun: str) -> None:
    """Its input was processed: a release is refused, and an error of whatever kind is presumed."""
    options, begin = BEGUN[begun]
    body = {"model": "m", "input": "hi", "stream": True} if options else {**BODY, "stream": True}
    ticket = tickets.open("acme", body, **options)
    begin(ticket)
    with pytest.raises(InvalidUsage, match="reply began"):
        ticket.release()
    failure = ticket.fail(httpx2.ConnectError("refused") if options else 429)
    assert failure.charge.state == "presumed"


def leave(ticket: Ticket) -> None:
    """Leave a block without an end."""
    with ticket:
        pass


def fail(ticket: Ticket) -> None:
    """Leave a block by an exception."""
    with pytest.raises(ZeroDivisionError), ticket:
        raise ZeroDivisionError


@pytest.mark.parametrize("left", [leave, fail])
def test_a_block_left_without_an_end_is_presumed(
    tickets: Tickets, left: Callable[[Ticket], None]
) -> None:
    """Nobody knows what it cost, so its whole hold is spent; a later truth corrects it."""
    ticket = tickets.open("acme", up_to="0.10")
    left(ticket)
    assert state(tickets, ticket) == ("presumed", Money("0.10"))
    tickets.ledger.settle(ticket.key, "0.04")
    assert standing(tickets.ledger, "acme")[1] == "0.04"


def settle_and_fail(ticket: Ticket) -> None:
    """Settle inside a block, then leave it by an exception."""
    with ticket:
        ticket.settle("0.01")
        raise ZeroDivisionError


def test_a_block_keeps_the_end_it_was_given(tickets: Tickets) -> None:
    """Also where it is left by an exception afterwards, or was ended by its key."""
    ticket = tickets.open("acme", up_to="0.10")
    with pytest.raises(ZeroDivisionError):
        settle_and_fail(ticket)
    assert state(tickets, ticket) == ("settled", Money("0.01"))
    with tickets.open("acme", up_to="0.10") as other:
        tickets.ledger.settle(other.key, "0.02")
    assert state(tickets, other) == ("settled", Money("0.02"))


def test_a_ticket_is_entered_once(tickets: Tickets) -> None:
    """One hold is one call: neither after a block nor after an end is there another."""
    ticket = tickets.open("acme", up_to="0.10")
    leave(ticket)
    with pytest.raises(KeyReused):
        leave(ticket)
    ended = tickets.open("acme", up_to="0.10")
    ended.release()
    with pytest.raises(KeyReused):
        leave(ended)


def test_a_key_is_sent_once(tickets: Tickets) -> None:
    """A key that opened a ticket opens no other, whatever became of the first."""
    ticket = tickets.open("acme", BODY, key="once")
    with pytest.raises(KeyReused):
        tickets.open("acme", BODY, key="once")
    ticket.settle("0.1")
    with pytest.raises(ReservationClosed):
        tickets.open("acme", BODY, key="once")


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize(
    "options",
    [
        # An empty variable in a cron job is no new key for each call.
        {"key": ""},
        {"policy": "elastic"},
        {"policy": Elastic},
        {"request": ["a list"]},
    ],
    ids=str,
)
def test_what_is_no_option_is_an_input_error(tickets: Tickets, options: dict[str, Any]) -> None:
    """It names what is wrong, before anything is held."""
    arguments = {"request": BODY, **options}
    with pytest.raises(InputError):
        tickets.open("acme", arguments.pop("request"), **arguments)
    assert tickets.ledger.holds() == []


def test_what_a_refusal_advises_is_let_in(tickets: Tickets) -> None:
    """A declared amount counts no tokens; a bound with them does. No budget: the call that sets."""
    tickets.ledger.set_budget("counted", limits=["1000 tokens per day"])
    with pytest.raises(BudgetExceeded, match=r"limits tokens.*DeclaredBound\(amount, n\)"):
        tickets.open("counted", up_to="0.1")
    with tickets.open("counted", DeclaredBound(Money("0.1"), 300)) as ticket:
        ticket.settle("0.05", units={"tokens": 200})
    assert standing(tickets.ledger, "counted", "tokens") == ("1000", "200", "0", "800")
    with pytest.raises(NoBudget, match=r"ledger.set_budget\('other', limits=.*`earmark budget set"):
        tickets.open("other", up_to="0.1")


@pytest.mark.parametrize("reply", ["0.05", completion(prompt_tokens=9, completion_tokens=1)])
def test_every_unit_that_an_end_states_is_booked(
    sheets: LimitUnit, tickets: Tickets, reply: Any
) -> None:
    """Beside a cost, and beside a reply, which says itself how many tokens there were."""
    tickets.ledger.set_budget(
        "acme", limits=["1 usd total", "9 calls total", "9 sheets total", "9000 tokens total"]
    )
    ticket = tickets.open("acme", BODY)
    units = {"calls": 2, sheets.name: 3, "tokens": 10}
    for _ in range(2):
        ticket.settle(reply, units=units)
    told = {unit: standing(tickets.ledger, "acme", unit)[1] for unit in units}
    assert told == {unit: str(number) for unit, number in units.items()}
    other = tickets.open("acme", BODY)
    with pytest.raises(InputError):
        other.settle(reply, units={"sheets": -1})
    other.release()


def test_what_is_presumed_counts_the_units_it_is_known_to_have_taken(
    sheets: LimitUnit, tickets: Tickets
) -> None:
    """A reply whose cost is in doubt keeps what was stated beside it."""
    tickets.ledger.set_budget("acme", limits=["1 usd total", "9 sheets total"])
    ticket = tickets.open("acme", BODY)
    doubtful = completion(prompt_tokens=9, completion_tokens=1, dream_tokens=5)
    assert ticket.settle(doubtful, units={sheets.name: 3}).state == "presumed"
    assert standing(tickets.ledger, "acme", "sheets")[1] == "3"


def test_what_cannot_be_let_in_holds_nothing(tickets: Tickets) -> None:
    """Refused with its reason and its budget: no budget, too much, no price, no bound."""
    with pytest.raises(NoBudget):
        tickets.open("other", up_to="0.1")
    with pytest.raises(BudgetExceeded) as large:
        tickets.open("acme", up_to=2)
    with pytest.raises(BudgetExceeded) as unpriced:
        tickets.open("acme", {**BODY, "model": "nobody's"})
    with pytest.raises(BudgetExceeded) as unbounded:
        tickets.open("acme", {**BODY, "dream": True})
    found = [each.value for each in (large, unpriced, unbounded)]
    assert [each.reason for each in found] == [Reason.TOO_LARGE, Reason.UNPRICED, Reason.UNPRICED]
    assert [each.budget for each in found] == ["acme"] * 3
    assert "dream" in found[2].detail
    for wrong in ({}, {"request": DeclaredBound(Money(1)), "up_to": 1}):
        with pytest.raises(InvalidUsage, match="up_to"):
            tickets.open("acme", **wrong)
    with pytest.raises(TypeError, match="labls"):
        tickets.open("acme", up_to=1, labls={})
    assert tickets.ledger.holds(state=None) == []


def elastic(tickets: Tickets, **options: Any) -> Ticket:
    """Open a stream of up to 1000 tokens that is expected to need 200, in steps of 100."""
    learned = tickets.guard._admission._quantiles
    for _ in range(100):
        learned.observe("test/m", "", 200)
    return tickets.open("acme", {**BODY, "stream": True}, policy=Elastic(step=100), **options)


def test_an_elastic_hold_grows_ahead_of_its_stream(tickets: Tickets) -> None:
    """It starts at what is expected, and pays for a step more than what was produced."""
    ticket = elastic(tickets)
    assert ticket.body["max_tokens"] == 1000
    first = ticket.hold
    for tokens, steps in ((100, 0), (101, 1), (200, 1), (350, 3), (350, 3), (990, 8)):
        ticket.produced(tokens)
        # 100 tokens cost 0.0002 USD.
        assert ticket.hold == first + Money.nanos(200_000 * steps)
    assert tickets.ledger.reservation(ticket.key).amount == ticket.hold
    for wrong in (-1, 1.5, "7"):
        with pytest.raises(InvalidUsage, match="whole number"):
            ticket.produced(wrong)


def stream_into(ticket: Ticket, came: list[int]) -> None:
    """Produce all that was asked for, in a block."""
    with ticket:
        for tokens in range(10, 1000, 10):
            came.append(tokens)
            ticket.produced(tokens)


def test_a_stream_that_cannot_be_held_for_is_stopped(tickets: Tickets) -> None:
    """It is refused before it passes its hold, and left so its hold is spent."""
    tickets.ledger.set_budget("acme/small", limits=["0.00095 usd total"])
    elastic(tickets).release()
    ticket = tickets.open("acme/small", {**BODY, "stream": True}, policy=Elastic(step=100))
    came: list[int] = []
    with pytest.raises(BudgetExceeded):
        stream_into(ticket, came)
    booked, settled = state(tickets, ticket)
    assert booked == "presumed"
    assert settled == ticket.hold <= Money("0.00095")
    # A step of 100 tokens costs 0.0002 USD: the one that was refused was ahead of the stream.
    assert 200 <= came[-1] < 400


def test_a_stream_under_way_keeps_its_hold_beyond_the_deadline(
    tickets: Tickets, clock: ManualClock
) -> None:
    """Each half of its time the deadline moves on, also on a paused budget; silence ends it."""
    ticket = tickets.open("acme", BODY, timeout="9min")
    tickets.ledger.pause("acme")
    for minute in range(0, 40, 4):
        ticket.produced(minute)
        clock.advance(timedelta(minutes=4))
    assert state(tickets, ticket) == ("open", None)
    clock.advance(timedelta(minutes=11))
    assert state(tickets, ticket) == ("presumed", ticket.hold)
    ticket.produced(100)
    assert ticket.settle("0.0001").state == "settled"
    assert state(tickets, ticket) == ("settled", Money("0.0001"))


def chunk(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one event of a Chat Completions stream."""
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "model": "m", "choices": choices, **more}


def test_a_fed_stream_settles_by_what_its_events_add_up_to(tickets: Tickets) -> None:
    """The text is given back, the usage is asked for in the body, and read from the last event."""
    ticket = tickets.open("acme", {**BODY, "stream": True})
    assert ticket.body["stream_options"] == {"include_usage": True}
    texts = [ticket.feed(chunk(text)).texts for text in ("he", "llo")]
    assert texts == [{0: "he"}, {0: "llo"}]
    ticket.feed(chunk(None, "stop"))
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    ticket.feed({**chunk(None), "choices": [], "usage": usage})
    ticket.feed("[DONE]")
    charge = ticket.settle()
    assert (charge.state, charge.settled) == ("settled", Money("0.00012"))


def test_a_fed_stream_that_was_cut_is_presumed(tickets: Tickets) -> None:
    """A usage that came before the end is that of a part."""
    ticket = tickets.open("acme", {**BODY, "stream": True})
    ticket.feed(chunk("he", usage={"prompt_tokens": 100, "completion_tokens": 1}))
    charge = ticket.settle()
    assert (charge.state, charge.settled) == ("presumed", ticket.hold)
    assert "before the reply did" in charge.note
    with pytest.raises(InvalidUsage, match="settle by"):
        tickets.open("acme", BODY).settle()


def broken(ticket: Ticket) -> None:
    """Leave a block by the loss of the connection."""
    with pytest.raises(ConnectionError), ticket:
        raise ConnectionError


CUTS: dict[str, Callable[[Ticket], object]] = {
    "left": leave,
    "left by an error": broken,
    "presumed": lambda t: t.presume("cable cut"),
    "failed": lambda t: t.fail(500),
}


@pytest.mark.parametrize("cut", CUTS)
def test_what_a_cut_streams_usage_costs_is_spent_at_least(tickets: Tickets, cut: str) -> None:
    """A soft hold is less than what was counted already; the counters stay with the settlement."""
    ticket = tickets.open("acme", {**BODY, "stream": True}, policy=Soft())
    counted = {"prompt_tokens": 5000, "completion_tokens": 4000, "dream_tokens": 5}
    ticket.feed(chunk("he", usage=counted))
    CUTS[cut](ticket)
    assert ticket.hold < Money("0.013")
    assert state(tickets, ticket) == ("presumed", Money("0.013"))
    details = read_details(tickets.ledger.reservation(ticket.key).details)
    assert details.pop("note")
    assert details == {
        "model": "m",
        "request_id": "chatcmpl-1",
        "usage": {"input_tokens": 5000, "output_tokens": 4000},
        "unknown": ["dream_tokens = 5"],
    }


def test_a_stream_cut_after_its_first_event_costs_its_input_at_least(tickets: Tickets) -> None:
    """The Messages API counts the input at the start, and no bill is made of that alone."""
    ticket = tickets.open("acme", {**BODY, "stream": True}, api="anthropic")
    usage = {"input_tokens": 90_000, "output_tokens": 1}
    ticket.feed({"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}})
    assert ticket.presume().settled == Money("0.090002")


def test_a_failure_says_what_was_counted_before_it(tickets: Tickets) -> None:
    """Its cost is not known, and is known to be so much; the headers name the request."""
    ticket = tickets.open("acme", {**BODY, "stream": True})
    ticket.feed(chunk("he", usage={"prompt_tokens": 5000, "completion_tokens": 4000}))
    failure = ticket.fail(500, {"X-Request-Id": "req_7"})
    assert (failure.billed, failure.cost) == ("unknown", None)
    assert (failure.known_cost, failure.model) == (Money("0.013"), "m")
    assert failure.usage == Usage.of(input_tokens=5000, output_tokens=4000)
    assert failure.charge.request_id == failure.request_id == "req_7"


def test_the_hold_outlives_the_process(open_store: Callable[[], Ledger]) -> None:
    """A ticket that nobody ended is there when the books are opened again."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["1 usd per day"])
    ticket = Tickets(ledger, "threads").open("acme", up_to="0.25")
    assert open_store().reservation(ticket.key).state == "open"
