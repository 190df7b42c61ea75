"""What a stream produced counts where the outcome is unknown, and against its reply's usage."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from earmark.admission.policy import Elastic, Policy, Soft, Strict
from earmark.admission.quantile import MIN_REPLIES, PRIOR_TOKENS
from earmark.admission.ticket import Ticket
from earmark.apis.stream_parts import PART_TOKENS
from earmark.errors import BudgetExceeded, InvalidUsage, KeyReused, ReservationClosed
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.cancelling import all_committed
from support.ledger_books import check_books
from support.tickets import BODY, Tickets, completion


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands."""
    return ManualClock()


@pytest.fixture(params=["threads", "tasks"])
def tickets(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Tickets]:
    """A guard of threads, or of tasks, with one dollar a day."""
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        opened = Tickets(ledger, request.param)
        yield opened
        opened.close()
        check_books(ledger)


def long_call(tickets: Tickets, policy: Policy) -> tuple[Ticket, Money]:
    """Open a stream of up to 16,000 tokens; return it with the most its input costs."""
    body = {**BODY, "max_tokens": 16_000, "stream": True}
    in_full = tickets.open("acme", body)
    in_full.release()
    return tickets.open("acme", body, policy=policy), in_full.hold - Money("0.032")


UNKNOWN_ENDS: dict[str, Callable[[Ticket], Any]] = {
    "presumed": lambda t: t.presume("cable cut"),
    "left": lambda t: t.__exit__(None, None, None),
    "loop closed": lambda t: t.__exit__(GeneratorExit, GeneratorExit(), None),
    "failed": lambda t: t.fail(500),
    "no usage": lambda t: t.settle(completion()),
}


@pytest.mark.parametrize("end", UNKNOWN_ENDS)
def test_what_was_produced_is_spent_at_least(tickets: Tickets, end: str) -> None:
    """However the call ends unknown: a soft hold is what was expected, and less than it may be."""
    ticket, most_of_input = long_call(tickets, Soft())
    assert ticket.hold < Money("0.003")
    ticket.produced(10_000)
    ticket.produced(7)
    for _ in range(2):
        UNKNOWN_ENDS[end](ticket)
        asyncio.run(all_committed(tickets.ledger.as_async()))
        assert tickets.ledger.reservation(ticket.key).settled == most_of_input + Money("0.02")


def test_what_is_no_count_of_tokens_is_refused(tickets: Tickets) -> None:
    """A negative, broken or absurd count says what is wrong, and the ticket stays open."""
    ticket, most_of_input = long_call(tickets, Soft())
    wrong: list[Any] = [-1, 1.5, True, "7", None, 10**30]
    for tokens in wrong:
        with pytest.raises(InvalidUsage, match="tokens produced: it is a whole number"):
            ticket.produced(tokens)
    ticket.produced(10_000)
    ticket.presume("cable cut")
    assert tickets.ledger.reservation(ticket.key).settled == most_of_input + Money("0.02")


def test_what_was_produced_beyond_the_limit_or_the_deadline_is_spent_too(
    tickets: Tickets, clock: ManualClock
) -> None:
    """Beyond its limit a provider cannot be held to it, beyond its deadline a hold cannot grow."""
    strict, most_of_input = long_call(tickets, Strict())
    strict.produced(50_000)
    assert strict.presume().settled == most_of_input + Money("0.1")
    two = tickets.open("acme", {**BODY, "n": 2})
    two.produced(5000)
    assert two.presume().settled == two.hold + Money("0.006")
    late, _ = long_call(tickets, Elastic())
    clock.advance(timedelta(hours=2))
    with pytest.raises(ReservationClosed):
        late.produced(3000)
    assert late.presume().settled == most_of_input + Money("0.006")


@pytest.mark.parametrize(
    ("produced", "counted", "booked"),
    [(64, 1, "settled"), (65, 1, "presumed"), (400, 50, "settled"), (401, 50, "presumed")],
)
def test_a_usage_far_below_what_the_caller_counted_is_not_believed(
    tickets: Tickets, produced: int, counted: int, booked: str
) -> None:
    """Tokenizers differ, and bytes are up to six times the tokens; more than that is a doubt."""
    ticket = tickets.open("acme", BODY)
    ticket.produced(produced)
    reply = completion(prompt_tokens=9, completion_tokens=counted)
    for charge in (ticket.settle(reply), ticket.settle(reply)):
        assert charge.state == booked
        assert charge.settled == (ticket.hold if booked == "presumed" else charge.settled)
        assert (str(produced) in charge.note) == (booked == "presumed")
        assert charge.usage == Usage.of(input_tokens=9, output_tokens=counted)


def test_a_usage_that_is_not_believed_teaches_nothing(tickets: Tickets) -> None:
    """Holds would come to be as small as the usages of a server that counts too little."""
    for _ in range(MIN_REPLIES):
        ticket = tickets.open("acme", BODY)
        ticket.produced(65)
        ticket.settle(completion(prompt_tokens=9, completion_tokens=1))
    learned = tickets.guard._admission._quantiles
    assert learned.expected("test/m", "") == PRIOR_TOKENS


def test_what_is_produced_after_the_end_changes_nothing(tickets: Tickets) -> None:
    """Not even what an error says of the end."""
    ticket = tickets.open("acme", BODY)
    ticket.settle(completion(prompt_tokens=9, completion_tokens=50))
    ticket.produced(50_000)
    with pytest.raises(KeyReused, match=r"settled at 0\.000109"):
        ticket.settle("0.5")


def test_a_cost_in_usd_is_believed_whatever_was_produced(tickets: Tickets) -> None:
    """Who tells the cost knows it; who tells the counts has them from the reply."""
    ticket = tickets.open("acme", BODY)
    ticket.produced(50_000)
    assert ticket.settle("0.01").state == "settled"
    other = tickets.open("acme", BODY)
    other.produced(50_000)
    charge = other.settle(Usage.of(input_tokens=9, output_tokens=50))
    assert (charge.state, charge.settled) == ("presumed", other.hold + Money("0.098"))


#: Of 5000 bytes: runs of blanks are one token.
USAGE_OF_BLANKS = {"prompt_tokens": 100, "completion_tokens": 100}


def chunk(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one event of a Chat Completions stream."""
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "model": "m", "choices": choices, **more}


def test_a_fed_stream_counts_by_its_bytes_up_to_its_limit(tickets: Tickets) -> None:
    """A token may have six: a good reply is settled, and no elastic hold is exceeded by bytes."""
    text = "word " * 1000
    strict = tickets.open("acme", {**BODY, "stream": True})
    strict.feed(chunk(text))
    assert strict.presume().settled == strict.hold
    soft, most_of_input = long_call(tickets, Soft())
    soft.feed(chunk(text))
    tokens = len(text) + PART_TOKENS
    assert soft.presume().settled == most_of_input + Money.nanos(2000 * tokens)
    cut, _ = long_call(tickets, Elastic())
    tickets.ledger.set_budget("acme", limits=["0.003 usd per day"])
    with pytest.raises(BudgetExceeded):
        cut.feed(chunk(text))
    assert cut.presume().settled == cut.hold
    tickets.ledger.set_budget("acme", limits=["1 usd per day"])
    good, _ = long_call(tickets, Soft())
    good.feed(chunk(text, "stop"))
    good.feed({**chunk(None), "choices": [], "usage": USAGE_OF_BLANKS})
    assert good.settle().state == "settled"


def test_a_cut_stream_costs_at_least_what_it_had_counted_however_it_ends(tickets: Tickets) -> None:
    """An SDK's loop may end without an error where the connection was closed: it costs no less."""
    body = {**BODY, "model": "claude-sonnet-4-20250514", "max_tokens": 100, "stream": True}
    usage = {"input_tokens": 40_010, "output_tokens": 1}
    begun: dict[str, Any] = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "content": [],
        "usage": usage,
    }
    costs: list[Money] = []
    ends: list[Callable[[Ticket], Any]] = [
        lambda t: t.settle(),
        lambda t: t.presume("cut"),
        lambda t: t.__exit__(None, None, None),
    ]
    for end in ends:
        cut = tickets.open("acme", body, api="anthropic", provider="anthropic")
        cut.feed({"type": "message_start", "message": {**begun, "model": body["model"]}})
        end(cut)
        assert cut.charge is not None
        assert cut.charge.state == "presumed"
        costs.append(cut.charge.settled)
    assert costs == [costs[0]] * len(ends)
    assert costs[0] > Money("0.12")
