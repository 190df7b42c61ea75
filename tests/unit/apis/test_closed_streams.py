"""Streams that were cut and closed, read by the real SDK clients: clean, and plainly cut."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from earmark.apis.streams import open_stream
from support.lazily import Lazily
from support.split_replies import DIALECTS, Content, Event, Split
from support.stub_server import Scene, StubServer

anthropic, openai = Lazily("anthropic"), Lazily("openai")


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    """A server that streams what it is given."""
    with StubServer() as server:
        yield server


def encoded(event: Event) -> bytes:
    """Return one server-sent event."""
    name, data = event
    head = f"event: {name}\n" if name else ""
    body = data if isinstance(data, str) else json.dumps(data)
    return f"{head}data: {body}\n\n".encode()


def closed_anywhere(stub: StubServer, api: str) -> Iterator[int]:
    """Cut a stream after each of its events, close it, and play what comes of it."""
    texts = ["Sold.", "Unsold!"] if DIALECTS[api].many_choices else ["Sold."]
    tools = [("buy", {"what": "tea", "n": 12})]
    content = Content(texts=texts, reasoning="Hm. Tea?", tools=tools)
    events = DIALECTS[api].events(content, _Halves())
    for cut in range(len(events) + 1):
        stream = open_stream(api, choices=len(texts), input_tokens=5)
        for name, data in events[:cut]:
            stream.feed(data, name)
        was_finished = stream.finished
        closing = stream.closing_events()
        stub.play(Scene(events=[encoded(event) for event in [*events[:cut], *closing]]))
        if not was_finished:
            yield cut


class _Halves(Split):
    """Cut each text in two, so that a cut stream ends within it."""

    def pieces(self, text: str) -> list[str]:
        """Cut a text in its middle."""
        middle = len(text) // 2
        return [text[:middle], text[middle:]]


MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]


def test_openai_s_client_reads_a_closed_chat_stream(stub: StubServer) -> None:
    """Every choice ends with `length`, and the usage is that of what came."""
    with openai.OpenAI(base_url=f"{stub.url}/v1", api_key="k", max_retries=0) as client:
        for _ in closed_anywhere(stub, "openai"):
            chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
            reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
            assert [reason for reason in reasons if reason].count("length") >= 1
            assert len([reason for reason in reasons if reason]) == 2
            usage = chunks[-1].usage
            assert chunks[-1].choices == []
            assert usage is not None
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            # The helper of the SDK raises where it holds a reply that was cut, as for any `length`.
            with (
                client.chat.completions.stream(model="m", messages=MESSAGES) as stream,
                pytest.raises(openai.LengthFinishReasonError),
            ):
                stream.get_final_completion()


def test_openai_s_client_reads_a_closed_response_stream(stub: StubServer) -> None:
    """The last event is `response.incomplete`, with the output until then and a usage."""
    with openai.OpenAI(base_url=f"{stub.url}/v1", api_key="k", max_retries=0) as client:
        for cut in closed_anywhere(stub, "openai-responses"):
            with client.responses.stream(model="m", input="hi") as stream:
                events: list[Any] = list(stream)
            last = events[-1]
            assert last.type == "response.incomplete"
            assert last.response.status == "incomplete"
            assert last.response.incomplete_details.reason == "max_output_tokens"
            assert last.response.usage.output_tokens >= 0
            numbers = [event.sequence_number for event in events]
            assert numbers == sorted(set(numbers)), cut
            added = [event for event in events if event.type == "response.output_item.added"]
            done = [event for event in events if event.type == "response.output_item.done"]
            assert len(added) == len(done) == len(last.response.output)


def test_anthropic_s_client_reads_a_closed_message_stream(stub: StubServer) -> None:
    """The message stops for `max_tokens`; every block that was open is closed."""
    with anthropic.Anthropic(base_url=stub.url, api_key="k", max_retries=0) as client:
        for _ in closed_anywhere(stub, "anthropic"):
            with client.messages.stream(model="m", max_tokens=5, messages=MESSAGES) as stream:
                events: list[Any] = list(stream)
                final = stream.get_final_message()
            assert final.stop_reason == "max_tokens"
            assert final.usage.input_tokens == 5
            stops = [event for event in events if event.type == "content_block_stop"]
            assert len(stops) == len(final.content)
            assert events[-1].type == "message_stop"


def test_google_s_client_reads_a_closed_stream(stub: StubServer) -> None:
    """The last response ends each candidate with `MAX_TOKENS` and has a usage."""
    genai: Any = pytest.importorskip("google.genai", reason="google-genai is not installed")
    options = {"base_url": stub.url, "api_version": "v1beta"}
    with genai.Client(api_key="k", http_options=options) as client:
        for _ in closed_anywhere(stub, "gemini"):
            chunks: list[Any] = list(
                client.models.generate_content_stream(model="m", contents="hi")
            )
            candidates: list[Any] = [
                each for chunk in chunks for each in list[Any](chunk.candidates)
            ]
            reasons = [str(each.finish_reason.name) for each in candidates if each.finish_reason]
            assert len(reasons) == 2
            assert "MAX_TOKENS" in reasons
            usage = chunks[-1].usage_metadata
            assert usage.total_token_count >= usage.candidates_token_count
