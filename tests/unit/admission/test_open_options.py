"""What `Guard.open` assumes where an option is left out."""

import pytest

import earmark
from earmark import Money

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
