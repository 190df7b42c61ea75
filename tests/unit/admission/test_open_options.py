"""What `Guard.open` assumes where an option is left out."""

import json

import pytest

import earmark
from earmark import Money
from earmark.admission.request import OpenOptions

HELLO = "hello"


@pytest.mark.parametrize(
    ("api", "body", "model"),
    [
        ("openai", {"model": "gpt-4o", "messages": [{"role": "user", "content": HELLO}]}, None),
        ("openai-responses", {"model": "gpt-5", "input": HELLO}, None),
        ("openai-embeddings", {"model": "text-embedding-3-small", "input": HELLO}, None),
        (
            "anthropic",
            {
                "model": "claude-sonnet-4-5",
                "messages": [{"role": "user", "content": HELLO}],
                "max_tokens": 100,
            },
            None,
        ),
        ("gemini", {"contents": [{"parts": [{"text": HELLO}]}]}, "gemini-2.5-flash"),
    ],
)
def test_the_maker_of_an_api_is_its_provider(
    api: str, body: dict[str, object], model: str | None
) -> None:
    """Its models are priced as theirs; no other provider has these names."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        with earmark.Guard(ledger).open("acme", body, api=api, model=model) as ticket:
            assert ticket.hold > Money()


CHAT = {"messages": [{"role": "user", "content": HELLO}], "max_tokens": 100}
CONTENTS = {"contents": [{"parts": [{"text": HELLO}]}]}
#: By the provider's name in the price list: a body of its API, and the API.
OF_PROVIDERS = {
    "anthropic": ({**CHAT, "model": "claude-sonnet-4-5"}, "anthropic"),
    "google": ({**CONTENTS, "model": "gemini-2.5-flash"}, "gemini"),
    "openai": ({**CHAT, "model": "gpt-4o"}, "openai"),
    "mistral": ({**CHAT, "model": "mistral-large-2512"}, "openai"),
}


@pytest.mark.parametrize("provider", OF_PROVIDERS)
def test_the_api_of_a_provider_is_its_own(provider: str) -> None:
    """A streamed body is left without the options of another maker's API."""
    body, api = OF_PROVIDERS[provider]
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        sent = body if api == "gemini" else {**body, "stream": True}
        opened = earmark.Guard(ledger).open("acme", sent, provider=provider, stream=True)
        with opened as ticket:
            labels = {"api": api, "provider": provider, "model": f"{provider}/{body['model']}"}
            assert json.loads(ticket.reservation.labels) == labels
            assert ("stream_options" in ticket.body) is (api == "openai")
            ticket.release()
    bounds = earmark.bound(body, provider=provider), earmark.bound(body, api=api, provider=provider)
    assert bounds[0] == bounds[1]


def test_a_pair_of_api_and_provider_stays_as_it_is_given() -> None:
    """Anthropic has an endpoint for Chat Completions."""
    body = {**CHAT, "model": "claude-sonnet-4-5"}
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger)
        with guard.open("acme", body, api="openai", provider="anthropic") as ticket:
            assert json.loads(ticket.reservation.labels)["api"] == "openai"
            ticket.release()


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ({**CHAT, "model": "claude-sonnet-4-5"}, "api='anthropic'"),
        ({**CHAT, "model": "claude-of-tomorrow", "thinking": {}}, "api='anthropic'"),
        ({**CONTENTS, "model": "gemini-2.5-flash"}, "api='gemini'"),
        ({**CHAT, "model": "mistral-large-2512"}, "provider='mistral'"),
    ],
)
def test_a_model_of_another_maker_asks_for_its_api(body: dict[str, object], meant: str) -> None:
    """It is not advised to price Claude as a model of OpenAI."""
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        with pytest.raises(earmark.BudgetExceeded, match=f"did you mean {meant}") as refused:
            earmark.Guard(ledger).open("acme", body)
    assert "PriceBook" not in str(refused.value)
    with pytest.raises(earmark.BudgetExceeded, match=f"did you mean {meant}"):
        earmark.bound(body)


def test_an_own_price_decides_whose_a_model_is() -> None:
    """A proxy's own `claude-proxied` under `openai` is asked as it was priced."""
    book = earmark.PriceBook({"openai/claude-proxied": {"input_mtok": "1", "output_mtok": "1"}})
    assert earmark.bound({**CHAT, "model": "claude-proxied"}, book=book).cost > Money()


def test_a_counted_input_holds_less_and_its_overrun_is_booked_in_full() -> None:
    """The count and its margin are held; a reply that counts more costs what it costs."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": HELLO * 1000}],
        "max_tokens": 100,
    }
    book = earmark.PriceBook({"p/m": {"input_mtok": "1", "output_mtok": "1"}})
    asked: OpenOptions = {"api": "anthropic", "provider": "p"}
    counted: OpenOptions = {**asked, "counted_input_tokens": 1000, "count_margin": "10 %"}
    usage = {"input_tokens": 1500, "output_tokens": 100}
    reply: dict[str, object] = {"type": "message", "model": "m", "content": [], "usage": usage}
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger, book=book)
        with guard.open("acme", body, **asked) as by_bytes:
            assert by_bytes.hold > Money("0.005")
            by_bytes.release()
        with guard.open("acme", body, **counted) as ticket:
            # And the bytes of `{"max_tokens":100}`, with a blank, which no endpoint counts.
            assert ticket.hold == Money("0.001219")
            charge = ticket.settle(reply)
        assert charge.settled == Money("0.0016")
        assert charge.overrun == Money("0.000381")
