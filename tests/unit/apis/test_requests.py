"""What of a request can be bounded, and what is refused."""

# pyright: reportUnknownArgumentType=false

from typing import Any

import pytest

from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, InvalidUsage, Reason
from earmark.pricing.book import PriceBook
from support.request_bounds import model_bound, read_request, request_tier

HELLO = [{"role": "user", "content": "hello"}]


PRICE = PriceBook(
    own={
        "p/m": {
            "input_mtok": "1",
            "output_mtok": "1",
            "input_audio_mtok": "1",
            "web_searches_kcount": "10",
            "storage_searches_kcount": "10",
        }
    }
).resolve("p/m", at=0)


def _bound(messages: list[Any] | None = None, **more: Any) -> int:
    return model_bound(
        PRICE, HELLO if messages is None else messages, max_output_tokens=1, **more
    ).input_tokens


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
    "MCP servers": (HELLO, {"mcp_servers": [{"url": "…"}]}),
    "server tool": (HELLO, {"tools": [{"type": "web_search_20250305", "max_uses": 2}]}),
    "computer tool": (HELLO, {"tools": [{"type": "computer_20250124"}]}),
}


#: Those of Anthropic's API.
ANTHROPIC = {"anthropic image", "document", "image in a tool's result", "MCP servers"} | {
    "server tool",
    "computer tool",
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_cannot_be_counted_needs_an_explicit_bound(name: str) -> None:
    """Images, files, stored context and server tools are refused until their tokens are bounded."""
    messages, options = UNCOUNTED[name]
    api = "anthropic" if name in ANTHROPIC else "openai"
    with pytest.raises(BudgetExceeded, match="give extra_input_tokens") as refused:
        _bound(messages, options=options, api=api)
    assert refused.value.reason is Reason.UNPRICED
    bounds = [_bound(messages, options=options, api=api, extra_input_tokens=n) for n in (0, 1600)]
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
    for api in ("openai", "anthropic"):
        with pytest.raises(BudgetExceeded) as refused:
            _bound(options=options, api=api, extra_input_tokens=10)
        assert refused.value.reason is Reason.UNPRICED


def test_server_tools_are_paid_by_use() -> None:
    """A tool's maximum of uses is part of what the request may cost."""
    tools: list[Any] = [
        {"type": "web_search_20250305", "max_uses": 3},
        {"name": "mine", "input_schema": {}},
    ]
    assert read_request(HELLO, {"tools": tools}, api="anthropic").fees == {"web_searches": 3}


def test_a_window_does_not_bound_rounds_of_tools() -> None:
    """A server tool samples again with a context of its own: the sum may pass the window (B4)."""
    asked: list[dict[str, Any]] = [
        {"tools": [{"type": "web_search_20250305", "max_uses": 1}]},
        {"mcp_servers": [{"type": "url", "url": "…"}]},
        {"compaction": {"type": "auto"}},
    ]
    for options in asked:
        given: dict[str, Any] = {"extra_input_tokens": 50_000, "context_window": 1000}
        assert _bound(options=options, api="anthropic", **given) > 50_000


def test_tools_schemas_and_system_prompts_count() -> None:
    """What becomes prompt text counts, wherever in the request it stands."""
    plain = _bound()
    assert _bound(options={"system": "x" * 1000}) >= plain + 1000
    assert (
        _bound(options={"tools": [{"type": "function", "name": "f", "description": "x" * 1000}]})
        > plain + 1600
    )
    assert _bound(options={"response_format": {"schema": "x" * 500}}) > plain + 1100
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
        ({"service_tier": "flex"}, "flex"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "fast", "service_tier": "priority"}, "priority+fast"),
        ({"inference_geo": "us"}, "inference_geo=us"),
    ],
)
def test_the_tier_asked_for(options: dict[str, Any], tier: str) -> None:
    """Every option that changes the rate is part of the tier asked for."""
    assert request_tier(options) == tier


@pytest.mark.parametrize(
    ("api", "options", "place"),
    [
        ("openai", {"models": ["openai/gpt-4o-mini", "openai/o1-pro"]}, "models"),
        ("openai", {"route": "fallback"}, "route"),
        ("openai", {"preset": "mine"}, "preset"),
        ("openai", {"ignore_eos": True, "n_predict": 400}, "n_predict"),
        ("openai", {"best_of": 4}, "best_of"),
        ("openai", {"enable_search": True}, "enable_search"),
        ("openai", {"modalities": ["image", "text"]}, "modalities"),
        ("openai", {"knob_of_tomorrow": 0}, "knob_of_tomorrow"),
        ("openai", {"tools": [{"type": "function"}]}, r"tools\[0\], 'function'"),
        ("openai", {"tools": [{"googleSearch": {}}]}, r"tools\[0\], 'googleSearch'"),
        (
            "openai",
            {"tools": [{"type": "function", "name": "f"}, {"codeExecution": {}}]},
            r"tools\[1\]",
        ),
        ("anthropic", {"fallbacks": [{"model": "other"}]}, "fallbacks"),
        ("anthropic", {"tools": [{"type": "web_search_20250305"}]}, "max_uses"),
        (
            "anthropic",
            {"context_management": {"edits": [{"type": "condense_20270101"}]}},
            r"context_management.edits\[0\], 'condense_20270101'",
        ),
        (
            "anthropic",
            {"context_management": {"edits": [], "knob": 1}},
            "context_management.knob",
        ),
    ],
)
def test_an_option_outside_the_table_is_refused_by_its_place(
    api: str, options: dict[str, Any], place: str
) -> None:
    """What is not known to be bounded is refused, with an explicit bound too (B1, B2, B3)."""
    for extra in (None, 100_000):
        with pytest.raises(BudgetExceeded, match=place) as refused:
            _bound(options=options, api=api, extra_input_tokens=extra)
        assert refused.value.reason is Reason.UNPRICED


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_mistyped_option_is_told_what_it_may_mean(api: str) -> None:
    """One that is like none in its table is not guessed at."""
    with pytest.raises(BudgetExceeded, match=r"did you mean 'temperature'\?"):
        _bound(options={"temperatur": 1}, api=api)
    with pytest.raises(BudgetExceeded, match="not known to be bounded: leave it out"):
        _bound(options={"knob_of_tomorrow": 1}, api=api)


@pytest.mark.parametrize(
    ("api", "messages", "says"),
    [
        ("openai", [{"role": "user", "contnt": "Hi"}],
         r"a member \(did you mean 'content'\?\) at messages\[0\].contnt: tokens cannot"),
        ("anthropic", [{"role": "user", "contents": "Hi"}], "did you mean 'content'"),
        ("openai", [{"role": "user", "content": [{"type": "text", "txt": "Hi"}]}],
         r"did you mean 'text'\?\) at messages\[0\].content\[0\].txt"),
        ("openai", [{"role": "user", "content": [{"type": "texts", "text": "Hi"}]}],
         r"texts \(did you mean 'text'\?\) at messages"),
        ("openai", [{"role": "user", "hologram": "Hi"}], r"^unpriced: messages\[0\].hologram: tok"),
        ("openai", [{"role": "user", "x" * 99: "Hi"}], r"^unpriced: messages\[0\].x+: tokens"),
    ],
)  # fmt: skip
def test_a_mistyped_member_of_a_message_is_told_what_it_may_mean(
    api: str, messages: list[dict[str, Any]], says: str
) -> None:
    """A bigger hold is not all that is offered; with an explicit bound it passes all the same."""
    with pytest.raises(BudgetExceeded, match=says):
        _bound(messages, api=api)
    assert _bound(messages, api=api, extra_input_tokens=100)


def test_few_members_are_compared_with_known_ones() -> None:
    """Comparing takes longer than reading: a request of nothing but typos is refused as soon."""
    messages = [{"role": "user", "contnt": "Hi"}] * 500
    with pytest.raises(BudgetExceeded) as refused:
        _bound(messages)
    sentence = str(refused.value)
    assert sentence.count("did you mean") == 8
    assert "and 492 more: tokens cannot be counted here" in sentence
    assert len(sentence) < 1000


def test_an_option_can_be_vouched_for() -> None:
    """What the user allows adds text at most; an option that is refused stays refused."""
    options = {"knob_of_tomorrow": "x" * 500}
    assert _bound(options=options, allowed_options={"knob_of_tomorrow"}) > _bound() + 500
    with pytest.raises(BudgetExceeded, match="best_of"):
        _bound(options={"best_of": 2}, allowed_options={"best_of"})


def test_cached_content_needs_an_explicit_bound() -> None:
    """Content that lies at the provider is input nobody sees here."""
    with pytest.raises(BudgetExceeded, match="cached content"):
        _bound(options={"cached_content": "cachedContents/x"})


def test_edits_that_clear_are_text() -> None:
    """What a coding agent sends in every request only shortens the input (B23)."""
    edits = [
        {"type": "clear_tool_uses_20250919", "trigger": {"type": "input_tokens", "value": 9}},
        {"type": "clear_thinking_20251015", "keep": "all"},
    ]
    assert _bound(options={"context_management": {"edits": edits}}, api="anthropic") < 1000


@pytest.mark.parametrize(
    ("messages", "options", "place"),
    [
        (HELLO, {"tools": ["web_search"]}, r"tools\[0\]"),
        (HELLO, {"tools": [None]}, r"tools\[0\]"),
        (HELLO, {"tools": {"type": "function"}}, "tools is no list"),
        (["hi"], {}, r"messages\[0\]"),
        ([*HELLO, None], {}, r"messages\[1\]"),
        (HELLO, {"context_management": {"edits": ["x"]}}, "context_management.edits"),
    ],
)
def test_a_request_of_another_shape_is_refused_by_its_place(
    messages: list[Any], options: dict[str, Any], place: str
) -> None:
    """A tool or a message that is no object is an input error, not a crash (B22)."""
    with pytest.raises(InvalidUsage, match=place):
        _bound(messages, options=options, api="anthropic")


def test_a_request_nested_without_end_is_refused() -> None:
    """Nesting is bounded by an error of ours, not by the interpreter's stack."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidUsage, match="nested"):
        _bound(options={"metadata": deep})


def test_a_cache_lifetime_is_seen_wherever_it_stands() -> None:
    """Also on a block that is counted elsewhere, such as a document (B14)."""
    block = {
        "type": "document",
        "source": {"type": "url", "url": "…"},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    messages = [{"role": "user", "content": [block]}]
    assert read_request(messages, {}, api="anthropic").caches == {"5m", "1h"}
    options = {"cache_control": {"type": "ephemeral"}}
    assert read_request(HELLO, options, api="anthropic").caches == {"5m"}


def test_a_request_of_two_models_is_refused() -> None:
    """The body goes out as it is: priced as another model's, it would be held at another price."""
    body = {"model": "gpt-5-pro", "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(InvalidUsage, match=r"'gpt-5-pro', and model= 'gpt-4o-mini'"):
        read_body("openai", body, model="gpt-4o-mini")
    assert read_body("openai", body, model="gpt-5-pro").model == "gpt-5-pro"
    deployment = {**body, "model": "our-deployment"}
    assert read_body("openai", deployment, provider="azure", model="gpt-4o").model == "gpt-4o"
