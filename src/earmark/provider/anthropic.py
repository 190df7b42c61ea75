"""The Messages API, of Anthropic and of every server compatible with it."""

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from earmark.admission.call import Grant, ModelRequest
from earmark.apis import failures
from earmark.apis.counters import larger_counts
from earmark.clock import Clock
from earmark.errors import InvalidConfig
from earmark.pricing.book import PriceBook
from earmark.provider.answer import Answer, Progress
from earmark.provider.call import DEFAULT_MAX_TOKENS, ModelCall, Terms, make_call
from earmark.provider.untrusted import mapping, mappings, position, text
from earmark.provider.wire import Sdk, Server, Wire

ANTHROPIC_URL: Final = "https://api.anthropic.com"

_PATH: Final = "/v1/messages"
#: The pieces of a content block that carry generated tokens, and where the text of each is.
#: Source: Claude API, "Streaming messages", 2026-11-22.
_WRITTEN: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


class AnthropicProvider:
    """Calls models through the Messages API, with the official SDK and no retries.

    Args:
        name: The provider's name, first part of its models' names: `anthropic`.
        book: Prices; the price is pinned when a call is made.
        base_url: The server, `https://api.anthropic.com` unless given; environment variables of the
            SDK are not read.
        api_key: The key; a server without one is sent the word `none`.
        default_max_tokens: The output tokens of a request that names none; thinking is part of it.
        context_window: The most tokens the server's models take in, where the user knows it.
        allowed_options: Options beyond the API's table that the user vouches for: text at most.
    """

    def __init__(
        self,
        name: str,
        *,
        book: PriceBook,
        clock: Clock,
        base_url: str | None = None,
        api_key: str | None = None,
        default_max_tokens: int = DEFAULT_MAX_TOKENS,
        context_window: int | None = None,
        allowed_options: frozenset[str] = frozenset(),
    ) -> None:
        self._terms = Terms(
            provider=name,
            book=book,
            clock=clock,
            default_max_tokens=default_max_tokens,
            context_window=context_window,
            allowed_options=allowed_options,
        )
        self._server = Server(provider=name, base_url=base_url or ANTHROPIC_URL, api_key=api_key)
        self._wire = Wire(self._server, _connect)
        self._api = _Messages(self._server, self._wire)

    def __repr__(self) -> str:
        return f"AnthropicProvider({self._server.provider!r}, {self._server.host!r})"

    def call(self, request: ModelRequest) -> ModelCall:
        """Return the bounded, not yet sent call; see `earmark.admission.call.Provider`."""
        if request.choices != 1:
            raise InvalidConfig(
                place=f"choices of {request.model}",
                detail=f"the Messages API gives one reply to a call, not {request.choices}",
            )
        return make_call(self._terms, self._api, request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()


def _connect(server: Server) -> Sdk:
    import anthropic  # noqa: PLC0415 - slow to import, and only needed by who calls such a provider

    return Sdk(
        client=anthropic.AsyncAnthropic(
            base_url=server.base_url, api_key=server.key, max_retries=0
        ),
        stream=anthropic.AsyncStream[object],
        error=anthropic.AnthropicError,
        status_error=anthropic.APIStatusError,
        connection_error=anthropic.APIConnectionError,
    )


@dataclass(frozen=True, slots=True)
class _Messages:
    server: Server
    wire: Wire
    form: str = "anthropic"
    counts_choices: bool = True
    bounded_here: frozenset[str] = frozenset(
        {"model", "messages", "system", "stream", "max_tokens"}
    )

    async def send(self, request: ModelRequest, most: int, grant: Grant) -> Answer:
        body = _body(request, most)
        if self.server.host == "api.anthropic.com":
            # Not said, it is `auto`, which may use a priority capacity the account has bought.
            # Source: Claude API, "Service tiers", 2026-11.
            body.setdefault("service_tier", "standard_only")
        if not request.stream:
            return _read(await self.wire.ask(_PATH, body, grant.timeout_s))
        progress = Progress(grant, most)
        total = _Sum()
        async with aclosing(self.wire.stream(_PATH, body, grant.timeout_s)) as events:
            async for event in events:
                written = total.add(event)
                if written:
                    await progress.add(written)
        return total.answer(self.server.provider, progress.pieces)


def _body(request: ModelRequest, most: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        **request.options,
        "model": request.model,
        "messages": [message for message in request.messages if not _is_system(message)],
        "max_tokens": most,
    }
    system = _system([message for message in request.messages if _is_system(message)])
    if system:
        body["system"] = system
    if request.stream:
        body["stream"] = True
    return body


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "system"


def _system(messages: Sequence[Mapping[str, Any]]) -> str | list[Any]:
    """Return the system prompt: in this API a parameter of its own, not a message."""
    contents = [message.get("content") for message in messages]
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(str(content) for content in contents)
    blocks: list[Any] = []
    for content in contents:
        blocks += content if isinstance(content, list) else [{"type": "text", "text": content}]
    return blocks


def _read(body: Mapping[str, Any]) -> Answer:
    blocks = mappings(body.get("content"))
    finish = text(body.get("stop_reason"))
    return Answer(
        body=body,
        value=_value(blocks),
        finish=finish,
        written=int(
            any(block.get(name) for block in blocks for name in ("text", "thinking", "input"))
        ),
        fault="" if "content" in body and finish else "a body that is no message",
    )


def _value(blocks: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - text, or blocks as sent
    """Return the text, if the reply says nothing else, else its blocks as they were sent."""
    if {block.get("type") for block in blocks} <= {"text", "thinking", "redacted_thinking"}:
        return "".join(text(block.get("text")) or "" for block in blocks)
    return [dict(block) for block in blocks]


@dataclass(slots=True)
class _Block:
    content: dict[str, Any]
    json: list[str] = field(default_factory=list[str])

    def add(self, delta: Mapping[str, Any]) -> str:
        """Take in a piece; return what it wrote."""
        name = _WRITTEN.get(str(delta.get("type")), "")
        written = text(delta.get(name)) or ""
        if name == "partial_json":
            self.json.append(written)
        elif name:
            self.content[name] = self.content.get(name, "") + written
        elif "signature" in delta:
            self.content["signature"] = delta["signature"]
        return written

    def whole(self) -> dict[str, Any]:
        if not self.json:
            return self.content
        written = "".join(self.json)
        try:
            return {**self.content, "input": json.loads(written or "{}")}
        except ValueError:
            # Cut off by `max_tokens`: the bill is right all the same, and the text may be of use.
            return {**self.content, "input": written}


class _Sum:
    """What the events of a stream add up to."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}

    def add(self, event: Mapping[str, Any]) -> str:
        """Take in an event; return what it wrote."""
        at = position(event.get("index"), 0)
        match event.get("type"):
            case "message_start":
                self._message = dict(mapping(event.get("message")))
                self._count(mapping(self._message.get("usage")))
            case "content_block_start":
                self._blocks[at] = _Block(dict(mapping(event.get("content_block"))))
            case "content_block_delta" if at in self._blocks:
                return self._blocks[at].add(mapping(event.get("delta")))
            case "message_delta":
                self._message |= mapping(event.get("delta"))
                self._end(mapping(event.get("usage")))
            case _:
                pass
        return ""

    def answer(self, provider: str, pieces: int) -> Answer:
        """Return the whole answer.

        Raises:
            CallFailed: The stream ended before the answer did. The usage sent at its start is that
                of the input alone, so the cost is unknown.
        """
        if not self._message.get("stop_reason"):
            raise failures.garbled(provider, f"a stream that ended early, after {pieces} pieces")
        blocks = [self._blocks[index].whole() for index in sorted(self._blocks)]
        return _read({**self._message, "usage": self._usage, "content": blocks})

    def _count(self, usage: Mapping[str, Any]) -> None:
        self._usage = larger_counts(self._usage, usage)

    def _end(self, usage: Mapping[str, Any]) -> None:
        """Take in the last counts: cumulative, and those left out stand (same source).

        Without them only the input was ever counted, which is as good as nothing.
        """
        if usage:
            self._count(usage)
        else:
            self._usage = {}
