"""A request's limit of output tokens: read, spliced in, and nothing else changed."""

import json
from typing import Any

import pytest

import earmark
from earmark.apis.bounds import bound_request
from earmark.apis.output_limit import with_output_limit
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook

PRICE = PriceBook(own={"p/m": {"input_mtok": "1", "output_mtok": "1000"}}).resolve("p/m", at=0)
HELLO = [{"role": "user", "content": "hello"}]
#: API, body, host, and the members that are changed or added.
SPLICED: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "chat, compatible": ("openai", {}, "127.0.0.1", {"max_tokens": 7}),
    "chat, OpenAI": (
        "openai",
        {},
        "eu.api.openai.com",
        {"max_completion_tokens": 7, "service_tier": "default"},
    ),
    "chat, OpenAI with a port and capitals": (
        "openai",
        {},
        "API.OpenAI.com:443",
        {"max_completion_tokens": 7, "service_tier": "default"},
    ),
    "chat, Azure": ("openai", {}, "x.openai.azure.com", {"max_completion_tokens": 7}),
    "chat, the name that was asked for": (
        "openai",
        {"max_tokens": 100, "service_tier": "flex"},
        "api.openai.com",
        {"max_tokens": 7},
    ),
    "chat, both names": (
        "openai",
        {"max_tokens": 100, "max_completion_tokens": 200},
        "",
        {"max_tokens": 7, "max_completion_tokens": 7},
    ),
    "chat, both names, one of them below": (
        "openai",
        {"max_tokens": 5, "max_completion_tokens": 200},
        "api.openai.com",
        {"max_completion_tokens": 7, "service_tier": "default"},
    ),
    "chat, a stream": (
        "openai",
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        "",
        {
            "stream_options": {"include_obfuscation": False, "include_usage": True},
            "max_tokens": 7,
        },
    ),
    "chat, null": ("openai", {"max_tokens": None}, "", {"max_tokens": 7}),
    "messages, Anthropic": (
        "anthropic",
        {"max_tokens": 128_000, "stream": True},
        "api.anthropic.com",
        {"max_tokens": 7, "service_tier": "standard_only"},
    ),
    "messages, compatible": ("anthropic", {"max_tokens": 128_000}, "", {"max_tokens": 7}),
}


@pytest.mark.parametrize("name", SPLICED)
def test_the_limit_is_spliced_in_and_nothing_else_changes(name: str) -> None:
    """Only the limit and what keeps the bound true are added; values and order stay (B17)."""
    api, more, host, changes = SPLICED[name]
    body = {"model": "m", "zulu": {"b": 1, "a": 2}, **more, "messages": HELLO}
    before = json.dumps(body)
    changed = with_output_limit(api, body, 7, host=host)
    assert json.dumps(body) == before
    assert changed == {**body, **changes}
    assert [key for key in changed if key in body] == list(body)


@pytest.mark.parametrize(
    ("api", "body", "asked", "choices"),
    [
        ("openai", {}, None, 1),
        ("openai", {"max_tokens": 100, "max_completion_tokens": 200, "n": 3}, 200, 3),
        ("openai", {"max_tokens": None, "n": None}, None, 1),
        ("anthropic", {"max_tokens": 0}, 0, 1),
    ],
)
def test_the_limit_a_request_asks_for(
    api: str, body: dict[str, Any], asked: int | None, choices: int
) -> None:
    """Of two limits the larger counts; without one the default does, for every choice."""
    reading = read_body(api, {"model": "m", "messages": HELLO, **body})
    assert (reading.max_output_tokens, reading.choices) == (asked, choices)
    bound = bound_request(reading, PRICE, default_max_tokens=50)
    tokens = 50 if asked is None else asked
    assert bound.max_output_tokens == tokens
    assert bound.cost() - bound.cost(0) == Money("0.001") * (tokens * choices)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"max_tokens": "100"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 0}, ": n is"),
        ({"n": 10**13}, ": n is"),
        ({"model": ""}, "names no model"),
        ({"model": 7}, "names no model"),
        ({"messages": "hello"}, "messages is no list"),
    ],
)
def test_a_number_that_is_none_is_refused(body: dict[str, Any], place: str) -> None:
    """What the bound is multiplied by is a whole number, and the model a name."""
    with pytest.raises(InvalidUsage, match=place):
        read_body("openai", {"model": "m", "messages": HELLO, **body})


@pytest.mark.parametrize("headers", [{}, {"anthropic-beta": "interleaved-thinking-2025-05-14"}])
def test_a_thinking_budget_that_passes_its_limit_has_no_bound(headers: dict[str, str]) -> None:
    """Interleaved thinking takes one, and what is thought is then not bounded by the limit."""
    thinking = {"type": "enabled", "budget_tokens": 4096}
    body = {"model": "claude-sonnet-4-5", "messages": HELLO, "thinking": thinking}
    for limit in (2048, 4096):
        with pytest.raises(BudgetExceeded, match="give a max_tokens above 4096"):
            earmark.bound({**body, "max_tokens": limit}, api="anthropic", headers=headers)
    bound = earmark.bound({**body, "max_tokens": 4097}, api="anthropic", headers=headers)
    assert bound.max_output_tokens == 4097


def test_the_default_is_above_a_thinking_budget() -> None:
    """At or below its thinking budget a request is certain to be refused by the provider (B18)."""
    thinking = {"type": "enabled", "budget_tokens": 4096}
    body = {"model": "m", "messages": HELLO, "thinking": thinking}
    bound = bound_request(read_body("anthropic", body), PRICE, default_max_tokens=1024)
    assert bound.max_output_tokens == 4096 + 1024
    assert bound.largest_output(bound.cost(4096)) == 0


def test_an_api_without_a_table_is_refused_by_name() -> None:
    """Nothing is bounded by the rules of another API."""
    with pytest.raises(InvalidUsage, match="'bedrock-converse' are not supported, only to openai"):
        read_body("bedrock-converse", {"model": "m"})


def test_an_option_outside_the_table_is_refused() -> None:
    """A body is read by the same allow-list as a model request."""
    with pytest.raises(BudgetExceeded, match="knob_of_tomorrow"):
        read_body("openai", {"model": "m", "messages": HELLO, "knob_of_tomorrow": 1})
    reading = read_body(
        "openai",
        {"model": "m", "messages": HELLO, "knob_of_tomorrow": 1},
        allowed={"knob_of_tomorrow"},
    )
    assert reading.model == "m"
