"""What `Guard.open` assumes where an option is left out."""

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
