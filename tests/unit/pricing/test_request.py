"""What of a request can be bounded, and what is refused."""

from typing import Any

import pytest

from earmark.errors import BudgetExceeded, InvalidUsage, Reason
from earmark.pricing.bound import input_token_bound
from earmark.pricing.request import read_request, request_tier

HELLO = [{"role": "user", "content": "hello"}]


def _bound(messages: list[Any] | None = None, **more: Any) -> int:
    return input_token_bound(
        HELLO if messages is None else messages, model="m", provider="p", **more
    )


def _part(**part: Any) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]


UNCOUNTED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "image": (_part(type="image_url", image_url={"url": "https://example.org/a.png"}), {}),
    "anthropic image": (_part(type="image", source={"type": "base64", "data": "…"}), {}),
    "audio": (_part(type="input_audio", input_audio={"data": "…"}), {}),
    "file": (_part(type="file", file={"file_id": "f"}), {}),
    "document": (_part(type="document", source={"type": "url", "url": "…"}), {}),
    "part of tomorrow": (_part(type="hologram"), {}),
    "part without a type": (_part(url="…"), {}),
    "image in a tool's result": (
        _part(type="tool_result", content=[{"type": "image", "source": {}}]),
        {},
    ),
    "content that is an object": ([{"role": "user", "content": {"type": "image"}}], {}),
    "content that is bytes": ([{"role": "user", "content": b"x"}], {}),
    "earlier audio": ([{"role": "assistant", "audio": {"id": "a"}}], {}),
    "earlier response": (HELLO, {"previous_response_id": "r"}),
    "conversation": (HELLO, {"conversation": "c"}),
    "stored prompt": (HELLO, {"prompt": {"id": "p"}}),
    "MCP servers": (HELLO, {"mcp_servers": [{"url": "…"}]}),
    "in the extra body": (HELLO, {"extra_body": {"previous_response_id": "r"}}),
    "server tool": (HELLO, {"tools": [{"type": "web_search_20250305", "max_uses": 2}]}),
    "computer tool": (HELLO, {"tools": [{"type": "computer_20250124"}]}),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_cannot_be_counted_needs_an_explicit_bound(name: str) -> None:
    """Images, files, stored context and server tools are refused until their tokens are bounded."""
    messages, options = UNCOUNTED[name]
    with pytest.raises(BudgetExceeded, match="give extra_input_tokens") as refused:
        _bound(messages, options=options)
    assert refused.value.reason is Reason.UNPRICED
    bounds = [_bound(messages, options=options, extra_input_tokens=n) for n in (0, 1600)]
    assert bounds[1] - bounds[0] == 1600


@pytest.mark.parametrize(
    "options",
    [
        {"web_search_options": {"search_context_size": "low"}},
        {"prediction": {"type": "content", "content": "x"}},
        {"plugins": [{"id": "web"}]},
        {"tools": [{"type": "web_search_20250305"}]},
        {"tools": [{"type": "web_search_20250305", "max_uses": True}]},
        {"tools": [{"type": "file_search", "max_uses": 0}]},
        {"tools": [{"type": "mcp", "server_url": "…"}]},
        {"tools": [{"type": "image_generation"}]},
        {"tools": [{"type": "advisor_20260301"}]},
    ],
)
def test_what_nothing_can_bound_is_refused(options: dict[str, Any]) -> None:
    """Searches without a maximum, other models' calls and predictions have no bound at all."""
    with pytest.raises(BudgetExceeded) as refused:
        _bound(options=options, extra_input_tokens=10)
    assert refused.value.reason is Reason.UNPRICED


def test_server_tools_are_paid_by_use() -> None:
    """A tool's maximum of uses is part of what the request may cost."""
    tools = [{"type": "web_search_20250305", "max_uses": 3}, {"type": "function", "function": {}}]
    assert read_request(HELLO, {"tools": tools}).fees == {"web_searches": 3}


def test_a_window_does_not_bound_rounds_of_tools() -> None:
    """A server tool samples again with a context of its own: the sum may pass the window."""
    options = {"tools": [{"type": "web_search_20250305", "max_uses": 1}]}
    assert _bound(options=options, extra_input_tokens=50_000, context_window=1000) > 50_000


def test_tools_schemas_and_system_prompts_count() -> None:
    """What becomes prompt text counts, wherever in the request it stands."""
    plain = _bound()
    assert _bound(options={"system": "x" * 1000}) >= plain + 1000
    assert (
        _bound(options={"tools": [{"type": "function", "description": "x" * 1000}]}) > plain + 1600
    )
    assert _bound(options={"response_format": {"schema": "x" * 500}}) > plain + 1100
    assert _bound(options={"extra_body": {"system": "x" * 1000}}) >= plain + 1000
    assert _bound([*HELLO, {"role": "assistant", "tool_calls": ["x" * 100]}]) > plain + 100


def test_a_long_image_is_not_counted_as_text() -> None:
    """With an explicit bound for an image, its megabyte of base64 is not bounded a second time."""
    image = _part(type="image", source={"type": "base64", "data": "A" * 1_000_000})
    assert _bound(image, extra_input_tokens=1600) < 3000


@pytest.mark.parametrize("extra", [-1, 1.5, True, "9", float("nan"), 10**13])
def test_an_absurd_explicit_bound_is_refused(extra: Any) -> None:
    """An explicit bound is a whole number of tokens."""
    with pytest.raises(InvalidUsage, match="extra_input_tokens"):
        _bound(extra_input_tokens=extra)


def test_a_request_that_is_no_json_is_refused() -> None:
    """An object that cannot be sent cannot be bounded."""
    with pytest.raises(InvalidUsage, match="not JSON"):
        _bound(options={"metadata": object()})


@pytest.mark.parametrize(
    ("options", "tier"),
    [
        ({}, "standard"),
        ({"service_tier": "default"}, "standard"),
        ({"service_tier": "auto"}, "auto"),
        ({"extra_body": {"service_tier": "flex"}}, "flex"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "fast", "service_tier": "priority"}, "priority+fast"),
        ({"inference_geo": "us"}, "inference_geo=us"),
    ],
)
def test_the_tier_asked_for(options: dict[str, Any], tier: str) -> None:
    """Every option that changes the rate is part of the tier asked for."""
    assert request_tier(options) == tier
