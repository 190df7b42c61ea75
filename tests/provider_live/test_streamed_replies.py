"""A real server's stream adds up to what the same server answers whole."""

import json
from typing import Any

import httpx2
import pytest

from earmark.apis.event_stream import EventDecoder
from earmark.apis.replies import read_reply
from earmark.apis.streams import ReplyStream, open_stream
from earmark.pricing.usage import Usage
from earmark.provider.local import LocalModel
from support.last_resort import LAST_RESORT_S

#: The same text each time, and no prompt kept from one request to the next, where the API knows it.
_SAME = {"temperature": 0, "seed": 1, "cache_prompt": False}
_CHAT = {"messages": [{"role": "user", "content": "Count to five."}]}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", {**_CHAT, "max_tokens": 24}),
    "anthropic": ("/v1/messages", {**_CHAT, "max_tokens": 24}),
    "openai-responses": ("/v1/responses", {"input": "Count to five.", "max_output_tokens": 24}),
}


def streamed(url: str, api: str, body: dict[str, Any]) -> tuple[ReplyStream, str]:
    """Ask for a stream; return what was fed with it, and its visible text."""
    stream, decoder, texts = open_stream(api), EventDecoder(), list[str]()
    with httpx2.stream("POST", url, json=body, timeout=LAST_RESORT_S) as response:
        for chunk in response.iter_raw():
            for event in decoder.feed(chunk):
                data = event.data if event.data == "[DONE]" else json.loads(event.data)
                texts += stream.feed(data, event.name).texts.values()
    return stream, "".join(texts)


def counted(usage: Usage) -> dict[str, int]:
    """Return what was counted, but for what of it came from a cache.

    The server's Messages API keeps prompts whatever it is asked (xllamacpp 2026.10): which of
    its slots answers decides how much of the next one is read again.
    """
    return {kind: count for kind, count in usage.counts.items() if "cache" not in kind}


def text_of(api: str, body: dict[str, Any]) -> str:
    """Return the text of a reply."""
    if api == "openai":
        return body["choices"][0]["message"]["content"]
    if api == "anthropic":
        return "".join(block["text"] for block in body["content"] if block["type"] == "text")
    parts = [part for item in body["output"] for part in item.get("content") or ()]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


@pytest.mark.parametrize("api", REQUESTS)
def test_a_real_stream_adds_up_to_the_whole_reply(local_model: LocalModel, api: str) -> None:
    """The same text, the same usage and the same end, streamed and not; bounded while it ran."""
    path, body = REQUESTS[api]
    url = f"{local_model.anthropic_url}{path}"
    asked = {"model": "smollm2-135m", **_SAME, **body}
    # Both are answered from the same state: of the prompt as this request leaves it, if it is kept.
    httpx2.post(url, json=asked, timeout=LAST_RESORT_S)
    whole = httpx2.post(url, json=asked, timeout=LAST_RESORT_S).json()
    more = {"stream_options": {"include_usage": True}} if api == "openai" else {}
    stream, text = streamed(url, api, {**asked, **more, "stream": True})

    reply = stream.reply()

    assert stream.finished
    assert stream.failure is None
    assert text == text_of(api, reply) == text_of(api, whole) != ""
    read, expected = (read_reply(each, provider="local", api=api) for each in (reply, whole))
    assert counted(read.usage) == counted(expected.usage)
    assert 0 < read.usage.get("output_tokens") <= stream.produced_tokens
