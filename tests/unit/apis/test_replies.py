"""What replies cost: each API by its own table, and nothing that is counted is dropped."""

from decimal import Decimal
from typing import Any, get_args

import anthropic.types
import anthropic.types.beta
import openai.types
import openai.types.responses
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.apis import anthropic_messages, gemini, openai_chat, openai_responses
from earmark.apis.cost import cost
from earmark.apis.counters import CounterTable, larger_counts
from earmark.apis.replies import read_reply
from earmark.errors import InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook

_SONNET = {
    "input_mtok": "3",
    "output_mtok": "15",
    "cache_write_mtok": "3.75",
    "cache_write_1h_mtok": "6",
    "cache_read_mtok": "0.3",
    "web_searches_kcount": "10",
}
_OWN = {
    "openrouter/sonnet": _SONNET,
    "azure/sonnet": _SONNET,
    "anthropic/sonnet": _SONNET,
    "anthropic/opus": {"input_mtok": "5", "output_mtok": "25"},
    "perplexity/sonar-deep-research": {
        "input_mtok": "2",
        "output_mtok": "8",
        "output_reasoning_mtok": "3",
        "output_citation_mtok": "2",
        "web_searches_kcount": "5",
    },
    "x-ai/grok": {"input_mtok": "3", "output_mtok": "15", "cache_read_mtok": "0.75"},
    "x-ai/grok-tools": {
        "input_mtok": "3",
        "output_mtok": "15",
        "social_searches_kcount": "5",
    },
    "openai/gpt-image": {
        "input_mtok": "5",
        "output_mtok": "10",
        "output_image_mtok": "32",
    },
    "openrouter/image": {"input_mtok": "2", "output_mtok": "12", "output_image_mtok": "120"},
    "openai/gpt-search": {"input_mtok": "1", "output_mtok": "2", "web_searches_kcount": "10"},
    "google/flash": {"input_mtok": "1", "output_mtok": "2", "web_searches_kcount": "14"},
    "mistral/voxtral": {
        "input_mtok": "1",
        "output_mtok": "2",
        "audio_hours": "0.24",
        "input_audio_hours": "0.24",
    },
    "local/m": {"input_mtok": "1", "output_mtok": "2"},
}
BOOK = PriceBook(own=_OWN)


def _of(model: str, usage: dict[str, Any], api: str | None = None, **body: Any) -> Money:
    name = model.partition("/")[2]
    return cost(model, body={"model": name, "usage": usage, **body}, api=api, book=BOOK)


def test_an_anthropic_reply_of_another_provider_is_read_as_anthropic() -> None:
    """A provider whose other API comes first does not have its cache counters lost."""
    usage = {
        "input_tokens": 20,
        "cache_creation_input_tokens": 32435,
        "cache_read_input_tokens": 66360,
        "output_tokens": 5120,
    }
    for api in ("anthropic", None):
        assert _of("openrouter/sonnet", usage, api) == Money("0.21839925")


def test_perplexity_bills_reasoning_citations_and_searches() -> None:
    """Counters of one provider only are read whichever API the provider is configured with."""
    usage = {
        "prompt_tokens": 108,
        "completion_tokens": 3256,
        "citation_tokens": 7299,
        "num_search_queries": 74,
        "reasoning_tokens": 73248,
    }
    expected = Decimal(108 * 2 + 3256 * 8 + 7299 * 2 + 73248 * 3) / 10**6 + Decimal("0.37")
    for api in ("openai", None):
        assert _of("perplexity/sonar-deep-research", usage, api) == Money(expected)


def test_cached_and_reasoning_tokens_of_xai_are_read() -> None:
    """Its cached tokens are cheaper, its reasoning stands beside the output, as the total shows."""
    usage = {
        "prompt_tokens": 700,
        "completion_tokens": 10,
        "total_tokens": 875,
        "prompt_tokens_details": {"cached_tokens": 600},
        "completion_tokens_details": {"reasoning_tokens": 165},
    }
    expected = Decimal(100 * 3 + 600 * 75 // 100 + 175 * 15) / 10**6
    assert _of("x-ai/grok", usage) == Money(expected)


def test_generated_images_are_billed_as_images() -> None:
    """Image tokens of the image API and of chat have a price of their own."""
    usage = {
        "input_tokens": 169,
        "input_tokens_details": {"text_tokens": 169, "image_tokens": 0},
        "output_tokens": 439 + 4160,
        "output_tokens_details": {"text_tokens": 439, "image_tokens": 4160},
        "total_tokens": 169 + 439 + 4160,
    }
    expected = Decimal(169 * 5 + 439 * 10 + 4160 * 32) / 10**6
    assert _of("openai/gpt-image", usage) == Money(expected) == Money("0.138355")
    chat = {
        "prompt_tokens": 10,
        "completion_tokens": 1345,
        "completion_tokens_details": {"reasoning_tokens": 225, "image_tokens": 1120},
    }
    assert _of("openrouter/image", chat) == Money("0.13712")


def test_compaction_beside_the_totals_is_billed() -> None:
    """Iterations that the totals leave out count, at the price of the model that was asked."""
    message = {"type": "message", "input_tokens": 23_000, "output_tokens": 1000}
    compaction = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500}
    totals = {"input_tokens": 23_000, "output_tokens": 1000}
    usage = {**totals, "iterations": [compaction, message]}
    assert _of("anthropic/opus", usage) == Money("1.1275")
    assert _of("anthropic/opus", {**totals, "iterations": [message]}) == Money("0.14")


def test_searches_of_an_anthropic_reply_are_billed_at_every_provider() -> None:
    """Azure, like Anthropic itself, counts them in `server_tool_use`."""
    usage = {
        "input_tokens": 1000,
        "output_tokens": 700,
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
    }
    for provider in ("azure", "anthropic"):
        assert _of(f"{provider}/sonnet", usage) == Money("0.0435")


def test_tools_that_only_the_output_shows_are_billed() -> None:
    """Each call of a built-in tool is a fee: items of a response, queries of a grounded answer."""
    usage = {"input_tokens": 3000, "output_tokens": 2000, "total_tokens": 5000}
    output = [{"type": "web_search_call", "id": str(n)} for n in range(4)]
    assert _of("openai/gpt-search", usage, output=output) == Money("0.047")
    with pytest.raises(Exception, match="code_executions"):
        _of("openai/gpt-search", usage, output=[{"type": "code_interpreter_call"}])
    queries = {"webSearchQueries": ["a", "b", "a"]}
    body = {
        "usageMetadata": {"promptTokenCount": 400, "candidatesTokenCount": 200},
        "candidates": [{"groundingMetadata": queries}],
    }
    assert cost("google/flash", body=body, book=BOOK) == Money("0.0288")


def test_searches_of_xai_are_billed() -> None:
    """What its tools counted on the server is a fee each."""
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "num_server_side_tools_used": 8,
        "server_side_tool_usage_details": {"x_search_calls": 8, "web_search_calls": 0},
    }
    assert _of("x-ai/grok-tools", usage) == Money("0.0445")


def test_seconds_of_audio_are_billed() -> None:
    """Voxtral's seconds stand beside its tokens; a fraction of a second counts as one."""
    usage = {"prompt_tokens": 400, "completion_tokens": 10, "prompt_audio_seconds": 59.5}
    assert _of("mistral/voxtral", usage) == Money("0.00442")


def test_cache_writes_of_unknown_lifetime_are_the_dearer() -> None:
    """An hour was asked for, or some writes are known to live one: the rest is not cheaper."""
    body = {
        "usage": {"input_tokens": 4, "cache_creation_input_tokens": 20_000, "output_tokens": 17}
    }
    asked = read_reply(body, provider="anthropic", api="anthropic", cache_lifetime="1h")
    price = BOOK.resolve("anthropic/sonnet", at=0)
    assert price.cost(asked.usage) == Money("0.120267")
    body["usage"]["cache_creation"] = {"ephemeral_1h_input_tokens": 100}
    reading = read_reply(body, provider="anthropic", api="anthropic")
    assert price.cost(reading.usage) == Money("0.120267")


def test_of_two_counts_of_a_stream_the_larger_counts() -> None:
    """A last event that repeats a counter as 0 takes nothing back."""
    start = {"input_tokens": 9000, "cache_creation": {"ephemeral_1h_input_tokens": 5}}
    end = {"input_tokens": 0, "output_tokens": 16, "cache_creation": None}
    merged = larger_counts(start, end)
    assert merged == {**start, "output_tokens": 16}


@pytest.mark.parametrize(
    ("model", "usage", "api", "counter"),
    [
        (
            "local/m",
            {"prompt_tokens": 1, "completion_tokens": 1, "holograms": 3},
            None,
            "holograms",
        ),
        (
            "local/m",
            {"prompt_tokens": 1, "completion_tokens": 1, "extra": {"deep": [{"n": 2}]}},
            None,
            r"extra\.deep\[0\]\.n",
        ),
        (
            "openai/gpt-search",
            {
                "input_tokens": 9,
                "output_tokens": 1,
                "input_tokens_details": {"cache_write_tokens_details": {"ttl_12h_tokens": 4}},
            },
            None,
            "ttl_12h_tokens",
        ),
        (
            "azure/sonnet",
            {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 4},
            "openai-responses",
            "cache_read_input_tokens",
        ),
        (
            "anthropic/opus",
            {
                "input_tokens": 1,
                "output_tokens": 1,
                "iterations": [{"type": "advisor_message", "model": "other", "input_tokens": 5}],
            },
            None,
            "advisor_message of other",
        ),
    ],
)
def test_a_counter_that_no_table_knows_makes_the_cost_unknown(
    model: str, usage: dict[str, Any], api: str | None, counter: str
) -> None:
    """What is counted and not priced is named in the refusal, never taken for nothing."""
    with pytest.raises(InvalidUsage, match=counter):
        _of(model, usage, api)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers(0, 10**6) | st.floats(0, 1e6) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_nothing_that_counts_is_dropped(more: dict[str, Any]) -> None:
    """Whatever a reply counts beside the known counters: it is named, or it counts nothing."""
    base = {"prompt_tokens": 5, "completion_tokens": 7}
    more = {f"x{key}": value for key, value in more.items()}
    reading = read_reply({"usage": {**base, **more}}, provider="local", api="openai")
    assert dict(reading.usage.counts) == {"input_tokens": 5, "output_tokens": 7}
    assert bool(reading.unknown) == any(map(_counts, more.values()))


def _counts(value: object) -> bool:
    """Whether a value holds a number that is not 0, the slow way."""
    if isinstance(value, dict):
        return any(map(_counts, value.values()))
    if isinstance(value, list):
        return any(map(_counts, value))
    if isinstance(value, str):
        try:
            return float(value) not in (0, float("inf"), float("-inf")) and "e" not in value.lower()
        except ValueError:
            return False
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0


_TYPES: list[tuple[type[pydantic.BaseModel], CounterTable]] = [
    (openai.types.CompletionUsage, openai_chat.COUNTERS),
    (openai.types.create_embedding_response.Usage, openai_chat.COUNTERS),
    (openai.types.responses.ResponseUsage, openai_responses.COUNTERS),
    (anthropic.types.Usage, anthropic_messages.COUNTERS),
    (anthropic.types.MessageDeltaUsage, anthropic_messages.COUNTERS),
    (anthropic.types.beta.BetaUsage, anthropic_messages.COUNTERS),
    (anthropic.types.beta.BetaMessageDeltaUsage, anthropic_messages.COUNTERS),
]
#: Counters that are left out of a table on purpose: no price list has a rate of their own.
_WITHOUT_A_PRICE = {"input_tokens_details.cache_write_tokens_details.ttl_12h_tokens"}


@pytest.mark.parametrize(("model", "table"), _TYPES, ids=[kind.__module__ for kind, _ in _TYPES])
def test_every_counter_of_the_sdks_stands_in_a_table(
    model: type[pydantic.BaseModel], table: CounterTable
) -> None:
    """Each number in the usage types of the current SDKs is a row of the table of its API."""
    missing = {
        path
        for path in _numbers(model, "")
        if path not in table.counters and path not in _WITHOUT_A_PRICE
    }
    assert missing == set()


def _numbers(model: type[pydantic.BaseModel], above: str) -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        inner = [field.annotation, *_inner(field.annotation)]
        if any(each in {int, float} for each in inner):
            found.add(path)
        for each in inner:
            if isinstance(each, type) and issubclass(each, pydantic.BaseModel):
                found |= {path} if name == "iterations" else _numbers(each, f"{path}.")
    return found


def _inner(annotation: object) -> list[Any]:
    args = list(get_args(annotation))
    return args + [one for arg in args for one in _inner(arg)]


def test_every_kind_in_the_tables_is_a_unit() -> None:
    """A row adds to units that a price can be given for."""
    from earmark.pricing.units import UNITS

    for module in (openai_chat, openai_responses, anthropic_messages, gemini):
        rows = [module.COUNTERS.counters, *module.PROVIDERS.values()]
        for row in (one for table in rows for one in table.values()):
            assert set(row.kinds) <= UNITS.keys()
