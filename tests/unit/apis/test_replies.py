"""What replies cost: each API by its own table, and nothing that is counted is dropped."""

from collections.abc import Set as AbstractSet
from pkgutil import resolve_name
from typing import Any, get_args

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
from earmark.pricing.json_values import items, mapping

_OWN = {
    name: {"input_mtok": "1", "output_mtok": "2"}
    for name in ("local/m", "openai/gpt-search", "azure/sonnet", "anthropic/opus")
}
BOOK = PriceBook(own=_OWN)


def _of(model: str, usage: dict[str, Any], api: str | None = None, **body: Any) -> Money:
    name = model.partition("/")[2]
    return cost(model, body={"model": name, "usage": usage, **body}, api=api, book=BOOK)


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


@pytest.mark.parametrize(
    ("text", "is_counter"),
    [
        ("²", False),
        ("¹²³", False),
        ("1²", False),
        ("+-5", False),
        ("-", False),
        ("", False),
        ("1.2.3", False),
        ("0.00", False),
        ("-0", False),
        ("٣", True),
        (" 12 ", True),
        ("0\x1f", False),
        ("\xa012\v", True),
        ("+.5", True),
    ],
)
def test_a_text_counts_only_if_it_is_a_number(text: str, is_counter: bool) -> None:  # noqa: FBT001 - a column
    """Superscript digits are digits to Python and no number: no counter, and no crash."""
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "holograms": text}
    reading = read_reply({"usage": usage}, provider="local", api="openai")
    assert bool(reading.unknown) == is_counter


def test_the_name_of_an_unknown_counter_is_short() -> None:
    """Whatever a server calls its counter, the note that names it stays readable."""
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "x" * 10**6: 10**5000}
    reading = read_reply({"usage": usage}, provider="local", api="openai")
    assert [len(each) < 200 for each in reading.unknown] == [True]


def _counts(value: Any) -> bool:
    """Whether a value holds a number that is not 0, the slow way."""
    inner = [*mapping(value).values(), *items(value)]
    if inner:
        return any(map(_counts, inner))
    if isinstance(value, str):
        try:
            return float(value) not in (0, float("inf"), float("-inf")) and "e" not in value.lower()
        except ValueError:
            return False
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0


_TYPES: list[tuple[str, CounterTable]] = [
    ("openai.types.CompletionUsage", openai_chat.COUNTERS),
    ("openai.types.create_embedding_response.Usage", openai_chat.COUNTERS),
    ("openai.types.responses.ResponseUsage", openai_responses.COUNTERS),
    ("openai.types.images_response.Usage", openai_responses.COUNTERS),
    ("openai.types.audio.transcription.UsageTokens", openai_responses.COUNTERS),
    ("openai.types.audio.transcription.UsageDuration", openai_responses.COUNTERS),
    ("anthropic.types.Usage", anthropic_messages.COUNTERS),
    ("anthropic.types.MessageDeltaUsage", anthropic_messages.COUNTERS),
    ("anthropic.types.beta.BetaUsage", anthropic_messages.COUNTERS),
    ("anthropic.types.beta.BetaMessageDeltaUsage", anthropic_messages.COUNTERS),
]
#: Counters that are left out of a table on purpose: no price list has a rate of their own.
_WITHOUT_A_PRICE = {"input_tokens_details.cache_write_tokens_details.ttl_12h_tokens"}


@pytest.mark.parametrize(("model", "table"), _TYPES, ids=[name for name, _ in _TYPES])
def test_every_counter_of_the_sdks_stands_in_a_table(model: str, table: CounterTable) -> None:
    """Each number in the usage types of the current SDKs is a row of the table of its API."""
    assert _numbers(resolve_name(model), "") - table.counters.keys() - _WITHOUT_A_PRICE == set()


_CONTENT: list[tuple[str, AbstractSet[str]]] = [
    (
        "openai.types.responses.ResponseOutputItem",
        openai_responses.FREE_ITEMS
        | openai_responses.UNPRICED_ITEMS
        | openai_responses.BILLED_ITEMS.keys(),
    ),
    (
        "anthropic.types.beta.BetaContentBlock",
        anthropic_messages.FREE_BLOCKS | anthropic_messages.UNPRICED_BLOCKS,
    ),
    (
        "anthropic.types.ContentBlock",
        anthropic_messages.FREE_BLOCKS | anthropic_messages.UNPRICED_BLOCKS,
    ),
]


@pytest.mark.parametrize(("union", "listed"), _CONTENT, ids=["responses", "beta", "messages"])
def test_every_item_and_block_of_the_sdks_is_listed_with_what_it_costs(
    union: str, listed: set[str]
) -> None:
    """A newer SDK's type of content is looked up before it is taken for tokens alone."""
    models = [each for each in _inner(resolve_name(union)) if isinstance(each, type)]
    found = {
        name
        for model in models
        if issubclass(model, pydantic.BaseModel)
        for name in get_args(model.model_fields["type"].annotation)
    }
    assert len(found) > 10
    assert found - listed == set()


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
