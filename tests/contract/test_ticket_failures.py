"""How a ticket ends by an exception of the client that it was sent with."""

from collections.abc import Callable, Iterator

import httpx2
import pytest

from earmark.admission.ticket import Ticket
from earmark.ledger.details import read_details, remarks
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import check_books
from support.tickets import BODY, Tickets, completion


@pytest.fixture(params=["threads", "tasks"])
def tickets(request: pytest.FixtureRequest, url: str, clock: ManualClock) -> Iterator[Tickets]:
    """A guard of threads, or of tasks, on books with one dollar a day."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        opened = Tickets(ledger, request.param)
        yield opened
        opened.close()
        check_books(ledger)


def test_an_exception_is_told_by_its_type_alone(tickets: Tickets) -> None:
    """Its text may hold a prompt or a key; the failure is to be raised and says what it means."""
    unreached = tickets.open("acme", BODY).fail(httpx2.ConnectError("sk-secret"))
    assert (unreached.billed, unreached.retryable) == ("no", True)
    assert "cannot be reached (ConnectError)" in str(unreached)
    raised = tickets.open("acme", BODY).fail(RuntimeError("sk-secret"))
    assert (raised.billed, raised.status) == ("unknown", None)
    assert "raised RuntimeError" in str(raised)
    assert "secret" not in repr((unreached, raised))


def test_the_note_has_the_type_of_the_cause_and_none_of_its_words(tickets: Tickets) -> None:
    """`APIConnectionError` alone says nothing of what happened to the connection."""
    ticket, block = tickets.open("acme", BODY), tickets.open("acme", BODY)
    error = LookupError("sk-prompt")
    error.__cause__ = httpx2.ReadError("sk-secret")
    with pytest.raises(LookupError), block:
        raise error
    failure = ticket.fail(error)
    assert str(failure).endswith("a call of provider 'test' raised LookupError from ReadError")
    notes = [tickets.ledger.reservation(each.key).details for each in (ticket, block)]
    assert ["LookupError from ReadError" in note for note in notes] == [True, True]
    assert "sk-" not in repr((notes, failure))


def test_a_second_provider_is_judged_by_its_own_call(tickets: Tickets) -> None:
    """Where the first one's failure is handled, the second one's ticket is opened and failed."""

    def lost_then_refused(second: Callable[[], Ticket]) -> str:
        try:
            raise httpx2.ReadError("lost")  # noqa: TRY301 - what is handled when a call is made
        except httpx2.ReadError:
            ticket = second()
            with pytest.raises(ConnectionRefusedError) as refused:
                raise ConnectionRefusedError from None
            return ticket.fail(refused.value).charge.state

    opened_before = tickets.open("acme", BODY)
    assert lost_then_refused(lambda: tickets.open("acme", BODY)) == "released"
    assert lost_then_refused(lambda: opened_before) == "presumed"


def _raise_in_its_block(ticket: Ticket) -> None:
    with pytest.raises(RuntimeError), ticket:
        raise RuntimeError("sk-secret")


def _leave_its_block(ticket: Ticket) -> None:
    with ticket:
        pass


WHY: dict[str, tuple[Callable[[Ticket], object], str]] = {
    "the program's own": (lambda t: t.presume("cable cut"), "cable cut"),
    "too long": (lambda t: t.presume("é\n" * 999), "é?" * 28 + "…"),
    "no text": (lambda t: t.presume(RuntimeError("sk-secret")), "a RuntimeError"),  # type: ignore[arg-type]
    "an HTTP error": (
        lambda t: t.fail(502, {}, {"error": {"type": "api_error", "message": "sk-secret"}}),
        "provider 'test' answered HTTP 502 (api_error)",
    ),
    "an exception": (
        lambda t: t.fail(httpx2.ReadError("sk-secret")),
        "a call of provider 'test' raised ReadError",
    ),
    "a block left by an exception": (_raise_in_its_block, "the call was ended by RuntimeError"),
    "a block left": (_leave_its_block, "the ticket's block ended without a settlement"),
    "a cut stream": (
        lambda t: (t.feed({"choices": [{"delta": {"content": "hi"}}]}), t.settle()),
        "the stream ended before the reply did",
    ),
    "a reply without a usage": (
        lambda t: t.settle(completion()),
        "the usage cannot be read: refused: the reply has no usage",
    ),
}


@pytest.mark.parametrize("ended", WHY)
def test_why_nobody_knows_the_cost_is_kept_until_somebody_does(
    tickets: Tickets, ended: str
) -> None:
    """With the settlement and in its entry, in words that hold nothing secret."""
    end, note = WHY[ended]
    ticket = tickets.open("acme", {**BODY, "stream": True})
    end(ticket)
    assert ticket.charge is not None
    found = tickets.ledger.reservation(ticket.key)
    last = tickets.ledger.entries(key=ticket.key)[-1]
    assert found.state == "presumed"
    assert read_details(found.details)["note"] == read_details(last.data)["note"] == note
    assert note in remarks(read_details(found.details))
    assert "note" not in read_details(tickets.ledger.settle(ticket.key, "0.1").details)
