"""A provider's own count of a request: how it is asked for, and what it bounds."""

from collections.abc import Iterator
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any, Final, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earmark
from earmark import Money
from earmark.apis.api import APIS, request_table
from earmark.apis.bounds import SCHEMA_TOKENS, bound_request
from earmark.apis.count_margin import parse_margin
from earmark.apis.options import Option
from earmark.apis.provider_count import LEAST_MARGIN_TOKENS, add_margin
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from support.generated_requests import requests

COUNTED: Final = ("openai-responses", "anthropic", "gemini")
RATES: Final = {
    **dict.fromkeys(("input_mtok", "cache_write_mtok", "cache_write_1h_mtok"), "1"),
    **dict.fromkeys(("input_audio_mtok", "cache_audio_write_mtok"), "1"),
    **dict.fromkeys(("cache_audio_write_1h_mtok", "cache_audio_read_mtok"), "1"),
    **dict.fromkeys(("cache_read_mtok", "output_mtok", "output_audio_mtok"), "1"),
    **dict.fromkeys(("web_searches_kcount", "storage_searches_kcount"), "1"),
    "code_executions_kcount": "1",
}
BOOK: Final = PriceBook({"p/m": RATES})
PRICE: Final = BOOK.resolve("p/m", at=0)
ENGLISH: Final = "Name one planet. " * 200
USER: Final = [{"role": "user", "content": ENGLISH}]
TOOL: Final = {"name": "w", "input_schema": {"type": "object"}}


def bounded(api: str, body: dict[str, Any], count: int | None = None, **more: Any) -> ModelBound:
    """Return the bound of *body*, with what the provider counted, taken for exact."""
    reading = read_body(api, body, model="m", allowed=more.pop("allowed", ()))
    return bound_request(reading, PRICE, default_max_tokens=200, max_counted_tokens=count, **more)


# What is asked for --------------------------------------------------------------------------------


def test_the_count_is_asked_for_with_what_becomes_the_prompt() -> None:
    """Where, and with which of the request's options; the rest is not sent."""
    message = {"model": "c", "system": "s", "messages": USER, "max_tokens": 9, "stream": True}
    asked = earmark.count_request(message, api="anthropic")
    assert asked.path == "/v1/messages/count_tokens"
    assert asked.body == {"model": "c", "system": "s", "messages": USER}
    assert asked.tokens({"input_tokens": 14}) == 14

    response = {"model": "g", "input": "hi", "previous_response_id": "r", "max_output_tokens": 9}
    asked = earmark.count_request(response, api="openai-responses")
    assert asked.path == "/responses/input_tokens"
    assert asked.body == {"model": "g", "input": "hi"}
    assert asked.tokens({"object": "response.input_tokens", "input_tokens": 11}) == 11

    contents = [{"parts": [{"text": "hi"}]}]
    system = {"parts": [{"text": "s"}]}
    spelled = {"contents": contents, "system_instruction": system, "generationConfig": {}}
    asked = earmark.count_request(spelled, api="gemini", model="g")
    assert asked.path == "/v1beta/models/g:countTokens"
    inside = {"model": "models/g", "contents": contents, "system_instruction": system}
    assert asked.body == {"generateContentRequest": inside}
    assert asked.tokens({"totalTokens": 10}) == 10


def test_what_is_counted_is_what_was_given() -> None:
    """A list that grows afterwards is not sent; nothing of a prompt is shown."""
    messages = list(USER)
    asked = earmark.count_request({"model": "c", "messages": messages}, api="anthropic")
    messages.append({"role": "user", "content": "more"})
    assert asked.body["messages"] == USER
    assert "planet" not in repr(asked)


#: What the endpoints take and are not sent: it adds nothing to a prompt, or its count is not used.
NOT_SENT: Final = {
    "anthropic": {
        *("billing_policy", "user_profile_id", "workspace_id", "betas"),  # who is asked, and how
        *("cache_control", "speed"),  # at what price
        "compaction",  # ignored there
        "context_management",  # left out, what it clears is counted too
        "mcp_servers",  # their tools are not known before the call
    },
    "openai-responses": {
        *("conversation", "previous_response_id"),  # bounded by what the user gives for them
        "personality",  # no option of a response in its types
        "truncation",  # left out, what it drops is counted too
    },
}
PARAMS: Final = {
    "anthropic": (
        "anthropic.types.message_count_tokens_params.MessageCountTokensParams",
        "anthropic.types.beta.message_count_tokens_params.MessageCountTokensParams",
    ),
    "openai-responses": ("openai.types.responses.input_token_count_params.InputTokenCountParams",),
}


@pytest.mark.parametrize("api", PARAMS)
def test_every_parameter_of_the_sdks_count_is_sent_or_known_not_to_be(api: str) -> None:
    """And nothing is sent that the endpoint does not take."""
    endpoint = request_table(api).count
    assert endpoint is not None
    taken = {name for each in PARAMS[api] for name in get_type_hints(resolve_name(each))}
    assert taken == endpoint.options | NOT_SENT[api]
    assert endpoint.options.isdisjoint(NOT_SENT[api])


def test_the_sdks_read_the_same_member_of_the_answer() -> None:
    """The count is the member that the SDKs' own types name."""
    answers = "anthropic.types.MessageTokensCount", "openai.types.responses.InputTokenCountResponse"
    assert all("input_tokens" in resolve_name(each).model_fields for each in answers)


def _effects(row: Option, above: frozenset[int] = frozenset()) -> Iterator[str]:
    if id(row) in above:
        return
    yield row.effect
    inside = {**(row.fields or {}), **(row.kinds or {}), "": row.others}
    for each in filter(None, inside.values()):
        yield from _effects(each, above | {id(row)})


@pytest.mark.parametrize("api", COUNTED)
def test_no_text_of_a_prompt_is_outside_a_count(api: str) -> None:
    """Beside a count only JSON is bounded: no other option holds what a tokenizer counts."""
    table = request_table(api)
    assert table.count is not None
    assert table.count.options <= table.options.keys()
    others = [row for name, row in table.options.items() if name not in table.count.options]
    assert {"prompt", "tokens"}.isdisjoint(each for row in others for each in _effects(row))


@pytest.mark.parametrize("api", [each for each in APIS if each not in COUNTED])
def test_an_api_without_a_known_endpoint_is_refused_by_name(api: str) -> None:
    """With what bounds its requests instead."""
    table = APIS[api].request
    option = "messages" if table is None else table.messages
    asked: dict[str, Any] = {"messages": USER, "file": [{"seconds": 9}]}
    body = {"model": "m", option: asked.get(option, ENGLISH)}
    with pytest.raises(InvalidUsage, match=f"'{api}'"):
        earmark.count_request(body, api=api)
    if table is None or table.is_free or table.fixed_output is not None:
        return  # of a model without a known output nothing is bounded
    with pytest.raises(InvalidUsage, match=f"'{api}'.*earmark\\[tokenizers\\].*context_window"):
        earmark.bound(body, api=api, provider="p", book=BOOK, counted_input_tokens=9)


def test_to_count_costs_nothing() -> None:
    """The request for a count, bounded as one of its own API, costs 0."""
    body = {"model": "m", "messages": USER, "max_tokens": 100}
    asked = earmark.count_request(body, api="anthropic")
    free = earmark.bound(asked.body, api="anthropic-count-tokens", provider="p", book=BOOK)
    assert free.cost == Money()


# What it bounds -----------------------------------------------------------------------------------


def test_a_count_holds_a_quarter_of_what_bytes_hold() -> None:
    """Of English: 800 tokens and their margin, in place of 3,400 bytes and a template."""
    body = {"model": "m", "messages": USER, "max_tokens": 100}
    options: Any = {"api": "anthropic", "provider": "p", "book": BOOK}
    by_bytes = earmark.bound(body, **options)
    # The bytes of the model's name are in the count; those of the limit are not.
    beside = len('{"max_tokens":100}') + 1
    counted = earmark.bound(body, **options, counted_input_tokens=800)
    assert counted.input_tokens == 800 + LEAST_MARGIN_TOKENS + beside
    assert counted.cost == Money.nanos(1000 * (counted.input_tokens + 100))
    assert by_bytes.input_tokens > 4 * counted.input_tokens
    exact = earmark.bound(body, **options, counted_input_tokens=800, count_margin="0 %")
    assert exact.input_tokens == 800 + beside
    wider = earmark.bound(body, **options, counted_input_tokens=800, count_margin="12.5%")
    assert wider.input_tokens == 900 + beside


@pytest.mark.parametrize("api", COUNTED)
@given(data=st.data())
@settings(max_examples=60)
def test_a_bound_with_a_count_is_no_less_than_it_and_no_more_than_by_bytes(
    api: str, data: st.DataObject
) -> None:
    """Whatever the request holds; its output, its fees and what it can be billed in stay."""
    body = data.draw(requests(api), label="request")
    extra = 10**6
    try:
        by_bytes = bounded(api, body, extra_input_tokens=extra)
    except (BudgetExceeded, InvalidUsage):
        return
    count = data.draw(st.integers(1, 2 * by_bytes.input_tokens - extra), label="count")
    by_count = bounded(api, body, count, extra_input_tokens=extra)
    assert min(count + extra, by_bytes.input_tokens) <= by_count.input_tokens
    assert by_count.input_tokens <= by_bytes.input_tokens
    assert replace(by_count, input_tokens=by_bytes.input_tokens) == by_bytes


@pytest.mark.parametrize(
    ("api", "option", "value", "hidden"),
    [
        ("anthropic", "output_format", {"type": "json_schema", "schema": {"k": 1}}, SCHEMA_TOKENS),
        ("anthropic", "metadata", {"user_id": "x" * 300}, 0),
        ("anthropic", "my_knob", "x" * 300, 0),
        ("openai-responses", "metadata", {"k": "x" * 300}, 0),
        (
            "gemini",
            "generationConfig",
            {"responseSchema": {"type": "OBJECT", "title": "x" * 300}},
            SCHEMA_TOKENS,
        ),
    ],
)
def test_what_a_count_does_not_hold_is_bounded_by_bytes_beside_it(
    api: str, option: str, value: Any, hidden: int
) -> None:
    """A small count does not shrink an option that the endpoint does not read."""
    asked: Any = {"anthropic": USER, "gemini": [{"parts": [{"text": ENGLISH}]}]}
    body = {"model": "m", request_table(api).messages: asked.get(api, ENGLISH)}
    without = bounded(api, body, 10)
    beside = bounded(api, {**body, option: value}, 10, allowed={"my_knob"})
    minimum = len(str(value)) - len(str(value).replace("x", ""))
    grown = beside.input_tokens - without.input_tokens
    assert grown >= max(minimum, 1) + hidden
    whole = bounded(api, {**body, option: value}, allowed={"my_knob"}).input_tokens
    assert grown <= whole - bounded(api, body).input_tokens


def test_tools_are_in_the_count() -> None:
    """Their hidden prompt too: the endpoint counts what the model reads."""
    body = {"model": "m", "messages": USER}
    with_tools = {**body, "tools": [TOOL] * 20}
    assert bounded("anthropic", with_tools, 900) == bounded("anthropic", body, 900)


def test_rounds_after_the_first_are_held_by_bytes() -> None:
    """Anthropic and OpenAI count the first sampling of a server tool, and no other."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    body = {"model": "m", "messages": USER, "tools": [search], "max_tokens": 50}
    by_bytes = bounded("anthropic", body, extra_input_tokens=1000)
    by_count = bounded("anthropic", body, 800, extra_input_tokens=1000)
    first = (by_bytes.input_tokens - 1000 - 3 * 50) // 4
    saved = by_bytes.input_tokens - by_count.input_tokens
    assert first > 3400
    assert 0 < saved <= first - 800


def test_a_count_does_not_stand_for_what_cannot_be_counted() -> None:
    """An image needs its own bound, also where the endpoint would count it."""
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [image]}]}
    with pytest.raises(BudgetExceeded, match="give extra_input_tokens"):
        bounded("anthropic", body, 1600)


# The margin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "margin", "most"),
    [
        (1, "2 %", 33),
        (1600, "2 %", 1632),
        (1601, "2 %", 1634),
        (1650, "2%", 1683),
        (1651, "2%", 1685),
        (100_000, "0.0001 %", 100_032),
        (7, "0 %", 7),
        (7, "0.0 %", 7),
        (1000, "100 %", 2000),
    ],
)
def test_a_margin_is_rounded_up_and_32_tokens_at_least(count: int, margin: str, most: int) -> None:
    """A share alone would be nothing on a short request; 0 takes the count for exact."""
    assert add_margin(count, parse_margin(margin)) == most


@pytest.mark.parametrize(
    "margin", ["-1 %", "101 %", "100.5 %", "2", "", "2 %\n", "two %", 0.02, None]
)
def test_a_margin_that_is_no_share_is_refused(margin: Any) -> None:
    """Also where there is no count: a mistake is not found by the first count."""
    body = {"model": "m", "messages": USER}
    with pytest.raises(InvalidUsage, match="the margin is"):
        earmark.bound(body, api="anthropic", provider="p", book=BOOK, count_margin=margin)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "9", 10**13, float("nan")])
def test_a_count_that_is_none_is_refused(count: Any) -> None:
    """Given, or in a provider's answer: a prompt has one token at least."""
    body = {"model": "m", "messages": USER}
    with pytest.raises(InvalidUsage, match="counted_input_tokens is"):
        earmark.bound(body, api="anthropic", provider="p", book=BOOK, counted_input_tokens=count)
    asked = earmark.count_request(body, api="anthropic")
    for answer in ({"input_tokens": count}, {}, {"totalTokens": 5}):
        with pytest.raises(InvalidUsage, match="input_tokens is"):
            asked.tokens(answer)
