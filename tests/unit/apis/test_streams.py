"""Streamed replies: each adds up to the reply that would have come whole, however it is split."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.apis.replies import read_reply
from earmark.apis.streams import ReplyStream, open_stream
from earmark.errors import InvalidUsage
from earmark.pricing.json_values import items, mapping
from support.split_replies import DIALECTS, Content, DrawnSplit, Event, Split, contents

APIS = list(DIALECTS)


def fed(api: str, events: list[Event], **options: Any) -> ReplyStream:
    """Return a stream that was fed *events*."""
    stream = open_stream(api, **options)
    for name, data in events:
        stream.feed(data, name)
    return stream


def example(api: str, **more: Any) -> Content:
    """Return a reply with a bit of everything."""
    texts = ["Sold.", "Unsold!"] if DIALECTS[api].many_choices else ["Sold."]
    tools: list[tuple[str, dict[str, Any]]] = [("buy", {"what": "tea", "n": 12}), ("sell", {})]
    return Content(texts=texts, reasoning="Hm. Tea?", tools=tools, **more)


@pytest.mark.parametrize("api", APIS)
@given(data=st.data())
def test_a_stream_adds_up_to_the_reply_that_would_have_come_whole(
    api: str, data: st.DataObject
) -> None:
    """Text, reasoning, tool calls, usage: equal for every split, order and manner of counting."""
    dialect = DIALECTS[api]
    content = data.draw(contents(many_choices=dialect.many_choices))
    events = dialect.events(content, DrawnSplit(data.draw))
    stream = open_stream(api, choices=len(content.texts))
    texts = ["" for _ in content.texts]
    produced = [0]
    for name, event in events:
        for choice, text in stream.feed(event, name).texts.items():
            texts[choice] += text
        produced.append(stream.produced_tokens)

    body = dialect.body(content)

    assert stream.reply() == body
    assert texts == list(content.texts)
    assert stream.finished
    assert stream.failure is None
    assert produced == sorted(produced)
    assert produced[-1] >= max(
        content.output_tokens, len(content.generated.encode("utf-8", "surrogatepass"))
    )
    assert read_reply(stream.reply(), provider="x", api=api) == read_reply(
        body, provider="x", api=api
    )
    assert [data for _, data in stream.closing_events()] in ([], ["[DONE]"])


@pytest.mark.parametrize("api", APIS)
@given(data=st.data())
def test_no_event_raises_anything(api: str, data: st.DataObject) -> None:
    """Members of real events with any JSON as values, in any order: never an exception."""
    members = _members(whole(api))
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(members["names"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
    typed = st.fixed_dictionaries({"type": st.sampled_from(members["types"])}, optional={})
    event = st.tuples(
        typed, st.dictionaries(st.sampled_from(members["names"]), value, max_size=5)
    ).map(lambda both: {**both[1], **both[0]})
    stream = open_stream(api, choices=data.draw(st.integers(1, 2)))
    for each in data.draw(st.lists(event | value, max_size=8)):
        stream.feed(each, data.draw(st.sampled_from(["", "error", "message_stop"])))
    json.dumps([stream.reply(), stream.closing_events(), stream.produced_tokens, stream.finished])


def _members(events: list[Event]) -> dict[str, list[str]]:
    names, types = {"usage", "error", "iterations"}, {""}
    pending: list[Any] = [event for _, event in events]
    while pending:
        each = pending.pop()
        names |= mapping(each).keys()
        types.add(str(mapping(each).get("type", "")))
        pending += [*mapping(each).values(), *items(each)]
    return {"names": sorted(names), "types": sorted(types)}


def whole(api: str, **more: Any) -> list[Event]:
    """Return the events of the example in their simplest form."""
    return DIALECTS[api].events(example(api, **more), Split())


@pytest.mark.parametrize("api", APIS)
def test_a_cut_stream_is_not_finished_and_is_closed_in_full(api: str) -> None:
    """Cut after any event: the closing events, fed to the same stream, finish it with a usage."""
    events = whole(api)
    choices = len(example(api).texts)
    for cut in range(len(events)):
        stream = fed(api, events[:cut], choices=choices, input_tokens=5)
        was_finished, produced = stream.finished, stream.produced_tokens
        assert was_finished == (cut >= len(events) - _AFTER_THE_END.get(api, 0))
        for name, data in stream.closing_events():
            assert name == ("" if isinstance(data, str) else data.get("type", ""))
            stream.feed(data, name)
        assert stream.finished
        assert stream.closing_events() == []
        reading = read_reply(stream.reply(), provider="x", api=api)
        assert reading.unknown == ()
        assert reading.usage.get("input_tokens") == 5
        assert reading.usage.get("output_tokens") == produced or was_finished
        if not was_finished:
            assert _finish(api, stream.reply()) == ["cut"] * choices


#: How many events follow the one after which nothing but usage comes.
_AFTER_THE_END = {"openai": 2, "anthropic": 1}
#: The kinds of events that end a stream which was cut within its first text.
_CLOSING = {
    "openai": ["finish_reason", "finish_reason", "usage", "[DONE]"],
    "anthropic": ["content_block_stop", "message_delta", "message_stop"],
    "openai-responses": [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ],
    "gemini": ["finish_reason"],
}


@pytest.mark.parametrize("api", APIS)
def test_a_cut_stream_is_closed_by_exactly_what_the_api_would_send(api: str) -> None:
    """Each open block once, a finish for each choice, the usage, the end; and nothing twice."""
    dialect = DIALECTS[api]
    content = Content(texts=["Sold.", "!"] if dialect.many_choices else ["Sold."])
    events = dialect.events(content, Split())
    text = next(n for n, (_, data) in enumerate(events, 1) if "Sold." in json.dumps(data))
    stream = fed(api, events[:text], choices=len(content.texts))
    closing = stream.closing_events()
    assert [_kind(data) for _, data in closing] == _CLOSING[api]
    assert stream.closing_events() == closing
    assert "Sold." in json.dumps(stream.reply())


def _kind(data: Any) -> str:
    if isinstance(data, str) or "type" in data:
        return data if isinstance(data, str) else data["type"]
    choices = [*items(data.get("choices")), *items(data.get("candidates"))]
    ended = [each for each in choices if each.get("finish_reason") or each.get("finishReason")]
    return "finish_reason" if ended else "usage" if data.get("usage") else ""


def _finish(api: str, body: dict[str, Any]) -> list[str]:
    """Return `cut` for each choice of *body* that ends as the API's replies of full length do."""
    cut = {"length", "max_tokens", "max_output_tokens", "MAX_TOKENS"}
    found = {
        "openai": lambda: [choice["finish_reason"] for choice in body["choices"]],
        "gemini": lambda: [each["finishReason"] for each in body["candidates"]],
        "anthropic": lambda: [body["stop_reason"]],
        "openai-responses": lambda: [
            body["status"] == "incomplete" and body["incomplete_details"]["reason"]
        ],
    }[api]()
    return ["cut" if each in cut else "cut" if each in {"stop", "STOP"} else each for each in found]


def test_the_usage_chunk_is_recognised_and_null_usage_is_none() -> None:
    """Only `choices: []` with a usage is the usage chunk; Azure's filter results are not."""
    stream = open_stream("openai")
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    assert not stream.feed({"choices": [], "prompt_filter_results": []}).is_usage_only
    assert not stream.feed({"choices": [], "usage": None}).is_usage_only
    assert not stream.feed({"choices": [{"delta": {"content": "a"}}], "usage": usage}).is_usage_only
    assert stream.feed({"choices": [], "usage": usage}).is_usage_only


def test_a_stream_without_a_usage_has_none_in_its_reply() -> None:
    """A chat stream that was never counted; a message whose start alone was."""
    chat = fed("openai", [("", {"choices": [{"delta": {}, "finish_reason": "stop"}]})])
    assert chat.finished
    assert "usage" not in chat.reply()
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    message = fed("anthropic", [("", start), ("", end), ("", {"type": "message_stop"})])
    assert message.finished
    assert "usage" not in message.reply()


def test_iterations_and_unknown_counters_of_a_stream_are_kept() -> None:
    """What an unknown event or a list alone counts reaches the reading; a repeated 0 does not."""
    usage = {"input_tokens": 9000, "output_tokens": 1, "cache_creation_input_tokens": 20}
    compaction = {"type": "compaction", "input_tokens": 100, "output_tokens": 30}
    message = {"type": "message", "input_tokens": 9000, "output_tokens": 40}
    end = {"input_tokens": 0, "output_tokens": 40, "iterations": [compaction, message]}
    stream = fed(
        "anthropic",
        [
            ("", {"type": "message_start", "message": {"model": "m", "usage": usage}}),
            ("", {"type": "toll", "usage": {"holograms": 3}}),
            ("", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end}),
        ],
    )
    reading = read_reply(stream.reply(), provider="anthropic", api="anthropic")
    assert reading.unknown == ("holograms = 3",)
    # Of the two sums of the input the larger: 9000 + 20, and 9100 of the iterations.
    assert reading.usage.get("input_tokens") == 9100
    assert reading.usage.get("output_tokens") == 70


FAILURES: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "", {"error": {"code": 502, "message": "gone"}}),
    ("openai", "error", {"message": "gone"}),
    ("anthropic", "error", {"type": "error", "error": {"type": "overloaded_error"}}),
    ("openai-responses", "error", {"type": "error", "code": "server_error", "message": "gone"}),
    ("openai-responses", "", {"type": "response.failed", "response": {"status": "failed"}}),
    ("gemini", "", {"error": {"code": 503, "status": "UNAVAILABLE"}}),
]


@pytest.mark.parametrize(("api", "name", "event"), FAILURES)
def test_an_error_event_is_the_failure(api: str, name: str, event: dict[str, Any]) -> None:
    """The API's own error in mid-stream is kept; the reply is not finished but by its own event."""
    stream = fed(api, [*whole(api)[:1], (name, event)], choices=3)
    assert stream.failure == event
    assert stream.finished == (event.get("type") == "response.failed")


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_every_end_of_a_response_is_an_end(status: str) -> None:
    """A response is finished by each of its last events, and has that event's usage."""
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    response: dict[str, Any] = {"id": "r", "status": status, "output": [], "usage": usage}
    event: dict[str, Any] = {"type": f"response.{status}", "response": response}
    stream = fed("openai-responses", [*whole("openai-responses")[:8], ("", event)])
    assert stream.finished
    assert stream.reply()["status"] == status
    reading = read_reply(stream.reply(), provider="openai", api="openai-responses")
    assert dict(reading.usage.counts) == {"input_tokens": 3, "output_tokens": 4}


@pytest.mark.parametrize("api", APIS)
def test_what_follows_the_end_is_no_text_and_is_counted(api: str) -> None:
    """Events after the end change no text; their usage and their output count."""
    stream = fed(api, whole(api), choices=len(example(api).texts))
    before, produced = stream.reply(), stream.produced_tokens
    late = {
        "openai": {"choices": [{"delta": {"content": "late" * 999}}]},
        "openai-responses": {"type": "response.output_text.delta", "delta": "late" * 999},
        "anthropic": {"type": "content_block_delta", "delta": {"text": "late" * 999}},
        "gemini": None,
    }[api]
    if late is None:
        return
    stream.feed(late)
    assert stream.reply() == before
    assert stream.produced_tokens >= produced + 3996
    stream.feed({"usage": {"output_tokens": 10**6, "completion_tokens": 10**6}})
    assert stream.produced_tokens == 10**6


@pytest.mark.parametrize(
    ("api", "event"),
    [
        ("openai", {"choices": [{"delta": {"reasoning": "a" * 50}}]}),
        ("openai", {"choices": [{"delta": {"reasoning_details": [{"data": "a" * 50}]}}]}),
        ("openai", {"choices": [{"delta": {"audio": {"transcript": "a" * 50}}}]}),
        ("openai", {"choices": [{"delta": {"refusal": "a" * 50}}]}),
        ("anthropic", {"type": "content_block_delta", "delta": {"thinking": "a" * 50}}),
        ("anthropic", {"type": "content_block_delta", "delta": {"signature": "a" * 50}}),
        (
            "anthropic",
            {
                "type": "content_block_start",
                "content_block": {"type": "redacted_thinking", "data": "a" * 50},
            },
        ),
        (
            "openai-responses",
            {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "a" * 50},
        ),
        (
            "openai-responses",
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {"type": "reasoning", "encrypted_content": "a" * 50},
            },
        ),
        (
            "openai-responses",
            {"type": "response.new_modality.delta", "output_index": 0, "delta": "a" * 50},
        ),
        (
            "gemini",
            {"candidates": [{"content": {"parts": [{"text": "a" * 50, "thought": True}]}}]},
        ),
        (
            "gemini",
            {"candidates": [{"content": {"parts": [{"functionCall": {"args": {"a" * 50: 1}}}]}}]},
        ),
    ],
)
def test_hidden_output_counts_and_is_no_text(api: str, event: dict[str, Any]) -> None:
    """Reasoning, signatures and calls count by their bytes as they come, and are not the text."""
    stream = open_stream(api)
    assert stream.feed(event).texts == {}
    assert 50 <= stream.produced_tokens <= 150


def test_tool_results_of_a_server_tool_are_no_output() -> None:
    """What a search found was not generated, and is billed as input."""
    result = {"type": "web_search_tool_result", "content": [{"title": "a" * 500}]}
    stream = open_stream("anthropic")
    stream.feed({"type": "content_block_start", "index": 1, "content_block": result})
    assert stream.produced_tokens < 50
    assert stream.reply()["content"] == [result]


def test_tool_calls_without_an_index_are_told_apart() -> None:
    """A new id or name begins a call, pieces without either go on with the last one."""
    stream = open_stream("openai")
    for call in (
        {"id": "a", "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ):
        stream.feed({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    calls = stream.reply()["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [
        ("a", "{}"),
        ("b", "{}"),
    ]


def test_items_without_an_index_are_told_apart_by_their_ids() -> None:
    """llama.cpp's events name an item by its id alone."""
    stream = open_stream("openai-responses")
    for identity in ("a", "b"):
        item: dict[str, Any] = {"id": identity, "type": "message", "content": []}
        stream.feed({"type": "response.output_item.added", "item": item})
        for text in ("1", "2"):
            delta = {"type": "response.output_text.delta", "item_id": identity, "delta": text}
            assert stream.feed(delta).texts == {0: text}
    output = stream.reply()["output"]
    assert [(item["id"], item["content"][0]["text"]) for item in output] == [
        ("a", "12"),
        ("b", "12"),
    ]


def test_queries_of_every_grounded_event_are_kept() -> None:
    """Gemini bills each distinct query, whichever event named it."""
    stream = open_stream("gemini")
    for queries in (["a"], ["b", "a"]):
        grounding = {"groundingMetadata": {"webSearchQueries": queries}}
        stream.feed({"candidates": [grounding], "usageMetadata": {"promptTokenCount": 1}})
    reading = read_reply(stream.reply(), provider="google", api="gemini")
    assert reading.usage.get("web_searches") == 2


def _chat_chunk(text: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None}
    return {"choices": [choice], **more}


_COUNTED: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "chat": (
        "openai",
        [
            _chat_chunk("hi", usage={"prompt_tokens": 10, "completion_tokens": 1}),
            _chat_chunk("more"),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ],
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}},
    ),
    "gemini": (
        "gemini",
        [
            {
                "candidates": [{"content": {"parts": [{"text": "hi"}]}}],
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 1},
            },
            {"candidates": [{"content": {"parts": [{"text": "more"}]}, "finishReason": "STOP"}]},
        ],
        {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 3}},
    ),
}


@pytest.mark.parametrize("api", _COUNTED)
def test_a_usage_that_is_older_than_the_last_text_is_that_of_a_part(api: str) -> None:
    """It is no bill, unless a later one comes; what was counted is known all the same."""
    name, events, last = _COUNTED[api]
    root = "usageMetadata" if name == "gemini" else "usage"
    stream = open_stream(name)
    for event in events:
        stream.feed(event)
    assert stream.finished
    assert root not in stream.reply()
    assert 1 in stream.partial_reply()[root].values()
    stream.feed(last)
    assert stream.reply()[root] == last[root]


def test_embeddings_are_not_streamed() -> None:
    """An API without streams is refused by its name."""
    with pytest.raises(InvalidUsage, match="'openai-embeddings' are not streamed"):
        open_stream("openai-embeddings")
