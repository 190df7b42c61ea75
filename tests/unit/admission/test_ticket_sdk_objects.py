"""A loop of tools with the real SDKs: what they answered stands in the next request as it is."""

import json
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

import httpx2
import pydantic
import pytest

from earmark.admission.guard import Guard
from earmark.errors import InvalidUsage
from earmark.stores.open import open_ledger

CHAT: dict[str, Any] = {"role": "assistant", "refusal": None, "annotations": []}
CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Ten dollars for `acme`."""
    with open_ledger("memory:") as ledger:
        ledger.set_budget("acme", limits=["10 usd total"])
        yield Guard(ledger)


class Stub:
    """A provider that answers with one reply after the other, and keeps the bodies."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.bodies: list[bytes] = []
        self._replies = iter(replies)

    def client(self, kind: str) -> Any:
        """Return an SDK's client of it."""
        http = httpx2.Client(transport=httpx2.MockTransport(self._answer))
        return resolve_name(kind)(api_key="k", http_client=http, max_retries=0)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(request.read())
        return httpx2.Response(200, json=next(self._replies))


def sent_alike(stub: Stub) -> bool:
    """Whether each ticket's body was sent as the SDK sends the caller's own, made after it."""
    assert len(stub.bodies) == 4
    return stub.bodies[0::2] == stub.bodies[1::2]


def chat_reply(message: dict[str, Any], finish: str) -> dict[str, Any]:
    """Return a reply of the Chat Completions API."""
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": finish,
        "logprobs": None,
        "message": {**CHAT, **message},
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o",
            "choices": [choice], "usage": usage}  # fmt: skip


def messages_reply(content: list[dict[str, Any]], stop: str) -> dict[str, Any]:
    """Return a reply of the Messages API."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    return {"id": "m", "type": "message", "role": "assistant", "model": "claude-opus-4-8",
            "content": content, "stop_reason": stop, "stop_sequence": None,
            "usage": usage}  # fmt: skip


def responses_reply(output: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a reply of the Responses API."""
    usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}  # fmt: skip
    return {"id": "r", "object": "response", "created_at": 1, "model": "gpt-4o", "status":
            "completed", "output": output, "usage": usage, "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": []}  # fmt: skip


def test_openais_message_is_sent_on_as_its_sdk_sends_it(guard: Guard) -> None:
    """`messages.append(reply.choices[0].message)`, with its call of a tool."""
    first = chat_reply({"content": None, "tool_calls": [CALL]}, "tool_calls")
    last = chat_reply({"content": "It is noon."}, "stop")
    stub = Stub(first, first, last, last)
    client: Any = stub.client("openai.OpenAI")
    messages: list[Any] = [{"role": "user", "content": "What time is it?"}]
    body: dict[str, Any] = {"model": "gpt-4o", "messages": messages, "max_completion_tokens": 50,
                            "service_tier": "default"}  # fmt: skip
    for _ in range(2):
        with guard.open("acme", body) as ticket:
            reply: Any = client.chat.completions.create(**ticket.body)
            assert ticket.settle(reply).state == "settled"
        client.chat.completions.create(**body)
        messages.append(reply.choices[0].message)
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": "12:00"})
    assert sent_alike(stub)
    assert json.loads(stub.bodies[2])["messages"][1]["tool_calls"] == [CALL]


def test_anthropics_blocks_are_sent_on_as_its_sdk_sends_them(guard: Guard) -> None:
    """`{"role": "assistant", "content": reply.content}`, with thoughts and a call of a tool."""
    blocks = [
        {"type": "thinking", "thinking": "Which clock?", "signature": "c2ln"},
        {"type": "text", "text": "I look.", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {"zone": "UTC"}},
    ]
    first = messages_reply(blocks, "tool_use")
    last = messages_reply([{"type": "text", "text": "It is noon."}], "end_turn")
    stub = Stub(first, first, last, last)
    client: Any = stub.client("anthropic.Anthropic")
    messages: list[Any] = [{"role": "user", "content": "What time is it?"}]
    body: dict[str, Any] = {"model": "claude-opus-4-8", "messages": messages, "max_tokens": 50,
                            "service_tier": "standard_only"}  # fmt: skip
    for _ in range(2):
        with guard.open("acme", body, api="anthropic") as ticket:
            reply: Any = client.messages.create(**ticket.body)
            assert ticket.settle(reply).state == "settled"
        client.messages.create(**body)
        messages.append({"role": "assistant", "content": reply.content})
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12:00"}
        messages.append({"role": "user", "content": [result]})
    assert sent_alike(stub)
    assert json.loads(stub.bodies[2])["messages"][1]["content"] == blocks


def test_items_of_a_response_are_sent_on_as_the_sdk_sends_them(guard: Guard) -> None:
    """`input += reply.output`, as OpenAI's guide to tools writes it."""
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "now",
        "arguments": "{}",
        "status": "completed",
    }
    parts = [{"type": "output_text", "text": "Noon.", "annotations": list[Any]()}]
    said = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": parts,
    }
    first, last = responses_reply([call]), responses_reply([said])
    stub = Stub(first, first, last, last)
    client: Any = stub.client("openai.OpenAI")
    listed: list[Any] = [{"role": "user", "content": "What time is it?"}]
    body: dict[str, Any] = {"model": "gpt-4o", "input": listed, "max_output_tokens": 50,
                            "service_tier": "default"}  # fmt: skip
    for _ in range(2):
        with guard.open("acme", body, api="openai-responses") as ticket:
            reply: Any = client.responses.create(**ticket.body)
            assert ticket.settle(reply).state == "settled"
        client.responses.create(**body)
        listed += reply.output
        listed.append({"type": "function_call_output", "call_id": "call_1", "output": "12:00"})
    assert sent_alike(stub)
    assert json.loads(stub.bodies[2])["input"][1] == call


class Named(pydantic.BaseModel):
    """An object with an alias and a default."""

    max_size: int = pydantic.Field(default=3, alias="maxSize")
    left_out: str | None = None


class Endless:
    """A model whose JSON is one more model."""

    def model_dump(self, **_: object) -> object:
        """Return one more."""
        return Endless()


class Plain:
    """No JSON and no model."""


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        (Plain(), r"messages\[1\] is Plain, which is no JSON: give .model_dump\(\)"),
        ({"content": [{"text": Plain()}]}, r"messages\[1\].content\[0\].text is Plain, which"),
        ({"content": {"a", "b"}}, r"messages\[1\].content is set, which is no JSON"),
        (Named, r"messages\[1\] is a class, which is no JSON: give the JSON schema"),
        (Endless(), "nested too deeply"),
        (Named.model_construct(max_size=Plain()), "Named cannot be written as JSON"),
    ],
)
def test_what_is_no_json_is_refused_by_its_place(guard: Guard, inside: Any, says: str) -> None:
    """With what to give; nothing is held for it."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}, inside]}
    with pytest.raises(InvalidUsage, match=says):
        guard.open("acme", body)


def test_a_model_of_another_sdk_is_sent_by_its_aliases_without_what_was_not_set(
    guard: Guard,
) -> None:
    """And nothing done to it later alters what is sent."""
    schema = Named(maxSize=4)
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "gpt-4o", "messages": messages, "response_format": {"schema": schema}}
    with guard.open("acme", body) as ticket:
        schema.max_size = 5
        assert ticket.body["response_format"] == {"schema": {"maxSize": 4}}
        ticket.release()
