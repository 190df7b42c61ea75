"""What real clients send is bounded, and cut down to what is left of a small budget."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from earmark.apis.bounds import bound_request
from earmark.apis.output_limit import with_output_limit
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from support.recorded_requests import FOLDER, Recorded, recorded_requests

#: A token costs 1,000 nano-USD in and 5,000 out, whatever becomes of it.
_PRICES: Final = {
    "input_mtok": "1",
    "cache_write_mtok": "1",
    "cache_write_1h_mtok": "1",
    "output_mtok": "5",
    "web_searches_kcount": "10",
}
#: What is injected where a client names no limit.
_DEFAULT_LIMIT: Final = 8192
#: Those that only the user can bound: what they bring is not in the request.
_NEEDS_A_BOUND: Final = {
    "claude-code-search 2": "tool web_search_20250305 at tools[0]",
    "codex-provider 1": "tool web_search at tools[8]",
    "codex-provider 2": "tool web_search at tools[8]",
}

#: Asked how many tokens a request has, Anthropic answers for nothing.
_FREE: Final = "anthropic-count-tokens"

ASKING: Final = [request for request in recorded_requests() if request.api != _FREE]
BOUNDED: Final = [request for request in ASKING if request.name not in _NEEDS_A_BOUND]
#: Where a limit can stand; and what is changed beside it.
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_SPLICED: Final = {*_LIMITS, "generationConfig", "stream_options"}


def _bound(request: Recorded, *, extra_input_tokens: int | None = None) -> ModelBound:
    reading = read_body(
        request.api,
        request.body,
        headers=request.headers,
        provider=request.provider,
        model=request.model,
    )
    name = f"{request.provider}/{request.model}"
    price = PriceBook({name: _PRICES}).resolve(name, at=0, tier=reading.tier)
    return bound_request(
        reading,
        price,
        default_max_tokens=_DEFAULT_LIMIT,
        extra_input_tokens=extra_input_tokens,
    )


def _limit(body: Mapping[str, Any]) -> int | None:
    """Return the limit of output tokens that a body names, by whichever of its names."""
    named = [body[name] for name in _LIMITS if name in body]
    nested = body.get("generationConfig", {}).get("maxOutputTokens")
    return next((limit for limit in (*named, nested) if limit is not None), None)


@pytest.mark.parametrize("request_", BOUNDED, ids=lambda request: request.name)
def test_a_recorded_request_is_bounded_as_it_is(request_: Recorded) -> None:
    """No option, header, part or tool of it is refused; its input is its text and little more."""
    bound = _bound(request_)
    assert bound.max_output_tokens == (_limit(request_.body) or _DEFAULT_LIMIT)
    written = len(json.dumps(request_.body, ensure_ascii=False).encode())
    named = ("messages", "input", "contents")
    messages = max(len(request_.body.get(name, ())) for name in named)
    assert written / 8 < bound.input_tokens < written * 1.05 + 1000 + 20 * messages
    assert bound.cost() == Money.nanos(bound.input_tokens * 1000 + bound.max_output_tokens * 5000)


def test_counting_tokens_costs_nothing() -> None:
    """Claude Code and the SDK count before they ask: nothing is held, and nothing is spliced in."""
    counted = [request for request in recorded_requests() if request.api == _FREE]
    assert len(counted) == 2
    for request in counted:
        assert _bound(request).cost() == Money()
        assert with_output_limit(request.api, request.body, 100) == request.body


@pytest.mark.parametrize("name", _NEEDS_A_BOUND)
def test_what_comes_in_later_needs_a_bound(name: str) -> None:
    """A search brings pages that no request holds: refused with its place, until a bound is given.

    Its fees are known: each of its eight uses.
    """
    request = next(request for request in ASKING if request.name == name)
    with pytest.raises(BudgetExceeded, match=re.escape(_NEEDS_A_BOUND[name])):
        _bound(request)
    bound = _bound(request, extra_input_tokens=100_000)
    assert bound.input_tokens > 100_000
    assert bound.fees.counts["web_searches"] == 8


@pytest.mark.parametrize("request_", BOUNDED, ids=lambda request: request.name)
def test_a_small_budget_lowers_the_limit_and_nothing_else(request_: Recorded) -> None:
    """What is sent costs no more than is left; the rest of the body is as the client wrote it."""
    bound = _bound(request_)
    wanted = bound.least_output_tokens + 9
    left = bound.cost(wanted)
    fitting = bound.largest_output(left)
    assert fitting == wanted
    sent = with_output_limit(request_.api, request_.body, fitting)
    assert _limit(sent) == fitting
    assert [name for name in sent if name in request_.body] == list(request_.body)
    for name in request_.body.keys() - _SPLICED:
        assert sent[name] is request_.body[name]


def test_a_thinking_budget_is_never_cut_into() -> None:
    """At or below `budget_tokens` the provider refuses: with less left, nothing is sent."""
    request = next(each for each in BOUNDED if each.name == "claude-code-thinking 1")
    bound = _bound(request)
    assert request.body["thinking"]["budget_tokens"] == 8000
    assert bound.largest_output(bound.cost(8001)) == 8001
    assert bound.largest_output(bound.cost(8001) - Money.nanos(1)) == 0


#: Folders, names and keys of whoever recorded.
_PRIVATE: Final = re.compile(r"/tmp/|/root/(?!task)|/home/\w|/Users/\w|\bsk-[\w-]{8}|Bearer ")  # noqa: S108


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_a_recording_tells_nothing_of_who_made_it(file: Path) -> None:
    """No key, no folder and no session of the machine is in a fixture."""
    text = file.read_text(encoding="utf-8")
    assert _PRIVATE.findall(text) == []
    found = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    assert set(found) <= {"00000000-0000-4000-8000-000000000000"}
