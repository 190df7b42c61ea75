"""Looking prices up."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice, TimeOfDateConstraint

from earmark.apis.cost import cost
from earmark.apis.replies import read_reply
from earmark.clock import from_datetime
from earmark.errors import BudgetExceeded, InvalidConfig, InvalidUsage, Reason
from earmark.money import Money
from earmark.pricing.book import Price, PriceBook
from earmark.pricing.snapshot import rates
from earmark.pricing.usage import Usage, tier_name

AT = from_datetime(datetime(2026, 11, 22, 12, tzinfo=UTC))
BOOK = PriceBook()
LOCAL = {"local/smollm2-135m": {"input_mtok": "0.10", "output_mtok": "0.40"}}


def read_usage(body: dict[str, Any], *, provider: str, api: str | None = None) -> Usage:
    """Return what a reply reports, all of it known."""
    reading = read_reply(body, provider=provider, api=api)
    assert reading.unknown == ()
    return reading.usage


def _refused(book: PriceBook, model: str, **more: Any) -> str:
    with pytest.raises(BudgetExceeded) as refused:
        book.resolve(model, at=AT, **more)
    assert refused.value.reason is Reason.UNPRICED
    return str(refused.value)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-nonesuch", "openai"),
        ("openai/gpt-99", None),
        ("claude-opus-99", "anthropic"),
        ("gpt-4o", "nobody"),
        ("claude-sonnet-4-5", "my-anthropic-proxy"),
        ("smollm2-135m", None),
        ("", None),
        ("/", None),
    ],
)
def test_an_unknown_model_or_provider_is_refused(model: str, provider: str | None) -> None:
    """What nobody priced is refused as unpriced, never free; a likeness of names is no price."""
    sentence = _refused(BOOK, model, provider=provider)
    assert "earmark.PriceBook(" in sentence or "name its provider" in sentence


@pytest.mark.parametrize(
    ("model", "provider", "says"),
    [
        (
            "gpt-4o-mni",
            "openai",
            "model 'gpt-4o-mni' of 'openai': did you mean 'gpt-4o-mini'? Else",
        ),
        ("gtp-4o", None, "did you mean 'gpt-4o'? Else name its provider"),
        ("gpt-4o", "opneai", "provider 'opneai': did you mean 'openai'? Else"),
        ("nonesuch", "openai", "'nonesuch' of 'openai': give it one by"),
        ("x" * 10_000, "openai", "give it one by"),
    ],
)
def test_a_mistyped_model_or_provider_is_asked_about(
    model: str, provider: str | None, says: str
) -> None:
    """The nearest listed name is offered; what is no name is neither compared nor shown whole."""
    sentence = _refused(BOOK, model, provider=provider)
    assert says in sentence
    assert len(sentence) < 500


@pytest.mark.parametrize(
    "refuse",
    [
        lambda: cost("mine/m", usage={"input_tokens": 1}),
        lambda: cost("openai/gpt-4o", usage={"input_tokens": 9, "cache_write_tokens": 5}),
        lambda: PriceBook({"mine/m": {"input_mtok": "0"}}).resolve("mine/m", at=AT),
        lambda: BOOK.resolve("openai/gpt-4o", at=AT).check_priced("input_audio_tokens"),
    ],
    ids=["no price", "no price for a kind", "priced 0", "asked for by name"],
)
def test_a_missing_price_is_given_by_programs_and_files(refuse: Callable[[], object]) -> None:
    """A program has no earmark.toml: the message says how each gives one, and the advice works."""
    with pytest.raises(BudgetExceeded) as refused:
        refuse()
    sentence = str(refused.value)
    name, prices = re.findall(r'earmark\.PriceBook\(\{"(\S+)": \{(.*?)\}\}\)', sentence)[0]
    assert f'or in earmark.toml under [prices."{name}"]' in sentence
    keys: list[str] = ["input_mtok", *re.findall(r'"(\w+)": …', prices)]
    own = dict.fromkeys(keys, "1")
    assert PriceBook({name: own}).resolve(name, at=AT).source == "own"


def test_own_prices_come_first() -> None:
    """A price in earmark.toml stands for its model, also where the price list has one."""
    own = {**LOCAL, "openai/gpt-4o": {"input_mtok": 7, "output_mtok": Decimal(9)}}
    book = PriceBook(own=own)
    usage = Usage.of(input_tokens=1_000_000, output_tokens=1_000_000)
    assert book.resolve("local/smollm2-135m", at=AT).cost(usage) == Money("0.5")
    assert book.resolve("smollm2-135m", provider="local", at=AT).cost(usage) == Money("0.5")
    assert book.resolve("openai/gpt-4o", at=AT).cost(usage) == Money(16)
    assert BOOK.resolve("openai/gpt-4o", at=AT).cost(usage) == Money("12.5")


@pytest.mark.parametrize(
    "prices",
    [
        {},
        {"input_mtok": 0.1},
        {"input_mtok": "NaN"},
        {"input_mtok": "-1"},
        {"input_mtok": "Infinity"},
        {"input_mtok": "1e7"},
        {"input_mtok": "1e-30"},
        {"input_mtok": "9" * 100},
        {"input_mtok": "cheap"},
        {"input_mtok": True},
        {"input_mtok": None},
        {"tokens": "1"},
        {"cache_read_mtok": "1"},
        {"input_mtok": "1", "cache_write_1h_mtok": "2"},
    ],
)
def test_a_wrong_own_price_is_refused_with_its_place(prices: dict[str, Any]) -> None:
    """A float, NaN, negative or unknown price is refused before anything runs, and says where."""
    with pytest.raises(InvalidConfig, match=r'prices\."local/m"'):
        PriceBook(own={"local/m": prices})
    with pytest.raises(InvalidConfig, match="provider/model"):
        PriceBook(own={"m": {"input_mtok": "1"}})


def test_a_model_priced_nothing_runs_only_by_name() -> None:
    """A price of 0 is refused until the user allows that very model."""
    free = "openrouter/openai/gpt-oss-20b:free"
    assert "priced 0" in _refused(BOOK, free)
    assert "priced 0" in _refused(PriceBook(allow_free=["openrouter/other"]), free)
    price = PriceBook(allow_free=[free]).resolve(free, at=AT)
    assert price.cost(Usage.of(input_tokens=10, output_tokens=10)) == Money(0)
    own = {"local/m": {"input_mtok": "0", "output_mtok": "0.0"}}
    assert "priced 0" in _refused(PriceBook(own=own), "local/m")
    assert PriceBook(own=own, allow_free={"local/m"}).resolve("local/m", at=AT).source == "own"


def test_prices_are_dated() -> None:
    """A call is priced as of its moment: o3 cost 10 USD per million in June 2025, 2 since."""
    usage = Usage.of(input_tokens=1_000_000)
    june = from_datetime(datetime(2025, 6, 1, tzinfo=UTC))
    assert BOOK.resolve("openai/o3", at=june).cost(usage) == Money(10)
    assert BOOK.resolve("openai/o3", at=AT).cost(usage) == Money(2)


def test_no_listed_price_changes_within_a_minute() -> None:
    """Look-ups of one minute share a price, so no constraint may fall inside a minute."""
    seen = 0
    for provider in providers:
        for model in provider.models:
            choices = [] if isinstance(model.prices, ModelPrice) else model.prices
            for choice in [*choices, *(model.price_variants or [])]:
                if isinstance(choice.constraint, TimeOfDateConstraint):
                    seen += 1
                    for time in (choice.constraint.start_time, choice.constraint.end_time):
                        assert (time.second, time.microsecond) == (0, 0)
    assert seen > 0


@pytest.mark.parametrize(
    ("tier", "usd"),
    [
        (None, "11.25"),
        ("default", "11.25"),
        ("flex", "5.625"),
        ("batch", "5.625"),
        ("priority", "22.5"),
    ],
)
def test_service_tiers_have_their_own_prices(tier: str | None, usd: str) -> None:
    """Flex and batch are billed at half, priority at double, as the price list says."""
    counts = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    price = BOOK.resolve("openai/gpt-5", at=AT, tier=tier)
    assert price.cost(Usage(counts, tier=tier_name(tier))) == Money(usd)


def test_a_tier_that_was_asked_for_may_not_be_the_one_that_answers() -> None:
    """A flex request is held at the standard price, and settled at that of the tier it names."""
    flex = BOOK.resolve("openai/gpt-5", at=AT, tier="flex")
    assert flex.worst(1_000_000, 1_000_000) == Money("11.25")
    counts = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    answers = [flex.cost(Usage(counts, tier=each)) for each in ("flex", "standard", "")]
    assert answers == [Money("5.625"), Money("11.25"), Money("11.25")]


def test_an_unknown_tier_is_refused() -> None:
    """A tier without a price is refused, asked for or reported; never billed as standard."""
    assert "service tier 'scale'" in _refused(BOOK, "openai/gpt-5", tier="scale")
    price = BOOK.resolve("openai/gpt-5", at=AT)
    with pytest.raises(BudgetExceeded, match="service tier 'scale'"):
        price.cost(Usage({"input_tokens": 1}, tier="scale"))


def test_the_tier_the_provider_chooses_is_bounded_by_the_dearest() -> None:
    """`auto` holds the dearest tier, and settles at the one the reply names."""
    auto = BOOK.resolve("openai/gpt-5", at=AT, tier="auto")
    assert auto.worst(1_000_000, 1_000_000) == Money("22.5")
    counts = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    assert auto.cost(Usage(counts, tier="standard")) == Money("11.25")
    assert auto.cost(Usage(counts, tier="flex")) == Money("5.625")
    assert auto.cost(Usage(counts)) == Money("22.5")


@pytest.mark.parametrize(
    ("body", "tier"),
    [
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "default"}, "standard"),
        ({"service_tier": "auto"}, ""),
        ({}, ""),
    ],
)
def test_the_tier_of_a_reply_is_read(body: dict[str, Any], tier: str) -> None:
    """The tier a provider says it billed is part of the usage."""
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    read = read_usage({"model": "gpt-5", "usage": usage, **body}, provider="openai", api="openai")
    assert read == Usage({"input_tokens": 3, "output_tokens": 4}, tier=tier)


def test_inference_bound_to_one_country_is_refused() -> None:
    """Anthropic bills US-only inference above the list price: unpriced, not billed as usual."""
    body = {"usage": {"input_tokens": 1, "output_tokens": 1, "inference_geo": "us"}}
    usage = read_usage(body, provider="anthropic", api="anthropic")
    with pytest.raises(BudgetExceeded, match="inference_geo=us"):
        BOOK.resolve("anthropic/claude-opus-4-6", at=AT).cost(usage)


@pytest.mark.parametrize(
    ("model", "usage", "kind"),
    [
        ("openai/gpt-4o", {"code_executions": 1}, "code_executions"),
        ("deepseek/deepseek-chat", {"web_searches": 1}, "web_searches"),
        ("openai/gpt-4o", {"input_audio_tokens": 5}, "input_audio_tokens"),
        ("openai/gpt-4o", {"cache_write_tokens": 5}, "cache_write_tokens"),
        ("openai/gpt-4o", {"holograms": 5}, "holograms"),
    ],
)
def test_a_kind_without_a_price_is_refused(model: str, usage: dict[str, int], kind: str) -> None:
    """A unit that nobody priced is never counted as 0, nor as something cheaper."""
    price = BOOK.resolve(model, at=AT)
    with pytest.raises(BudgetExceeded, match=f"no price for {kind}") as refused:
        price.cost(Usage({"input_tokens": 100, "output_tokens": 1, **usage}))
    assert refused.value.reason is Reason.UNPRICED


def test_a_minimum_per_request_is_refused() -> None:
    """Groq bills at least 10 s of audio a request, which a rate cannot say."""
    assert "minimum" in _refused(BOOK, "groq/whisper-large-v3")


def test_cached_tokens_of_a_local_model_are_billed_as_input() -> None:
    """A server that reports cache hits needs no price for them: they cost no more than input."""
    price = PriceBook(own=LOCAL).resolve("local/smollm2-135m", at=AT)
    plain = price.cost(Usage.of(input_tokens=50, output_tokens=2))
    cached = price.cost(Usage.of(input_tokens=50, cache_read_tokens=40, output_tokens=2))
    assert cached == plain == Money("0.0000058")


def test_a_pinned_price_needs_no_price_list() -> None:
    """A price from a reservation's row settles in a process that never loads the price list."""
    price = BOOK.resolve("anthropic/claude-sonnet-4-5", at=AT)
    text = json.dumps(price.to_json())
    code = (
        "import json, sys; from earmark.pricing.book import Price;"
        "from earmark.pricing.bound import ModelBound; from earmark.pricing.usage import Usage;"
        "price = Price.from_json(json.load(sys.stdin));"
        "print(price.cost(Usage.of(input_tokens=163, output_tokens=3025)),"
        " 'genai_prices' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0.045864", "False"]


def test_a_price_says_where_it_is_from() -> None:
    """A price names its list, the list's version and the model in it."""
    price = BOOK.resolve("anthropic/claude-sonnet-4-20250514", at=AT)
    assert price.source.startswith("genai-prices 0.")
    assert price.source.endswith(": anthropic/claude-sonnet-4-0")
    assert price.at == AT


def test_a_context_window_that_can_be_passed_is_none() -> None:
    """A 200,000-token window beside a rate above 200,000 tokens bounds nothing."""
    assert BOOK.resolve("anthropic/claude-sonnet-4-5", at=AT).context_window is None
    assert BOOK.resolve("openai/gpt-4o", at=AT).context_window == 128_000


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"usage": None},
        {"usage": {}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 2}},
        {"usage": {"prompt_tokens": float("nan"), "completion_tokens": 2}},
        {"usage": {"prompt_tokens": 10**13, "completion_tokens": 2}},
        {"usage": {"prompt_tokens": "7", "completion_tokens": 2}},
        {"usage": {"completion_tokens": 2}},
        {"usage": [1, 2]},
    ],
)
def test_a_reply_without_a_usable_usage_is_refused(body: dict[str, Any]) -> None:
    """Missing, negative, NaN, huge or misplaced counts are no usage, rather than one of 0."""
    with pytest.raises(InvalidUsage):
        read_usage(body, provider="openai", api="openai")


def test_tokens_only_the_total_shows_are_counted() -> None:
    """Reasoning left out of the output but in the total is billed as output."""
    usage = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}
    read = read_usage({"usage": usage}, provider="local", api="openai")
    assert read == Usage.of(input_tokens=35, output_tokens=74)


def test_a_reply_that_bills_a_second_model_is_refused() -> None:
    """Tokens of an advisor model, which the totals leave out, are not taken for nothing."""
    advisor = {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518}
    usage = {"input_tokens": 1, "output_tokens": 1, "iterations": [{"type": "message"}, advisor]}
    body = {"model": "claude-sonnet-5", "usage": usage}
    with pytest.raises(InvalidUsage, match="claude-opus-4-8"):
        cost("claude-sonnet-5", provider="anthropic", body=body)


def test_replies_of_unlisted_servers_are_read_by_dialect() -> None:
    """A local server's reply is read as its `api` says: OpenAI's or Anthropic's."""
    chat = {"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
    assert read_usage(chat, provider="local", api="openai").tokens == 11
    block = {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 2}
    read = read_usage({"usage": block}, provider="local", api="anthropic")
    assert read == Usage.of(input_tokens=9, cache_read_tokens=4, output_tokens=2)


def test_a_listed_price_that_cannot_be_told_apart_is_none() -> None:
    """A kind newer than this version, or an overlap without a price, leaves the model unpriced."""
    one = Decimal(1)
    assert len(rates(ModelPrice(input_mtok=one, output_mtok=one))) == 2
    assert rates(ModelPrice(input_mtok=one, hologram_mtok=one)) == ()
    overlap = ModelPrice(input_mtok=one, input_audio_mtok=one, cache_read_mtok=one)
    assert rates(overlap) == ()


def test_every_listed_model_resolves_or_is_refused() -> None:
    """Of all listed models, each has a price that survives JSON, or is refused as unpriced."""
    priced = refused = 0
    for name in [(provider.id, model.id) for provider in providers for model in provider.models]:
        price = _resolved(*name)
        if price is None:
            refused += 1
            continue
        assert Price.from_json(json.loads(json.dumps(price.to_json()))) == price
        priced += 1
    assert priced > 2000
    # 179 of them are given away, and 85 ids of AWS' regional prices are not names it answers to.
    assert refused < priced / 7


def _resolved(provider: str, model: str) -> Price | None:
    try:
        return BOOK.resolve(model, provider=provider, at=AT)
    except BudgetExceeded:
        return None
