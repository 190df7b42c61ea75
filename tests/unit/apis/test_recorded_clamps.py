"""A guard with little left sends the requests of real clients on with a lower limit, or not."""

from typing import Final

import pytest

from earmark.admission.guard import Guard
from earmark.admission.ticket import Ticket
from earmark.errors import BudgetExceeded, Reason
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.stores.open import open_ledger
from support.recorded_requests import Recorded, recorded_requests

#: A token costs 1,000 nano-USD in and 5,000 out, whatever becomes of it.
_PRICES: Final = {
    "input_mtok": "1",
    "cache_write_mtok": "1",
    "cache_write_1h_mtok": "1",
    "output_mtok": "5",
}
_REQUESTS: Final = {request.name: request for request in recorded_requests()}
_BOOK: Final = PriceBook({f"{each.provider}/{each.model}": _PRICES for each in _REQUESTS.values()})
#: Clients that ask for more than a small budget has, and where their limit stands.
CLAMPED: Final = {
    "claude-code 1": "max_tokens",
    "claude-code 2": "max_tokens",
    "claude-code-interactive 2": "max_tokens",
    "codex 2": "max_output_tokens",
    "aider-chat 1": "max_completion_tokens",
    "aider-messages 1": "max_tokens",
    "llm-chat 1": "max_completion_tokens",
    "llm-messages 1": "max_tokens",
}


def _opened(ledger: Ledger, request: Recorded) -> Ticket:
    return Guard(ledger, book=_BOOK).open(
        "acme",
        request.body,
        api=request.api,
        provider=request.provider,
        model=request.model,
        headers=request.headers,
        default_max_tokens=8192,
        wait=None,
    )


def _whole(request: Recorded) -> Money:
    """Return what the request can cost as the client wrote it."""
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=["1000 usd total"])
        return _opened(ledger, request).hold


@pytest.mark.parametrize("name", CLAMPED)
def test_what_is_left_is_what_the_limit_is_lowered_to(name: str) -> None:
    """A nano-dollar short of 100 output tokens, 99 are asked for, and the rest is as it was."""
    request, member = _REQUESTS[name], CLAMPED[name]
    asked = request.body.get(member) or 8192
    left = _whole(request) - Money.nanos((asked - 100) * 5000 + 1)
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=[f"{left} usd total"])
        ticket = _opened(ledger, request)
        assert ticket.hold <= left
    assert ticket.clamped_to == 99
    assert ticket.body[member] == 99
    added = {member, "stream_options", "service_tier"}
    assert ticket.body.keys() - request.body.keys() <= added
    for untouched in request.body.keys() - added:
        assert ticket.body[untouched] == request.body[untouched]


def test_with_less_left_than_thinking_needs_nothing_is_sent() -> None:
    """Claude Code with a budget of 8,000 thinking tokens is clamped to 8,001, and no lower."""
    request = _REQUESTS["claude-code-thinking 1"]
    assert request.body["thinking"]["budget_tokens"] == 8000
    enough = _whole(request) - Money.nanos((32_000 - 8001) * 5000)
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=[f"{enough} usd total"])
        assert _opened(ledger, request).body["max_tokens"] == 8001
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=[f"{enough - Money.nanos(1)} usd total"])
        with pytest.raises(BudgetExceeded) as refused:
            _opened(ledger, request)
        assert refused.value.reason is Reason.TOO_LARGE
        assert [each.held for each in ledger.balances("acme")] == [Money()]
