"""`earmark.bound`: the most a call can cost."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import signature
from typing import Any, Final, cast

import pytest

import earmark
from earmark import BudgetExceeded, Money, PriceBook, Usage
from earmark.apis.output_limit import with_output_limit
from earmark.clock import from_datetime
from earmark.errors import InvalidUsage

OPENAI: Final[Any] = {"api": "openai", "provider": "openai"}
HELLO = [{"role": "user", "content": "hello"}]
ASKED = {"model": "gpt-4o", "messages": HELLO}
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOK = PriceBook({"p/m": {"input_mtok": "1", "output_mtok": "10", "web_searches_kcount": "10"}})


def test_the_most_a_call_can_cost() -> None:
    """Input and output at their rates, exact; with where the price is from."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 500, "n": 2}
    found = earmark.bound(body, api="openai", provider="p", book=BOOK)
    expected = Money.nanos(found.input_tokens * 1000 + 2 * 500 * 10_000)
    assert found == earmark.CallBound(
        cost=expected,
        input_tokens=found.input_tokens,
        max_output_tokens=500,
        choices=2,
        fees=Usage(),
        price="p/m",
        source="own",
    )
    usage = Usage.of(input_tokens=9, output_tokens=1000)
    assert earmark.cost("p/m", usage=usage, book=BOOK) <= found.cost


def test_a_bound_and_a_ticket_name_the_same_options_alike() -> None:
    """What one of them takes, the other takes under the same name, with the same default."""
    taken = set(signature(earmark.bound).parameters) - {"body", "at", "book"}
    assert taken <= set(earmark.OpenOptions.__annotations__)
    asked: Any = {"messages": HELLO, "model": "gpt-4o-mini"}
    given: dict[str, Any] = {"provider": "openai", "api": "openai"}
    with earmark.open("memory:") as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = earmark.Guard(ledger)
        limits: list[dict[str, Any]] = [{}, {"default_max_tokens": 77}]
        for limit in limits:
            with guard.open("acme", asked, **given, **limit) as ticket:
                most = earmark.bound(asked, **given, **limit).max_output_tokens
                assert ticket.max_output_tokens == most == limit.get("default_max_tokens", 1024)


def test_fees_and_explicit_bounds_are_part_of_it() -> None:
    """A search costs its fee; its pages are what the caller says at most."""
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    body = {"model": "p/m", "messages": HELLO, "max_tokens": 9, "tools": [tool]}
    given: dict[str, Any] = {"api": "anthropic", "provider": "p", "book": BOOK}
    found = earmark.bound(body, **given, extra_input_tokens=1000)
    assert (found.fees, found.price) == (Usage.of(web_searches=2), "p/m")
    assert found.cost >= Money("0.02")
    assert earmark.bound(body, **given, context_window=5000).input_tokens == 3 * 5000


def test_a_listed_price_is_named_with_its_version() -> None:
    """The list's price of the day, at the tier the request asks for."""
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]
    found = earmark.bound(
        {"contents": contents}, api="gemini", provider="google", model="gemini-2.5-flash", at=AT
    )
    assert found.price == "google/gemini-2.5-flash"
    assert "genai-prices" in found.source
    assert found.max_output_tokens == 1024
    priority = {"model": "gpt-5", "input": "hi", "service_tier": "priority"}
    standard = {**priority, "service_tier": "standard"}
    dear, usual = (
        earmark.bound(body, api="openai-responses", provider="openai", at=AT)
        for body in (priority, standard)
    )
    assert dear.cost == 2 * usual.cost


@pytest.mark.parametrize(
    ("api", "body"), [("openai", {"messages": HELLO}), ("openai-responses", {"input": "hi"})]
)
def test_a_tier_that_is_left_to_the_provider_is_the_dearest(api: str, body: dict[str, Any]) -> None:
    """A project's settings may make it priority, unless the body asks for `default`."""
    given: dict[str, Any] = {"api": api, "provider": "openai", "at": AT}
    body = {"model": "gpt-5", "max_tokens" if api == "openai" else "max_output_tokens": 9, **body}
    priority, standard = (
        PriceBook().resolve("openai/gpt-5", at=from_datetime(AT), tier=tier)
        for tier in ("priority", "default")
    )
    for unset in (body, {**body, "service_tier": None}):
        found = earmark.bound(unset, **given)
        assert found.cost == priority.worst(found.input_tokens, 9)
    found = earmark.bound(with_output_limit(api, body, 9, host="api.openai.com"), **given)
    assert found.cost == standard.worst(found.input_tokens, 9)


def test_what_costs_nothing_needs_no_price() -> None:
    """Counting tokens is free, whatever the model."""
    body = {"model": "of-tomorrow", "messages": HELLO}
    found = earmark.bound(body, api="anthropic-count-tokens", provider="anthropic")
    assert (found.cost, found.price) == (Money(), "")


@pytest.mark.parametrize(
    ("more", "headers", "words"),
    [
        (
            {"knob_of_tomorrow": 1},
            {},
            r"""'knob_of_tomorrow'.*allowed_options={"knob_of_tomorrow"}.*\[apis.anthropic.opt""",
        ),
        ({}, {"anthropic-beta": "x-2027"}, r"""beta: x-2027.*allowed_options={"x-2027"}"""),
        ({"model": "of-tomorrow"}, {}, r"\[prices.\"p/of-tomorrow\"\]"),
        ({"container": "c"}, {}, "give extra_input_tokens"),
    ],
)
def test_what_has_no_bound_is_refused_with_what_to_give(
    more: dict[str, Any], headers: dict[str, str], words: str
) -> None:
    """The place, and the setting or argument that would bound it."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 9, **more}
    with pytest.raises(BudgetExceeded, match=words) as refused:
        earmark.bound(body, api="anthropic", provider="p", headers=headers, book=BOOK)
    assert refused.value.reason is earmark.Reason.UNPRICED


@pytest.mark.parametrize(
    ("more", "headers"),
    [({"knob_of_tomorrow": 1}, {}), ({}, {"anthropic-beta": "x-2027"})],
)
def test_what_the_advice_names_allows_it(more: dict[str, Any], headers: dict[str, str]) -> None:
    """The parameter of the advice is one of the function that was called."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 9, **more}

    def ask(**advice: Any) -> earmark.CallBound:
        return earmark.bound(
            body, api="anthropic", provider="p", headers=headers, book=BOOK, **advice
        )

    with pytest.raises(BudgetExceeded) as refused:
        ask()
    found = re.search(r'(\w+)={"([^"]+)"}', str(refused.value))
    assert found is not None
    assert ask(**{found[1]: {found[2]}}).cost > Money()


def test_a_refusal_repeats_the_beginning_of_a_value_alone() -> None:
    """What may be a part of a prompt is cut after 60 characters."""
    body = {"model": "gpt-4o", "messages": HELLO, "modalities": ["x" * 999]}
    with pytest.raises(BudgetExceeded) as refused:
        earmark.bound(body, **OPENAI)
    assert str(refused.value).count("x" * 61) == 0
    assert "x" * 60 in str(refused.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: earmark.bound(cast("Any", ["x"]), **OPENAI), "the request is list"),
        (lambda: earmark.bound(cast("Any", None), **OPENAI), "the request is NoneType"),
        (
            lambda: earmark.bound({"model": "gpt-4o"}, headers=cast("Any", [1]), **OPENAI),
            "the headers are list",
        ),
        (
            lambda: earmark.bound(ASKED, headers=cast("Any", {"openai-beta": ["x"]}), **OPENAI),
            "the header 'openai-beta' is list",
        ),
        (
            lambda: earmark.bound(ASKED, headers=cast("Any", {1: "x"}), **OPENAI),
            "the header '1' is",
        ),
        (
            lambda: earmark.bound(ASKED, allowed_options="best_of", **OPENAI),
            "the allowed options are",
        ),
        (
            lambda: earmark.bound(ASKED, api=cast("Any", ["openai"]), provider="openai"),
            "API a list are not supported",
        ),
        (lambda: earmark.bound(ASKED, model=cast("Any", 5), **OPENAI), "names no model"),
        (lambda: earmark.bound(ASKED, api="openai", provider=cast("Any", 5)), "provider is int"),
        (lambda: earmark.bound(ASKED, at=cast("Any", 5), **OPENAI), "at is int"),
        (lambda: earmark.cost("openai/gpt-4o", body=cast("Any", "{}")), "the body is '{}'"),
        (lambda: earmark.cost("openai/gpt-4o", body=cast("Any", [1])), "the body is a list"),
    ],
)
def test_what_is_no_object_is_an_input_error(call: Callable[[], object], says: str) -> None:
    """A body that was not decoded, or is a list, names what it is."""
    with pytest.raises(InvalidUsage, match=says):
        call()


@pytest.mark.parametrize("name", ["default_max_tokens", "context_window", "extra_input_tokens"])
@pytest.mark.parametrize("value", [0, -5, "9", 1.5, True, 10**13])
def test_a_number_that_bounds_nothing_is_an_input_error(name: str, value: Any) -> None:
    """A window or a limit of 0 is no bound; only a request may bring no tokens beyond its own."""
    if (name, value) == ("extra_input_tokens", 0):
        assert earmark.bound(ASKED, **OPENAI, extra_input_tokens=0) == earmark.bound(
            ASKED, **OPENAI
        )
        return
    for body in (ASKED, {**ASKED, "max_tokens": 9}):
        with pytest.raises(InvalidUsage, match=f"{name} is .*whole number"):
            earmark.bound(body, **OPENAI, **{name: value})


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("openai", {"messages": HELLO, "max_tokens": 0}),
        ("openai", {"messages": HELLO, "max_tokens": 9, "max_completion_tokens": 0}),
        ("openai-responses", {"input": "hi", "max_output_tokens": 0}),
        ("gemini", {"contents": [], "generationConfig": {"maxOutputTokens": 0}}),
    ],
)
def test_a_limit_of_no_output_is_no_limit(api: str, body: dict[str, Any]) -> None:
    """Servers read 0 as no limit; Anthropic alone says that it fills the cache and answers not."""
    with pytest.raises(InvalidUsage, match="is 0: give a whole number from 1 to"):
        earmark.bound({**body, "model": "m"}, api=api, provider="p", book=BOOK)
    warming = {"model": "m", "messages": HELLO, "max_tokens": 0}
    assert earmark.bound(warming, api="anthropic", provider="p", book=BOOK).max_output_tokens == 0
