"""For every request the tables list and every reply it allows, settled is at most the hold.

Those that are drawn are opened and settled as tickets on real books, at every tier that may be
asked for and every one that may answer.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.admission.charge import Charge
from earmark.admission.guard import Guard
from earmark.admission.ticket import Ticket
from earmark.apis.bounds import bound_request
from earmark.apis.output_limit import with_output_limit
from earmark.apis.replies import read_reply
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price, Tariff
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.billing_provider import BROUGHT, Most, most
from support.generated_requests import every_request, requests
from support.ledger_books import check_books

FIXTURE = Path(__file__).parents[2] / "fixtures" / "usages" / "real_usages.jsonl"
SHAPES = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
APIS = ("openai", "openai-responses", "openai-embeddings", "anthropic", "gemini")
#: Cache writes and audio are dearer than text, as they are sold; fees weigh more than tokens.
PRICES = {
    "input_mtok": "3",
    "cache_read_mtok": "0.3",
    "cache_write_mtok": "3.75",
    "cache_write_1h_mtok": "6",
    "input_audio_mtok": "40",
    "cache_audio_read_mtok": "4",
    "cache_audio_write_mtok": "50",
    "cache_audio_write_1h_mtok": "80",
    "output_mtok": "15",
    "output_audio_mtok": "80",
    "web_searches_kcount": "1000",
    "storage_searches_kcount": "1000",
    "code_executions_kcount": "1000",
}
#: What the service tiers cost, as multiples of the standard one: so far apart that nothing else a
#: bound allows for hides a tier that was not held.
TIERS = {"standard": 1, "flex": Decimal("0.01"), "priority": 20, "fast": 60}
_OF_OPENAI = [{}, *({"service_tier": tier} for tier in ("default", "flex", "priority", "auto"))]
#: What a request may ask for; the members of a reply that name the tier are in `named`.
ASKED: dict[str, list[dict[str, str]]] = {
    "openai": _OF_OPENAI,
    "openai-responses": _OF_OPENAI,
    "openai-embeddings": [{}],
    "anthropic": [
        {},
        *({"service_tier": tier} for tier in ("auto", "standard_only")),
        {"speed": "fast"},
    ],
    "gemini": [{}, {"serviceTier": "flex"}, {"serviceTier": "priority"}],
}


class TieredBook(PriceBook):
    """Own prices that are sold at every tier, as those of a list may be."""

    def _resolve_own(self, name: str) -> Price:
        found = super()._resolve_own(name)
        (standard,) = found.tariffs
        scaled = [
            Tariff(tier, tuple(replace(rate, usd=rate.usd * times) for rate in standard.rates))
            for tier, times in TIERS.items()
        ]
        return replace(found, tariffs=tuple(scaled))


BOOK = TieredBook(own={"p/m": PRICES, "anthropic/m": PRICES})


def answers(asked: dict[str, str]) -> list[str]:
    """Return the tiers that a provider may answer at; empty where it names none."""
    (wish,) = asked.values() or ("default",)
    if wish == "auto":
        return ["", "default", "flex", "priority"]
    return ["", "default", *({wish} - {"default", "standard_only"})]


def named(api: str, reply: dict[str, Any], tier: str) -> dict[str, Any]:
    """Return *reply* as one that was served at *tier*."""
    (root,) = reply.keys() - {"model", "output"}
    if not tier:
        return reply
    if api not in {"anthropic", "gemini"}:
        return {**reply, "service_tier": tier}
    word = "standard" if tier == "default" else tier
    member = "serviceTier" if api == "gemini" else "speed" if tier == "fast" else "service_tier"
    return {**reply, root: {**reply[root], member: word}}


def bound(api: str, provider: str, body: dict[str, Any], brought: int) -> ModelBound:
    """Return the bound as a user gets it who knows what the request brings, if asked for it."""
    reading = read_body(api, body, provider=provider, model="m")
    price = BOOK.resolve("m", provider=provider, at=0, tier=reading.tier)
    try:
        return bound_request(reading, price, default_max_tokens=200)
    except BudgetExceeded as refused:
        if "give extra_input_tokens" not in str(refused):
            raise
    return bound_request(reading, price, default_max_tokens=200, extra_input_tokens=brought)


def opened(guard: Guard, api: str, provider: str, body: dict[str, Any], brought: int) -> Ticket:
    """Open a ticket as a user does who knows what the request brings, if asked for it."""
    options: dict[str, Any] = {"api": api, "provider": provider, "model": "m", "wait": None}
    options["default_max_tokens"] = 200
    try:
        return guard.open("acme", body, **options)
    except BudgetExceeded as refused:
        if "give extra_input_tokens" not in str(refused):
            raise
    return guard.open("acme", body, **options, extra_input_tokens=brought)


def reply(
    api: str, allowed: Most, limit: int, shares: tuple[float, float, float], shape: dict[str, Any]
) -> dict[str, Any]:
    """Return a reply in a real shape, of *shares* of what the request allows."""
    whole_in = max(1, int((allowed.written * allowed.outputs + allowed.brought) * shares[0]))
    whole_out = int(limit * allowed.outputs * shares[1])
    part_in, part_out = int(whole_in * shares[2]), int(whole_out * shares[2])
    (root,) = shape
    usage: dict[str, Any] = {}
    if api == "anthropic":
        written = part_in if allowed.caches else 0
        hour = written if "1h" in allowed.caches else 0
        usage = {"input_tokens": whole_in - written, "output_tokens": whole_out}
        if written:
            usage["cache_creation_input_tokens"] = written
            lived = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
            usage["cache_creation"] = lived
        if allowed.fees:
            usage["server_tool_use"] = {"web_search_requests": allowed.fees["web_searches"]}
    elif api == "gemini":
        usage = {"promptTokenCount": whole_in, "cachedContentTokenCount": part_in}
        usage |= {"candidatesTokenCount": whole_out - part_out, "thoughtsTokenCount": part_out}
    else:
        of_responses = api == "openai-responses"
        first, second = ("input", "output") if of_responses else ("prompt", "completion")
        details = {f"{first}_tokens_details": {"cached_tokens": part_in}}
        details[f"{second}_tokens_details"] = {"reasoning_tokens": part_out}
        usage = {f"{first}_tokens": whole_in, f"{second}_tokens": whole_out}
        usage |= {name: each for name, each in details.items() if name in shape[root]}
    kinds = {"web_searches": "web_search_call", "storage_searches": "file_search_call"}
    kinds["code_executions"] = "code_interpreter_call"
    output = [{"type": kinds[unit]} for unit, uses in allowed.fees.items() for _ in range(uses)]
    return {"model": "m", root: usage, "output": output if api == "openai-responses" else []}


def check(
    guard: Guard,
    api: str,
    body: dict[str, Any],
    shares: tuple[float, float, float],
    shape: dict[str, Any],
    tier: str = "",
) -> Charge:
    """Settle a reply of *shares* of what the request allows, served at *tier*."""
    provider = "anthropic" if api == "anthropic" else "p"
    allowed = most(api, with_output_limit(api, body, 200))
    assert allowed.beyond == [], "no table lists what no bound covers"
    brought = allowed.brought + allowed.written * allowed.outputs
    with opened(guard, api, provider, body, brought) as ticket:
        limit = (ticket.max_output_tokens or 0) * _choices(body)
        answer = named(api, reply(api, allowed, limit, shares, shape), tier)
        charge = ticket.settle(answer)
    assert charge.unknown == ()
    price = BOOK.resolve("m", provider=provider, at=0, tier=read_body(api, body, model="m").tier)
    cost = price.cost(read_reply(answer, provider=provider, api=api).usage)
    if charge.state == "presumed":
        assert charge.note, "a doubt is named"
        assert charge.settled == max(charge.hold, cost)
    else:
        assert (charge.state, charge.settled) == ("settled", cost)
    assert charge.overrun == max(Money(), charge.settled - charge.hold)
    return charge


def check_bound(
    api: str, body: dict[str, Any], shares: tuple[float, float, float], shape: dict[str, Any]
) -> None:
    """Settle a reply of *shares* of what the request allows, and compare it with the hold."""
    provider = "anthropic" if api == "anthropic" else "p"
    allowed = most(api, with_output_limit(api, body, 200))
    assert allowed.beyond == [], "no table lists what no bound covers"
    held = bound(api, provider, body, allowed.brought + allowed.written * allowed.outputs)
    limit = 0 if api == "openai-embeddings" else held.max_output_tokens * _choices(body)
    reading = read_reply(reply(api, allowed, limit, shares, shape), provider=provider, api=api)
    assert reading.unknown == ()
    assert held.price.cost(reading.usage) <= held.cost()
    assert reading.usage.tokens <= held.tokens()


def _choices(body: dict[str, Any]) -> int:
    return body.get("n") or body.get("generationConfig", {}).get("candidateCount") or 1


def shapes_of(api: str) -> list[dict[str, Any]]:
    """Return the real usage blocks of an API."""
    own = api.removesuffix("-embeddings")
    return [each["body"] for each in SHAPES if each["api"] == own]


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """A guard on books that hold whatever is asked for, audited in the end."""
    with open_ledger("memory:", clock=ManualClock()) as ledger:
        ledger.set_budget("acme", limits=["1000000000 usd total", "1000000000000 tokens total"])
        yield Guard(ledger, book=BOOK)
        check_books(ledger)


@pytest.mark.parametrize("api", APIS)
def test_the_most_that_each_row_lets_a_provider_bill_was_held(api: str) -> None:
    """For each option, part and tool of the table: all of its input, output and fees."""
    asked = list(every_request(api))
    assert len(asked) > 10
    for body in asked:
        for part in (0.0, 1.0):
            try:
                check_bound(api, body, (1.0, 1.0, part), shapes_of(api)[0])
            except InvalidUsage as error:
                assert "give a whole number" in str(error), body  # noqa: PT017 - legal ones alone
            except Exception as error:
                error.add_note(f"request: {body}")
                raise


_SHARES = st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0])


@pytest.mark.parametrize("api", APIS)
@given(data=st.data())
@settings(max_examples=30)
def test_what_a_reply_costs_was_held(guard: Guard, api: str, data: st.DataObject) -> None:
    """Requests from the tables, replies up to what an independent provider may bill for them."""
    asked = data.draw(st.sampled_from(ASKED[api]), label="tier")
    body = {**data.draw(requests(api), label="request"), **asked}
    shares = data.draw(st.tuples(_SHARES, _SHARES, _SHARES), label="shares")
    shape = data.draw(st.sampled_from(shapes_of(api)), label="shape")
    charge = check(guard, api, body, shares, shape, data.draw(st.sampled_from(answers(asked))))
    assert not charge.overrun


_SAID: Final = [{"role": "user", "content": "hi"}]
PLAIN: dict[str, dict[str, Any]] = {
    "openai": {"model": "m", "messages": _SAID},
    "openai-responses": {"model": "m", "input": "hi"},
    "openai-embeddings": {"model": "m", "input": "hi"},
    "anthropic": {"model": "m", "max_tokens": 200, "messages": _SAID},
    "gemini": {"contents": [{"parts": [{"text": "hi"}]}]},
}


@pytest.mark.parametrize("api", APIS)
def test_what_no_request_allows_is_an_overrun_that_says_so(guard: Guard, api: str) -> None:
    """Far more tokens, or a tier that was not asked for: booked in full, above the hold."""
    for shares, tier in [((1000.0, 10.0, 0.0), ""), ((1.0, 1.0, 0.0), "fast")]:
        if not tier or len(ASKED[api]) > 1:
            charge = check(guard, api, PLAIN[api], shares, shapes_of(api)[0], tier)
            assert (charge.state, charge.overrun > Money()) == ("settled", True), charge


def test_a_bound_that_is_not_asked_for_is_noticed() -> None:
    """The provider's bill is apart from the tables: what a table would miss, it still bills."""
    image = {"type": "image", "source": {"type": "url", "url": "…"}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [image]}],
        "container": "c",
        "tools": [search],
        "compaction": {"type": "summarize"},
        "fallbacks": [{"model": "n"}],
    }
    allowed = most("anthropic", body)
    assert allowed.brought == 4 * BROUGHT
    assert (allowed.fees, allowed.outputs) == ({"web_searches": 2}, 2)
    assert allowed.beyond == ["fallbacks"]
