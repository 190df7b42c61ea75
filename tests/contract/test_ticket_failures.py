"""How a ticket ends by an exception of the client that it was sent with."""

from collections.abc import Callable, Iterator

import httpx2
import pytest

from earmark.admission.ticket import Ticket
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import check_books
from support.tickets import BODY, Tickets


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
