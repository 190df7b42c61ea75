"""Requests to the Responses, Embeddings, Gemini and token-counting APIs."""

from datetime import UTC, datetime
from typing import Any

import pytest

import earmark
from earmark.apis.bounds import bound_request, counts_all
from earmark.apis.output_limit import with_output_limit
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded, InvalidUsage
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.usage import Usage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
PRICES = {
    "input_mtok": "1",
    "input_audio_mtok": "3",
    "output_mtok": "10",
    "output_audio_mtok": "40",
    "web_searches_kcount": "10",
    "storage_searches_kcount": "2.5",
}
BOOK = PriceBook(
    own={
        "p/m": PRICES,
        "p/embedding": {"input_mtok": "1"},
        "p/painter": {**PRICES, "output_image_mtok": "120"},
    }
)
WEB = {"type": "web_search", "external_web_access": True}
FILES = {"type": "file_search", "vector_store_ids": ["v"]}


def bound(api: str, more: dict[str, Any], model: str = "m", **given: Any) -> ModelBound:
    """Return the bound of a request with *more* in it."""
    said: dict[str, dict[str, Any]] = {
        "gemini": {"contents": [{"parts": [{"text": "hi"}]}]},
        "openai": {"messages": []},
        "anthropic": {"messages": []},
    }
    body = more if api == "anthropic-count-tokens" else said.get(api, {"input": "hi"}) | more
    reading = read_body(api, body, model=model)
    price = BOOK.resolve(f"p/{model}", at=0, tier=reading.tier)
    return bound_request(reading, price, default_max_tokens=100, **given)


def test_a_response_of_text_or_items_is_bounded_alike() -> None:
    """A text is an item of the user; instructions and items are texts of the prompt."""
    short = bound("openai-responses", {"input": "hi"})
    text = bound("openai-responses", {"input": "x" * 5000})
    assert 4998 <= text.input_tokens - short.input_tokens <= 5000
    item = {"role": "user", "content": [{"type": "input_text", "text": "x" * 5000}]}
    assert 0 < bound("openai-responses", {"input": [item]}).input_tokens - text.input_tokens < 100
    told = bound("openai-responses", {"instructions": "y" * 700})
    assert 700 <= told.input_tokens - short.input_tokens < 730
    assert text.max_output_tokens == 100
    assert bound("openai-responses", {"max_output_tokens": 7}).max_output_tokens == 7


def test_tools_inside_the_input_are_tools() -> None:
    """Codex sends its tools as an item of the input: they count, and a built-in one has a fee."""
    function = {"type": "function", "name": "f", "description": "x" * 1000}
    namespace = {"type": "namespace", "name": "n", "tools": [function]}
    added: dict[str, Any] = {"type": "additional_tools", "role": "developer"}
    added["tools"] = [namespace]
    plain = bound("openai-responses", {}).input_tokens
    assert bound("openai-responses", {"input": [added]}).input_tokens > plain + 1600
    added["tools"] = [namespace, WEB]
    asked = bound("openai-responses", {"input": [added]}, extra_input_tokens=1000)
    assert asked.fees == Usage.of(web_searches=8)
    with pytest.raises(BudgetExceeded, match=r"web_search at input\[0\].tools\[1\]"):
        bound("openai-responses", {"input": [added]})


def test_built_in_tools_are_paid_by_the_calls_that_are_allowed() -> None:
    """`max_tool_calls` limits them all together; each call is a fee and a round of the window."""
    tools = {"tools": [WEB, FILES], "max_tool_calls": 3}
    asked = bound("openai-responses", tools, context_window=1000)
    assert asked.fees == Usage.of(web_searches=3, storage_searches=3)
    assert asked.input_tokens == 4 * 1000
    for wrong in (0, True, "3"):
        with pytest.raises(BudgetExceeded, match="max_tool_calls"):
            bound("openai-responses", {**tools, "max_tool_calls": wrong}, context_window=1000)


@pytest.mark.parametrize("where", ["tools", "input"])
def test_the_preview_of_web_search_is_no_web_search(where: str) -> None:
    """It costs 2.5 times as much with some models: no bound has it, and no reply counts that."""
    tools = [{"type": "web_search_preview_2025_03_11"}]
    added = {"type": "additional_tools", "role": "developer", "tools": tools}
    body: dict[str, Any] = {where: tools if where == "tools" else [added]}
    with pytest.raises(BudgetExceeded, match=r"tools\[0\].*use web_search"):
        bound("openai-responses", {**body, "max_tool_calls": 1}, context_window=1000)
    assert not counts_all("openai-responses", body, "gpt-4o")
    assert counts_all("openai-responses", {"tools": [WEB, FILES], "input": "x"}, "gpt-4o")


def test_a_missing_maximum_of_tool_calls_is_spliced_in() -> None:
    """What the bound assumes is what is sent; without built-in tools nothing is added."""
    body: dict[str, Any] = {
        "model": "m",
        "input": "hi",
        "tools": [{"type": "function", "name": "f"}],
    }
    assert "max_tool_calls" not in with_output_limit("openai-responses", body, 7)
    added = {"type": "additional_tools", "role": "developer", "tools": [WEB]}
    for more in ({"tools": [*body["tools"], WEB]}, {"input": [added]}):
        sent = with_output_limit("openai-responses", {**body, **more}, 7)
        assert (sent["max_tool_calls"], sent["max_output_tokens"]) == (8, 7)
        assert bound("openai-responses", more, context_window=1).fees == Usage.of(web_searches=8)
        given = {**body, **more, "max_tool_calls": 2}
        assert with_output_limit("openai-responses", given, 7)["max_tool_calls"] == 2


NEEDS_A_BOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "earlier response": ("openai-responses", {"previous_response_id": "r"}),
    "conversation": ("openai-responses", {"conversation": {"id": "c"}}),
    "earlier item": ("openai-responses", {"input": [{"type": "item_reference", "id": "i"}]}),
    "item of no type": ("openai-responses", {"input": [{"id": "i"}]}),
    "item of null type": ("openai-responses", {"input": [{"id": "i", "type": None}]}),
    "item of empty type": (
        "openai-responses",
        {"input": [{"id": "i", "type": "", "role": "user"}]},
    ),
    "message without content": (
        "openai-responses",
        {"input": [{"type": "message", "id": "i", "role": "user", "content": None}]},
    ),
    "message with no parts": (
        "openai-responses",
        {"input": [{"type": "message", "id": "i", "role": "assistant", "content": []}]},
    ),
    "message without a role": ("openai-responses", {"input": [{"id": "i", "content": "hi"}]}),
    "reasoning by its id": (
        "openai-responses",
        {"input": [{"type": "reasoning", "id": "i", "summary": [], "encrypted_content": None}]},
    ),
    "image": (
        "openai-responses",
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "…"}]}]},
    ),
    "screenshot": (
        "openai-responses",
        {
            "input": [
                {
                    "type": "computer_call_output",
                    "call_id": "c",
                    "output": {"type": "computer_screenshot", "image_url": "…"},
                }
            ]
        },
    ),
    "item of tomorrow": ("openai-responses", {"input": [{"type": "hologram", "id": "i"}]}),
    "field of tomorrow": ("openai-responses", {"input": [{"role": "user", "scent": "rose"}]}),
    "Anthropic's message by its id": ("anthropic", {"messages": [{"role": "user", "id": "m"}]}),
    "MCP": ("openai-responses", {"tools": [{"type": "mcp", "server_label": "s"}]}),
    "pages of an URL": ("gemini", {"tools": [{"urlContext": {}}]}),
    "code execution": ("gemini", {"tools": [{"code_execution": {}}]}),
    "cached content": ("gemini", {"cachedContent": "cachedContents/x"}),
    "file": ("gemini", {"contents": [{"parts": [{"fileData": {"fileUri": "…"}}]}]}),
    "blob": ("gemini", {"contents": [{"parts": [{"inline_data": {"data": "…"}}]}]}),
    "part of tomorrow": ("gemini", {"contents": [{"parts": [{"hologram": {}}]}]}),
    "multimodal embedding": ("openai-embeddings", {"input": [{"image": "…"}]}),
}


@pytest.mark.parametrize("name", NEEDS_A_BOUND)
def test_what_is_not_in_the_request_needs_an_explicit_bound(name: str) -> None:
    """Stored context, media and code are refused until their tokens are bounded."""
    api, more = NEEDS_A_BOUND[name]
    model = "embedding" if api == "openai-embeddings" else "m"
    with pytest.raises(BudgetExceeded, match="give extra_input_tokens"):
        bound(api, more, model)
    asked = [bound(api, more, model, extra_input_tokens=n).input_tokens for n in (0, 1600)]
    assert asked[1] - asked[0] == 1600


def test_items_of_a_reply_are_counted_where_they_hold_their_content() -> None:
    """A message with its text and a reasoning with its cipher need no bound, whatever their ids."""
    text = {"type": "output_text", "text": "x" * 999}
    said: dict[str, Any] = {"id": "i", "role": "assistant", "content": [text]}
    cipher: dict[str, Any] = {"type": "reasoning", "id": "i", "summary": []}
    cipher["encrypted_content"] = "y" * 999
    for item in (said, {**said, "type": "message"}, cipher):
        assert bound("openai-responses", {"input": [item]}).input_tokens > 999


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "stored prompt": ("openai-responses", {"prompt": {"id": "p"}}, "'prompt'.*send its text"),
    "media in a stored prompt": (
        "openai-responses",
        {"prompt": {"id": "p", "variables": {"x": {"type": "input_image", "image_url": "…"}}}},
        "'prompt'",
    ),
    "chat's stored prompt": ("openai", {"prompt": {"id": "p"}}, "'prompt'.*send its text"),
    "preset": ("openai", {"preset": "p"}, "'preset'"),
    "skills": ("anthropic", {"skills": [{"skill_id": "s"}]}, "'skills"),
    "skills of a container": (
        "anthropic",
        {"container": {"skills": [{"type": "custom", "skill_id": "s"}]}},
        "'container.skills",
    ),
    "background": ("openai-responses", {"background": True}, "background"),
    "images": ("openai-responses", {"tools": [{"type": "image_generation"}]}, "another model"),
    "container": (
        "openai-responses",
        {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
        r"tools\[0\].environment",
    ),
    "tool of tomorrow": ("openai-responses", {"tools": [{"type": "teleport"}]}, "teleport"),
    "tool in a namespace": (
        "openai-responses",
        {"tools": [{"type": "namespace", "name": "n", "tools": [WEB]}]},
        r"tools\[0\].tools\[0\], 'web_search'",
    ),
    "cache for 12 hours": (
        "openai-responses",
        {"prompt_cache_options": {"ttl": "12h"}},
        "only 30m is bounded",
    ),
    "more than one sample": ("openai-responses", {"reasoning": {"mode": "pro"}}, "reasoning.mode"),
    "option of tomorrow": ("openai-responses", {"knob": 1}, r"\[apis.openai-responses.options\]"),
    "searches": ("gemini", {"tools": [{"googleSearch": {}}]}, r"tools\[0\].googleSearch"),
    "searches, spelled": ("gemini", {"tools": [{"google_search": {}}]}, "google_search"),
    "maps": ("gemini", {"tools": [{"googleMaps": {}}]}, "googleMaps"),
    "tool without a name": ("gemini", {"tools": [{"teleport": {}}]}, "teleport"),
    "image output": (
        "gemini",
        {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}},
        "responseModalities",
    ),
    "routing": ("gemini", {"generationConfig": {"routingConfig": {}}}, "name one model"),
    "an option in the config": ("gemini", {"generationConfig": {"knob": 1}}, "Config.knob"),
    "fallback": ("openai-embeddings", {"models": ["a", "b"]}, "name one model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_bounds_is_refused_by_its_place(name: str) -> None:
    """With a bound of the input or without: its fee, its model or its output has none."""
    api, more, words = REFUSED[name]
    for extra in (None, 100_000):
        with pytest.raises(BudgetExceeded, match=words):
            bound(api, more, extra_input_tokens=extra)


def test_an_empty_object_that_switches_on_a_search_is_refused() -> None:
    """`web_search_options: {}` searches as well as any other value."""
    body: dict[str, Any] = {"model": "m", "messages": [], "web_search_options": {}}
    with pytest.raises(BudgetExceeded, match="web_search_options"):
        read_body("openai", body)


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ([1, 2, 3], 3),
        ([[1, 2], [3]], 3),
        ("x" * 70, 70),
        (["x" * 70, "y" * 7], 77),
        ([], 0),
    ],
)
def test_an_embedding_is_its_input_alone(asked: Any, tokens: int) -> None:
    """Token arrays count exactly, texts by their bytes; nothing comes out."""
    given = bound("openai-embeddings", {"input": asked}, "embedding")
    empty = bound("openai-embeddings", {"input": ""}, "embedding").input_tokens
    assert (given.input_tokens - empty, given.max_output_tokens) == (tokens, 0)
    assert empty < 20
    body = {"model": "m", "input": asked}
    assert with_output_limit("openai-embeddings", body, 7) == body


def test_a_limit_of_gemini_stands_in_its_config() -> None:
    """Read and spliced in either spelling; candidates multiply the output."""
    for config in (
        {"maxOutputTokens": 20, "candidateCount": 3},
        {"max_output_tokens": 20, "candidate_count": 3},
    ):
        name = "generationConfig" if "maxOutputTokens" in config else "generation_config"
        asked = bound("gemini", {name: config})
        assert (asked.max_output_tokens, asked.choices) == (20, 3)
        sent = with_output_limit("gemini", {"contents": [], name: config}, 7)
        first = next(iter(config))
        assert sent == {"contents": [], name: {**config, first: 7}}
    assert with_output_limit("gemini", {"contents": []}, 7) == {
        "contents": [],
        "generationConfig": {"maxOutputTokens": 7},
    }
    with pytest.raises(InvalidUsage, match="twice"):
        bound("gemini", {"generationConfig": {}, "generation_config": {"maxOutputTokens": 9}})


def test_a_thinking_budget_of_gemini_is_never_cut_into() -> None:
    """Thoughts are part of the limit: at or below their budget nothing would be answered."""
    config = {"maxOutputTokens": 256, "thinkingConfig": {"thinking_budget": 64}}
    asked = bound("gemini", {"generationConfig": config})
    assert asked.largest_output(asked.cost(65)) == 65
    assert asked.largest_output(asked.cost(64)) == 0
    dynamic = {"maxOutputTokens": 256, "thinkingConfig": {"thinkingBudget": -1}}
    free = bound("gemini", {"generationConfig": dynamic})
    assert free.largest_output(free.cost(1)) == 1


def test_a_model_that_makes_images_is_asked_for_text() -> None:
    """Left to itself it makes images, which `maxOutputTokens` does not bound."""
    with pytest.raises(BudgetExceeded, match=r'responseModalities = \["TEXT"\]'):
        bound("gemini", {}, "painter")
    text = {"generationConfig": {"responseModalities": ["TEXT"]}}
    asked = bound("gemini", text, "painter")
    assert asked.cost() - asked.cost(0) == Money("0.001")


def test_counting_tokens_costs_nothing() -> None:
    """Whatever the request holds that the table knows; and no limit is spliced into it."""
    image = {"type": "image", "source": {"type": "url", "url": "…"}}
    body = {"messages": [{"role": "user", "content": [image]}]}
    asked = bound("anthropic-count-tokens", body)
    assert (asked.cost(), asked.tokens()) == (Money(0), 0)
    assert with_output_limit("anthropic-count-tokens", body, 7, host="api.anthropic.com") == body


@pytest.mark.parametrize(
    ("api", "model", "text_alone"),
    [
        ("openai", "openrouter/google/gemini-2.5-flash-image", {"modalities": ["text"]}),
        ("openai", "openrouter/google/gemini-nano-banana-2.1", {"modalities": ["text"]}),
        ("openai", "openrouter/openai/gpt-5-image-mini", {"modalities": ["text"]}),
        ("openai", "google/gemini-2.5-flash-image", {"modalities": ["text"]}),
        ("openai", "openrouter/openai/gpt-audio", {"modalities": ["text"]}),
        ("openai", "openai/gpt-4o-audio-preview", {"modalities": ["text"]}),
        (
            "gemini",
            "p/gemini-2.0-flash-exp-image-generation",
            {"generationConfig": {"responseModalities": ["TEXT"]}},
        ),
        ("openai-responses", "openrouter/openai/gpt-5-image", None),
    ],
)
def test_a_model_that_makes_images_or_sound_is_asked_for_text_alone(
    api: str, model: str, text_alone: dict[str, Any] | None
) -> None:
    """Known by its price or its name, where the request does not say what the answer is of."""
    provider, _, name = model.partition("/")
    asked: dict[str, Any] = {"model": name, "messages": []}
    inputs: dict[str, Any] = {"gemini": {"contents": []}, "openai-responses": {"input": "hi"}}
    asked |= inputs.get(api, {})
    if api != "openai":
        del asked["messages"]
    given: dict[str, Any] = {"api": api, "provider": provider, "at": AT}
    given["book"] = PriceBook(own={"p/gemini-2.0-flash-exp-image-generation": PRICES})
    words = "declared cost" if text_alone is None else "text alone, by (m|responseM)odalities = "
    with pytest.raises(BudgetExceeded, match=words):
        earmark.bound(asked, **given)
    if text_alone is not None:
        assert earmark.bound(asked | text_alone, **given).cost > Money(0)


def test_audio_of_a_response_needs_a_price_of_its_own() -> None:
    """As in Chat Completions: it is dearer than text, and no price is no bound."""
    part = {"type": "input_audio", "input_audio": {"data": "…", "format": "wav"}}
    body = {"model": "m", "input": [{"role": "user", "content": [part]}]}
    book = PriceBook({"p/m": {"input_mtok": "1", "output_mtok": "10"}})
    with pytest.raises(BudgetExceeded, match="input_audio_tokens"):
        earmark.bound(
            body, api="openai-responses", provider="p", book=book, extra_input_tokens=1000
        )
    assert bound("openai-responses", body, extra_input_tokens=1000).cost() > Money("0.003")
