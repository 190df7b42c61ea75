"""What a reply says was billed: final of its provider's own host alone, exact to the nano."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import earmark
from earmark.apis.replies import read_reply
from earmark.apis.stated_bill import StatedBill
from earmark.clock import SystemClock
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from support.calls import ask, send
from support.stub_server import Scene, StubServer, completion

#: Of OpenRouter: the cost of a model that thinks, which no counter shows (faults B19).
OPENROUTER = '{"prompt_tokens": 694, "completion_tokens": 3154, "cost": 0.00215798}'
PERPLEXITY = (
    '{"prompt_tokens": 9, "completion_tokens": 431, "num_search_queries": 1, "cost":'
    ' {"input_tokens_cost": 0.000009, "request_cost": 0.005, "total_cost": 0.005447}}'
)
XAI = (
    '{"input_tokens": 9212, "output_tokens": 3417, "cost_in_usd_ticks": 318319000,'
    ' "server_side_tool_usage_details": {"x_search_calls": 3}}'
)


def bill(provider: str, usage: str, host: str) -> StatedBill | None:
    """Return what is read of a reply with this usage, from this host."""
    return read_reply({"usage": json.loads(usage)}, provider=provider, host=host).bill


@pytest.mark.parametrize(
    ("provider", "usage", "host", "expected"),
    [
        ("openrouter", OPENROUTER, "openrouter.ai", "0.00215798"),
        ("openrouter", OPENROUTER, "OpenRouter.ai:443", "0.00215798"),
        ("perplexity", PERPLEXITY, "api.perplexity.ai", "0.005447"),
        ("x-ai", XAI, "api.x.ai", "0.0318319"),
        ("x-ai", XAI, "us-east-1.api.x.ai", "0.0318319"),
        ("openai", OPENROUTER, "openrouter.ai", "0.00215798"),
        ("gw", PERPLEXITY, "api.perplexity.ai", "0.005447"),
        ("openai", XAI, "api.x.ai", "0.0318319"),
    ],
)
def test_what_a_provider_bills_is_read_from_its_own_host(
    provider: str, usage: str, host: str, expected: str
) -> None:
    """Credits, a total, ticks of 10^-10 USD: as the host writes them, whoever's price is named."""
    assert bill(provider, usage, host) == StatedBill(Money(expected), is_final=True)


@pytest.mark.parametrize("provider", ["openrouter", "openai", "gw"])
@pytest.mark.parametrize(
    "host",
    [
        *("", "localhost:8080", "gw.local", "api.openai.com", "api.x.ai"),
        *("openrouter.ai.evil.example", "not-openrouter.ai", "evil.example:openrouter.ai"),
    ],
)
def test_no_other_host_says_what_was_billed_in_the_end(provider: str, host: str) -> None:
    """A lying base URL, an unknown host, one that bills otherwise: it never lowers a cost."""
    for usage, stated in ((OPENROUTER, "0.00215798"), (PERPLEXITY, "0.005447")):
        assert bill(provider, usage, host) == StatedBill(Money(stated), is_final=False)
    unpriced = '{"prompt_tokens": 9, "completion_tokens": 431}'
    assert bill(provider, unpriced, host) is None


@pytest.mark.parametrize(
    ("usage", "cost"),
    [({"cost": 0.5}, "0.5"), ({"cost": {"total_cost": 0.5}}, "0.5"), ({"cost": 0}, "0.00011")],
)
def test_a_cost_that_is_stated_counts_where_it_is_more(usage: dict[str, Any], cost: str) -> None:
    """Of a gateway that no table knows, in a settlement and in `earmark.cost` alike."""
    book = PriceBook({"gw/m": {"input_mtok": "1", "output_mtok": "1"}})
    counted = {"prompt_tokens": 10, "completion_tokens": 100, **usage}
    body = {"model": "m", "choices": [{"message": {"content": "ok"}}], "usage": counted}
    assert earmark.cost("m", provider="gw", body=body, book=book) == Money(cost)
    with earmark.open("memory:") as ledger:
        ledger.set_budget("a", limits=["1 usd total"])
        ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
        ticket = earmark.Guard(ledger, book=book).open("a", ask, provider="gw", host="gw.local")
        charge = ticket.settle(body)
    assert (charge.state, charge.settled) == ("settled", Money(cost))
    assert ("was billed" in charge.note) == (cost == "0.5")


def test_an_own_key_at_openrouter_is_billed_upstream_too() -> None:
    """The upstream cost is added for an own key only: in other replies it repeats the cost."""
    upstream = '"cost": 0.0001, "cost_details": {"upstream_inference_cost": 0.0002265}'
    tokens = '"prompt_tokens": 480, "completion_tokens": 33'
    for flag, expected in (("true", "0.0003265"), ("false", "0.0001")):
        usage = f'{{{tokens}, "is_byok": {flag}, {upstream}}}'
        stated = bill("openrouter", usage, "openrouter.ai")
        assert stated == StatedBill(Money(expected), is_final=True)
    unsaid = f'{{{tokens}, "is_byok": true, "cost": 0, "cost_details": {{}}}}'
    assert bill("openrouter", unsaid, "openrouter.ai") == StatedBill(Money(), is_final=False)


@given(st.decimals(0, 1000, places=12) | st.decimals("0.000000001", 10, places=9))
def test_a_bill_is_exact(amount: Decimal) -> None:
    """A JSON number, a Decimal or a text: rounded up once, never through binary fractions."""
    expected = StatedBill(Money.ceil(amount), is_final=True)
    usage = f'{{"prompt_tokens": 1, "completion_tokens": 1, "cost": {amount:f}}}'
    assert bill("openrouter", usage, "openrouter.ai") == expected
    exact = {"usage": json.loads(usage, parse_float=Decimal)}
    assert read_reply(exact, provider="openrouter", host="openrouter.ai").bill == expected


@pytest.mark.parametrize(
    "cost", ["-0.1", "1e999999", "1e-999999", "NaN", '"free"', "1e9", "1" * 5000, "[1]", "true"]
)
@pytest.mark.parametrize("host", ["openrouter.ai", ""])
def test_a_bill_that_cannot_be_leaves_the_cost_unknown(cost: str, host: str) -> None:
    """Negative, absurd or no number: it is named, and nothing takes long to read."""
    usage: dict[str, Any] = {"prompt_tokens": 1, "completion_tokens": 1}
    usage["cost"] = Decimal(cost) if cost[0].isdigit() else json.loads(cost)
    reading = read_reply({"usage": usage}, provider="openrouter", host=host)
    assert (reading.bill, len(reading.unknown)) == (None, 1)
    assert "credible" in reading.unknown[0]


def test_a_server_at_another_base_url_cannot_lower_what_a_call_cost() -> None:
    """A call through the sender to a stub that says it billed nothing: its counters are priced."""
    book = PriceBook({"openrouter/m": {"input_mtok": "1", "output_mtok": "10"}})
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost": 0}
    with StubServer() as stub:
        stub.play(Scene(body=completion(usage)))
        provider = open_provider(
            "openrouter", api="openai", book=book, clock=SystemClock(), base_url=f"{stub.url}/v1"
        )
        reply = send(provider, ask("openrouter/m"))
    assert reply.cost == Money("0.0003")
