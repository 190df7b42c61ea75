"""The most a call can cost, known before it."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.clock import from_datetime
from earmark.errors import BudgetExceeded, InvalidUsage, Reason
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import Bound, DeclaredBound, ModelBound
from earmark.pricing.price import Price, Tariff
from earmark.pricing.rates import Rate
from earmark.pricing.units import UNITS
from earmark.pricing.usage import Usage
from support.request_bounds import model_bound, read_request

AT = from_datetime(datetime(2026, 11, 22, 12, tzinfo=UTC))
BOOK = PriceBook(own={"own/m": {"input_mtok": "0.0123", "output_mtok": "0.0457"}})
#: No cache writes, as of a request without `cache_control`.
NO_WRITES = frozenset({"cache_write_tokens", "cache_write_1h_tokens"})
HELLO = [{"role": "user", "content": "hello"}]
CACHED = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        ],
    }
]
HEARD = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "…"}}]}]
SEEN = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "…"}}]}]

#: Model, tier asked for, messages and options; of every shape a price can have.
REQUESTS: dict[str, tuple[str, str | None, list[Any], dict[str, Any]]] = {
    "plain": ("anthropic/claude-sonnet-4-20250514", None, HELLO, {}),
    "tiered": ("anthropic/claude-sonnet-4-5", None, HELLO, {}),
    "one-hour cache": ("anthropic/claude-sonnet-4-5", None, CACHED, {}),
    "batch": ("anthropic/claude-haiku-5-5", "batch", CACHED, {}),
    "tiered google": ("google/gemini-2.5-pro", None, HELLO, {}),
    "audio in": ("google/gemini-2.5-flash", None, HEARD, {}),
    "image model": ("google/gemini-2.5-flash-image", None, SEEN, {"modalities": ["text"]}),
    "auto": ("openai/gpt-5", "auto", HELLO, {}),
    "flex": ("openai/gpt-5.6-sol", "flex", HELLO, {}),
    "audio both ways": ("openai/gpt-realtime", None, HEARD, {"modalities": ["text", "audio"]}),
    "fractions of a nano-dollar": ("own/m", None, HELLO, {}),
    "repeating decimals": ("openrouter/anthropic/claude-sonnet-4.5", None, HELLO, {}),
}


def _price(name: str) -> Price:
    model, tier, _, _ = REQUESTS[name]
    return BOOK.resolve(model, at=AT, tier=tier)


#: Kinds these requests cannot be billed in; any other that has a price, they can.
IMPOSSIBLE: dict[str, frozenset[str]] = {
    "plain": NO_WRITES,
    "tiered": NO_WRITES,
    "repeating decimals": frozenset({"cache_write_1h_tokens"}),
    "image model": frozenset({"output_image_tokens"}),
    "audio both ways": frozenset({"input_image_tokens", "cache_image_read_tokens"}),
}


@st.composite
def _within(draw: st.DrawFn, bound: ModelBound, impossible: frozenset[str]) -> Usage:
    """Any usage a provider could report for a call within *bound*."""
    tier = draw(st.sampled_from([*bound.price.allowed, ""]))
    rates = bound.price.rates(tier or bound.price.allowed[0])
    kinds = {rate.kind for rate in rates} - impossible
    counts = dict[str, int]()
    for direction, most in (
        ("input", bound.input_tokens),
        ("output", bound.max_output_tokens * bound.choices),
    ):
        left = draw(st.one_of(st.just(most), st.integers(0, most)))
        own = sorted(kind for kind in kinds if UNITS[kind].dimension("direction") == direction)
        for kind in draw(st.permutations(own)):
            count = left if kind == f"{direction}_tokens" else draw(st.integers(0, left))
            left -= count
            # A part is counted in each of its wholes.
            for whole in own:
                if UNITS[whole].includes(UNITS[kind]):
                    counts[whole] = counts.get(whole, 0) + count
    return Usage(counts, tier=tier)


@pytest.mark.parametrize("name", REQUESTS)
@given(data=st.data())
def test_no_usage_within_the_bound_costs_more_than_the_bound(
    name: str, data: st.DataObject
) -> None:
    """Whatever kinds and tier a provider bills, within the token bound it never passes the hold."""
    _, _, messages, options = REQUESTS[name]
    bound = model_bound(
        _price(name),
        messages,
        max_output_tokens=data.draw(st.integers(1, 100_000)),
        choices=data.draw(st.integers(1, 3)),
        options=options,
        extra_input_tokens=data.draw(st.integers(0, 500_000)),
    )
    usage = data.draw(_within(bound, IMPOSSIBLE.get(name, frozenset())))
    assert bound.price.cost(usage) <= bound.cost()
    assert usage.tokens <= bound.tokens()


@pytest.mark.parametrize("name", REQUESTS)
@given(available=st.integers(0, 10**10), most=st.integers(0, 10**6), choices=st.integers(1, 4))
def test_the_largest_output_is_the_last_that_fits(
    name: str, available: int, most: int, choices: int
) -> None:
    """One output token more than the largest would cost more than is available."""
    bound = ModelBound(
        price=_price(name), input_tokens=100_000, max_output_tokens=most, choices=choices
    )
    money = Money.nanos(available)
    largest = bound.largest_output(money)
    assert largest == 0 or bound.cost(largest) <= money
    assert largest == most or bound.cost(largest + 1) > money


@given(first=st.integers(0, 10**6), more=st.integers(0, 10**6))
def test_a_longer_call_is_never_bounded_lower(first: int, more: int) -> None:
    """More input or output tokens never lower the bound, whatever the steps of the price."""
    for price in (_price("tiered"), _falling()):
        assert price.worst(first, 10) <= price.worst(first + more, 10)
        assert price.worst(10, first) <= price.worst(10, first + more)


def test_a_later_step_may_be_cheaper() -> None:
    """Where long calls are cheaper, the bound of a long one is that of the dearest shorter one."""
    price = _falling()
    assert price.worst(1000, 0) == price.cost(Usage.of(input_tokens=1000)) == Money("0.01")
    assert price.worst(1001, 0) == Money("0.01")
    assert price.cost(Usage.of(input_tokens=1001)) == Money("0.001001")
    assert price.worst(20_000, 0) == Money("0.02")


def _falling() -> Price:
    rates = (
        Rate("input_tokens", Decimal(10), ((1000, Decimal(1)),)),
        Rate("output_tokens", Decimal(1)),
    )
    return Price(provider="p", model="m", at=0, source="own", tariffs=(Tariff("standard", rates),))


def test_a_dearer_step_holds_above_its_start_only() -> None:
    """Sonnet 4.5 costs 3 USD per million up to 200,000 tokens; one more doubles the whole call."""
    at_march = from_datetime(datetime(2026, 3, 1, tzinfo=UTC))
    price = BOOK.resolve("anthropic/claude-sonnet-4-5", at=at_march)
    at_start = price.cost(Usage.of(input_tokens=200_000))
    above = price.cost(Usage.of(input_tokens=200_001))
    assert at_start == price.worst(200_000, 0, excluded=NO_WRITES) == Money("0.6")
    assert above == price.worst(200_001, 0, excluded=NO_WRITES) == Money("1.200006")


def test_the_bound_is_of_what_the_request_allows() -> None:
    """Cache writes and audio raise the bound where they are asked for, and only there."""
    claude = BOOK.resolve("anthropic/claude-sonnet-4-20250514", at=AT)

    def per_million(price: Price, messages: list[Any], **options: Any) -> Money:
        never = read_request(messages, options).excluded_kinds(price.provider)
        return price.worst(100_000, 0, excluded=never) * 10

    assert per_million(claude, HELLO) == Money(3)
    brief = [
        {"role": "user", "content": [{"type": "text", "cache_control": {"type": "ephemeral"}}]}
    ]
    assert per_million(claude, brief) == Money("3.75")
    assert per_million(claude, CACHED) == Money(6)
    assert per_million(
        claude, HELLO, tools=[{"name": "t", "cache_control": {"ttl": "1h"}}]
    ) == Money(6)
    words = [{"role": "user", "content": 'say "cache_control" and "1h"'}]
    assert per_million(claude, words) == Money(3)
    voice = BOOK.resolve("openai/gpt-realtime", at=AT)
    spoken, written = (
        voice.worst(
            0, 1000, excluded=read_request(HELLO, {"modalities": said}).excluded_kinds("openai")
        )
        for said in (["text", "audio"], ["text"])
    )
    assert (spoken, written) == (Money("0.064"), Money("0.016"))
    gemini = BOOK.resolve("google/gemini-2.5-flash", at=AT)
    assert per_million(gemini, HELLO) < per_million(gemini, HEARD)


def test_choices_multiply_the_output() -> None:
    """Three answers are bounded at three times the output of one, and one input."""
    price = BOOK.resolve("openai/gpt-4o", at=AT)
    one = ModelBound(price=price, input_tokens=0, max_output_tokens=1000)
    three = ModelBound(price=price, input_tokens=0, max_output_tokens=1000, choices=3)
    assert three.cost() == one.cost() * 3 == Money("0.03")
    assert three.tokens() == 3000
    assert three.largest_output(one.cost()) == 333


def test_nothing_is_bounded_at_a_price_it_does_not_have() -> None:
    """An embedding has no output price, a speech model no token price: refused, not 0."""
    embedding = BOOK.resolve("openai/text-embedding-3-small", at=AT)
    assert model_bound(embedding, HELLO, api="anthropic", max_output_tokens=0).cost() > Money(0)
    for model, output in (("openai/text-embedding-3-small", 1), ("openai/tts-1", 0)):
        price = BOOK.resolve(model, at=AT)
        with pytest.raises(BudgetExceeded) as refused:
            model_bound(price, HELLO, api="anthropic", max_output_tokens=output)
        assert refused.value.reason is Reason.UNPRICED


def test_what_is_billed_beside_tokens_needs_a_bound_too() -> None:
    """Searches are held at their maximum of uses; a fee per message, with none, is refused."""
    claude = BOOK.resolve("anthropic/claude-sonnet-4-20250514", at=AT)
    search = {"tools": [{"type": "web_search_20250305", "max_uses": 3}]}
    given_bound: Any = {"max_output_tokens": 1, "extra_input_tokens": 0, "api": "anthropic"}
    with_search = model_bound(claude, HELLO, options=search, **given_bound)
    assert with_search.fees == Usage.of(web_searches=3)
    assert with_search.cost() > Money("0.03")
    searched = Usage.of(input_tokens=9, output_tokens=1, web_searches=3)
    assert claude.cost(searched) <= with_search.cost()
    per_message = {"input_mtok": "1", "output_mtok": "1", "input_text_messages_kcount": "4"}
    book = PriceBook(own={"p/m": per_message})
    with pytest.raises(BudgetExceeded, match="input_text_messages"):
        model_bound(book.resolve("p/m", at=AT), HELLO, max_output_tokens=1)
    free_search = PriceBook(own={"p/m": {"input_mtok": "1", "output_mtok": "1"}})
    with pytest.raises(BudgetExceeded, match="web_searches"):
        model_bound(free_search.resolve("p/m", at=AT), HELLO, options=search, **given_bound)


def test_a_fee_per_request_is_in_bound_and_cost() -> None:
    """A price per request is paid once by every call, whatever it counts (B13)."""
    book = PriceBook(own={"p/m": {"input_mtok": "1", "output_mtok": "1", "requests_kcount": "5"}})
    price = book.resolve("p/m", at=AT)
    assert price.cost(Usage.of(input_tokens=1)) == Money("0.005001")
    assert model_bound(price, HELLO, api="anthropic", max_output_tokens=0).cost() > Money("0.005")


def test_a_cache_lifetime_without_a_price_is_refused() -> None:
    """A one-hour cache of a model that has no price for it is refused before the call."""
    book = PriceBook(own={"p/m": {"input_mtok": "1", "output_mtok": "1", "cache_write_mtok": "2"}})
    price = book.resolve("p/m", at=AT)
    with pytest.raises(BudgetExceeded, match="cache_write_1h_mtok"):
        model_bound(price, CACHED, max_output_tokens=1)


@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), True, None, "9", 10**13])
@pytest.mark.parametrize("name", ["input_tokens", "max_output_tokens", "choices"])
def test_absurd_bounds_are_refused(name: str, value: Any) -> None:
    """A bound of NaN, negative, fractional or astronomical tokens is no bound."""
    given_values: dict[str, Any] = {"input_tokens": 1, "max_output_tokens": 1, "choices": 1}
    with pytest.raises(InvalidUsage, match=name):
        ModelBound(price=_price("plain"), **{**given_values, name: value})


def test_a_request_without_a_choice_is_refused() -> None:
    """No choices would make every output free."""
    with pytest.raises(InvalidUsage, match="choices"):
        ModelBound(price=_price("plain"), input_tokens=1, max_output_tokens=1, choices=0)


def test_a_declared_bound_is_what_was_declared() -> None:
    """A declared cost has no output to lower."""
    bound: Bound = DeclaredBound(Money("0.05"), tokens=70)
    assert (bound.cost(), bound.tokens(), bound.max_output_tokens) == (Money("0.05"), 70, None)
    assert bound.largest_output(Money(1)) == 0
    assert DeclaredBound(Money(1)).tokens() is None


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_one_rounding_up(tokens_in: int, tokens_out: int) -> None:
    """A cost is the exact sum, rounded up to the next nano-dollar, once."""
    exact = tokens_in * Decimal("12.3") + tokens_out * Decimal("45.7")
    cost = _price("fractions of a nano-dollar").cost(
        Usage.of(input_tokens=tokens_in, output_tokens=tokens_out)
    )
    assert cost.in_nanos == math.ceil(exact)


def test_the_context_window_bounds_the_input() -> None:
    """A known context window caps the byte bound: the provider refuses more."""
    long = [{"role": "user", "content": "x" * 300_000}]
    price = BOOK.resolve("own/m", at=AT)
    for messages, minimum, most in ((long, 8192, 8192), (HELLO, 1, 300)):
        bound = model_bound(price, messages, max_output_tokens=1, context_window=8192)
        assert minimum <= bound.input_tokens <= most


def test_a_window_of_the_price_list_bounds_nothing() -> None:
    """Lists say 1,000,000 where a model takes 1,047,576: only the user's own is a bound (B21)."""
    long = [{"role": "user", "content": "x" * 300_000}]
    price = BOOK.resolve("openai/gpt-4o", at=AT)
    assert price.context_window == 128_000
    bound = model_bound(replace(price, provider="other"), long, max_output_tokens=1)
    assert bound.input_tokens >= 300_000


def test_tokens_of_unknown_contents_are_the_dearest() -> None:
    """An explicit bound beside plain text may be of audio: it is held at the dearest rate (B12)."""
    rates = {"input_mtok": "2.5", "output_mtok": "10", "input_audio_mtok": "40"}
    book = PriceBook(own={"openai/ear": {**rates, "output_audio_mtok": "80"}})
    price = book.resolve("openai/ear", at=AT)
    used = Usage.of(input_tokens=1010, input_audio_tokens=1000, output_tokens=20)
    for messages in (HELLO, HEARD):
        bound = model_bound(price, messages, max_output_tokens=20, extra_input_tokens=1000)
        assert bound.cost() >= price.cost(used) == Money("0.040225")
    spoken = {"modalities": ["text", "audio"]}
    bound = model_bound(price, HELLO, max_output_tokens=20, options=spoken)
    assert bound.cost() - bound.cost(0) == Money(Decimal(20 * 80) / 10**6)


def test_a_modality_without_a_price_is_refused() -> None:
    """A list without a rate for audio prices no request that holds or wants any (B12)."""
    price = BOOK.resolve("openai/gpt-4o-audio-preview", at=AT)
    options = {"modalities": ["text", "audio"]}
    heard: dict[str, Any] = {"extra_input_tokens": 1000, "options": {"modalities": ["text"]}}
    with pytest.raises(BudgetExceeded, match="input_audio_tokens"):
        model_bound(price, HEARD, max_output_tokens=20, **heard)
    with pytest.raises(BudgetExceeded, match="output_audio_tokens"):
        model_bound(price, HELLO, max_output_tokens=20, options=options)


def test_a_model_that_searches_by_itself_needs_a_declared_cost() -> None:
    """Its searches, citations and reasoning are billed beside the tokens of `max_tokens` (B13)."""
    for model in ("openai/gpt-4o-search-preview", "perplexity/sonar-deep-research"):
        with pytest.raises(BudgetExceeded, match="declared cost"):
            model_bound(BOOK.resolve(model, at=AT), HELLO, max_output_tokens=20)


def test_a_clamp_never_reaches_the_thinking_budget() -> None:
    """Below it the provider refuses the request: it waits, or is refused, instead (B18)."""
    price = BOOK.resolve("anthropic/claude-sonnet-4-5", at=AT)
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 4096}}
    bound = model_bound(price, HELLO, api="anthropic", options=thinking, max_output_tokens=8000)
    assert bound.largest_output(bound.cost(4097)) == 4097
    assert bound.largest_output(bound.cost(4096)) == 0
    assert bound.largest_output(Money("10")) == 8000
