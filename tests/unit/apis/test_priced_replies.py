"""Replies whose cost was once wrong, each with its right cost; ids are those of the fault list."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from earmark.apis.cost import cost
from earmark.apis.reply_cost import PricedRequest, ReplyCost, reply_cost
from earmark.apis.streams import open_stream
from earmark.clock import from_datetime, to_datetime
from earmark.money import Money
from earmark.pricing.book import PriceBook

AT = from_datetime(datetime(2026, 11, 22, tzinfo=UTC))
_SONNET = {
    "input_mtok": "3", "output_mtok": "15", "cache_write_mtok": "3.75",
    "cache_write_1h_mtok": "6", "cache_read_mtok": "0.3", "web_searches_kcount": "10",
}  # fmt: skip
_GROK = {
    "input_mtok": "0.2", "cache_read_mtok": "0.05", "output_mtok": "0.5",
    "social_searches_kcount": "5",
}  # fmt: skip
_SEARCH = {
    "input_mtok": "1", "output_mtok": "2", "web_searches_kcount": "10",
    "storage_searches_kcount": "2.5", "code_executions_kcount": "30",
}  # fmt: skip
_IMAGE = {"input_mtok": "2", "output_mtok": "12", "output_image_mtok": "120"}
_OWN = {
    **{f"{name}/sonnet": _SONNET for name in ("openrouter", "azure", "anthropic", "aws", "google")},
    "anthropic/opus": {"input_mtok": "5", "output_mtok": "25"},
    "x-ai/grok-tools": _GROK,
    "openai/gpt-search": _SEARCH,
    "openrouter/image": _IMAGE,
    "google/flash": {"input_mtok": "1", "output_mtok": "2", "web_searches_kcount": "14"},
    "openrouter/thinker": {"input_mtok": "0.1", "output_mtok": "0.4"},
}
#: The list's prices where a model of its name is asked for.
BOOK = PriceBook(own=_OWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A reply's usage, and what it costs."""

    fault: str
    model: str
    usage: dict[str, Any]
    cost: str
    api: str = "openai"
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    """More of the reply than its usage."""
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    """More of what was asked."""


def _tokens(input_tokens: int, output_tokens: int, **more: Any) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **more}


def _chat(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def _calls(kind: str, number: int) -> dict[str, Any]:
    return {"output": [{"type": kind, "id": str(n)} for n in range(number)]}


_COMPACTION = {"type": "compaction", **_tokens(180_000, 3500)}
_ITERATIONS = [_COMPACTION, {"type": "message", **_tokens(23_000, 1000)}]
_AN_HOUR = {"cache_lifetime": "1h"}
_QUERIES = {"groundingMetadata": {"webSearchQueries": ["a", "b", "a"]}}

CASES = [
    Case(
        fault="B5 an Anthropic reply of OpenRouter", model="openrouter/sonnet", api="anthropic",
        usage=_tokens(20, 5120, cache_creation_input_tokens=32435, cache_read_input_tokens=66360),
        cost="0.21839925",
    ),
    Case(
        fault="B6 deep research", model="perplexity/sonar-deep-research",
        usage=_chat(
            108, 3256, citation_tokens=7299, num_search_queries=74, reasoning_tokens=73248
        ),
        cost="0.630606",
    ),
    Case(
        fault="B7 cached tokens of xAI", model="x-ai/grok-4-fast",
        usage=_chat(
            700, 10, total_tokens=875, prompt_tokens_details={"cached_tokens": 600},
            completion_tokens_details={"reasoning_tokens": 165},
        ),
        cost="0.0001375",
    ),
    Case(
        fault="B7 images of the image API", model="openai/gpt-image-1.5", api="openai-responses",
        usage=_tokens(
            169, 4599, input_tokens_details={"text_tokens": 169, "image_tokens": 0},
            output_tokens_details={"text_tokens": 439, "image_tokens": 4160},
        ),
        cost="0.138355",
    ),
    Case(
        fault="B8 compaction", model="anthropic/opus", api="anthropic",
        usage=_tokens(23_000, 1000, iterations=_ITERATIONS), cost="1.1275",
    ),
    Case(
        fault="B9 images of chat", model="openrouter/image",
        usage=_chat(
            10, 1345, completion_tokens_details={"reasoning_tokens": 225, "image_tokens": 1120}
        ),
        cost="0.13712",
    ),
    Case(
        fault="B10 searches at Azure", model="azure/sonnet", api="openai-responses",
        usage=_tokens(1000, 700, web_search_requests=3), cost="0.0435",
    ),
    *(
        Case(
            fault=f"B10 searches of an Anthropic reply of {provider}", model=f"{provider}/sonnet",
            api="anthropic", usage=_tokens(1000, 700, server_tool_use={"web_search_requests": 3}),
            cost="0.0435",
        )
        for provider in ("google", "azure", "aws", "anthropic", "openrouter")
    ),
    Case(
        fault="B10 searches of X", model="x-ai/grok-tools", api="openai-responses",
        usage=_tokens(
            100_009, 9600, input_tokens_details={"cached_tokens": 9},
            server_side_tool_usage_details={"x_search_calls": 8, "web_search_calls": 0},
            num_server_side_tools_used=8, context_details={"input_tokens": 7622},
        ),
        cost="0.06480045",
    ),
    Case(
        fault="B10 searches of the Responses API", model="openai/gpt-search",
        api="openai-responses", usage=_tokens(3000, 2000), body=_calls("web_search_call", 4),
        cost="0.047",
    ),
    Case(
        fault="B10 searches of files", model="openai/gpt-search", api="openai-responses",
        usage=_tokens(3000, 2000), body=_calls("file_search_call", 4), cost="0.017",
    ),
    Case(
        fault="B10 runs of code", model="openai/gpt-search", api="openai-responses",
        usage=_tokens(3000, 2000), body=_calls("code_interpreter_call", 1), cost="0.037",
    ),
    Case(
        fault="C2 searches that only the report of the tools counts", model="openai/gpt-search",
        api="openai-responses", usage=_tokens(3000, 2000),
        body={
            **_calls("web_search_call", 1),
            "tool_usage": {"web_search": {"num_requests": 4}, "image_gen": {"input_tokens": 0}},
        },
        cost="0.047",
    ),
    Case(
        fault="C2 a shell of the caller", model="openai/gpt-search", api="openai-responses",
        usage=_tokens(3000, 2000),
        body={"output": [{"type": "shell_call", "environment": {"type": "local"}}]}, cost="0.007",
    ),
    Case(
        fault="C9 a search that failed", model="anthropic/sonnet", api="anthropic",
        usage=_tokens(9, 5),
        body={"content": [{"type": "web_search_tool_result", "content": {"error_code": "x"}}]},
        cost="0.000102",
    ),
    Case(
        fault="B10 queries of Gemini", model="google/flash", api="gemini",
        usage={"promptTokenCount": 400, "candidatesTokenCount": 200},
        body={"candidates": [_QUERIES]}, cost="0.0288",
    ),
    Case(
        fault="B11 a minute of speech at Mistral", model="mistral/voxtral-small-latest",
        # The total holds the tokens of the audio, which is billed by the second.
        usage=_chat(20, 50, total_tokens=1070, prompt_audio_seconds=60), cost="0.004022",
    ),
    Case(
        fault="B15 an hour was asked for", model="anthropic/sonnet", api="anthropic",
        usage=_tokens(4, 17, cache_creation_input_tokens=20_000), asked=_AN_HOUR, cost="0.120267",
    ),
    Case(
        fault="B16 a dated name costs more", model="openai/gpt-4o", usage=_chat(1000, 1000),
        body={"model": "gpt-4o-2024-05-13"}, cost="0.02",
    ),
    Case(
        fault="B19 OpenRouter's own bill", model="openrouter/thinker",
        usage=_chat(694, 3154, cost=0.00215798), asked={"host": "openrouter.ai"},
        cost="0.00215798",
    ),
    Case(
        fault="B19 the same from a foreign host", model="openrouter/thinker",
        usage=_chat(694, 3154, cost=0.00015798), asked={"host": "localhost:8080"},
        cost="0.001331",
    ),
    Case(
        fault="C1 a router's fee, from a host nobody knows", model="openrouter/thinker",
        usage=_chat(694, 3154, cost=5.0), cost="5",
    ),
    Case(
        fault="C1 an own key, from a host nobody knows", model="openrouter/thinker",
        usage=_chat(
            694, 3154, cost=0.1, is_byok=True, cost_details={"upstream_inference_cost": 5.0}
        ),
        cost="5.1",
    ),
    Case(
        fault="C1 an own key without the upstream's cost", model="openrouter/thinker",
        usage=_chat(694, 3154, cost=5.0, is_byok=True), asked={"host": "openrouter.ai"}, cost="5",
    ),
    Case(
        fault="C1 a total of Perplexity", model="perplexity/sonar",
        usage=_chat(9, 438, cost={"total_cost": 5.0}), cost="5",
    ),
    Case(
        fault="C1 ticks of xAI", model="x-ai/grok-4-fast",
        usage=_chat(700, 10, cost_in_usd_ticks=50_000_000_000), cost="5",
    ),
    Case(
        fault="B19 Perplexity's own bill", model="perplexity/sonar",
        usage=_chat(9, 438, cost={"request_cost": 0.005, "total_cost": 0.005447}),
        asked={"host": "api.perplexity.ai"}, cost="0.005447",
    ),
    Case(
        fault="B19 the same from another host", model="perplexity/sonar",
        usage=_chat(9, 438, cost={"request_cost": 0.005, "total_cost": 0.005447}),
        cost="0.012447",
    ),
    Case(
        fault="B25 audio tokens of a transcription", model="openai/gpt-4o-transcribe",
        api="openai-responses",
        usage=_tokens(
            120, 30, type="tokens", total_tokens=150,
            input_token_details={"text_tokens": 10, "audio_tokens": 110},
        ),
        cost="0.000985",
    ),
    Case(
        fault="B25 seconds of a transcription", model="openai/whisper-1", api="openai-responses",
        usage={"type": "duration", "seconds": 27}, cost="0.0027",
    ),
]  # fmt: skip


def cost_of(case: Case, body: dict[str, Any]) -> ReplyCost:
    """Return the cost of the case's reply, as *body* holds it."""
    provider, _, model = case.model.partition("/")
    price = BOOK.resolve(model, provider=provider, at=AT)
    asked = PricedRequest(price=price, book=BOOK, api=case.api, **case.asked)
    return reply_cost(body, asked)


@pytest.mark.parametrize("case", CASES, ids=[case.fault for case in CASES])
def test_a_reply_costs(case: Case) -> None:
    """Each counter at its own price, whoever answers and in whatever words it counts."""
    root = "usageMetadata" if case.api == "gemini" else "usage"
    found = cost_of(case, {root: case.usage, **case.body})
    assert (found.cost, found.unknown) == (Money(case.cost), ())


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not case.asked and "model" not in case.body],
    ids=lambda case: case.fault,
)
def test_a_reply_costs_the_same_without_naming_its_api(case: Case) -> None:
    """`earmark.cost` recognises the API by the names of the reply's counters."""
    root = "usageMetadata" if case.api == "gemini" else "usage"
    body = {root: case.usage, **case.body}
    assert cost(case.model, body=body, book=BOOK, at=to_datetime(AT)) == Money(case.cost)


_Streamed = tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any], str]
STREAMS: list[_Streamed] = [
    (
        "B8 compaction, streamed", "anthropic/opus", {}, _tokens(23_000, 1),
        _tokens(23_000, 1000, iterations=_ITERATIONS), "1.1275",
    ),
    (
        "B15 the start says an hour", "anthropic/sonnet", {},
        _tokens(4, 1, cache_creation={"ephemeral_1h_input_tokens": 100}),
        {"output_tokens": 17, "cache_creation_input_tokens": 20_000}, "0.120267",
    ),
    (
        "B15 the end repeats a count as 0", "anthropic/sonnet", {},
        _tokens(9000, 1, cache_read_input_tokens=5), _tokens(0, 16), "0.0272415",
    ),
    (
        "B15 an hour was asked for, streamed", "anthropic/sonnet", _AN_HOUR,
        _tokens(4, 1, cache_creation_input_tokens=20_000), {"output_tokens": 17}, "0.120267",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "model", "asked", "start", "end", "cost"), STREAMS, ids=[row[0] for row in STREAMS]
)
def test_a_streamed_message_costs(
    fault: str,
    model: str,
    asked: dict[str, Any],
    start: dict[str, Any],
    end: dict[str, Any],
    cost: str,
) -> None:
    """Of the start's count and the end's the larger, and what the end alone counts."""
    stream = open_stream("anthropic")
    stream.feed({"type": "message_start", "message": {"usage": start}})
    stream.feed({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end})
    stream.feed({"type": "message_stop"})
    case = Case(fault=fault, model=model, usage={}, cost=cost, api="anthropic", asked=asked)
    assert cost_of(case, stream.reply()).cost == Money(cost)


def test_inference_in_the_us_alone_is_known_to_cost_a_tenth_more() -> None:
    """The workspace's default asks for it where the request does not: the list has no such rate."""
    case = Case(fault="", model="anthropic/opus", usage={}, cost="", api="anthropic")
    found = cost_of(case, {"usage": _tokens(1_000_001, 40_000, inference_geo="us")})
    assert (found.cost, found.known) == (None, Money("6.6000055"))


_Unknown = tuple[str, str, str, dict[str, Any], dict[str, Any], str]
UNKNOWN: list[_Unknown] = [
    # Nobody lists what priority costs there: it was billed at the standard price.
    (
        "B11 a tier of Bedrock", "aws/amazon.nova-pro-v1:0", "bedrock-converse",
        {"inputTokens": 100, "outputTokens": 10}, {"serviceTier": {"type": "priority"}},
        "priority",
    ),
    # Dearer than the writes that live 30 minutes, and without a price in the list.
    (
        "B25 writes to the cache for 12 hours", "openai/gpt-5", "openai-responses",
        _tokens(
            9, 1, input_tokens_details={"cache_write_tokens_details": {"ttl_12h_tokens": 4}}
        ),
        {}, "ttl_12h_tokens",
    ),
    # Tokens of another model, whose price no reply says.
    *(
        (f"C2 an item: {item}", "openai/gpt-search", "openai-responses",
         _tokens(9, 1), {"output": [item]}, "output[0]")
        for item in (
            {"type": "image_generation_call", "result": "iVBO"}, {"type": "new_thing_call"},
            {"type": "shell_call", "environment": {"type": "container_reference"}},
            {"type": "shell_call"}, {"id": "x"},
        )
    ),
    (
        "searches of the dearer tool", "openai/gpt-search", "openai-responses", _tokens(9, 1),
        {"output": [{"type": "web_search_call"}],
         "tools": [{"type": "web_search_preview_2025_03_11"}]},
        "web_searches by web_search_preview",
    ),
    (
        "C2 tokens of another model", "openai/gpt-search", "openai-responses", _tokens(9, 1),
        {"tool_usage": {"image_gen": {"input_tokens": 5000, "output_tokens": 5000}}},
        "tool_usage.image_gen.input_tokens = 5000",
    ),
    *(
        (f"C3 grounding: {name} {value}", "google/flash", "gemini",
         {"promptTokenCount": 400, "candidatesTokenCount": 200},
         {"candidates": [{"groundingMetadata": {name: value}}]},
         f"candidates[0].groundingMetadata.{name}")
        for name, value in (
            ("groundingChunks", [{"maps": {"uri": "u"}}]),
            ("groundingChunks", [{"web": {"uri": "u"}}]),
            ("imageSearchQueries", ["x"]),
            ("googleMapsWidgetContextToken", "w"),
        )
    ),
    (
        "C9 an image of Gemini", "google/flash", "gemini",
        {"promptTokenCount": 400, "candidatesTokenCount": 200},
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png"}}]}}]},
        "inlineData",
    ),
    (
        "C9 an image of chat", "openrouter/image", "openai", _chat(10, 1345),
        {"choices": [{"message": {"images": [{"type": "image_url"}]}}]}, "message.images",
    ),
    (
        "rejected predictions beyond the completion", "openai/gpt-search", "openai",
        _chat(9, 5, completion_tokens_details={"rejected_prediction_tokens": 6}), {},
        "rejected_prediction_tokens = 6",
    ),
    *(
        (f"C9 a block: {kind}", "anthropic/sonnet", "anthropic", _tokens(9, 5),
         {"content": [{"type": kind, "content": [{"title": "t"}]}]}, f"content[0] ({kind})")
        for kind in (
            "web_search_tool_result", "code_execution_tool_result", "container_upload", "newest",
        )
    ),
    (
        "B8 an advisor's tokens", "anthropic/opus", "anthropic",
        _tokens(1, 1, iterations=[{"type": "advisor_message", "model": "o", **_tokens(5, 1)}]),
        {}, "advisor_message",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "model", "api", "usage", "body", "named"), UNKNOWN, ids=[row[0] for row in UNKNOWN]
)
def test_a_reply_without_a_known_price_is_no_cheaper_one(
    fault: str, model: str, api: str, usage: dict[str, Any], body: dict[str, Any], named: str
) -> None:
    """The cost is unknown, what is without a price is named, and the rest is priced."""
    case = Case(fault=fault, model=model, usage=usage, cost="0", api=api)
    root = "usageMetadata" if api == "gemini" else "usage"
    found = cost_of(case, {root: usage, **body})
    assert found.cost is None
    assert found.known
    assert named in found.note
